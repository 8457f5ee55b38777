//! What is kept of events beside them.

mod board;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::access::{CONTEXT, Entry, PostgresAccess, finish};
use super::config::Config;
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

/// Issues in a Postgres database, through connections of their own. A replica for queries is not
/// asked: it may be behind what was just changed.
#[derive(Debug, Clone)]
pub struct PostgresIssues {
    access: PostgresAccess,
}

impl PostgresIssues {
    /// Prepares to connect. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            access: PostgresAccess::new(config)?,
        })
    }

    async fn latest_now(
        &self,
        project: ProjectId,
        source: EventSource,
        limit: usize,
    ) -> Result<Vec<EventId>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .access
            .ask(
                LATEST,
                &[
                    (&i64::from(project.0), Type::INT8),
                    (&i16::from(source as u8), Type::INT2),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        let ids = rows.iter().map(|row| EventId {
            unix_nano: row.get::<_, i64>(0).cast_unsigned(),
            digest: <[u8; 16]>::try_from(row.get::<_, &[u8]>(1)).unwrap_or_default(),
        });
        Ok(ids.collect())
    }

    async fn issues_now(
        &self,
        project: ProjectId,
        filter: &IssueFilter,
        page: &PageRequest,
    ) -> Result<Page<Issue>, Error> {
        let after = After::of(page);
        let sql = match filter.sort {
            IssueSort::LastSeen => BY_LAST,
            IssueSort::FirstSeen => BY_FIRST,
            IssueSort::Count => BY_COUNT,
        };
        let level = i16::try_from(after.level).unwrap_or(i16::MAX);
        let rows = self
            .access
            .ask(
                sql,
                &[
                    (&i64::from(project.0), Type::INT8),
                    (&after.value, Type::INT8),
                    (&after.fingerprint, Type::INT8),
                    (&level, Type::INT2),
                    (&after.kind, Type::TEXT),
                    (&SCANNED_MAX, Type::INT8),
                ],
            )
            .await?;
        let rows = rows.iter().map(issue).collect::<Result<_, _>>()?;
        Ok(page_of(rows, filter, page))
    }

    async fn issue_now(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
    ) -> Result<Vec<Issue>, Error> {
        let limit = i64::try_from(GROUPS_MAX).unwrap_or(i64::MAX);
        let rows = self
            .access
            .ask(
                ONE,
                &[
                    (&i64::from(project.0), Type::INT8),
                    (&fingerprint.0, Type::INT8),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        rows.iter().map(issue).collect()
    }

    async fn timeline_now(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        [start, end]: [i64; 2],
    ) -> Result<Vec<IssueBucket>, Error> {
        let rows = self
            .access
            .ask(
                TIMELINE,
                &[
                    (&i64::from(project.0), Type::INT8),
                    (&fingerprint.0, Type::INT8),
                    (&start, Type::INT8),
                    (&end, Type::INT8),
                ],
            )
            .await?;
        let buckets = rows.iter().map(|row| IssueBucket {
            start_unix_nano: row.get::<_, i64>(0).cast_unsigned(),
            event_count: row.get::<_, i64>(1).cast_unsigned(),
        });
        Ok(buckets.collect())
    }

    async fn set_status_now(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        status: IssueStatus,
        change: Change,
    ) -> Done<()> {
        let transaction = self.access.begin_change().await?;
        let changed = clamp_time(change.at_unix_nano);
        let written = transaction
            .execute(
                SAY,
                &[
                    (&i64::from(project.0), Type::INT8),
                    (&fingerprint.0, Type::INT8),
                    (&status.as_str(), Type::TEXT),
                    (&changed, Type::INT8),
                ],
                CONTEXT,
            )
            .await?;
        if written == 0 {
            return Ok(Err(Refusal::Unknown));
        }
        let entry = Entry {
            action: "issue.status",
            project: Some(project),
            target: &format!("{fingerprint} {}", status.as_str()),
        };
        finish(transaction, &change, entry).await?;
        Ok(Ok(()))
    }
}

/// Rows of issues with what was said of them, in some order.
macro_rules! select_issue {
    ($rest:literal) => {
        select_issue!("issue i ", $rest)
    };
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT i.fingerprint, i.level, i.type, i.event_count, i.first_unix_nano, ",
            "i.last_unix_nano, i.details, s.status, s.changed_unix_nano FROM ",
            $from,
            "LEFT JOIN issue_status s ON s.project_id = i.project_id ",
            "AND s.fingerprint = i.fingerprint WHERE i.project_id = $1 ",
            $rest
        )
    };
}

const BY_LAST: &str = select_issue!(
    "AND (i.last_unix_nano, i.fingerprint, i.level, i.type) < ($2, $3, $4, $5) \
     ORDER BY i.last_unix_nano DESC, i.fingerprint DESC, i.level DESC, i.type DESC LIMIT $6"
);
const BY_FIRST: &str = select_issue!(
    "AND (i.first_unix_nano, i.fingerprint, i.level, i.type) < ($2, $3, $4, $5) \
     ORDER BY i.first_unix_nano DESC, i.fingerprint DESC, i.level DESC, i.type DESC LIMIT $6"
);
const BY_COUNT: &str = select_issue!(
    "AND (i.event_count, i.fingerprint, i.level, i.type) < ($2, $3, $4, $5) \
     ORDER BY i.event_count DESC, i.fingerprint DESC, i.level DESC, i.type DESC LIMIT $6"
);
/// Of a fingerprint's types and levels, of which a client may have made any number, a thousand.
const ONE: &str = select_issue!(
    "(SELECT * FROM issue WHERE project_id = $1 AND fingerprint = $2 \
     ORDER BY level DESC, type DESC LIMIT 1000) i ",
    "AND i.fingerprint = $2 ORDER BY i.last_unix_nano DESC, i.level DESC, i.type DESC LIMIT $3"
);
const TIMELINE: &str = "SELECT start_unix_nano, event_count FROM issue_bucket
    WHERE project_id = $1 AND fingerprint = $2 AND start_unix_nano >= $3 AND start_unix_nano < $4
    ORDER BY start_unix_nano";
const SAY: &str = "INSERT INTO issue_status (project_id, fingerprint, status, changed_unix_nano)
    SELECT $1, $2, $3, $4
    WHERE EXISTS (SELECT FROM issue WHERE project_id = $1 AND fingerprint = $2)
    ON CONFLICT (project_id, fingerprint) DO UPDATE SET
        status = excluded.status, changed_unix_nano = excluded.changed_unix_nano";

fn issue(row: &Row) -> Result<Issue, Error> {
    let level: i16 = row.get(1);
    let status: Option<String> = row.get(7);
    let changed: Option<i64> = row.get(8);
    Issue::stored(
        (row.get(0), u8::try_from(level).unwrap_or(0), row.get(2)),
        [row.get(3), row.get(4), row.get(5)],
        row.get(6),
        status.zip(changed),
    )
}

const LATEST: &str = "SELECT time_unix_nano, digest FROM event
    WHERE project_id = $1 AND source = 2 AND source = $2
    ORDER BY received_unix_nano DESC, time_unix_nano DESC, digest DESC LIMIT $3";

impl IssueStore for PostgresIssues {
    fn latest(
        &self,
        project: ProjectId,
        source: EventSource,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<EventId>, Error>> {
        self.latest_now(project, source, limit).boxed()
    }

    fn issues(
        &self,
        project: ProjectId,
        filter: IssueFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Issue>, Error>> {
        async move { self.issues_now(project, &filter, &page).await }.boxed()
    }

    fn issue(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
    ) -> BoxFuture<'_, Result<Vec<Issue>, Error>> {
        self.issue_now(project, fingerprint).boxed()
    }

    fn timeline(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        start_unix_nano: u64,
        end_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Vec<IssueBucket>, Error>> {
        let range = [clamp_time(start_unix_nano), clamp_time(end_unix_nano)];
        self.timeline_now(project, fingerprint, range).boxed()
    }

    fn set_status(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        status: IssueStatus,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.set_status_now(project, fingerprint, status, change)
            .boxed()
    }
}
