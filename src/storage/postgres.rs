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

mod config;
mod connect;
mod error;
mod migrate;
mod partitions;
mod reader;
mod retention;
mod target;
#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
mod test_server;
mod tls;
mod transaction;
mod writer;

use crate::storage::Error;
use crate::storage::summary::clamp_time;

#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
mod testing;

pub use config::{Config, DatabaseUrl, PartitionConfig, Secret, SslMode};
pub use migrate::Migrated;
pub use reader::PostgresReader;
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
