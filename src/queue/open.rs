//! Opening a partition of the log: locks, recovery, the thread.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::file::{BLOCK, Directory, Disk};
use super::note::{self, Sent};
use super::reader::Reader;
use super::recovery::{Recovered, recover};
use super::tail::{Shared, Tail};
use super::tee::{self, Beside, Tee, TeeState};
use super::writer::{Settings, Writer};
use super::{Config, Error, Hold, Log, LogId, Observer, Position, RecoveryReport, Release, lease};

/// How long a disk that failed is left alone.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// How often another process's note of what is stored is read.
const SHARE_EVERY: Duration = Duration::from_millis(100);

/// From where on records are read that an earlier life of the log left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The store has said that everything below is stored. Numbering goes on from there if the log
    /// ends before it.
    At(Position),
    /// The store can't be asked yet, and keeps its checkpoints by [`LogId`]: what was noted beside
    /// the segments is stored, and nothing else is known to be.
    Noted,
}

/// A partition of which this process does both, appending and storing.
#[derive(Debug)]
pub struct Opened {
    /// Which life of the log this is.
    pub id: LogId,
    /// The producers' end.
    pub log: Log,
    /// The consumer's end.
    pub reader: Reader,
    /// Where the consumer says what it has stored.
    pub release: Release,
    /// What was found.
    pub report: RecoveryReport,
    /// For sending records elsewhere, where that is wanted.
    pub tee: Option<Tee>,
}

/// Opens one partition of the log, creating the directory if there is none, and starts its thread.
/// Blocks while it reads what is not stored.
///
/// # Errors
/// [`Error::InUse`], [`Error::NewerFormat`], [`Error::NewerRecord`], and [`Error::Io`] when the
/// directory can't be used. Damage and a full disk are no errors: see [`RecoveryReport`].
pub fn open(
    config: &Config,
    directory: &Path,
    start: Start,
    observer: Arc<dyn Observer>,
) -> Result<Opened, Error> {
    open_and_send(config, directory, start, observer, None)
}

/// The same for who also sends records elsewhere, and has so much held back for it. Without,
/// nothing is held back any more.
///
/// # Errors
/// As [`open`].
pub fn open_and_send(
    config: &Config,
    directory: &Path,
    start: Start,
    observer: Arc<dyn Observer>,
    hold: Option<Hold>,
) -> Result<Opened, Error> {
    let lock = lock(directory)?;
    let in_use = || Error::InUse {
        directory: directory.to_owned(),
    };
    let storer = Arc::new(lease::take(directory)?.ok_or_else(in_use)?);
    let disk: Arc<dyn Disk> = Arc::new(Directory::new(directory));
    let host = Host {
        hold,
        ..host(directory, lock)
    };
    let opened = open_on(&disk, config, start, observer, host)?;
    let release = Release::new(Some(opened.log.clone()), Some(Arc::clone(&storer)));
    let tee = opened.tee.map(|(beside, sent)| {
        let ends = (Some(opened.log.clone()), Some(storer));
        Tee::new(beside, &disk, sent, ends)
    });
    let release = match start {
        Start::At(_) => release,
        Start::Noted => release.with_note(&disk),
    };
    Ok(Opened {
        id: opened.id,
        log: opened.log,
        reader: opened.reader,
        release,
        report: opened.report,
        tee,
    })
}

/// Opens one partition for appending only: another process stores it, through
/// [`super::follow()`], and says what can be released.
///
/// # Errors
/// As [`open`].
pub fn open_for_append(
    config: &Config,
    directory: &Path,
    observer: Arc<dyn Observer>,
) -> Result<(Log, RecoveryReport), Error> {
    let host = Host {
        stored_elsewhere: true,
        ..host(directory, lock(directory)?)
    };
    let disk: Arc<dyn Disk> = Arc::new(Directory::new(directory));
    let opened = open_on(&disk, config, Start::Noted, observer, host)?;
    Ok((opened.log, opened.report))
}

/// What the log thread gets besides its work.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) thread: String,
    /// Held until the thread ends.
    pub(super) lock: Option<File>,
    /// How long a failed disk is left alone.
    pub(super) retry_every: Duration,
    /// How often it is looked up what another process has stored, and its note tried again that
    /// could not be written.
    pub(super) share_every: Duration,
    /// Another process reads the segments and says what is stored, and what has been sent.
    pub(super) stored_elsewhere: bool,
    /// What is held back to be sent from here.
    pub(super) hold: Option<Hold>,
}

fn host(directory: &Path, lock: File) -> Host {
    let name = directory.file_name().and_then(|name| name.to_str());
    let partition = name.unwrap_or_default().trim_start_matches('p');
    Host {
        thread: format!("pulse-log-{partition}"),
        lock: Some(lock),
        retry_every: RETRY_EVERY,
        share_every: SHARE_EVERY,
        stored_elsewhere: false,
        hold: None,
    }
}

/// Takes the partition for this process to append to.
fn lock(directory: &Path) -> Result<File, Error> {
    let create = std::fs::create_dir_all(directory);
    create.map_err(|error| Error::io("create directory of", error))?;
    lease::lock(directory, "lock")?.ok_or_else(|| Error::InUse {
        directory: directory.to_owned(),
    })
}

/// A log on any disk.
#[derive(Debug)]
pub(super) struct OpenedOn {
    pub(super) id: LogId,
    pub(super) log: Log,
    pub(super) reader: Reader,
    pub(super) report: RecoveryReport,
    /// For who sends in this process.
    pub(super) tee: Option<(Beside, Sent)>,
}

/// Opens the log on any disk.
pub(super) fn open_on(
    disk: &Arc<dyn Disk>,
    config: &Config,
    start: Start,
    observer: Arc<dyn Observer>,
    host: Host,
) -> Result<OpenedOn, Error> {
    let host_sends = host.hold.is_some();
    let failed = |error| Error::io("read", error);
    let elsewhere = host.stored_elsewhere && note::exists(&**disk, note::SENT).map_err(failed)?;
    if !host_sends && !elsewhere {
        note::forget(&**disk, note::SENT);
    }
    let Recovered {
        segments,
        missing,
        first_unstored,
        next_position,
        durable_before,
        next_sequence,
        report,
    } = recover(&**disk, start, host_sends || elsewhere)?;
    let settings = settings(config, &host);
    // Nobody in this process would take the records from memory.
    let memory = match host.stored_elsewhere {
        true => 0,
        false => config.memory_size.as_usize(),
    };
    let mut tail = Tail::new(segments, first_unstored, next_position).with_limits(
        memory,
        settings.bytes_max,
        settings.segment_bytes,
    );
    tail.lost_records = report.lost_records;
    tail.damaged_segments = report.damaged_segments.len() as u64;
    tail.tee = resume_tee(&**disk, &tail, host.hold).map_err(failed)?;
    let sent = tail.tee.sent.filter(|_| host_sends);
    let shared = Arc::new(Shared::new(tail));
    let reader = Reader::new(
        Arc::clone(&shared),
        Arc::clone(disk),
        first_unstored,
        missing,
    );
    let tee = sent.map(|sent| (Beside::Here(Arc::clone(&shared)), sent));
    let id = LogId::new();
    let mut writer = Writer::new(Arc::clone(disk), Arc::clone(&shared), observer, settings)
        .resume_at(next_position, durable_before, next_sequence);
    if host.stored_elsewhere {
        writer.share(id);
    } else {
        forget_sharing(&**disk);
    }
    // What has been sent goes, and what is over the limit.
    writer.reclaim();
    let log = spawn(writer, shared, host)?;
    Ok(OpenedOn {
        id,
        log,
        reader,
        report,
        tee,
    })
}

/// What is kept to be sent, and from where on. The note is put right before anything is appended:
/// positions may be used again after a power loss.
fn resume_tee(disk: &dyn Disk, tail: &Tail, hold: Option<Hold>) -> io::Result<TeeState> {
    let queued = tail.segments.front();
    let queue_first = queued.map_or(tail.end, |live| live.segment.identity.first);
    let held = tee::find_held(disk, queue_first)?;
    let first = held.front().map(|live| live.segment.identity.first);
    let reach = (first.unwrap_or(queue_first), tail.end);
    let sent = tee::resume(disk, hold, reach)?;
    if let Some(Err(error)) = sent.map(|sent| tee::begin(disk, &sent)) {
        tracing::error!(%error, "can't note beside the log what has been sent");
    }
    Ok(TeeState {
        sent,
        held,
        given_up_records: 0,
    })
}

fn settings(config: &Config, host: &Host) -> Settings {
    let block = BLOCK as u64;
    let bytes_max = config.max_size.0.max(2 * block);
    let segment_bytes = config.segment_size.0.clamp(2 * block, bytes_max);
    Settings {
        durability: config.durability,
        segment_bytes: (segment_bytes / block) * block,
        bytes_max,
        group_delay: config.group_commit_delay.0,
        retry_every: host.retry_every,
        share_every: host.share_every,
    }
}

/// Removes the note for other processes: it speaks of an earlier life, whose segments are going to
/// be used again.
pub(super) fn forget_sharing(disk: &dyn Disk) {
    note::forget(disk, note::APPENDED);
}

/// Starts the log thread.
fn spawn(mut writer: Writer, shared: Arc<Shared>, host: Host) -> Result<Log, Error> {
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
    Ok(Log::new(shared, commands))
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
