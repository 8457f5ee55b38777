//! The log thread: takes what was appended, writes it in groups, syncs, answers.
//!
//! A group is what arrived while the previous one was being synced. It goes to the current
//! segment from a block boundary on, so that no acknowledged block is written again, and is
//! acknowledged after one sync. A failed write or sync acknowledges nothing; the segment is never
//! written again, its remains keep the positions of the failed group, and a segment begun at the
//! same position supersedes them. Until the next segment has been begun they could come back
//! after a crash, like any request whose answer was lost; storing is idempotent.

mod rollover;
mod share;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::buffer::{AlignedBuffer, GroupWriter};
use super::file::{BLOCK, Disk, SegmentFile};
use super::record::{self, ALIGNMENT, Header, record_bytes};
use super::segment::{Preamble, Segment};
use super::tail::Shared;
use super::{Durability, Entry, Error, Observer, Position, Record};
use share::Sharing;

/// Payload bytes after which a group is closed: bounds how long the first request of a group
/// waits for the last.
const GROUP_BYTES: usize = 8 << 20;
/// Longest time that acknowledged bytes stay unsynced with [`Durability::OsBuffered`].
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the log thread is told.
#[derive(Debug)]
pub(super) enum Command {
    Append(Pending),
    /// The oldest segment has been released.
    Reclaim,
    Close,
}

/// A record waiting to become durable.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    pub(super) reply: oneshot::Sender<Result<Position, Error>>,
    /// Room in the channel, given back with the answer.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Pending {
    fn answer(self, result: Result<Position, Error>) {
        // The client may have gone; its record is in the log all the same.
        drop(self.reply.send(result));
        drop(self.permit);
    }

    fn bytes(&self) -> u64 {
        record_bytes(self.entry.payload.len())
    }
}

/// Sizes and times that hold for the life of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) durability: Durability,
    /// Bytes of a usual segment, a multiple of [`BLOCK`].
    pub(super) segment_bytes: u64,
    pub(super) bytes_max: u64,
    pub(super) group_delay: Duration,
    /// How long a disk that failed is left alone.
    pub(super) retry_every: Duration,
    /// How often it is looked up what another process has stored.
    pub(super) share_every: Duration,
}

/// The segment that is being written.
#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: Box<dyn SegmentFile>,
    /// Where the next group goes.
    written: u64,
}

/// Why nothing can be written now.
#[derive(Debug)]
struct Failure {
    error: Error,
    retry_at: Instant,
}

/// The owner of the files.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    observer: Arc<dyn Observer>,
    settings: Settings,
    buffer: AlignedBuffer,
    active: Option<Active>,
    /// A file of the usual size that can be used again.
    spare: bool,
    next_position: u64,
    next_sequence: u64,
    /// Everything below is synced.
    durable_before: u64,
    failure: Option<Failure>,
    /// When the oldest acknowledged byte that is not synced was written.
    unsynced_since: Option<Instant>,
    /// Another process stores.
    sharing: Option<Sharing>,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        observer: Arc<dyn Observer>,
        settings: Settings,
    ) -> Self {
        Self {
            disk,
            shared,
            observer,
            settings,
            buffer: AlignedBuffer::new(),
            active: None,
            spare: false,
            next_position: 0,
            next_sequence: 0,
            durable_before: 0,
            failure: None,
            unsynced_since: None,
            sharing: None,
        }
    }

    /// Says where recovery left off.
    pub(super) fn resume_at(mut self, position: u64, durable_before: u64, sequence: u64) -> Self {
        self.next_position = position;
        self.durable_before = durable_before;
        self.next_sequence = sequence;
        self
    }

    /// Works until told to close, or until nobody is left who could append.
    pub(super) fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            let command = match self.until_next_duty() {
                Some(wait) => commands.recv_timeout(wait),
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let mut closing = false;
            match command {
                Ok(Command::Append(first)) => {
                    let group;
                    (group, closing) = self.collect(first, commands);
                    self.append(group);
                }
                Ok(Command::Reclaim) => self.reclaim(),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => closing = true,
            }
            self.sync_if_due(closing);
            if closing {
                return;
            }
            self.probe_if_due();
            self.share_if_due();
        }
    }

    /// Time until something must be done though nothing arrives.
    fn until_next_duty(&self) -> Option<Duration> {
        let now = Instant::now();
        let sync = self.unsynced_since.map(|since| since + SYNC_EVERY);
        let retry = self.failure.as_ref().map(|failure| failure.retry_at);
        let sharing = self.sharing_due();
        let due = sync.into_iter().chain(retry).chain(sharing).min()?;
        Some(due.saturating_duration_since(now))
    }

    /// Gathers a group: what has arrived, and what arrives in the configured delay.
    fn collect(&mut self, first: Pending, commands: &Receiver<Command>) -> (Vec<Pending>, bool) {
        let started = Instant::now();
        let delay = self.settings.group_delay;
        let mut bytes = first.entry.payload.len();
        let mut group = vec![first];
        while bytes < GROUP_BYTES {
            let command = match commands.try_recv() {
                Err(TryRecvError::Empty) => {
                    let left = delay.saturating_sub(started.elapsed());
                    if left.is_zero() {
                        break;
                    }
                    commands.recv_timeout(left).ok()
                }
                other => other.ok(),
            };
            match command {
                Some(Command::Append(pending)) => {
                    bytes += pending.entry.payload.len();
                    group.push(pending);
                }
                Some(Command::Reclaim) => self.reclaim(),
                Some(Command::Close) => return (group, true),
                None => break,
            }
        }
        (group, false)
    }

    /// Writes and answers a group, in as many parts as there are segments involved.
    fn append(&mut self, group: Vec<Pending>) {
        let mut waiting = VecDeque::from(group);
        while !waiting.is_empty() {
            if let Some(error) = self.refusing() {
                waiting
                    .drain(..)
                    .for_each(|pending| pending.answer(Err(error.clone())));
                return;
            }
            let part = self.take_what_fits(&mut waiting);
            if !part.is_empty() {
                self.commit(part);
            } else if let Some(pending) = waiting.pop_front() {
                match self.make_room(pending.bytes()) {
                    Ok(()) => waiting.push_front(pending),
                    Err(error) => pending.answer(Err(error)),
                }
            }
        }
    }

    /// The reason for refusing everything, while a failed disk is left alone.
    fn refusing(&self) -> Option<Error> {
        let failure = self.failure.as_ref()?;
        (Instant::now() < failure.retry_at).then(|| failure.error.clone())
    }

    /// Takes from the front the records that the current segment has room for.
    fn take_what_fits(&self, waiting: &mut VecDeque<Pending>) -> Vec<Pending> {
        let Some(active) = &self.active else {
            return Vec::new();
        };
        let mut offset = active.written.max(BLOCK as u64);
        let mut count = 0;
        for pending in waiting.iter() {
            offset += pending.bytes();
            if offset > active.segment.bytes {
                break;
            }
            count += 1;
        }
        waiting.drain(..count).collect()
    }

    /// Writes records to the current segment, syncs and answers.
    fn commit(&mut self, part: Vec<Pending>) {
        let written = match self.write(&part) {
            Ok(written) => written,
            Err(error) => {
                let error = self.fail("write", error);
                part.into_iter()
                    .for_each(|pending| pending.answer(Err(error.clone())));
                return;
            }
        };
        let first = self.next_position;
        let count = part.len() as u64;
        let bytes = part.iter().map(|pending| pending.entry.payload.len()).sum();
        self.next_position += count;
        if self.settings.durability == Durability::SyncBeforeAck {
            self.durable_before = self.next_position;
        } else {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let entries = part.iter().map(|pending| &pending.entry);
        let records = entries.zip(first..).map(|(entry, position)| Record {
            position: Position(position),
            project: entry.project,
            received_unix_nano: entry.received_unix_nano,
            kind: entry.kind,
            payload: entry.payload.clone(),
        });
        self.shared.publish(records, written);
        for (pending, position) in part.into_iter().zip(first..) {
            pending.answer(Ok(Position(position)));
        }
        if count > 0 {
            let records = usize::try_from(count).unwrap_or(usize::MAX);
            self.observer.group(records, bytes);
        }
        self.tell();
    }

    /// Writes one group at the end of the current segment and syncs it where that is promised.
    /// Returns the bytes of the segment that are in use now.
    fn write(&mut self, part: &[Pending]) -> io::Result<u64> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment is open"));
        };
        let identity = active.segment.identity;
        let mut group = GroupWriter::new(&mut self.buffer, &*active.file, active.written);
        if active.written == 0 {
            let preamble = Preamble {
                identity,
                durable_before: self.durable_before,
                bytes: active.segment.bytes,
            };
            group.push(&preamble.encode())?;
        }
        for (pending, position) in part.iter().zip(self.next_position..) {
            let Entry {
                project,
                received_unix_nano,
                kind,
                payload,
            } = &pending.entry;
            let header = Header {
                payload_crc: crc32fast::hash(payload),
                length: u32::try_from(payload.len()).map_err(io::Error::other)?,
                epoch: identity.epoch,
                position,
                durable_before: self.durable_before,
                received_unix_nano: *received_unix_nano,
                project: project.0,
                kind: *kind as u8,
                version: record::VERSION,
            };
            group.push(&header.encode())?;
            group.push(payload)?;
            group.pad(ALIGNMENT)?;
        }
        active.written = group.finish()?;
        if self.settings.durability == Durability::SyncBeforeAck {
            let started = Instant::now();
            active.file.sync()?;
            self.observer.fsync(started.elapsed());
        }
        Ok(active.written)
    }
}
