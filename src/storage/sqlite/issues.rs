//! What is kept of events beside them, through connections of their own: the writer's is busy.

use std::path::Path;

use futures_util::future::BoxFuture;
use rusqlite::params;

use super::access::SqliteAccess;
use crate::model::ProjectId;
use crate::model::event::{EventId, EventSource};
use crate::storage::Error;
use crate::storage::issues::IssueStore;

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

    /// An empty store of its own.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self {
            access: SqliteAccess::in_memory(),
        }
    }
}

const LATEST: &str = "SELECT time_unix_nano, digest FROM event
    INDEXED BY event_arrival
    WHERE project_id = ?1 AND source = 2 AND source = ?2
    ORDER BY received_unix_nano DESC, time_unix_nano DESC, digest DESC LIMIT ?3";

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
}
