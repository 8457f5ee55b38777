//! The Postgres store: any number of collectors write to one database, each from a log of its own.
//!
//! # Exactly once with many writers
//!
//! Who adds spans to a trace holds the lock of its row. A batch first inserts the rows of its
//! traces; those that were not there are new, and so are all their spans. The others are locked in
//! key order, and the spans they hold already are looked up. Rows, blocks and sums follow, and the
//! checkpoint of the log, in the same transaction: whatever became of a commit whose answer was
//! lost, writing the batch again changes nothing.
//!
//! # Layout
//!
//! `migrations/` is the schema, with comments on every table and column. Spans are partitioned by
//! start, blocks by arrival; retention drops partitions. Everything is resolved through
//! `search_path`, and no state of a session outlives a transaction, so that a pooler in
//! transaction mode may stand in between.

mod access;
mod config;
mod connect;
mod error;
mod issues;
mod migrate;
mod partitions;
mod reader;
mod retention;
mod settings;
mod target;
mod tls;
mod transaction;
mod writer;

use std::time::Duration;

use crate::queue::Position;
use crate::storage::summary::clamp_time;
use crate::storage::{Error, RetentionConfig};

#[cfg(test)]
#[path = "../../tests/support/fault_proxy.rs"]
mod fault_proxy;
#[cfg(test)]
#[path = "../../tests/support/pgbouncer.rs"]
pub(crate) mod pgbouncer;
#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
pub(crate) mod testing;

pub use access::PostgresAccess;
pub use config::{Config, DatabaseUrl, PartitionConfig, Secret, SslMode};
pub use issues::PostgresIssues;
pub use migrate::Migrated;
pub use reader::PostgresReader;
pub use settings::PostgresSettings;
pub use writer::PostgresWriter;

/// Brings a database's schema to the newest version this program knows.
///
/// # Errors
/// [`Error::Foreign`], [`Error::NewerSchema`], [`Error::MigrationChanged`], [`Error::Unsuitable`],
/// [`Error::Unavailable`].
pub async fn migrate(config: &Config, now_unix_nano: u64) -> Result<Migrated, Error> {
    let pool = connect::pool(config, connect::Purpose::Write, 1)?;
    migrate::migrate(&pool, config, clamp_time(now_unix_nano)).await
}

/// A connection to a database that is not ours, to read it.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn read_only(config: &Config) -> Result<deadpool_postgres::Client, Error> {
    connect::acquire(&connect::pool(config, connect::Purpose::Read, 1)?).await
}

/// A database that spans are stored in: gives out writers, one per partition of a log, and readers.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    config: Config,
    retention: RetentionConfig,
    query_timeout: Duration,
}

impl PostgresStore {
    /// Prepares to connect. Connects to nothing yet, so that a daemon starts while its database
    /// does not answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used: a wrong URL, a missing file.
    pub fn open(
        config: &Config,
        retention: RetentionConfig,
        query_timeout: Duration,
    ) -> Result<Self, Error> {
        let store = Self {
            config: config.clone(),
            retention,
            query_timeout,
        };
        PostgresWriter::new(&store.config, store.retention.clone())?;
        store.reader()?;
        Ok(store)
    }

    /// What a person calls it, without secrets.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} (postgres)", self.config.url)
    }

    /// A writer, with the schema as it must be.
    ///
    /// # Errors
    /// As [`PostgresWriter::prepare`].
    pub async fn writer(&self, now_unix_nano: u64) -> Result<PostgresWriter, Error> {
        let mut writer = PostgresWriter::new(&self.config, self.retention.clone())?;
        writer.prepare(now_unix_nano).await?;
        Ok(writer)
    }

    /// The first position of a log's partition that is not stored; 1 when nothing is known of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn first_unstored(&self, log: [u8; 16], partition: u32) -> Result<Position, Error> {
        let writer = PostgresWriter::new(&self.config, self.retention.clone())?;
        writer.checkpoint(log, partition).await
    }

    /// What projects have settled. Connects when it is asked something.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn settings(&self) -> Result<PostgresSettings, Error> {
        PostgresSettings::new(&self.config)
    }

    /// Projects, keys and people. Connects when it is asked something.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn access(&self) -> Result<PostgresAccess, Error> {
        PostgresAccess::new(&self.config)
    }

    /// What is kept of events beside them. Connects when it is asked something.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn issues(&self) -> Result<PostgresIssues, Error> {
        PostgresIssues::new(&self.config)
    }

    /// A reader. Connects when it is asked something.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn reader(&self) -> Result<PostgresReader, Error> {
        PostgresReader::open(&self.config, self.query_timeout)
    }
}
