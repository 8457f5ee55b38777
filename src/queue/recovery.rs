//! What a start does with the segments it finds.
//!
//! Reads what is not stored yet, checks every checksum, and works out where the log ends, what is
//! missing and whether it was acknowledged. Changes no segment: damaged ones get a second name
//! under which they stay, and new records always go to a new segment.
//!
//! A position is *lost* when something written later says that it was durable; a hole among
//! records of one group, the last of its segment, is *torn*: the machine died before the sync
//! that would have acknowledged it.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{Disk, Listed};
use super::gaps::Gaps;
use super::record::Header;
use super::scan::{Found, Scanner};
use super::segment::{
    DAMAGED_SUFFIX, DecodedPreamble, FORMAT_VERSION, Identity, Preamble, SPARE, SUFFIX, Segment,
};
use super::tail::Live;
use super::{Error, PayloadKind, Position, RecoveryReport, Start, note, record, tee};

/// Damaged segments kept for inspection; the oldest go first.
const SET_ASIDE_MAX: usize = 16;

/// The log as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: VecDeque<Live>,
    /// Positions that the reader will not find, and that are accounted for.
    pub(super) missing: VecDeque<Range<u64>>,
    /// Everything below is stored.
    pub(super) first_unstored: u64,
    pub(super) next_position: u64,
    /// Every position below was durable.
    pub(super) durable_before: u64,
    pub(super) next_sequence: u64,
    pub(super) report: RecoveryReport,
}

/// A segment before its records have been read.
#[derive(Debug)]
struct Candidate {
    segment: Segment,
    scanner: Scanner,
    preamble: Option<Preamble>,
    /// Positions below this were durable when the segment was begun.
    durable_before: u64,
    /// Records at or above this were not acknowledged, or are in a later segment.
    bound: u64,
}

/// Reads the log in a directory, from where the start says. What is stored is removed, or renamed
/// when it `holds` what is to be sent.
pub(super) fn recover(disk: &dyn Disk, start: Start, holds: bool) -> Result<Recovered, Error> {
    let mut scan = Scan::new(holds);
    let names = scan.tidy(disk)?;
    // What is kept to be sent is stored, and its positions are taken.
    let taken = match holds && names.is_empty() {
        true => tee::held_end(disk).map_err(|error| Error::io("read", error))?,
        false => 1,
    };
    let first_unstored = match start {
        Start::At(first_unstored) => first_unstored.0.max(1),
        Start::Noted => {
            let noted = note::read_stored(disk).map_err(|error| Error::io("read", error))?;
            // What lies below the oldest segment was released, though the note may be older.
            let oldest = names.first().map(|(identity, _)| identity.first);
            noted.max(oldest).unwrap_or(1).max(1)
        }
    };
    scan.begin(first_unstored.max(taken));
    let candidates = scan.open(disk, names)?;
    let mut candidates = bound(disk, candidates).into_iter().peekable();
    while let Some(candidate) = candidates.next() {
        let proof = candidates.peek().map(|next| next.durable_before);
        scan.segment(disk, candidate, proof)?;
    }
    Ok(scan.finish())
}

/// Gives a damaged segment a second name that stays when the segment is released. Returns
/// whether that could be done.
pub(super) fn set_aside(disk: &dyn Disk, segment: &Segment) -> bool {
    segment.damaged.store(true, Ordering::Release);
    let name = format!("{}{DAMAGED_SUFFIX}", segment.name);
    match disk.link(&segment.name, &name) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::AlreadyExists,
    }
}

fn remove(disk: &dyn Disk, name: &str) {
    if let Err(error) = disk.remove(name) {
        tracing::warn!(%name, %error, "can't remove a file of the log");
    }
}

/// Drops segments that were made but never written, and limits each to the positions below the
/// ones that follow: what a segment holds above was left behind by a failed write.
fn bound(disk: &dyn Disk, candidates: Vec<Candidate>) -> VecDeque<Candidate> {
    let mut kept = VecDeque::new();
    let mut bound = u64::MAX;
    for mut candidate in candidates.into_iter().rev() {
        let first = candidate.segment.identity.first;
        // The first records repeat what the header block says, should that be damaged.
        let found = match &candidate.preamble {
            Some(preamble) => Ok(Some(preamble.durable_before)),
            None => candidate.scanner.next().map(|found| match found {
                Found::Header(header) if header.position == first => Some(header.durable_before),
                Found::Header(_) | Found::End { torn: true } => Some(first),
                Found::End { torn: false } => None,
            }),
        };
        let durable_before = found.unwrap_or(Some(first));
        let Some(durable_before) = durable_before.filter(|_| first < bound) else {
            remove(disk, &candidate.segment.name);
            continue;
        };
        candidate.durable_before = durable_before.min(first);
        candidate.bound = bound;
        bound = first;
        kept.push_front(candidate);
    }
    kept
}

#[derive(Debug)]
struct Scan {
    /// What is stored is kept under another name, for who sends it.
    holds: bool,
    first_unstored: u64,
    gaps: Gaps,
    segments: VecDeque<Live>,
    missing: VecDeque<Range<u64>>,
    next_sequence: u64,
    report: RecoveryReport,
}

impl Scan {
    fn new(holds: bool) -> Self {
        Self {
            holds,
            first_unstored: 1,
            gaps: Gaps::new(1),
            segments: VecDeque::new(),
            missing: VecDeque::new(),
            next_sequence: 1,
            report: RecoveryReport::default(),
        }
    }

    /// Says that everything below the position is stored.
    fn begin(&mut self, first_unstored: u64) {
        self.first_unstored = first_unstored;
        self.gaps = Gaps::new(first_unstored);
    }

    /// Lists segments in order of creation and clears away what is none.
    fn tidy(&mut self, disk: &dyn Disk) -> Result<Vec<(Identity, u64)>, Error> {
        let mut names = Vec::new();
        let mut damaged = Vec::new();
        let files = disk.list().map_err(|error| Error::io("list", error))?;
        for Listed { name, bytes } in files {
            let held = Identity::parse_held(&name);
            if let Some(identity) = Identity::parse(&name).or(held) {
                self.next_sequence = self.next_sequence.max(identity.sequence.saturating_add(1));
                if held.is_none() {
                    names.push((identity, bytes));
                }
            } else if name == SPARE {
                remove(disk, &name);
            } else if name.ends_with(DAMAGED_SUFFIX) {
                damaged.push(name);
            } else if name.ends_with(SUFFIX) {
                let aside = format!("{name}{DAMAGED_SUFFIX}");
                tracing::error!(%name, %aside, "not a segment of the log, set aside");
                let renamed = disk.rename(&name, &aside);
                renamed.map_err(|error| Error::io("rename", error))?;
                self.report.damaged_segments.push(name);
            }
        }
        names.sort_unstable_by_key(|(identity, _)| identity.sequence);
        damaged.sort_unstable();
        let excess = damaged.len().saturating_sub(SET_ASIDE_MAX);
        for name in damaged.iter().take(excess) {
            remove(disk, name);
        }
        Ok(names)
    }

    /// Opens the segments that may hold something that is not stored yet; removes the others.
    fn open(&self, disk: &dyn Disk, names: Vec<(Identity, u64)>) -> Result<Vec<Candidate>, Error> {
        let mut candidates = Vec::new();
        let mut later = names.clone().into_iter().skip(1);
        for (identity, bytes) in names {
            let next = later.next().map(|(next, _)| next.first);
            if next.is_some_and(|next| next <= self.first_unstored) {
                self.retire(disk, &identity);
                continue;
            }
            let segment = Segment::new(identity, bytes);
            let file = disk.open_read(&segment.name);
            let file = file.map_err(|error| Error::io("open", error))?;
            let mut scanner = Scanner::new(file, identity.epoch, identity.first, bytes);
            let block = scanner.first_block();
            let block = block.map_err(|error| Error::io("read", error))?;
            let preamble = match Preamble::decode(block) {
                DecodedPreamble::Newer(version) => {
                    return Err(Error::NewerFormat {
                        segment: segment.name,
                        version,
                        supported: FORMAT_VERSION,
                    });
                }
                DecodedPreamble::Valid(preamble) => Some(preamble),
                DecodedPreamble::Unreadable => None,
            };
            candidates.push(Candidate {
                segment,
                scanner,
                preamble: preamble.filter(|preamble| preamble.identity == identity),
                durable_before: identity.first,
                bound: u64::MAX,
            });
        }
        Ok(candidates)
    }

    /// Takes a segment without anything that is not stored out of the queue.
    fn retire(&self, disk: &dyn Disk, identity: &Identity) {
        let name = identity.to_string();
        if !self.holds {
            return remove(disk, &name);
        }
        if let Err(error) = disk.rename(&name, &identity.held_name()) {
            tracing::error!(%name, %error, "can't keep a segment of the log to be sent: it is given up");
            remove(disk, &name);
        }
    }

    /// Reads one segment; `proof` is what the next one says of it.
    fn segment(
        &mut self,
        disk: &dyn Disk,
        mut candidate: Candidate,
        proof: Option<u64>,
    ) -> Result<(), Error> {
        let (lost, records) = (self.gaps.lost, self.report.records);
        self.gaps.prove(candidate.durable_before);
        let gap = self.gaps.missing_until(candidate.segment.identity.first);
        self.missing.extend(gap);
        // Records say what was durable of their own segment; its beginning, of those before.
        self.gaps.settle();
        let (payload_bytes, torn) = self.records(&mut candidate)?;
        if let Some(proof) = proof {
            self.gaps.prove(proof);
            self.missing
                .extend(self.gaps.missing_until(candidate.bound));
        }
        self.gaps.settle();
        self.report.torn_tail = torn;
        let Candidate {
            segment, preamble, ..
        } = candidate;
        let cut = preamble.is_none_or(|preamble| segment.bytes < preamble.bytes);
        if cut || self.gaps.lost > lost {
            let kept = set_aside(disk, &segment);
            tracing::error!(name = %segment.name, kept, "segment of the log is damaged");
            self.report.damaged_segments.push(segment.name.clone());
        }
        if self.report.records == records {
            self.retire(disk, &segment.identity);
            return Ok(());
        }
        self.segments.push_back(Live {
            written: segment.bytes,
            segment: Arc::new(segment),
            end: self.gaps.expected,
            sealed: true,
            payload_bytes,
        });
        Ok(())
    }

    /// Reads the records of a segment. Returns the bytes of their payloads, and whether the
    /// remains of a record follow them.
    fn records(&mut self, candidate: &mut Candidate) -> Result<(u64, bool), Error> {
        let read = |error| Error::io("read", error);
        let (mut payload_bytes, mut torn) = (0, false);
        while self.gaps.expected < candidate.bound {
            let header = match candidate.scanner.next().map_err(read)? {
                Found::Header(header) if header.position < candidate.bound => header,
                Found::Header(_) => break,
                Found::End { torn: remains } => {
                    torn |= remains;
                    break;
                }
            };
            if header.position < self.first_unstored {
                candidate.scanner.skip(&header);
                self.gaps.prove(header.durable_before);
                continue;
            }
            check_known(&candidate.segment, &header)?;
            torn = !candidate.scanner.verify(&header).map_err(read)?;
            if torn {
                continue;
            }
            let gap = self.gaps.found(header.position, header.durable_before);
            self.missing.extend(gap);
            self.report.records += 1;
            payload_bytes += u64::from(header.length);
        }
        self.report.payload_bytes += payload_bytes;
        Ok((payload_bytes, torn))
    }

    fn finish(mut self) -> Recovered {
        let next_position = self.gaps.expected;
        self.report.segments = self.segments.len();
        self.report.lost_records = self.gaps.lost;
        self.report.torn_records = self.gaps.torn;
        self.report.next_position = Position(next_position);
        Recovered {
            durable_before: self.gaps.durable_before.min(next_position),
            segments: self.segments,
            missing: self.missing,
            first_unstored: self.first_unstored,
            next_position,
            next_sequence: self.next_sequence,
            report: self.report,
        }
    }
}

/// Refuses records that only a newer release can read.
pub(super) fn check_known(segment: &Segment, header: &Header) -> Result<(), Error> {
    if header.version > record::VERSION || PayloadKind::from_byte(header.kind).is_none() {
        return Err(Error::NewerRecord {
            segment: segment.name.clone(),
            position: Position(header.position),
        });
    }
    Ok(())
}
