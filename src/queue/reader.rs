//! The consumer's end of the log: every acknowledged record once, in order of position.
//!
//! Records come from memory; from disk after a start and when the consumer fell behind further
//! than memory reaches. What can't be read is skipped, counted, and its segment set aside.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::file::Disk;
use super::recovery::set_aside;
use super::scan::{Found, Scanner};
use super::segment::Segment;
use super::tail::{Live, Shared, Source};
use super::{Error, PayloadKind, Position, Record};
use crate::model::ProjectId;

/// What [`Reader::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The next record.
    Record(Record),
    /// Nothing was appended in the time waited.
    Idle,
    /// The log was closed and everything in it has been read.
    Closed,
}

/// Reads the log in order. There is one for each log, for one thread.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    /// Position of the next record.
    next: u64,
    /// Where on disk the last record came from.
    cursor: Option<Cursor>,
    /// Missing positions that recovery has accounted for.
    missing: VecDeque<Range<u64>>,
}

#[derive(Debug)]
struct Cursor {
    segment: Arc<Segment>,
    scanner: Scanner,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        first_unstored: u64,
        missing: VecDeque<Range<u64>>,
    ) -> Self {
        Self {
            shared,
            disk,
            next: first_unstored,
            cursor: None,
            missing,
        }
    }

    /// Takes the next record, waiting for it up to `wait`. Blocks; not for async workers.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk can't be read; the same record is tried again the next time.
    pub fn next(&mut self, wait: Duration) -> Result<Next, Error> {
        loop {
            match self.shared.locate(self.next, wait) {
                Source::Memory(record) => {
                    self.cursor = None;
                    self.next = record.position.0 + 1;
                    return Ok(Next::Record(record));
                }
                Source::Disk(live) => {
                    let read = self.read(&live);
                    if let Some(record) = read.map_err(|error| Error::io("read", error))? {
                        self.next = record.position.0 + 1;
                        return Ok(Next::Record(record));
                    }
                }
                Source::Missing(until) => self.skip(until, None),
                Source::Nothing => return Ok(Next::Idle),
                Source::Ended => return Ok(Next::Closed),
            }
        }
    }

    /// Reads the next record from its segment; `None` when the segment has no more.
    fn read(&mut self, live: &Live) -> io::Result<Option<Record>> {
        let segment = &live.segment;
        let same = |cursor: &Cursor| Arc::ptr_eq(&cursor.segment, segment);
        let mut cursor = match self.cursor.take().filter(same) {
            Some(cursor) => cursor,
            None => match self.disk.open_read(&segment.name) {
                Ok(file) => {
                    let identity = segment.identity;
                    Cursor {
                        segment: Arc::clone(segment),
                        scanner: Scanner::new(file, identity.epoch, identity.first, live.written),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.skip(live.end, Some(segment));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        };
        cursor.scanner.extend(live.written);
        let record = self.scan(&mut cursor.scanner, live)?;
        self.cursor = Some(cursor);
        Ok(record)
    }

    fn scan(&mut self, scanner: &mut Scanner, live: &Live) -> io::Result<Option<Record>> {
        loop {
            let header = match scanner.next()? {
                Found::Header(header) if header.position < live.end => header,
                Found::Header(_) | Found::End { .. } => {
                    self.skip(live.end, Some(&live.segment));
                    return Ok(None);
                }
            };
            if header.position < self.next {
                scanner.skip(&header);
                continue;
            }
            self.skip(header.position, Some(&live.segment));
            let kind = PayloadKind::from_byte(header.kind);
            if let (Some(payload), Some(kind)) = (scanner.payload(&header)?, kind) {
                return Ok(Some(Record {
                    position: Position(header.position),
                    project: ProjectId(header.project),
                    received_unix_nano: header.received_unix_nano,
                    kind,
                    payload,
                }));
            }
            self.skip(header.position + 1, Some(&live.segment));
            if self.next >= live.end {
                return Ok(None);
            }
        }
    }

    /// Goes on at a later position, counting what is left out unless recovery has.
    fn skip(&mut self, until: u64, segment: Option<&Segment>) {
        let gap = self.next..until;
        if gap.is_empty() {
            return;
        }
        self.next = gap.end;
        let mut lost = gap.end - gap.start;
        for known in self
            .missing
            .iter()
            .take_while(|known| known.start < gap.end)
        {
            let overlap = known
                .end
                .min(gap.end)
                .saturating_sub(known.start.max(gap.start));
            lost = lost.saturating_sub(overlap);
        }
        while self
            .missing
            .pop_front_if(|known| known.end <= gap.end)
            .is_some()
        {}
        if lost == 0 {
            return;
        }
        let newly_damaged = segment.is_some_and(|segment| !segment.is_damaged());
        if let Some(segment) = segment.filter(|_| newly_damaged) {
            let kept = set_aside(&*self.disk, segment);
            tracing::error!(name = %segment.name, kept, "segment of the log is damaged");
        }
        tracing::error!(first = gap.start, lost, "records of the log are lost");
        let mut tail = self.shared.lock();
        tail.lost_records += lost;
        tail.damaged_segments += u64::from(newly_damaged);
    }
}
