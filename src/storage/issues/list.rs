//! Pages of issues: rows in order, of which those that the filter leaves are answered.

use super::{Details, Issue, IssueFilter, IssueSort, IssueStatus};
use crate::model::fingerprint::Fingerprint;
use crate::storage::{Cursor, Error, Page, PageRequest};

/// Rows that are looked at for a page at most.
pub(in crate::storage) const SCANNED_MAX: i64 = 1000;

/// After which row a page begins; after none that there is, to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage) struct After {
    pub(in crate::storage) value: i64,
    pub(in crate::storage) fingerprint: i64,
    pub(in crate::storage) level: i64,
    pub(in crate::storage) kind: String,
}

impl After {
    /// What a cursor says, which [`page_of`] made.
    pub(in crate::storage) fn of(page: &PageRequest) -> Self {
        let first = Self {
            value: i64::MAX,
            fingerprint: i64::MAX,
            level: i64::from(i16::MAX),
            kind: String::new(),
        };
        let Some(cursor) = &page.after else {
            return first;
        };
        let Some((fingerprint, rest)) = cursor.key.split_first_chunk::<8>() else {
            return first;
        };
        let (level, kind) = rest.split_first().unwrap_or((&0, &[]));
        Self {
            value: cursor.unix_nano.cast_signed(),
            fingerprint: i64::from_be_bytes(*fingerprint),
            level: i64::from(*level),
            kind: String::from_utf8_lossy(kind).into_owned(),
        }
    }
}

fn cursor(issue: &Issue, sort: IssueSort) -> Cursor {
    let mut key = issue.fingerprint.0.to_be_bytes().to_vec();
    key.push(issue.level);
    key.extend(issue.kind.as_bytes());
    Cursor {
        unix_nano: match sort {
            IssueSort::LastSeen => issue.last_unix_nano,
            IssueSort::FirstSeen => issue.first_unix_nano,
            IssueSort::Count => issue.event_count,
        },
        key,
    }
}

impl Issue {
    /// Puts together what is stored: sums, details, and what was said of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(in crate::storage) fn stored(
        (fingerprint, level, kind): (i64, u8, String),
        [count, first, last]: [i64; 3],
        details: &str,
        said: Option<(String, i64)>,
    ) -> Result<Self, Error> {
        let time = |stored: i64| stored.max(0).cast_unsigned();
        let details = Details::parse(details)?;
        let latest = details.latest.iter().filter_map(|id| id.parse().ok());
        let said = said.map(|(status, at)| match status.parse::<IssueStatus>() {
            Ok(status) => Ok((status, time(at))),
            Err(()) => Err(Error::Corrupt {
                context: "the status of an issue".to_owned(),
            }),
        });
        Ok(Self {
            fingerprint: Fingerprint(fingerprint),
            kind,
            level,
            event_count: time(count),
            first_unix_nano: time(first),
            last_unix_nano: time(last),
            latest: latest.collect(),
            message: details.message,
            services: details.services.into_iter().collect(),
            environments: details.environments.into_iter().collect(),
            releases: details.releases.into_iter().collect(),
            said: said.transpose()?,
        })
    }

    fn matches(&self, filter: &IssueFilter) -> bool {
        let has = |names: &[String], wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| names.contains(wanted))
        };
        let says = |wanted: &str| {
            let wanted = wanted.to_lowercase();
            let mut texts = [&self.kind, &self.message].into_iter();
            texts.any(|text| text.to_lowercase().contains(&wanted))
        };
        filter.status.is_none_or(|status| self.status() == status)
            && filter.kind.as_ref().is_none_or(|kind| self.kind == *kind)
            && filter.level.is_none_or(|level| self.level == level)
            && has(&self.services, &filter.service)
            && has(&self.environments, &filter.environment)
            && filter.search.as_deref().is_none_or(says)
    }
}

/// The page of some rows in order, at most [`SCANNED_MAX`].
pub(in crate::storage) fn page_of(
    rows: Vec<Issue>,
    filter: &IssueFilter,
    request: &PageRequest,
) -> Page<Issue> {
    let is_cut = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= SCANNED_MAX;
    let mut items: Vec<Issue> = Vec::new();
    let mut last = None;
    for row in rows {
        if items.len() >= request.limit.max(1) {
            return Page { items, next: last };
        }
        last = Some(cursor(&row, filter.sort));
        if row.matches(filter) {
            items.push(row);
        }
    }
    Page {
        items,
        next: last.filter(|_| is_cut),
    }
}
