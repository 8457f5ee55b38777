//! Beginning, giving up and freeing segments.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::{Active, Failure, SYNC_EVERY, Writer};
use crate::queue::file::BLOCK;
use crate::queue::segment::{DAMAGED_SUFFIX, Identity, SPARE, Segment};
use crate::queue::tail::Live;
use crate::queue::tee::remove_held;
use crate::queue::{Durability, Error};

/// Room that is left on the disk where segments are kept to be sent: this part of it, and so many
/// bytes at most.
const ROOM_PART: u64 = 20;
const ROOM_MAX: u64 = 1 << 30;
/// Segments given up for it at once.
const GIVEN_UP_AT_ONCE: usize = 2;

impl Writer {
    /// Begins a segment with room for a record of this size.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        let block = BLOCK as u64;
        let needed = (block + bytes.next_multiple_of(block)).max(self.settings.segment_bytes);
        if needed > self.settings.bytes_max {
            return Err(Error::TooLarge {
                bytes,
                max: self.settings.bytes_max.saturating_sub(block),
            });
        }
        self.hear();
        self.reclaim();
        let tail = self.shared.lock();
        // The current segment goes too when all that is in it is stored.
        if tail.bytes_needed() + needed > self.settings.bytes_max {
            return Err(Error::Full {
                used: tail.bytes_used(),
                capacity: self.settings.bytes_max,
            });
        }
        drop(tail);
        self.seal();
        self.reclaim();
        let mut begun = self.begin(needed);
        while begun.as_ref().is_err_and(has_no_room) && self.give_up() {
            // Its room is there once it is gone for good.
            begun = self.disk.sync_directory().and_then(|()| self.begin(needed));
        }
        begun.map_err(|error| self.fail("create", error))
    }

    /// Creates or reuses a file and makes it the current segment.
    fn begin(&mut self, bytes: u64) -> io::Result<()> {
        let identity = Identity::new(self.next_sequence, self.next_position);
        self.next_sequence += 1;
        let segment = Arc::new(Segment::new(identity, bytes));
        let direct = self.settings.durability == Durability::SyncBeforeAck;
        let usual = bytes == self.settings.segment_bytes;
        let reuse = usual && std::mem::take(&mut self.spare);
        let file = if reuse {
            self.disk.rename(SPARE, &segment.name)?;
            self.disk.open_write(&segment.name, direct)
        } else {
            self.disk.create(&segment.name, bytes, direct)
        };
        let ready = file.and_then(|file| {
            self.disk.sync_directory()?;
            Ok(file)
        });
        let file = match ready {
            Ok(file) => file,
            Err(error) => {
                // Nothing is in it; if it stays, the next start removes it.
                drop(self.disk.remove(&segment.name));
                return Err(error);
            }
        };
        let mut tail = self.shared.lock();
        tail.failure = None;
        tail.segments.push_back(Live {
            segment: Arc::clone(&segment),
            end: identity.first,
            written: 0,
            sealed: false,
            payload_bytes: 0,
        });
        drop(tail);
        self.failure = None;
        self.active = Some(Active {
            segment,
            file,
            written: 0,
        });
        Ok(())
    }

    /// Stops writing to the current segment for good.
    fn seal(&mut self) {
        self.sync_if_due(true);
        self.active = None;
        let mut tail = self.shared.lock();
        if let Some(live) = tail.segments.back_mut() {
            live.sealed = true;
        }
    }

    /// Gives up the current segment after a failure and leaves the disk alone for a while.
    pub(super) fn fail(&mut self, doing: &'static str, error: io::Error) -> Error {
        let error = Error::io(doing, error);
        tracing::error!(%error, source = ?std::error::Error::source(&error), "the log can't be written");
        if let (Some(_), Some(active)) = (self.unsynced_since.take(), self.active.take()) {
            // A write failed, but no sync of this file has: what it holds can still be saved.
            let saved = active.file.sync().is_ok();
            self.durable_before = if saved {
                self.next_position
            } else {
                self.durable_before
            };
        }
        self.active = None;
        let mut tail = self.shared.lock();
        tail.failure = Some(error.clone());
        tail.failures += 1;
        if let Some(live) = tail.segments.back_mut() {
            live.sealed = true;
        }
        // Without acknowledged records there is nothing in it to keep.
        let empty = |live: &mut Live| live.end == live.segment.identity.first;
        let empty = tail.segments.pop_back_if(empty);
        drop(tail);
        if let Some(live) = empty {
            drop(self.disk.remove(&live.segment.name));
        }
        self.failure = Some(Failure {
            error: error.clone(),
            retry_at: Instant::now() + self.settings.retry_every,
        });
        error
    }

    /// Tries a failed disk again, so that the log recovers while nothing is being sent to it.
    pub(super) fn probe_if_due(&mut self) {
        if self.failure.is_none() || self.refusing().is_some() {
            return;
        }
        // `make_room` and `commit` take note of what happens.
        if self.make_room(1).is_ok() {
            self.commit(Vec::new());
        } else if let Some(failure) = &mut self.failure {
            failure.retry_at = Instant::now() + self.settings.retry_every;
        }
    }

    /// Syncs acknowledged bytes when their time has come, or now.
    pub(super) fn sync_if_due(&mut self, now: bool) {
        let due = |since: Instant| now || since.elapsed() >= SYNC_EVERY;
        let (true, Some(active)) = (self.unsynced_since.is_some_and(due), &self.active) else {
            return;
        };
        self.unsynced_since = None;
        let started = Instant::now();
        match active.file.sync() {
            Ok(()) => {
                self.observer.fsync(started.elapsed());
                self.durable_before = self.next_position;
            }
            Err(error) => {
                self.fail("sync", error);
            }
        }
    }

    /// Whether the file must stay as it is, under its second name.
    fn is_kept(&self, segment: &Segment) -> bool {
        let aside = || {
            self.sharing.is_some()
                && self
                    .disk
                    .open_read(&format!("{}{DAMAGED_SUFFIX}", segment.name))
                    .is_ok()
        };
        segment.is_damaged() || aside()
    }

    /// Reuses or removes the segments that are no longer needed.
    pub(in crate::queue) fn reclaim(&mut self) {
        let mut tail = self.shared.lock();
        tail.reclaim_sent = false;
        let (mut released, mut held) = (Vec::new(), Vec::new());
        while tail.has_released_segment() {
            let Some(live) = tail.segments.pop_front() else {
                break;
            };
            if tail.tee.needs(&live) {
                held.push(Arc::clone(&live.segment));
                tail.tee.held.push_back(live);
            } else {
                released.push(live.segment);
            }
        }
        let sent: Vec<Live> = std::iter::from_fn(|| tail.tee.pop_sent()).collect();
        let is_over = tail.tee.is_over();
        let kept: u64 = tail.segments.iter().map(|live| live.segment.bytes).sum();
        drop(tail);
        self.hold(&held);
        for live in &sent {
            remove_held(&*self.disk, &live.segment.identity);
        }
        if is_over {
            self.shed();
        }
        for segment in &released {
            self.free(segment, kept);
        }
        let is_short = self.keep_room();
        if released.is_empty() && sent.is_empty() && held.is_empty() && !is_over && !is_short {
            return;
        }
        // Before a recycled file is written its old name must be gone for good.
        if let Err(error) = self.disk.sync_directory() {
            tracing::warn!(%error, "can't sync the directory of the log");
        }
    }

    /// Reuses or removes a segment.
    fn free(&mut self, segment: &Segment, kept: u64) {
        let usual = segment.bytes == self.settings.segment_bytes && !self.is_kept(segment);
        let fits = kept + segment.bytes <= self.settings.bytes_max;
        let outcome = if usual && fits && !self.spare {
            let renamed = self.disk.rename(&segment.name, SPARE);
            self.spare = renamed.is_ok();
            renamed
        } else {
            self.disk.remove(&segment.name)
        };
        if let Err(error) = outcome {
            tracing::warn!(name = %segment.name, %error, "can't free a segment of the log");
        }
    }

    /// Gives segments the name under which they are kept to be sent.
    fn hold(&self, segments: &[Arc<Segment>]) {
        for segment in segments {
            let held = segment.identity.held_name();
            if let Err(error) = self.disk.rename(&segment.name, &held) {
                // It is found under the old name, too, and at a start.
                tracing::warn!(name = %segment.name, %error, "can't rename a segment of the log");
            }
        }
    }

    /// Gives up what is over the limit of what may be kept to be sent.
    fn shed(&self) {
        while self.shared.lock().tee.is_over() && self.give_up() {}
    }

    /// Gives up some of what is kept to be sent where the disk has little room: the store must not be
    /// left without any. More than one segment at a time, as each that is given up becomes one that is
    /// written; never the newest, which may just be being sent. Answers whether the disk lacks room.
    fn keep_room(&self) -> bool {
        let kept = || self.shared.lock().tee.held.len();
        if kept() <= 1 {
            return false;
        }
        let space = match self.disk.space() {
            Ok(space) => space,
            Err(error) => {
                tracing::debug!(%error, "can't ask for the room on the disk");
                return false;
            }
        };
        let wanted = ROOM_MAX.min(space.total / ROOM_PART);
        if space.free >= wanted {
            return false;
        }
        for _ in 0..GIVEN_UP_AT_ONCE {
            if kept() > 1 {
                self.give_up();
            }
        }
        true
    }

    /// Gives up the oldest segment that is kept to be sent; answers whether there was one.
    fn give_up(&self) -> bool {
        let given_up = self.shared.lock().tee.give_up();
        let Some((live, records)) = given_up else {
            return false;
        };
        tracing::error!(
            name = %live.segment.name, records, bytes = live.segment.bytes,
            "a segment of the log is given up unsent: what may be kept for exporters.otlp, or the \
             disk, is full, or nearly so"
        );
        remove_held(&*self.disk, &live.segment.identity);
        true
    }
}

fn has_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
