//! What is kept of events beside them, through connections of their own: the writer's is busy.

mod board;

use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::{Row, params};

use super::access::{Entry, SqliteAccess, note};
use crate::model::ProjectId;
use crate::model::event::{EventId, EventSource};
use crate::model::fingerprint::Fingerprint;
use crate::storage::access::{Change, Done, Refusal};
use crate::storage::issues::{
    After, GROUPS_MAX, Issue, IssueBucket, IssueFilter, IssueSort, IssueStatus, IssueStore,
    SCANNED_MAX, page_of,
};
use crate::storage::summary::clamp_time;
use crate::storage::{Error, Page, PageRequest};

/// Issues in the embedded store.
#[derive(Debug, Clone)]
pub struct SqliteIssues {
    access: SqliteAccess,
}

impl SqliteIssues {
    /// Opens a store that has the current schema, which opening the writer first sees to.
    ///
    /// # Errors
    /// As [`SqliteAccess::open`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            access: SqliteAccess::open(path)?,
        })
    }

    /// A store of its own, with one issue of some projects.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let access = SqliteAccess::in_memory();
        access.with(|connection| {
            let sql = "INSERT INTO issue VALUES (?1, 255, 4, 'TypeError', 3, 5, 7, 9,
                '{\"message\":\"it broke\",\"services\":[\"api\"]}');
                INSERT INTO issue_bucket VALUES (?1, 255, 0, 3, 9);";
            for project in ["1", "7"] {
                connection
                    .execute_batch(&sql.replace("?1", project))
                    .unwrap();
            }
        });
        Self { access }
    }
}

const LATEST: &str = "SELECT time_unix_nano, digest FROM event
    INDEXED BY event_arrival
    WHERE project_id = ?1 AND source = 2 AND source = ?2
    ORDER BY received_unix_nano DESC, time_unix_nano DESC, digest DESC LIMIT ?3";

/// Rows of issues with what was said of them, in some order.
macro_rules! select_issue {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT i.fingerprint, i.level, i.type, i.event_count, i.first_unix_nano, ",
            "i.last_unix_nano, i.details, s.status, s.changed_unix_nano FROM ",
            $from,
            " LEFT JOIN issue_status s ON s.project_id = i.project_id ",
            "AND s.fingerprint = i.fingerprint WHERE i.project_id = ?1 ",
            $rest
        )
    };
}

const BY_LAST: &str = select_issue!(
    "issue i INDEXED BY issue_last",
    "AND (i.last_unix_nano, i.fingerprint, i.level, i.type) < (?2, ?3, ?4, ?5) \
     ORDER BY i.last_unix_nano DESC, i.fingerprint DESC, i.level DESC, i.type DESC LIMIT ?6"
);
const BY_FIRST: &str = select_issue!(
    "issue i INDEXED BY issue_first",
    "AND (i.first_unix_nano, i.fingerprint, i.level, i.type) < (?2, ?3, ?4, ?5) \
     ORDER BY i.first_unix_nano DESC, i.fingerprint DESC, i.level DESC, i.type DESC LIMIT ?6"
);
const BY_COUNT: &str = select_issue!(
    "issue i INDEXED BY issue_count",
    "AND (i.event_count, i.fingerprint, i.level, i.type) < (?2, ?3, ?4, ?5) \
     ORDER BY i.event_count DESC, i.fingerprint DESC, i.level DESC, i.type DESC LIMIT ?6"
);
/// Of a fingerprint's types and levels, of which a client may have made any number, a thousand.
const ONE: &str = select_issue!(
    "(SELECT * FROM issue WHERE project_id = ?1 AND fingerprint = ?2 \
     ORDER BY level DESC, type DESC LIMIT 1000) i",
    "AND i.fingerprint = ?2 ORDER BY i.last_unix_nano DESC, i.level DESC, i.type DESC LIMIT ?3"
);
const TIMELINE: &str = "SELECT start_unix_nano, event_count FROM issue_bucket
    WHERE project_id = ?1 AND fingerprint = ?2 AND start_unix_nano >= ?3 AND start_unix_nano < ?4
    ORDER BY start_unix_nano";

fn issue(row: &Row<'_>) -> rusqlite::Result<Result<Issue, Error>> {
    let status: Option<String> = row.get(7)?;
    let changed: Option<i64> = row.get(8)?;
    let details: String = row.get(6)?;
    Ok(Issue::stored(
        (row.get(0)?, row.get(1)?, row.get(2)?),
        [row.get(3)?, row.get(4)?, row.get(5)?],
        &details,
        status.zip(changed),
    ))
}

impl IssueStore for SqliteIssues {
    fn latest(
        &self,
        project: ProjectId,
        source: EventSource,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<EventId>, Error>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.access.run(move |connection| {
            connection
                .prepare_cached(LATEST)?
                .query_map(params![project.0, source as u8, limit], |row| {
                    Ok(EventId {
                        unix_nano: row.get::<_, i64>(0)?.cast_unsigned(),
                        digest: row.get(1)?,
                    })
                })?
                .collect()
        })
    }

    fn issues(
        &self,
        project: ProjectId,
        filter: IssueFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Issue>, Error>> {
        let after = After::of(&page);
        let sql = match filter.sort {
            IssueSort::LastSeen => BY_LAST,
            IssueSort::FirstSeen => BY_FIRST,
            IssueSort::Count => BY_COUNT,
        };
        let rows = self.access.run(move |connection| {
            let After {
                value,
                fingerprint,
                level,
                kind,
            } = after;
            let values = params![project.0, value, fingerprint, level, kind, SCANNED_MAX];
            connection
                .prepare_cached(sql)?
                .query_map(values, issue)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        async move {
            let rows = rows.await?.into_iter().collect::<Result<_, _>>()?;
            Ok(page_of(rows, &filter, &page))
        }
        .boxed()
    }

    fn issue(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
    ) -> BoxFuture<'_, Result<Vec<Issue>, Error>> {
        let limit = i64::try_from(GROUPS_MAX).unwrap_or(i64::MAX);
        let rows = self.access.run(move |connection| {
            connection
                .prepare_cached(ONE)?
                .query_map(params![project.0, fingerprint.0, limit], issue)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        async move { rows.await?.into_iter().collect() }.boxed()
    }

    fn timeline(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        start_unix_nano: u64,
        end_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Vec<IssueBucket>, Error>> {
        self.access.run(move |connection| {
            let (start, end) = (clamp_time(start_unix_nano), clamp_time(end_unix_nano));
            connection
                .prepare_cached(TIMELINE)?
                .query_map(params![project.0, fingerprint.0, start, end], |row| {
                    Ok(IssueBucket {
                        start_unix_nano: row.get::<_, i64>(0)?.cast_unsigned(),
                        event_count: row.get::<_, i64>(1)?.cast_unsigned(),
                    })
                })?
                .collect()
        })
    }

    fn set_status(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        status: IssueStatus,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.access.change(move |transaction| {
            let known = transaction
                .prepare_cached("SELECT 1 FROM issue WHERE project_id = ?1 AND fingerprint = ?2")?
                .exists(params![project.0, fingerprint.0])?;
            if !known {
                return Ok(Err(Refusal::Unknown));
            }
            transaction.execute(
                "INSERT OR REPLACE INTO issue_status VALUES (?1, ?2, ?3, ?4)",
                params![
                    project.0,
                    fingerprint.0,
                    status.as_str(),
                    clamp_time(change.at_unix_nano)
                ],
            )?;
            let entry = Entry {
                action: "issue.status",
                project: Some(project),
                target: &format!("{fingerprint} {}", status.as_str()),
            };
            note(transaction, &change, &entry)?;
            Ok(Ok(()))
        })
    }
}
