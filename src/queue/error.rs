//! Why the log refused.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Position;

/// Why a record was not taken, or the log not opened or read. Nothing of it is in the log as far
/// as the caller need know: sending again is right, and storing is idempotent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The log is closed; the daemon is stopping.
    #[error("the log is closed")]
    Closed,
    /// The log has reached its size limit because storing is behind.
    #[error("the log is full: {used} of {capacity} bytes")]
    Full {
        /// Bytes on disk.
        used: u64,
        /// The limit, `queue.max_size`.
        capacity: u64,
    },
    /// The record can never be taken.
    #[error("a record of {bytes} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Bytes of the record.
        bytes: u64,
        /// Largest that is taken.
        max: u64,
    },
    /// The disk is full, or the quota used up.
    #[error("{doing} log: no space left")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
        /// The operating system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The disk failed.
    #[error("{doing} log")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The operating system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// A segment was written by a newer release and may hold what is not stored yet. It is left
    /// as it is.
    #[error(
        "log segment {segment} has format {version}, this release reads up to {supported}: \
         start the newer release, or move the file away and lose what is only in it"
    )]
    NewerFormat {
        /// File name.
        segment: String,
        /// Format of the file.
        version: u32,
        /// Newest format this release reads.
        supported: u32,
    },
    /// A record was written by a newer release and is not stored yet.
    #[error(
        "record {} in log segment {segment} was written by a newer release: start that release, \
         or move the file away and lose what is only in it", position.0
    )]
    NewerRecord {
        /// File name.
        segment: String,
        /// Where.
        position: Position,
    },
    /// Another process has the log open.
    #[error("log directory {} is in use by another process", directory.display())]
    InUse {
        /// The partition's directory.
        directory: PathBuf,
    },
}

impl Error {
    pub(super) fn io(doing: &'static str, error: io::Error) -> Self {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let source = Arc::new(error);
        if full {
            Self::NoSpace { doing, source }
        } else {
            Self::Io { doing, source }
        }
    }

    /// Whether the same append can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Closed | Self::Full { .. } | Self::NoSpace { .. } | Self::Io { .. } => true,
            Self::TooLarge { .. }
            | Self::NewerFormat { .. }
            | Self::NewerRecord { .. }
            | Self::InUse { .. } => false,
        }
    }
}
