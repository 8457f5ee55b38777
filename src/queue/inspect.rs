//! What is in a log directory, for `wal inspect` and `wal verify`.
//!
//! Reads only, takes no lock and works beside a running daemon: a segment that the daemon released
//! meanwhile is left out, and a group that it is writing shows as a torn tail, which is sound.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::file::{Directory, Disk, Listed};
use super::gaps::Gaps;
use super::scan::{Found, Scanner};
use super::segment::{DAMAGED_SUFFIX, DecodedPreamble, Identity, Preamble};
use super::{Error, Position};

/// The contents of a log directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One for each subdirectory, by name.
    pub partitions: Vec<Partition>,
}

/// The contents of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Name of the subdirectory.
    pub name: String,
    /// In order of creation.
    pub segments: Vec<Segment>,
    /// Damaged segments that earlier starts set aside.
    pub set_aside: Vec<String>,
    /// Positions between segments that are in none.
    pub missing_between_segments: u64,
}

/// The contents of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// File name.
    pub name: String,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Position that the first record has or would have.
    pub first_position: Position,
    /// Position of the last whole record, if there is any.
    pub last_position: Option<Position>,
    /// Whole records.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Acknowledged records among them that are damaged.
    pub missing: u64,
    /// What condition it is in.
    pub state: State,
}

/// The condition of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All there.
    Whole,
    /// Remains of records that were not acknowledged: a write that was interrupted, or is going
    /// on.
    TornTail,
    /// Records are missing, the file is shorter than it was, or its header block is unreadable.
    Damaged,
    /// Written by a newer release.
    NewerFormat,
}

/// Reads all partitions in a log directory.
///
/// # Errors
/// [`Error::Io`] when the directory or a file in it can't be read.
pub fn inspect(directory: &Path) -> Result<Report, Error> {
    let read = |error| Error::io("read directory of", error);
    let mut partitions = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(read)? {
        let entry = entry.map_err(read)?;
        if !entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let partition = inspect_partition(name, &Directory::new(&entry.path()));
        partitions.push(partition.map_err(|error| Error::io("read", error))?);
    }
    partitions.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(Report { partitions })
}

/// Reads one partition.
pub(super) fn inspect_partition(name: String, disk: &dyn Disk) -> io::Result<Partition> {
    let mut identities = BTreeMap::new();
    let mut set_aside = Vec::new();
    for Listed { name, bytes } in disk.list()? {
        if let Some(identity) = Identity::parse(&name) {
            identities.insert(identity.sequence, (identity, bytes));
        } else if name.ends_with(DAMAGED_SUFFIX) {
            set_aside.push(name);
        }
    }
    set_aside.sort_unstable();
    let mut segments = Vec::new();
    let mut bound = u64::MAX;
    for (identity, bytes) in identities.into_values().rev() {
        let segment = match disk.open_read(&identity.to_string()) {
            Ok(file) => {
                let scanner = Scanner::new(file, identity.epoch, identity.first, bytes);
                inspect_segment(scanner, identity, bytes, bound)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        bound = bound.min(identity.first);
        // Released and perhaps overwritten while it was being read.
        if segment.state == State::Damaged && !still_there(disk, &segment.name)? {
            continue;
        }
        segments.push(segment);
    }
    segments.reverse();
    let pairs = segments.iter().zip(segments.iter().skip(1));
    let missing_between_segments = pairs
        .map(|(segment, next)| {
            let end = segment.last_position.map(|last| last.0 + 1);
            let end = end.unwrap_or(segment.first_position.0);
            next.first_position.0.saturating_sub(end)
        })
        .sum();
    Ok(Partition {
        name,
        segments,
        set_aside,
        missing_between_segments,
    })
}

fn still_there(disk: &dyn Disk, name: &str) -> io::Result<bool> {
    Ok(disk.list()?.iter().any(|listed| listed.name == name))
}

/// Reads one segment up to the first position of the next.
fn inspect_segment(
    mut scanner: Scanner,
    identity: Identity,
    file_bytes: u64,
    bound: u64,
) -> io::Result<Segment> {
    let mut segment = Segment {
        name: identity.to_string(),
        file_bytes,
        first_position: Position(identity.first),
        last_position: None,
        records: 0,
        payload_bytes: 0,
        missing: 0,
        state: State::Whole,
    };
    let preamble = match Preamble::decode(scanner.first_block()?) {
        DecodedPreamble::Newer(_) => {
            segment.state = State::NewerFormat;
            return Ok(segment);
        }
        DecodedPreamble::Valid(preamble) if preamble.identity == identity => Some(preamble),
        DecodedPreamble::Valid(_) | DecodedPreamble::Unreadable => None,
    };
    let (mut gaps, mut torn) = (Gaps::new(identity.first), false);
    while gaps.expected < bound {
        let header = match scanner.next()? {
            Found::Header(header) if header.position < bound => header,
            Found::Header(_) => break,
            Found::End { torn: remains } => {
                torn |= remains;
                break;
            }
        };
        torn = !scanner.verify(&header)?;
        if torn {
            continue;
        }
        gaps.found(header.position, header.durable_before);
        segment.records += 1;
        segment.payload_bytes += u64::from(header.length);
        segment.last_position = Some(Position(header.position));
    }
    gaps.settle();
    segment.missing = gaps.lost;
    let cut = match preamble {
        Some(preamble) => file_bytes < preamble.bytes,
        None => segment.records > 0,
    };
    segment.state = if cut || segment.missing > 0 {
        State::Damaged
    } else if torn || gaps.torn > 0 {
        State::TornTail
    } else {
        State::Whole
    };
    Ok(segment)
}

impl Report {
    /// Whether every record that should be in the log can be read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.partitions.iter().all(Partition::is_sound)
    }
}

impl Partition {
    fn is_sound(&self) -> bool {
        let sound = |segment: &Segment| matches!(segment.state, State::Whole | State::TornTail);
        self.missing_between_segments == 0 && self.segments.iter().all(sound)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for partition in &self.partitions {
            partition.fmt(formatter)?;
        }
        let verdict = if self.is_sound() { "sound" } else { "damaged" };
        writeln!(formatter, "The log is {verdict}.")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: u64 = self.segments.iter().map(|segment| segment.records).sum();
        let bytes: u64 = self.segments.iter().map(|segment| segment.file_bytes).sum();
        let (name, count) = (&self.name, self.segments.len());
        writeln!(
            formatter,
            "{name}: {count} segments, {records} records, {bytes} bytes"
        )?;
        for segment in &self.segments {
            segment.fmt(formatter)?;
        }
        if self.missing_between_segments > 0 {
            let missing = self.missing_between_segments;
            writeln!(formatter, "  {missing} records missing between segments")?;
        }
        for name in &self.set_aside {
            writeln!(formatter, "  set aside earlier: {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "  {}: ", self.name)?;
        match self.last_position {
            Some(last) => write!(formatter, "{}..={}", self.first_position.0, last.0)?,
            None => formatter.write_str("empty")?,
        }
        let (records, bytes) = (self.records, self.payload_bytes);
        write!(formatter, ", {records} records, {bytes} payload bytes")?;
        match self.state {
            State::Whole => writeln!(formatter),
            State::TornTail => writeln!(formatter, ", torn tail"),
            State::Damaged => writeln!(formatter, ", DAMAGED, {} records missing", self.missing),
            State::NewerFormat => writeln!(formatter, ", written by a newer release"),
        }
    }
}
