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
use super::follow::{Damage, Follower};
use super::gaps::Gaps;
use super::recovery::{check_known, set_aside};
use super::scan::{Found, Scanner};
use super::segment::{DecodedPreamble, FORMAT_VERSION, Identity, Preamble, Segment};
use super::spare::Spares;
use super::tail::{Live, Shared, Source};
use super::tee::{Backlog, Beside};
use super::{Error, PayloadKind, Position, Record};
use crate::model::ProjectId;

/// What [`Reader::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The next record.
    Record(Record),
    /// Nothing was appended in the time waited.
    Idle,
    /// The log was closed and everything in it has been read; or another process that appended to
    /// it has begun a new life of it.
    Closed,
}

/// Reads the log in order. There is one for each log, for one thread.
#[derive(Debug)]
pub struct Reader {
    feed: Feed,
    disk: Arc<dyn Disk>,
    /// Position of the next record.
    next: u64,
    /// Where on disk the last record came from.
    cursor: Option<Cursor>,
    /// What records from disk are read into.
    spares: Spares,
}

/// Who appends, and how missing positions are accounted for.
#[derive(Debug)]
enum Feed {
    /// This process. All it appends is acknowledged, so what is missing is lost.
    Here {
        shared: Arc<Shared>,
        /// Missing positions that recovery has accounted for.
        missing: VecDeque<Range<u64>>,
    },
    /// Another one, whose recovery is not known: the records tell what was durable.
    Elsewhere {
        follower: Follower,
        gaps: Gaps,
        /// Lost records that have been reported.
        reported: u64,
        /// Where something is missing.
        suspect: Option<Arc<Segment>>,
        damage: Damage,
    },
    /// Who sends, beside who stores: what is missing the other one accounts for.
    Beside(Beside),
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
            feed: Feed::Here { shared, missing },
            disk,
            next: first_unstored,
            cursor: None,
            spares: Spares::default(),
        }
    }

    pub(super) fn following(
        follower: Follower,
        disk: Arc<dyn Disk>,
        first_unstored: u64,
        damage: Damage,
    ) -> Self {
        let feed = Feed::Elsewhere {
            follower,
            gaps: Gaps::new(first_unstored),
            reported: 0,
            suspect: None,
            damage,
        };
        Self {
            feed,
            disk,
            next: first_unstored,
            cursor: None,
            spares: Spares::default(),
        }
    }

    pub(super) fn beside(beside: Beside, disk: Arc<dyn Disk>, next: u64) -> Self {
        Self {
            feed: Feed::Beside(beside),
            disk,
            next,
            cursor: None,
            spares: Spares::default(),
        }
    }

    /// What has not been read yet, for who sends.
    #[must_use]
    pub fn backlog_from(&self, next: Position) -> Backlog {
        match &self.feed {
            Feed::Beside(beside) => beside.backlog(next.0),
            Feed::Here { .. } | Feed::Elsewhere { .. } => Backlog::default(),
        }
    }

    /// Where the log that is followed ends, as far as is known.
    pub(super) fn followed_end(&self) -> Option<u64> {
        match &self.feed {
            Feed::Here { .. } | Feed::Beside(_) => None,
            Feed::Elsewhere { follower, .. } => Some(follower.end()),
        }
    }

    /// Position of the next record: all before have been read or are gone.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.next)
    }

    /// Goes on at a later position, before anything has been read.
    pub(super) fn start_at(&mut self, next: u64) {
        self.next = self.next.max(next);
        if let Feed::Elsewhere { gaps, .. } = &mut self.feed {
            *gaps = Gaps::new(self.next);
        }
    }

    /// Whether the log is closed and all of it has been read.
    pub fn has_ended(&self) -> bool {
        match &self.feed {
            Feed::Here { shared, .. } => {
                matches!(
                    shared.locate_on_disk(self.next, Duration::ZERO),
                    Source::Ended
                )
            }
            Feed::Elsewhere { .. } | Feed::Beside(_) => false,
        }
    }

    /// Takes the next record, waiting for it up to `wait`. Blocks; not for async workers.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk can't be read; the same record is tried again the next time.
    /// [`Error::NewerFormat`] and [`Error::NewerRecord`] when a newer release appends.
    pub fn next(&mut self, wait: Duration) -> Result<Next, Error> {
        loop {
            let source = match &mut self.feed {
                Feed::Here { shared, .. } => shared.locate(self.next, wait),
                Feed::Elsewhere { follower, .. } => follower
                    .locate(self.next, wait)
                    .map_err(|error| Error::io("read", error))?,
                Feed::Beside(beside) => beside.locate(self.next, wait)?,
            };
            match source {
                Source::Memory(record) => {
                    self.cursor = None;
                    self.spares.let_go();
                    self.next = record.position.0 + 1;
                    return Ok(Next::Record(record));
                }
                Source::Disk(live) => {
                    if let Some(record) = self.read(&live)? {
                        self.next = record.position.0 + 1;
                        return Ok(Next::Record(record));
                    }
                }
                Source::Missing(until) => self.skip(until, None),
                Source::Nothing => {
                    self.spares.let_go();
                    return Ok(Next::Idle);
                }
                Source::Ended => return Ok(Next::Closed),
            }
        }
    }

    /// Reads the next record from its segment; `None` when the segment has no more.
    fn read(&mut self, live: &Live) -> Result<Option<Record>, Error> {
        let segment = &live.segment;
        let same = |cursor: &Cursor| cursor.segment.identity == segment.identity;
        let mut opened = false;
        let mut cursor = match self.cursor.take().filter(same) {
            Some(cursor) => cursor,
            None => match self.open(live) {
                Ok(cursor) => {
                    opened = true;
                    cursor
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match &mut self.feed {
                        Feed::Here { .. } => self.skip(live.end, Some(segment)),
                        // Sent, or given up meanwhile.
                        Feed::Beside(Beside::Here(_)) => self.skip(live.end, None),
                        Feed::Beside(Beside::Elsewhere(follower))
                        | Feed::Elsewhere { follower, .. } => follower.forget(),
                    }
                    return Ok(None);
                }
                Err(error) => return Err(Error::io("read", error)),
            },
        };
        cursor.scanner.extend(live.written);
        if opened && let Feed::Elsewhere { gaps, .. } = &mut self.feed {
            precede(gaps, &mut cursor)?;
            self.report();
        }
        let record = self.scan(&mut cursor.scanner, live)?;
        self.cursor = Some(cursor);
        Ok(record)
    }

    fn open(&self, live: &Live) -> io::Result<Cursor> {
        let file = match self.disk.open_read(&live.segment.name) {
            // It gets the other name while the first one is still in use.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && matches!(self.feed, Feed::Beside(_)) =>
            {
                self.disk.open_read(&live.segment.identity.held_name())?
            }
            other => other?,
        };
        let Identity { epoch, first, .. } = live.segment.identity;
        Ok(Cursor {
            segment: Arc::clone(&live.segment),
            scanner: Scanner::new(file, epoch, first, live.written),
        })
    }

    fn scan(&mut self, scanner: &mut Scanner, live: &Live) -> Result<Option<Record>, Error> {
        let failed = |error| Error::io("read", error);
        let segment = &live.segment;
        loop {
            let header = match scanner.next().map_err(failed)? {
                Found::Header(header) if header.position < live.end => header,
                Found::Header(_) | Found::End { .. } => {
                    self.skip(live.end, Some(segment));
                    return Ok(None);
                }
            };
            if header.position < self.next {
                scanner.skip(&header);
                continue;
            }
            match &mut self.feed {
                Feed::Here { .. } => {}
                Feed::Elsewhere { gaps, .. } => {
                    check_known(segment, &header)?;
                    gaps.prove(header.durable_before);
                }
                Feed::Beside(_) => check_known(segment, &header)?,
            }
            self.skip(header.position, Some(segment));
            let kind = PayloadKind::from_byte(header.kind);
            let payload = scanner.payload(&header, &self.spares).map_err(failed)?;
            if let (Some(payload), Some(kind)) = (payload, kind) {
                if let Feed::Elsewhere { gaps, .. } = &mut self.feed {
                    gaps.found(header.position, header.durable_before);
                }
                return Ok(Some(Record {
                    position: Position(header.position),
                    project: ProjectId(header.project),
                    received_unix_nano: header.received_unix_nano,
                    kind,
                    payload,
                }));
            }
            self.skip(header.position + 1, Some(segment));
            if self.next >= live.end {
                return Ok(None);
            }
        }
    }

    /// Goes on at a later position and accounts for what is left out.
    fn skip(&mut self, until: u64, segment: Option<&Arc<Segment>>) {
        let gap = self.next..until;
        self.next = self.next.max(until);
        match &mut self.feed {
            Feed::Here { .. } | Feed::Beside(_) if gap.is_empty() => {}
            Feed::Beside(_) => {
                let records = gap.end - gap.start;
                tracing::debug!(
                    near = gap.start,
                    records,
                    "nothing to send, the log has it not"
                );
            }
            Feed::Here { missing, .. } => {
                let lost = take_unknown(missing, &gap);
                if lost > 0 {
                    self.lost(gap.start, lost, segment);
                }
            }
            Feed::Elsewhere { gaps, suspect, .. } => {
                if gaps.missing_until(until).is_some() {
                    *suspect = segment.map(Arc::clone).or(suspect.take());
                }
                self.report();
            }
        }
    }

    /// Reports what has turned out to be lost of another process's log.
    fn report(&mut self) {
        let next = self.next;
        let Feed::Elsewhere {
            gaps,
            reported,
            suspect,
            ..
        } = &mut self.feed
        else {
            return;
        };
        let lost = gaps.lost - *reported;
        if lost > 0 {
            *reported = gaps.lost;
            let suspect = suspect.take();
            self.lost(next, lost, suspect.as_ref());
        }
    }

    fn lost(&self, near: u64, lost: u64, segment: Option<&Arc<Segment>>) {
        let newly_damaged = segment.is_some_and(|segment| !segment.is_damaged());
        if let Some(segment) = segment.filter(|_| newly_damaged) {
            let kept = set_aside(&*self.disk, segment);
            tracing::error!(name = %segment.name, kept, "segment of the log is damaged");
        }
        tracing::error!(near, lost, "records of the log are lost");
        match &self.feed {
            Feed::Here { shared, .. } => {
                let mut tail = shared.lock();
                tail.lost_records += lost;
                tail.damaged_segments += u64::from(newly_damaged);
            }
            Feed::Elsewhere { damage, .. } => damage.add(lost, u64::from(newly_damaged)),
            Feed::Beside(_) => {}
        }
    }
}

/// Takes a gap out of the known missing positions; answers how many of its positions are not known.
fn take_unknown(missing: &mut VecDeque<Range<u64>>, gap: &Range<u64>) -> u64 {
    let mut lost = gap.end.saturating_sub(gap.start);
    for known in missing.iter().take_while(|known| known.start < gap.end) {
        let end = known.end.min(gap.end);
        lost = lost.saturating_sub(end.saturating_sub(known.start.max(gap.start)));
    }
    while missing.pop_front_if(|known| known.end <= gap.end).is_some() {}
    lost
}

/// Accounts for what lies before a segment of another process's log: its first block says what was
/// durable when it was begun.
fn precede(gaps: &mut Gaps, cursor: &mut Cursor) -> Result<(), Error> {
    let identity = cursor.segment.identity;
    let block = cursor.scanner.first_block();
    match Preamble::decode(block.map_err(|error| Error::io("read", error))?) {
        DecodedPreamble::Newer(version) => {
            return Err(Error::NewerFormat {
                segment: cursor.segment.name.clone(),
                version,
                supported: FORMAT_VERSION,
            });
        }
        DecodedPreamble::Valid(preamble) if preamble.identity == identity => {
            gaps.prove(preamble.durable_before.min(identity.first));
        }
        DecodedPreamble::Valid(_) | DecodedPreamble::Unreadable => {}
    }
    gaps.missing_until(identity.first);
    gaps.settle();
    Ok(())
}
