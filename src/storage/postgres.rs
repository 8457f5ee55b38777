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
mod reader;
mod target;
mod tls;

#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
mod testing;

pub use config::{Config, DatabaseUrl, PartitionConfig, Secret, SslMode};
pub use reader::PostgresReader;
