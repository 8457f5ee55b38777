//! The durable log between receivers and store: what makes an acknowledgement mean something.
//!
//! # Constraints
//!
//! - A record is acknowledged after it is on stable storage ([`Durability::SyncBeforeAck`]), is
//!   handed to the one reader in order of position, and comes back after any crash until it is
//!   released. Losing one needs a damaged disk, and is then counted.
//! - A disk that fails or fills up refuses requests, retryably, and recovers without a restart. A
//!   sync that failed is never tried again on the same file.
//! - Nothing that is found on disk stops a start, but for a newer format.
//! - Bytes on disk, bytes waiting for the disk and bytes in memory have limits.
//!
//! # Format
//!
//! A partition is a directory of segment files; a segment is a header block and groups of records.
//! A group starts on a 4096-byte boundary and is padded to one with zeros, so that no block with
//! an acknowledged record is ever written again. Segments are allocated in full before they are
//! used, and one that has been released is used again under a new name. See the modules `segment`
//! and `record` for the bytes; each segment has a random epoch that its records repeat, so that
//! neither what a recycled file held before nor what a client sends can pass for a record.
//!
//! # Write
//!
//! One named thread owns the files. It takes all requests that have arrived, writes them as one
//! group with direct I/O through one reused buffer, syncs once and answers all; meanwhile the next
//! group gathers. Direct I/O takes 0.15 to 0.20 CPU-seconds per GB against 0.26 through the page
//! cache, which it leaves to the store. Without direct I/O in the file system the same writes
//! are buffered.
//!
//! A failed write or sync acknowledges nothing of its group. The segment is abandoned and a new
//! one begun, at once or every 500 ms until that works. The records of the failed group may come
//! back after a crash, as those of any request whose answer was lost.
//!
//! # Read
//!
//! The reader takes records from memory as long as it keeps up, and reads the files otherwise.
//! Another process may read instead (`follow`): it finds the segments by their names, is told
//! through a small file how far they go, and tells through another what is stored (`note`). A lock
//! on the partition says who appends, and another who stores.
//!
//! Whoever stores may also send records to another backend, at a position of its own (`tee`).
//!
//! # Recover
//!
//! A start reads the segments that hold anything not stored yet, verifies every checksum and
//! skips what is damaged, losing only the records that are hit: the length in a header is trusted
//! on its own checksum, and behind a damaged header the next one is searched. Each record says what
//! was durable when it was written, which tells lost records from those that were cut off before
//! they were acknowledged. Recovered segments are never written to.

mod buffer;
mod error;
mod file;
mod follow;
mod gaps;
mod id;
pub mod inspect;
mod lease;
mod log;
mod note;
mod open;
mod partitions;
mod reader;
mod record;
mod recovery;
mod scan;
mod segment;
mod spare;
mod tail;
mod tee;
mod writer;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use follow::{Damage, Followed, follow, follow_and_send};
pub use id::LogId;
pub use lease::Release;
pub use log::Log;
pub use open::{Opened, Start, open, open_and_send, open_for_append};
pub use partitions::{Partitions, directory_of, former, holds_unstored, shared};
pub use reader::{Next, Reader};
pub use tee::{Backlog, Hold, SentRelease, Tee};

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Duration};
use crate::model::ProjectId;

/// `queue`: the log that makes an acknowledgement durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the log; empty means `wal` in the data directory.
    pub directory: PathBuf,
    /// Parts of the log, each with a writer of its own; zero means as the store likes it.
    pub partitions: u32,
    /// What a client's OK means.
    pub durability: Durability,
    /// Bytes of log on disk beyond which requests are refused (retryable); shared evenly by the
    /// partitions.
    pub max_size: ByteSize,
    /// Size of one log segment; a larger record gets a segment of its own.
    pub segment_size: ByteSize,
    /// Bytes of acknowledged records kept in memory for the writers, shared evenly by the
    /// partitions; beyond it they are read back from disk.
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
            partitions: 0,
            durability: Durability::SyncBeforeAck,
            max_size: ByteSize::gib(4),
            segment_size: ByteSize::mib(16),
            memory_size: ByteSize::mib(32),
            group_commit_delay: Duration::millis(0),
        }
    }
}

/// Sequence number of a record in one partition of the log. The first record is 1; numbers go on
/// when the log is opened again and are never used twice under one [`LogId`]. A gap means lost
/// records.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position(pub u64);

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadKind {
    /// An OTLP `ExportTraceServiceRequest` in protobuf.
    OtlpTraces = 1,
    /// An OTLP `ExportLogsServiceRequest` in protobuf.
    OtlpLogs = 2,
    /// An OTLP `ExportMetricsServiceRequest` in protobuf.
    OtlpMetrics = 3,
}

impl PayloadKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::OtlpTraces, Self::OtlpLogs, Self::OtlpMetrics]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub project: ProjectId,
    /// When it was received, in nanoseconds since the Unix epoch.
    pub received_unix_nano: u64,
    /// What the payload is.
    pub kind: PayloadKind,
    /// At most 64 MiB.
    pub payload: Bytes,
}

/// What is read back: an [`Entry`] with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is in the log.
    pub position: Position,
    /// Whose it is.
    pub project: ProjectId,
    /// When it was received, in nanoseconds since the Unix epoch.
    pub received_unix_nano: u64,
    /// What the payload is.
    pub kind: PayloadKind,
    /// The bytes as they were appended.
    pub payload: Bytes,
}

/// The state of one partition of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of log on disk: whole segments, and what is written of the current one.
    pub bytes_used: u64,
    /// Bytes beyond which appends are refused.
    pub bytes_capacity: u64,
    /// Bytes of records kept in memory for the reader.
    pub bytes_in_memory: u64,
    /// Position after the last acknowledged record.
    pub next_position: Position,
    /// Segments that are not released.
    pub segments: usize,
    /// Segments in which damage was found since the start.
    pub damaged_segments: u64,
    /// Acknowledged records found missing since the start.
    pub lost_records: u64,
    /// Writes, syncs and creations of segments that failed since the start.
    pub failures: u64,
    /// Records that are not released.
    pub unstored_records: u64,
    /// Bytes of payload not released, estimated from the averages of partly released segments.
    pub unstored_bytes: u64,
    /// Bytes left for one record, with its header, as long as the disk takes it.
    pub bytes_left: u64,
    /// Whether a record of a few KiB would be taken now: not while the disk fails, the log is full
    /// or closed.
    pub writable: bool,
    /// Bytes on disk of segments that are stored and kept to be sent; not part of `bytes_used`.
    pub held_bytes: u64,
    /// Bytes that may be kept so.
    pub held_bytes_max: u64,
    /// Records since the start that were not sent because keeping them was over the limit.
    pub given_up_records: u64,
}

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Segments with records that are not stored.
    pub segments: usize,
    /// Whole records that are not stored; the reader returns them first.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Acknowledged records that are gone.
    pub lost_records: u64,
    /// Records missing from a group of which others were found, and of which nothing says that
    /// it was acknowledged: normally the write that a power loss interrupted.
    pub torn_records: u64,
    /// The remains of a record follow the last whole one: normally likewise.
    pub torn_tail: bool,
    /// Names of damaged segments. Each stays in the directory with `.damaged` after its name.
    pub damaged_segments: Vec<String>,
    /// The position that the next record gets.
    pub next_position: Position,
}

/// Hears what the log thread does. Called on that thread, so it must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A sync succeeded.
    fn fsync(&self, took: std::time::Duration) {
        let _ = took;
    }

    /// A group was acknowledged.
    fn group(&self, records: usize, payload_bytes: usize) {
        let _ = (records, payload_bytes);
    }
}

/// Hears nothing.
impl Observer for () {}
