//! What the log thread, the reader and the handles share: which segments exist, how far the log
//! is durable, and the newest records in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::file::BLOCK;
use super::record::{MAX_PAYLOAD_BYTES, record_bytes};
use super::segment::Segment;
use super::tee::TeeState;
use super::{Error, Record, Stats};

/// Bytes of bookkeeping per record in memory, on top of its payload.
const RECORD_OVERHEAD: usize = 128;
/// Payload bytes that must fit for the log to count as writable: most requests are larger.
const ROOM_MIN: usize = 4 << 10;

/// A segment with acknowledged records.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) segment: Arc<Segment>,
    /// Position after its last acknowledged record.
    pub(super) end: u64,
    /// Bytes of it that may be read.
    pub(super) written: u64,
    /// Nothing will be written to it any more.
    pub(super) sealed: bool,
    /// Payload bytes of its acknowledged records.
    pub(super) payload_bytes: u64,
}

/// Where the reader finds its next record.
#[derive(Debug)]
pub(super) enum Source {
    /// Here it is.
    Memory(Record),
    /// In this segment.
    Disk(Live),
    /// Nowhere: the positions up to this one are gone.
    Missing(u64),
    /// Not appended yet.
    Nothing,
    /// Nothing will be appended any more.
    Ended,
}

/// State behind the lock.
#[derive(Debug)]
pub(super) struct Tail {
    /// In order of position; the last one may still be written to.
    pub(super) segments: VecDeque<Live>,
    /// Position after the last acknowledged record.
    pub(super) end: u64,
    /// Everything below is stored.
    pub(super) released: u64,
    /// Who sends records elsewhere, and what is kept for it.
    pub(super) tee: TeeState,
    /// Acknowledged records without a gap, the reader's next one first. None is added while
    /// `behind`.
    records: VecDeque<Record>,
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// Memory was full: the reader takes records from disk until it has caught up.
    behind: bool,
    /// The log thread is gone.
    ended: bool,
    /// The log thread has been told that a segment can go.
    pub(super) reclaim_sent: bool,
    pub(super) bytes_capacity: u64,
    /// Bytes of a usual segment.
    segment_bytes: u64,
    /// Why the disk can't be written now.
    pub(super) failure: Option<Error>,
    pub(super) lost_records: u64,
    pub(super) damaged_segments: u64,
    pub(super) failures: u64,
}

/// The lock and its signal.
#[derive(Debug)]
pub(super) struct Shared {
    tail: Mutex<Tail>,
    arrived: Condvar,
    ended: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(tail: Tail) -> Self {
        Self {
            tail: Mutex::new(tail),
            arrived: Condvar::new(),
            ended: watch::Sender::new(false),
        }
    }

    /// Holds the state. Every change under the lock is complete in itself, so a panic elsewhere
    /// leaves nothing half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes records visible to the reader.
    pub(super) fn publish(&self, records: impl Iterator<Item = Record>, written: u64) {
        let mut tail = self.lock();
        let (mut end, mut payload_bytes) = (tail.end, 0);
        for record in records {
            end = record.position.0 + 1;
            payload_bytes += record.payload.len() as u64;
            tail.remember(record);
        }
        tail.end = end;
        if let Some(live) = tail.segments.back_mut() {
            live.end = end;
            live.written = written;
            live.payload_bytes += payload_bytes;
        }
        drop(tail);
        // Who stores and who sends.
        self.arrived.notify_all();
    }

    /// Says that nothing more will come.
    pub(super) fn end(&self) {
        let mut tail = self.lock();
        tail.ended = true;
        drop(tail);
        self.arrived.notify_all();
        self.ended.send_replace(true);
    }

    /// Waits until nothing more will come.
    pub(super) async fn ended(&self) {
        // Fails only when the sender is gone, which we hold.
        self.ended.subscribe().wait_for(|ended| *ended).await.ok();
    }

    /// Takes note that everything before `next` is stored; answers whether the log thread must be
    /// told that a segment can go.
    pub(super) fn release(&self, next: u64) -> bool {
        let mut tail = self.lock();
        let next = next.min(tail.end);
        if next <= tail.released {
            return false;
        }
        tail.released = next;
        let tell = tail.has_released_segment() && !tail.reclaim_sent;
        tail.reclaim_sent |= tell;
        tell
    }

    /// Tells where the record at `next` is, waiting for it if it isn't there yet.
    pub(super) fn locate(&self, next: u64, wait: Duration) -> Source {
        self.wait_for(next, wait).locate(next)
    }

    /// Tells in which segment the record at `next` is, those included that are kept to be sent;
    /// waits for it if it isn't there yet. Never changes what [`Shared::locate`] finds.
    pub(super) fn locate_on_disk(&self, next: u64, wait: Duration) -> Source {
        self.wait_for(next, wait).locate_on_disk(next)
    }

    fn wait_for(&self, next: u64, wait: Duration) -> MutexGuard<'_, Tail> {
        let tail = self.lock();
        let waiting = self
            .arrived
            .wait_timeout_while(tail, wait, |tail| next >= tail.end && !tail.ended);
        waiting.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Tail {
    pub(super) fn new(segments: VecDeque<Live>, first_unstored: u64, end: u64) -> Self {
        Self {
            segments,
            end,
            released: first_unstored,
            tee: TeeState::default(),
            records: VecDeque::new(),
            memory_bytes: 0,
            memory_bytes_max: 0,
            behind: first_unstored < end,
            ended: false,
            reclaim_sent: false,
            bytes_capacity: 0,
            segment_bytes: 0,
            failure: None,
            lost_records: 0,
            damaged_segments: 0,
            failures: 0,
        }
    }

    pub(super) fn with_limits(
        mut self,
        memory_bytes_max: usize,
        bytes_capacity: u64,
        segment_bytes: u64,
    ) -> Self {
        self.memory_bytes_max = memory_bytes_max;
        self.bytes_capacity = bytes_capacity;
        self.segment_bytes = segment_bytes;
        self
    }

    fn remember(&mut self, record: Record) {
        let bytes = record.payload.len() + RECORD_OVERHEAD;
        self.behind |= self.memory_bytes + bytes > self.memory_bytes_max;
        if !self.behind {
            self.memory_bytes += bytes;
            self.records.push_back(record);
        }
    }

    fn locate(&mut self, next: u64) -> Source {
        if let Some(record) = self.records.pop_front_if(|front| front.position.0 == next) {
            self.memory_bytes -= record.payload.len() + RECORD_OVERHEAD;
            return Source::Memory(record);
        }
        if next >= self.end {
            // Caught up: what comes from now on can be kept.
            self.behind = false;
            return if self.ended {
                Source::Ended
            } else {
                Source::Nothing
            };
        }
        let index = self.segments.partition_point(|live| live.end <= next);
        match self.segments.get(index) {
            Some(live) if live.segment.identity.first <= next => Source::Disk(live.clone()),
            Some(live) => Source::Missing(live.segment.identity.first),
            None => Source::Missing(self.end),
        }
    }

    /// Bytes on disk, counting sealed segments whole.
    pub(super) fn bytes_used(&self) -> u64 {
        let used = |live: &Live| {
            if live.sealed {
                live.segment.bytes
            } else {
                live.written
            }
        };
        self.segments.iter().map(used).sum()
    }

    fn locate_on_disk(&self, next: u64) -> Source {
        if next >= self.end {
            return match self.ended {
                true => Source::Ended,
                false => Source::Nothing,
            };
        }
        let mut segments = self.tee.held.iter().chain(&self.segments);
        match segments.find(|live| live.end > next) {
            Some(live) if live.segment.identity.first <= next => Source::Disk(live.clone()),
            Some(live) => Source::Missing(live.segment.identity.first),
            None => Source::Missing(self.end),
        }
    }

    /// Everything below takes no room of the queue any more.
    fn freeable(&self) -> u64 {
        let oldest = self.segments.front().map(|live| live.segment.bytes);
        match &self.tee.sent {
            // What can't be held beside the queue stays in it.
            Some(sent) if sent.hold.refuses && self.tee.is_full(oldest.unwrap_or_default()) => {
                self.released.min(sent.next)
            }
            _ => self.released,
        }
    }

    /// Bytes of the segments that hold anything not stored: what stays when room is made.
    pub(super) fn bytes_needed(&self) -> u64 {
        let freeable = self.freeable();
        let needed = self.segments.iter().filter(|live| live.end > freeable);
        needed.map(|live| live.segment.bytes).sum()
    }

    /// Bytes left for records in the segment being written.
    fn room_in_segment(&self) -> u64 {
        let current = self.segments.back().filter(|live| !live.sealed);
        current.map_or(0, |live| {
            let used = live.written.max(BLOCK as u64);
            live.segment.bytes.saturating_sub(used)
        })
    }

    /// Bytes for records that a new segment could have.
    fn room_in_new_segment(&self) -> u64 {
        let block = BLOCK as u64;
        let free = self.bytes_capacity.saturating_sub(self.bytes_needed());
        if free < self.segment_bytes {
            return 0;
        }
        (free.saturating_sub(block) / block) * block
    }

    /// Why a record with this much payload would not be taken now. What is on its way to the log
    /// thread is not counted.
    pub(super) fn refusal(&self, payload_bytes: usize) -> Option<Error> {
        if self.ended {
            return Some(Error::Closed);
        }
        let block = BLOCK as u64;
        let max = self.bytes_capacity.saturating_sub(block);
        let needed = record_bytes(payload_bytes.min(MAX_PAYLOAD_BYTES));
        if payload_bytes > MAX_PAYLOAD_BYTES || needed.next_multiple_of(block) > max {
            return Some(Error::TooLarge { bytes: needed, max });
        }
        if self.failure.is_some() {
            return self.failure.clone();
        }
        if needed <= self.room_in_segment() || needed <= self.room_in_new_segment() {
            return None;
        }
        Some(Error::Full {
            used: self.bytes_used(),
            capacity: self.bytes_capacity,
        })
    }

    /// Whether the oldest segment holds nothing that is still needed.
    pub(super) fn has_released_segment(&self) -> bool {
        let oldest = self.segments.front();
        oldest.is_some_and(|live| live.sealed && live.end <= self.freeable())
    }

    pub(super) fn stats(&self) -> Stats {
        let unstored = |live: &Live| {
            let first = live.segment.identity.first;
            let records = live.end.saturating_sub(first).max(1);
            let left = live.end.saturating_sub(first.max(self.released));
            let bytes = u128::from(live.payload_bytes) * u128::from(left) / u128::from(records);
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        Stats {
            bytes_used: self.bytes_used(),
            bytes_capacity: self.bytes_capacity,
            bytes_in_memory: self.memory_bytes as u64,
            next_position: super::Position(self.end),
            segments: self.segments.len(),
            damaged_segments: self.damaged_segments,
            lost_records: self.lost_records,
            failures: self.failures,
            unstored_records: self.end.saturating_sub(self.released),
            unstored_bytes: self.segments.iter().map(unstored).sum(),
            bytes_left: self.room_in_segment().max(self.room_in_new_segment()),
            writable: self.refusal(ROOM_MIN).is_none(),
            held_bytes: self.tee.held_bytes(),
            held_bytes_max: self.tee.sent.map_or(0, |sent| sent.hold.bytes_max),
            given_up_records: self.tee.given_up_records,
        }
    }
}
