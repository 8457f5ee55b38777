//! Deleting the events of PulseBoard.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::params;

use super::SqliteIssues;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::Change;
use crate::storage::issues::board::{BoardEvents, EVENTS_PER_STEP};
use crate::storage::sqlite::access::{Entry, note};
use crate::storage::summary::clamp_time;

const DELETE: &str = "DELETE FROM event WHERE (project_id, time_unix_nano, digest) IN (
    SELECT project_id, time_unix_nano, digest FROM event INDEXED BY event_arrival
    WHERE project_id = ?1 AND source = 2 AND received_unix_nano <= ?2
    ORDER BY received_unix_nano LIMIT ?3)";

impl BoardEvents for SqliteIssues {
    fn delete_some(
        &self,
        project: ProjectId,
        until_unix_nano: u64,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<u64, Error>> {
        let deleting = self.access.change(move |transaction| {
            let deleted = transaction.prepare_cached(DELETE)?.execute(params![
                project.0,
                clamp_time(until_unix_nano),
                EVENTS_PER_STEP
            ])?;
            if let Some(change) = change.filter(|_| deleted > 0) {
                let entry = Entry {
                    action: "project.delete_events",
                    project: Some(project),
                    target: "",
                };
                note(transaction, &change, &entry)?;
            }
            Ok(Ok(deleted as u64))
        });
        async move { Ok(deleting.await?.unwrap_or_default()) }.boxed()
    }
}
