//! What projects have settled, through a connection of its own: the writer's is busy.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::settings::{ProjectSettings, Values};

const CONTEXT: &str = "use the settings of a project";

/// Settings in the embedded store.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    connection: Arc<Mutex<Connection>>,
}

impl SqliteSettings {
    /// Opens a store that has the current schema, which opening the writer first sees to.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = storage_error(CONTEXT);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
        connection
            .execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -256;",
            )
            .map_err(&failed)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Runs work that blocks where it may.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let connection = Arc::clone(&self.connection);
        async {
            let done = tokio::task::spawn_blocking(move || {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                work(&connection).map_err(storage_error(CONTEXT))
            });
            done.await.unwrap_or_else(|source| {
                Err(Error::Unavailable {
                    context: CONTEXT,
                    source: Box::new(source),
                })
            })
        }
        .boxed()
    }
}

impl ProjectSettings for SqliteSettings {
    fn get(
        &self,
        project: ProjectId,
        name: &'static str,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        self.run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT value FROM project_setting WHERE project_id = ?1 AND name = ?2",
                )?
                .query_row(params![project.0, name], |row| row.get(0))
                .optional()
        })
    }

    fn all(&self, name: &'static str) -> BoxFuture<'_, Result<Values, Error>> {
        self.run(move |connection| {
            connection
                .prepare_cached("SELECT project_id, value FROM project_setting WHERE name = ?1")?
                .query_map([name], |row| Ok((ProjectId(row.get(0)?), row.get(1)?)))?
                .collect()
        })
    }

    fn put(
        &self,
        project: ProjectId,
        name: &'static str,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), Error>> {
        self.run(move |connection| {
            match value {
                Some(value) => connection.execute(
                    "INSERT OR REPLACE INTO project_setting VALUES (?1, ?2, ?3)",
                    params![project.0, name, value],
                ),
                None => connection.execute(
                    "DELETE FROM project_setting WHERE project_id = ?1 AND name = ?2",
                    params![project.0, name],
                ),
            }?;
            Ok(())
        })
    }
}
