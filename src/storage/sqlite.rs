//! The embedded store: one SQLite file in WAL mode, one writer, a pool of readers.
//!
//! A commit is on stable storage when it returns (`synchronous = FULL`), because the log is
//! released on the strength of it.

mod access;
mod blocks;
mod columns;
mod dimensions;
mod error;
mod events;
mod ids;
mod insert;
mod issue_rows;
mod issues;
mod metrics;
mod migrate;
mod reader;
mod remap;
mod retention;
mod rollups;
mod sampled;
mod sessions;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod traces;
mod width;
mod writer;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::ByteSize;

pub use access::SqliteAccess;
pub use issues::SqliteIssues;
pub use reader::SqliteReader;
pub use remap::RemoteJob;
pub use settings::SqliteSettings;
pub use writer::SqliteWriter;

/// `storage.sqlite`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Database file; empty means `pulse.db` in the data directory.
    pub path: PathBuf,
    /// Page cache of the writer; each reader has a quarter of it.
    pub cache_size: ByteSize,
    /// Connections that answer queries.
    pub readers: u32,
    /// Threads that look through blocks for searches.
    pub search_threads: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            cache_size: ByteSize::mib(16),
            readers: 4,
            search_threads: 2,
        }
    }
}
