//! Who stores a partition: one holder at a time, and what it tells the log.

use std::fs::{File, TryLockError};
use std::io;
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
    note: Option<Note>,
    /// What was said last.
    said: Position,
    _lock: Option<Arc<File>>,
}

/// The note of what is stored.
#[derive(Debug)]
struct Note {
    disk: Arc<dyn Disk>,
    /// Opened once: should the directory be replaced, its numbers are not ours.
    file: Option<Box<dyn SegmentFile>>,
    /// The last failure has been logged.
    complained: bool,
}

impl Note {
    fn write(&mut self, next: Position) {
        let written = self.try_write(next);
        if let (Err(error), false) = (&written, self.complained) {
            tracing::error!(%error, "can't note beside the log what is stored");
        }
        self.complained = written.is_err();
    }

    fn try_write(&mut self, next: Position) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => note::open_stored(&*self.disk)?,
        };
        let written = note::write_stored(&*file, next.0);
        self.file = Some(file);
        written
    }
}

impl Release {
    pub(super) fn new(log: Option<Log>, lock: Option<Arc<File>>) -> Self {
        Self {
            log,
            note: None,
            said: Position(0),
            _lock: lock,
        }
    }

    /// Writes the note beside the segments, too.
    pub(super) fn with_note(mut self, disk: &Arc<dyn Disk>) -> Self {
        self.note = Some(Note {
            disk: Arc::clone(disk),
            // What can't be opened now is tried again when there is something to note.
            file: note::open_stored(&**disk).ok(),
            complained: false,
        });
        self
    }

    /// Says that everything before `next` is stored, durably, or gone.
    pub fn upto(&mut self, next: Position) {
        if next <= self.said {
            return;
        }
        self.said = next;
        if let Some(note) = &mut self.note {
            note.write(next);
        }
        if let Some(log) = &self.log {
            log.release(next);
        }
    }
}
