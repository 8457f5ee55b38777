//! Deleting the events of PulseBoard.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::PostgresIssues;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::Change;
use crate::storage::issues::board::{BoardEvents, EVENTS_PER_STEP};
use crate::storage::postgres::access::{CONTEXT, Entry, note, number};
use crate::storage::postgres::transaction::Param;
use crate::storage::summary::clamp_time;

const DELETE: &str = "DELETE FROM event WHERE (project_id, time_unix_nano, digest) IN (
    SELECT project_id, time_unix_nano, digest FROM event
    WHERE project_id = $1 AND source = 2 AND received_unix_nano <= $2
    ORDER BY received_unix_nano LIMIT $3)";

impl PostgresIssues {
    async fn delete_some_now(
        &self,
        project: ProjectId,
        until_unix_nano: u64,
        change: Option<Change>,
    ) -> Result<u64, Error> {
        // Changes come one by one, and so do those who delete the same.
        let transaction = self.access.begin_change().await?;
        let (id, until) = (number(project), clamp_time(until_unix_nano));
        let params: [Param<'_>; 3] = [
            (&id, Type::INT8),
            (&until, Type::INT8),
            (&i64::from(EVENTS_PER_STEP), Type::INT8),
        ];
        let deleted = transaction.execute(DELETE, &params, CONTEXT).await?;
        if let Some(change) = change.filter(|_| deleted > 0) {
            let entry = Entry {
                action: "project.delete_events",
                project: Some(project),
                target: "",
            };
            note(&transaction, &change, entry).await?;
        }
        transaction.commit(CONTEXT).await?;
        Ok(deleted)
    }
}

impl BoardEvents for PostgresIssues {
    fn delete_some(
        &self,
        project: ProjectId,
        until_unix_nano: u64,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<u64, Error>> {
        self.delete_some_now(project, until_unix_nano, change)
            .boxed()
    }
}
