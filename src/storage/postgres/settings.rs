//! What projects have settled.

use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::config::Config;
use super::connect::{self, Purpose};
use super::transaction::{Settings, Transaction};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::settings::{ProjectSettings, Values};

const CONTEXT: &str = "use the settings of a project";

/// Settings in a Postgres database. A replica for queries is not asked: it may be behind.
pub struct PostgresSettings {
    pool: Pool,
    settings: Settings,
}

impl std::fmt::Debug for PostgresSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresSettings")
            .finish_non_exhaustive()
    }
}

impl PostgresSettings {
    /// Prepares to connect. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            pool: connect::pool(config, Purpose::Write, 1)?,
            settings: Settings::of(config),
        })
    }

    async fn get_now(&self, project: ProjectId, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let found = transaction
            .query(
                "SELECT value FROM project_setting WHERE project_id = $1 AND name = $2",
                &[(&i64::from(project.0), Type::INT8), (&name, Type::TEXT)],
                CONTEXT,
            )
            .await?;
        transaction.commit(CONTEXT).await?;
        Ok(found.first().map(|row| row.get(0)))
    }

    async fn all_now(&self, name: &str) -> Result<Values, Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let found = transaction
            .query(
                "SELECT project_id, value FROM project_setting WHERE name = $1",
                &[(&name, Type::TEXT)],
                CONTEXT,
            )
            .await?;
        transaction.commit(CONTEXT).await?;
        let values = found.iter().filter_map(|row| {
            let project = u32::try_from(row.get::<_, i64>(0)).ok()?;
            Some((ProjectId(project), row.get(1)))
        });
        Ok(values.collect())
    }

    async fn put_now(
        &self,
        project: ProjectId,
        name: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let project = i64::from(project.0);
        match value {
            Some(value) => {
                transaction
                    .execute(
                        "INSERT INTO project_setting (project_id, name, value) VALUES ($1, $2, $3)
                         ON CONFLICT (project_id, name) DO UPDATE SET value = excluded.value",
                        &[
                            (&project, Type::INT8),
                            (&name, Type::TEXT),
                            (&value, Type::BYTEA),
                        ],
                        CONTEXT,
                    )
                    .await?
            }
            None => {
                transaction
                    .execute(
                        "DELETE FROM project_setting WHERE project_id = $1 AND name = $2",
                        &[(&project, Type::INT8), (&name, Type::TEXT)],
                        CONTEXT,
                    )
                    .await?
            }
        };
        transaction.commit(CONTEXT).await
    }
}

impl ProjectSettings for PostgresSettings {
    fn get(
        &self,
        project: ProjectId,
        name: &'static str,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        self.get_now(project, name).boxed()
    }

    fn all(&self, name: &'static str) -> BoxFuture<'_, Result<Values, Error>> {
        self.all_now(name).boxed()
    }

    fn put(
        &self,
        project: ProjectId,
        name: &'static str,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), Error>> {
        self.put_now(project, name, value).boxed()
    }
}
