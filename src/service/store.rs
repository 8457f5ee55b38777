//! The store as the service needs it: something that gives out writers and readers, now or later.

mod postgres;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::Error;
use crate::config::Config;
use crate::pipeline::clock::Clock;
use crate::queue::{LogId, Position, Start};
use crate::storage::access::AccessStore;
use crate::storage::issues::IssueStore;
use crate::storage::settings::ProjectSettings;
use crate::storage::sqlite::{
    SqliteAccess, SqliteIssues, SqliteReader, SqliteSettings, SqliteWriter,
};
use crate::storage::{self, Kind, SpanReader, SpanWriter};
use postgres::Postgres;

/// A kind of store. What answers [`storage::Error::Unavailable`] or
/// [`storage::Error::Timeout`] is asked again until it does not;
/// every other error ends the daemon.
pub(super) trait Store: Send + Sync + fmt::Debug {
    /// What a person calls it, without secrets.
    fn describe(&self) -> String;

    /// Partitions of the log that it can be written from at once.
    fn partitions_max(&self) -> u32;

    /// Where the log begins that this process appends to and stores. A store that may be out of
    /// reach keeps its checkpoints by [`LogId`] and answers [`Start::Noted`].
    fn start(&self, partition: u32) -> Start;

    /// The first position of a life of the log that is not stored; 1 when the store knows nothing
    /// of it.
    fn first_unstored(
        &self,
        log_id: LogId,
        partition: u32,
    ) -> BoxFuture<'_, Result<Position, storage::Error>>;

    /// A writer for one partition.
    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn SpanWriter>, storage::Error>>;

    /// What projects have settled. Connects when it is asked something.
    fn settings(&self) -> Result<Arc<dyn ProjectSettings>, storage::Error>;

    /// Projects, keys and people. Connects when it is asked something.
    fn access(&self) -> Result<Arc<dyn AccessStore>, storage::Error>;

    /// What is kept of events beside them. Connects when it is asked something.
    fn issues(&self) -> Result<Arc<dyn IssueStore>, storage::Error>;

    /// The reader.
    fn reader(&self) -> BoxFuture<'_, Result<Arc<dyn SpanReader>, storage::Error>>;
}

/// Opens the store that is configured.
///
/// # Errors
/// [`Error::Store`], when it can never be used as it is.
pub(super) fn open(config: &Config, clock: &dyn Clock) -> Result<Arc<dyn Store>, Error> {
    match config.storage.kind {
        Kind::Sqlite => Ok(Arc::new(Sqlite::open(config, clock)?)),
        Kind::Postgres => Ok(Arc::new(Postgres::open(config)?)),
    }
}

/// The embedded store: in this process, with one writer.
#[derive(Debug)]
struct Sqlite {
    path: PathBuf,
    checkpoint: Position,
    /// Until it is given out.
    writer: Mutex<Option<SqliteWriter>>,
    reader: Arc<SqliteReader>,
    settings: SqliteSettings,
    access: SqliteAccess,
    issues: SqliteIssues,
}

impl Sqlite {
    fn open(config: &Config, clock: &dyn Clock) -> Result<Self, Error> {
        let path = config.sqlite_path();
        let failed = |source| Error::Store {
            store: path.display().to_string(),
            source,
        };
        let storage = &config.storage;
        let retention = storage.retention.clone();
        let now = clock.unix_nano();
        let writer = SqliteWriter::open(&path, &storage.sqlite, retention, now).map_err(failed)?;
        let timeout = config.gateway.query_timeout.0;
        let reader = SqliteReader::open(&path, &storage.sqlite, timeout).map_err(failed)?;
        Ok(Self {
            checkpoint: writer.checkpoint(0).map_err(failed)?,
            writer: Mutex::new(Some(writer)),
            reader: Arc::new(reader),
            settings: SqliteSettings::open(&path).map_err(failed)?,
            access: SqliteAccess::open(&path).map_err(failed)?,
            issues: SqliteIssues::open(&path).map_err(failed)?,
            path,
        })
    }
}

impl Store for Sqlite {
    fn describe(&self) -> String {
        format!("{} (sqlite)", self.path.display())
    }

    fn partitions_max(&self) -> u32 {
        1
    }

    fn start(&self, _partition: u32) -> Start {
        Start::At(self.checkpoint)
    }

    fn first_unstored(
        &self,
        _log_id: LogId,
        _partition: u32,
    ) -> BoxFuture<'_, Result<Position, storage::Error>> {
        ready(Ok(self.checkpoint)).boxed()
    }

    fn writer(
        &self,
        _partition: u32,
    ) -> BoxFuture<'_, Result<Box<dyn SpanWriter>, storage::Error>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer.take().ok_or_else(|| storage::Error::Unavailable {
            context: "take the writer",
            source: "the embedded store has one, which is in use".into(),
        });
        ready(writer.map(|writer| Box::new(writer) as Box<dyn SpanWriter>)).boxed()
    }

    fn settings(&self) -> Result<Arc<dyn ProjectSettings>, storage::Error> {
        Ok(Arc::new(self.settings.clone()))
    }

    fn access(&self) -> Result<Arc<dyn AccessStore>, storage::Error> {
        Ok(Arc::new(self.access.clone()))
    }

    fn issues(&self) -> Result<Arc<dyn IssueStore>, storage::Error> {
        Ok(Arc::new(self.issues.clone()))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Arc<dyn SpanReader>, storage::Error>> {
        let reader: Arc<dyn SpanReader> = Arc::<SqliteReader>::clone(&self.reader);
        ready(Ok(reader)).boxed()
    }
}
