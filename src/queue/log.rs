//! The producers' end of the log, and how a log is opened.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::file::{BLOCK, Directory, Disk};
use super::reader::Reader;
use super::record::MAX_PAYLOAD_BYTES;
use super::recovery::{Recovered, recover};
use super::tail::{Shared, Tail};
use super::writer::{Command, Pending, Settings, Writer};
use super::{Config, Entry, Error, Observer, Position, RecoveryReport, Stats};

/// Payload KiB that may wait for the log thread. Enough for one record of any size; who comes
/// later waits outside, so that what waits stays bounded however slow the disk is.
const PENDING_KIB: u32 = (64 << 10) + 1;
const _: () = assert!(PENDING_KIB as usize > MAX_PAYLOAD_BYTES >> 10);

/// How long a disk that failed is left alone.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Opens one partition of the log, creating the directory if there is none, and starts its thread.
/// Everything below `first_unstored` is stored and will not be read again. Blocks while it
/// reads what is not stored.
///
/// # Errors
/// [`Error::InUse`], [`Error::NewerFormat`], [`Error::NewerRecord`], and [`Error::Io`] when the
/// directory can't be used. Damage and a full disk are no errors: see [`RecoveryReport`].
pub fn open(
    config: &Config,
    directory: &Path,
    first_unstored: Position,
    observer: Arc<dyn Observer>,
) -> Result<(Log, Reader, RecoveryReport), Error> {
    let lock = lock(directory)?;
    let disk: Arc<dyn Disk> = Arc::new(Directory::new(directory));
    let name = directory.file_name().and_then(|name| name.to_str());
    let partition = name.unwrap_or_default().trim_start_matches('p');
    let host = Host {
        thread: format!("pulse-log-{partition}"),
        lock: Some(lock),
        retry_every: RETRY_EVERY,
    };
    open_on(disk, config, first_unstored, observer, host)
}

/// What the log thread gets besides its work.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) thread: String,
    /// Held until the thread ends.
    pub(super) lock: Option<File>,
    /// How long a failed disk is left alone.
    pub(super) retry_every: Duration,
}

/// Takes the partition for this process.
fn lock(directory: &Path) -> Result<File, Error> {
    let create = std::fs::create_dir_all(directory);
    create.map_err(|error| Error::io("create directory of", error))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"));
    let file = file.map_err(|error| Error::io("lock", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", error)),
    }
}

/// Opens the log on any disk.
pub(super) fn open_on(
    disk: Arc<dyn Disk>,
    config: &Config,
    first_unstored: Position,
    observer: Arc<dyn Observer>,
    host: Host,
) -> Result<(Log, Reader, RecoveryReport), Error> {
    let first_unstored = first_unstored.0.max(1);
    let Recovered {
        segments,
        missing,
        next_position,
        durable_before,
        next_sequence,
        report,
    } = recover(&*disk, first_unstored)?;
    let block = BLOCK as u64;
    let bytes_max = config.max_size.0.max(2 * block);
    let segment_bytes = config.segment_size.0.clamp(2 * block, bytes_max);
    let settings = Settings {
        durability: config.durability,
        segment_bytes: (segment_bytes / block) * block,
        bytes_max,
        group_delay: config.group_commit_delay.0,
        retry_every: host.retry_every,
    };
    let mut tail = Tail::new(segments, first_unstored, next_position).with_limits(
        config.memory_size.as_usize(),
        bytes_max,
        settings.segment_bytes,
    );
    tail.lost_records = report.lost_records;
    tail.damaged_segments = report.damaged_segments.len() as u64;
    let shared = Arc::new(Shared::new(tail));
    let reader = Reader::new(
        Arc::clone(&shared),
        Arc::clone(&disk),
        first_unstored,
        missing,
    );
    let mut writer = Writer::new(disk, Arc::clone(&shared), observer, settings).resume_at(
        next_position,
        durable_before,
        next_sequence,
    );
    let (commands, received) = mpsc::channel();
    let ending = Ending {
        shared: Arc::clone(&shared),
        lock: host.lock,
    };
    let builder = std::thread::Builder::new().name(host.thread);
    let spawned = builder.spawn(move || {
        let ending = ending;
        writer.run(&received);
        drop(writer);
        drop(ending);
    });
    spawned.map_err(|error| Error::io("start thread of", error))?;
    let log = Log {
        shared,
        commands,
        budget: Arc::new(Semaphore::new(PENDING_KIB as usize)),
    };
    Ok((log, reader, report))
}

/// Says that the thread has ended, also when it panicked.
#[derive(Debug)]
struct Ending {
    shared: Arc<Shared>,
    lock: Option<File>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // First, so that who sees the end can open the log again.
        drop(self.lock.take());
        self.shared.end();
    }
}

/// Appends to one partition of the log. Cheap to clone; when the last clone is gone the log
/// closes.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// KiB that may still be sent to the thread.
    budget: Arc<Semaphore>,
}

impl Log {
    /// Appends a record and returns its position when it is as durable as the configuration
    /// promises. Dropping the future does not take the record back.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for what can never be taken; all others are retryable.
    pub async fn append(&self, entry: Entry) -> Result<Position, Error> {
        let bytes = entry.payload.len();
        if bytes > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge {
                bytes: bytes as u64,
                max: MAX_PAYLOAD_BYTES as u64,
            });
        }
        let kib = u32::try_from(bytes >> 10).map_or(PENDING_KIB, |kib| kib + 1);
        let budget = Arc::clone(&self.budget);
        let permit = budget.acquire_many_owned(kib).await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Command::Append(Pending {
            entry,
            reply,
            permit,
        });
        self.commands.send(pending).map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Tells without waiting whether a record with this much payload would be taken now, so that a
    /// request can be refused before it is read. A record that was let through can still meet a
    /// full log: what is on its way is not counted.
    ///
    /// # Errors
    /// What [`Log::append`] would answer: [`Error::TooLarge`], [`Error::Full`], [`Error::Closed`],
    /// or the failure of a disk that is left alone until it is tried again.
    pub fn check_room(&self, payload_bytes: usize) -> Result<(), Error> {
        let refusal = self.shared.lock().refusal(payload_bytes);
        refusal.map_or(Ok(()), Err)
    }

    /// Says that everything before `next` is stored, durably. Segments wholly below are reused
    /// or removed soon after. Never blocks on the disk.
    pub fn release(&self, next: Position) {
        let mut tail = self.shared.lock();
        let next = next.0.min(tail.end);
        if next <= tail.released {
            return;
        }
        tail.released = next;
        if tail.has_released_segment() && !tail.reclaim_sent {
            tail.reclaim_sent = true;
            drop(tail);
            // A log that is closed keeps its segments until the next start.
            drop(self.commands.send(Command::Reclaim));
        }
    }

    /// The state of the log now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }

    /// Stops accepting; what was sent before is still written and answered. The thread then
    /// ends, and the reader returns [`super::Next::Closed`] once it has read everything.
    pub fn close(&self) {
        self.budget.close();
        // The thread is gone already when this fails.
        drop(self.commands.send(Command::Close));
    }
}
