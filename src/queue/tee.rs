//! A second consumer of a partition, which sends records to another backend at its own pace.
//!
//! It has a position of its own, durable in the note `sent`. A segment that is stored and not sent
//! yet is no part of the queue any more: it gets another name, under which a start does not read it,
//! takes none of the queue's room, and stays until it has been sent. What is kept so has a limit of
//! its own. Beyond it the oldest segment is given up and its records are counted; or, where that is
//! wanted, segments stay in the queue, which refuses requests when it is full in turn. A disk
//! without room for the next segment of the queue has what is kept given up before anything is
//! refused.
//!
//! The log thread renames and removes, as it does with all segments; the note tells it how far the
//! consumer is, in whichever process that runs. Without the note nothing is kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::file::{Disk, Listed, SegmentFile};
use super::follow::Follower;
use super::note::{self, Sent};
use super::scan::{Found, Scanner};
use super::segment::{Identity, Segment};
use super::tail::{Live, Shared, Source};
use super::{Error, Log, Position, Reader};

/// What may be kept of what is stored and not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Bytes of segments on disk.
    pub bytes_max: u64,
    /// Nothing is given up: what is over the limit stays in the queue and takes its room.
    pub refuses: bool,
}

/// The second consumer's end of a partition.
#[derive(Debug)]
pub struct Tee {
    /// Reads from the first record that has not been sent.
    pub reader: Reader,
    /// Where the consumer says what it has sent.
    pub release: SentRelease,
}

/// What has not been sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records.
    pub records: u64,
    /// Bytes of segments, estimated where a segment is sent in part.
    pub bytes: u64,
}

/// What the log knows of the second consumer.
#[derive(Debug, Default)]
pub(super) struct TeeState {
    /// `None` while there is no such consumer.
    pub(super) sent: Option<Sent>,
    /// Segments that are stored and not sent, in order.
    pub(super) held: VecDeque<Live>,
    /// Records given up since the start.
    pub(super) given_up_records: u64,
}

impl TeeState {
    pub(super) fn held_bytes(&self) -> u64 {
        self.held.iter().map(|live| live.segment.bytes).sum()
    }

    /// Whether so many bytes more are over the limit.
    pub(super) fn is_full(&self, more: u64) -> bool {
        let max = self.sent.map_or(0, |sent| sent.hold.bytes_max);
        self.held_bytes().saturating_add(more) > max
    }

    /// Whether a segment must be kept.
    pub(super) fn needs(&self, live: &Live) -> bool {
        self.sent.is_some_and(|sent| live.end > sent.next)
    }

    /// Takes out the oldest segment if all of it has been sent, or nothing sends any more.
    pub(super) fn pop_sent(&mut self) -> Option<Live> {
        let next = self.sent.map_or(u64::MAX, |sent| sent.next);
        self.held.pop_front_if(|live| live.end <= next)
    }

    /// Whether a segment is over the limit.
    pub(super) fn is_over(&self) -> bool {
        self.is_full(0) && self.sent.is_some_and(|sent| !sent.hold.refuses)
    }

    /// Gives up the oldest segment; `None` when there is none, or nothing is to be given up.
    pub(super) fn give_up(&mut self) -> Option<(Live, u64)> {
        let sent = self.sent.filter(|sent| !sent.hold.refuses)?;
        let oldest = self.held.pop_front()?;
        let first = oldest.segment.identity.first.max(sent.next);
        let records = oldest.end.saturating_sub(first);
        self.given_up_records += records;
        Some((oldest, records))
    }
}

impl Shared {
    /// Takes note that everything before `next` has been sent; answers whether the log thread must
    /// be told that a segment can go.
    fn sent(&self, next: u64) -> bool {
        let mut tail = self.lock();
        let next = next.min(tail.end);
        let Some(sent) = &mut tail.tee.sent else {
            return false;
        };
        if next <= sent.next {
            return false;
        }
        sent.next = next;
        let oldest = tail.tee.held.front();
        let can_go = oldest.is_some_and(|live| live.end <= next) || tail.has_released_segment();
        let tell = can_go && !tail.reclaim_sent;
        tail.reclaim_sent |= tell;
        tell
    }

    /// What has not been read before `next`.
    fn backlog(&self, next: u64) -> Backlog {
        let tail = self.lock();
        backlog(tail.tee.held.iter().chain(&tail.segments), tail.end, next)
    }
}

fn backlog<'a>(segments: impl Iterator<Item = &'a Live>, end: u64, next: u64) -> Backlog {
    let bytes = segments.map(|live| {
        let first = live.segment.identity.first;
        let records = live.end.saturating_sub(first).max(1);
        let left = live.end.saturating_sub(first.max(next));
        let written = live.written.min(live.segment.bytes);
        let bytes = u128::from(written) * u128::from(left) / u128::from(records);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    });
    Backlog {
        bytes: bytes.sum(),
        records: end.saturating_sub(next),
    }
}

impl Log {
    pub(super) fn sent(&self, next: Position) {
        if self.shared().sent(next.0) {
            self.reclaim();
        }
    }
}

/// Where the second consumer finds records.
#[derive(Debug)]
pub(super) enum Beside {
    /// In the log of this process.
    Here(Arc<Shared>),
    /// In that of another one.
    Elsewhere(Follower),
}

impl Beside {
    pub(super) fn locate(&mut self, next: u64, wait: Duration) -> Result<Source, Error> {
        match self {
            Self::Here(shared) => Ok(shared.locate_on_disk(next, wait)),
            Self::Elsewhere(follower) => {
                let located = follower.locate(next, wait);
                located.map_err(|error| Error::io("read", error))
            }
        }
    }

    /// What is left from a position on.
    pub(super) fn backlog(&self, next: u64) -> Backlog {
        match self {
            Self::Here(shared) => shared.backlog(next),
            Self::Elsewhere(follower) => backlog(follower.segments(), follower.end(), next),
        }
    }
}

impl Tee {
    pub(super) fn new(
        beside: Beside,
        disk: &Arc<dyn Disk>,
        sent: Sent,
        (log, lock): (Option<Log>, Option<Arc<File>>),
    ) -> Self {
        Self {
            reader: Reader::beside(beside, Arc::clone(disk), sent.next),
            release: SentRelease {
                log,
                disk: Arc::clone(disk),
                note: note::open_sent(&**disk).ok(),
                sent,
                complained: false,
                _lock: lock,
            },
        }
    }
}

/// Where it is told what has been sent. Holds the partition until dropped.
#[derive(Debug)]
pub struct SentRelease {
    /// The log, when it is in this process.
    log: Option<Log>,
    disk: Arc<dyn Disk>,
    note: Option<Box<dyn SegmentFile>>,
    sent: Sent,
    /// The last failure has been logged.
    complained: bool,
    _lock: Option<Arc<File>>,
}

impl SentRelease {
    /// Where sending goes on: everything before has been sent, or never will be.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.sent.next)
    }

    /// Says that everything before `next` has been sent, or never will be.
    pub fn upto(&mut self, next: Position) {
        if next.0 <= self.sent.next {
            return;
        }
        self.sent.next = next.0;
        let written = self.write();
        if let (Err(error), false) = (&written, self.complained) {
            tracing::error!(%error, "can't note beside the log what has been sent");
        }
        self.complained = written.is_err();
        if let Some(log) = &self.log {
            log.sent(next);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let note = match self.note.take() {
            Some(note) => note,
            None => note::open_sent(&*self.disk)?,
        };
        self.sent.write(&*note)?;
        self.note = Some(note);
        Ok(())
    }
}

/// The segments that are kept, found by their names; each ends where the next one begins, the last
/// one at `end`. What a later one holds, too, was left behind by a failed write and is removed.
pub(super) fn find_held(disk: &dyn Disk, end: u64) -> io::Result<VecDeque<Live>> {
    let mut named: Vec<(Identity, u64)> = Vec::new();
    for Listed { name, bytes } in disk.list()? {
        named.extend(Identity::parse_held(&name).map(|identity| (identity, bytes)));
    }
    named.sort_unstable_by_key(|(identity, _)| identity.sequence);
    let (mut held, mut bound) = (VecDeque::new(), end);
    for (identity, bytes) in named.into_iter().rev() {
        if identity.first >= bound {
            remove_held(disk, &identity);
            continue;
        }
        held.push_front(Live {
            segment: Arc::new(Segment::new(identity, bytes)),
            end: bound,
            written: bytes,
            sealed: true,
            payload_bytes: 0,
        });
        bound = identity.first;
    }
    Ok(held)
}

/// Position after the last record of what is kept; 1 when nothing is.
pub(super) fn held_end(disk: &dyn Disk) -> io::Result<u64> {
    let listed = disk.list()?;
    let named = listed.iter().filter_map(|file| {
        let identity = Identity::parse_held(&file.name)?;
        Some((identity, file.bytes))
    });
    let Some((identity, bytes)) = named.max_by_key(|(identity, _)| identity.sequence) else {
        return Ok(1);
    };
    let file = disk.open_read(&identity.held_name())?;
    let mut scanner = Scanner::new(file, identity.epoch, identity.first, bytes);
    let mut end = identity.first;
    while let Found::Header(header) = scanner.next()? {
        scanner.skip(&header);
        end = header.position.saturating_add(1);
    }
    Ok(end)
}

/// Removes a segment under whichever name it has.
pub(super) fn remove_held(disk: &dyn Disk, identity: &Identity) {
    for name in [identity.held_name(), identity.to_string()] {
        match disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%name, %error, "can't free a segment of the log");
            }
            _ => {}
        }
    }
}

/// Writes the note so that it stays: without it, nothing would be kept.
pub(super) fn begin(disk: &dyn Disk, sent: &Sent) -> io::Result<()> {
    let note = note::open_sent(disk)?;
    sent.write(&*note)?;
    note.sync()?;
    disk.sync_directory()
}

/// What a start knows of the consumer: the note, if it is to be believed, of a log whose positions
/// reach from `first` to `end`. A new consumer begins at the end.
pub(super) fn resume(
    disk: &dyn Disk,
    hold: Option<Hold>,
    (first, end): (u64, u64),
) -> io::Result<Option<Sent>> {
    let noted = Sent::read(disk)?;
    let unread = Sent {
        next: first,
        hold: Hold {
            bytes_max: u64::MAX,
            refuses: false,
        },
    };
    let noted = match noted {
        Some(noted) => Some(noted),
        // Better sent twice than not at all.
        None => note::exists(disk, note::SENT)?.then_some(unread),
    };
    let Some(hold) = hold.or_else(|| noted.map(|noted| noted.hold)) else {
        return Ok(None);
    };
    let next = noted.map_or(end, |noted| noted.next.clamp(first.min(end), end));
    Ok(Some(Sent { next, hold }))
}
