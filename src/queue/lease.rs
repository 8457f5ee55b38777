//! Who stores a partition: one holder at a time, and what it tells the log.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use super::file::{Disk, SegmentFile};
use super::{Error, Log, Position, note};

/// Locked by whoever stores the partition. The system gives it back when that process ends,
/// however it ends.
const STORER_LOCK: &str = "writer.lock";

/// Locks a file of the partition; `None` when another process has it.
pub(super) fn lock(directory: &Path, name: &str) -> Result<Option<File>, Error> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(name));
    let file = file.map_err(|error| Error::io("lock", error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", error)),
    }
}

/// Takes the right to store the partition; `None` when another process has it.
pub(super) fn take(directory: &Path) -> Result<Option<File>, Error> {
    lock(directory, STORER_LOCK)
}

/// Where it is told what has been stored. Holds the right to store the partition until dropped.
#[derive(Debug)]
pub struct Release {
    /// The log, when it is in this process.
    log: Option<Log>,
    /// What other processes and later starts read.
    note: Option<Box<dyn SegmentFile>>,
    /// What was said last.
    said: Position,
    /// Whether the note could be written the last time.
    noted: bool,
    _lock: Option<File>,
}

impl Release {
    pub(super) fn new(log: Option<Log>, lock: Option<File>) -> Self {
        Self {
            log,
            note: None,
            said: Position(0),
            noted: true,
            _lock: lock,
        }
    }

    /// Writes the note beside the segments, too.
    pub(super) fn with_note(mut self, disk: &Arc<dyn Disk>) -> Self {
        match note::open_stored(&**disk) {
            Ok(note) => self.note = Some(note),
            Err(error) => tracing::warn!(%error, "can't note beside the log what is stored"),
        }
        self
    }

    /// Says that everything before `next` is stored, durably, or gone.
    pub fn upto(&mut self, next: Position) {
        if next <= self.said {
            return;
        }
        self.said = next;
        if let Some(note) = &self.note {
            let written = note::write_stored(&**note, next.0);
            if let (Err(error), true) = (&written, self.noted) {
                tracing::warn!(%error, "can't note beside the log what is stored");
            }
            self.noted = written.is_ok();
        }
        if let Some(log) = &self.log {
            log.release(next);
        }
    }
}
