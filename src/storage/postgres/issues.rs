//! What is kept of events beside them.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::access::PostgresAccess;
use super::config::Config;
use crate::model::ProjectId;
use crate::model::event::{EventId, EventSource};
use crate::storage::Error;
use crate::storage::issues::IssueStore;

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
}
