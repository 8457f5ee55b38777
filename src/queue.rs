//! The durable log between receivers and store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Duration};

/// `queue`: the log that makes an acknowledgement durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the log; empty means `wal` in the data directory.
    pub directory: PathBuf,
    /// What a client's OK means.
    pub durability: Durability,
    /// Bytes of log on disk beyond which requests are refused (retryable).
    pub max_size: ByteSize,
    /// Size of one log segment; a larger record gets a segment of its own.
    pub segment_size: ByteSize,
    /// Bytes of acknowledged records kept in memory for the writer; beyond it the writer reads
    /// the log back from disk.
    pub memory_size: ByteSize,
    /// Longest time the first request of a sync waits for neighbours; zero syncs at once and
    /// groups whatever arrived during the previous sync.
    pub group_commit_delay: Duration,
}

/// What a client's OK means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The record is on stable storage before OK is sent. Survives power loss.
    SyncBeforeAck,
    /// The record is handed to the operating system before OK is sent and synced within a
    /// second. Survives a crash of the process; a crash of the machine or a power loss can lose
    /// up to a second of acknowledged spans.
    OsBuffered,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            durability: Durability::SyncBeforeAck,
            max_size: ByteSize::gib(4),
            segment_size: ByteSize::mib(16),
            memory_size: ByteSize::mib(32),
            group_commit_delay: Duration::millis(0),
        }
    }
}

/// Sequence number of a record in one partition of the log. The first record is 1; numbers are
/// never used twice, and a gap means lost records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);
