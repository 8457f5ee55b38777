//! What the log thread does for another process that stores: it says which records there are, and
//! hears which of them are stored.

use std::io;
use std::time::Instant;

use super::Writer;
use crate::queue::LogId;
use crate::queue::file::SegmentFile;
use crate::queue::note::{self, Appended, Sent};

/// The other process, as far as the log thread knows it.
#[derive(Debug)]
pub(super) struct Sharing {
    id: LogId,
    note: Option<Box<dyn SegmentFile>>,
    /// The note does not say what it should.
    outdated: bool,
    /// The last failure has been logged.
    complained: bool,
    due: Instant,
}

impl Writer {
    /// Lets another process store what is appended.
    pub(in crate::queue) fn share(&mut self, id: LogId) {
        // In place before the disk can be full: nothing could be released without it.
        if let Err(error) = note::open_stored(&*self.disk) {
            tracing::warn!(%error, "can't make a note beside the log");
        }
        self.sharing = Some(Sharing {
            id,
            note: None,
            outdated: true,
            complained: false,
            due: Instant::now() + self.settings.share_every,
        });
        self.tell();
    }

    /// When there is something to do for the other process.
    pub(super) fn sharing_due(&self) -> Option<Instant> {
        self.sharing.as_ref().map(|sharing| sharing.due)
    }

    /// Does what is due.
    pub(super) fn share_if_due(&mut self) {
        let now = Instant::now();
        let Some(sharing) = self.sharing.as_mut().filter(|sharing| sharing.due <= now) else {
            return;
        };
        sharing.due = now + self.settings.share_every;
        if sharing.outdated {
            self.tell();
        }
        self.hear();
    }

    /// Says which records there are.
    pub(super) fn tell(&mut self) {
        let Some(mut sharing) = self.sharing.take() else {
            return;
        };
        let active = self.active.as_ref();
        let newest = active.map(|active| (active.segment.identity.sequence, active.written));
        // What was sealed or recovered may be read to its end.
        let (sequence, written) =
            newest.unwrap_or((self.next_sequence.saturating_sub(1), u64::MAX));
        let appended = Appended {
            log: sharing.id,
            end: self.next_position,
            sequence,
            written,
        };
        let told = self.write_note(&mut sharing, &appended);
        sharing.outdated = told.is_err();
        if let (Err(error), false) = (&told, sharing.complained) {
            tracing::error!(%error, "can't note beside the log what is appended");
        }
        sharing.complained = told.is_err();
        self.sharing = Some(sharing);
    }

    fn write_note(&self, sharing: &mut Sharing, appended: &Appended) -> io::Result<()> {
        let note = match sharing.note.take() {
            Some(note) => note,
            None => self.disk.open_note(note::APPENDED)?,
        };
        appended.write(&*note)?;
        sharing.note = Some(note);
        Ok(())
    }

    /// Looks up what is stored, and what has been sent.
    pub(super) fn hear(&mut self) {
        if self.sharing.is_none() {
            return;
        }
        // In this order: who begins to send says so before it stores anything more.
        let stored = note::glance_at_stored(&*self.disk).ok().flatten();
        let Some(sent) = self.glance_at_sent() else {
            return;
        };
        let mut tail = self.shared.lock();
        // Nobody stores or sends what was not appended; such a note is not of this log.
        let end = tail.end;
        let changed = tail.tee.sent != sent && sent.is_none_or(|sent| sent.next <= end);
        if changed {
            tail.tee.sent = sent;
        }
        drop(tail);
        let stored = stored.filter(|stored| *stored <= end);
        let released = stored.is_some_and(|stored| self.shared.release(stored));
        if released || changed {
            self.reclaim();
        }
    }

    /// What has been sent; the outer `None`: that can't be read now.
    fn glance_at_sent(&self) -> Option<Option<Sent>> {
        match note::exists(&*self.disk, note::SENT).ok()? {
            false => Some(None),
            true => Sent::glance(&*self.disk).ok()?.map(Some),
        }
    }
}
