//! Which points of a batch are new, and what is written for them. Shared by both stores; pure.
//!
//! Points of a series lie in chunks of a quarter of an hour of their times, so that a point is looked for
//! where it must be. A chunk is a set: a point that is in it changes nothing, and points that come in
//! any order make the same one. A chunk has parts, so that what is read and written for a point is
//! bounded where thousands a second come, too, as they do to the series that those beyond the limit
//! share: all parts but the last are full, and only those are read that have points of the times at hand.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::chunk::{Entry, EntryKey, decode, encode};
use super::directory::{Home, Place};
use crate::model::ProjectId;
use crate::model::metric::{SeriesId, Value};
use crate::storage::Error;
use crate::storage::summary::clamp_time;
use crate::storage::write::MetricRows;

/// Length of a chunk, ns. Exporters send every few seconds to every minute.
pub const SLOT_NS: u64 = 15 * 60 * 1_000_000_000;
/// Numbers in a part of a chunk at most, which bounds what is read and written for one point.
const PART_WEIGHT_MAX: usize = 1 << 14;
/// Arrivals are noted in steps this long, ns.
const ARRIVAL_STEP_NS: u64 = 3600 * 1_000_000_000;

/// Where a chunk is. In the order of the stores' keys: what a query of a metric reads lies together, and
/// so does what is written at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    /// Owner.
    pub project: ProjectId,
    /// See [`super::identity::metric_id`].
    pub metric: i64,
    /// First time in it, ns since the Unix epoch.
    pub slot: i64,
    /// Series.
    pub series: SeriesId,
}

/// Chunks as they are stored: by number the last of their parts, and those that have points of the times
/// that were asked for ([`Plan::reads`]).
pub type Stored = BTreeMap<ChunkKey, BTreeMap<i32, Vec<u8>>>;

/// A part of a chunk to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartWrite {
    /// Its chunk.
    pub key: ChunkKey,
    /// Number of the part.
    pub part: i32,
    /// Whether it was not there before.
    pub is_new: bool,
    /// A time after the arrival of what is added, ns since the Unix epoch.
    pub received: i64,
    /// Times of its points: the first and the last, ns since the Unix epoch.
    pub times: Times,
    /// The points.
    pub points: Vec<u8>,
    /// New points in the chunk; said with the first part that is written of it.
    pub added: u64,
    /// Whether series share the chunk because there are too many.
    pub is_overflow: bool,
}

/// A first and a last time, ns since the Unix epoch.
pub type Times = (i64, i64);

/// Points that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// All of them.
    pub stored: u64,
    /// Those that share a series because there are too many.
    pub overflow: u64,
}

impl Added {
    /// Adds what is new in a part.
    pub fn count(&mut self, write: &PartWrite) {
        self.stored += write.added;
        if write.is_overflow {
            self.overflow += write.added;
        }
    }
}

/// The points of a batch by where they go.
#[derive(Debug, Default)]
pub struct Plan {
    chunks: BTreeMap<ChunkKey, Wanted>,
}

/// Points that go to one chunk.
#[derive(Debug, Default)]
struct Wanted {
    entries: Vec<Entry>,
    received: u64,
    is_overflow: bool,
    /// Where they may be already, by their origin here: in which chunk, by which origin there.
    elsewhere: BTreeMap<u64, BTreeSet<(ChunkKey, u64)>>,
}

/// First time of the chunk that a time falls in.
#[must_use]
pub fn slot_of(unix_nano: u64) -> i64 {
    i64::try_from(unix_nano / SLOT_NS * SLOT_NS).unwrap_or(i64::MAX)
}

/// The step after an arrival, so that everything noted with it arrived before.
fn step_after(received: u64) -> i64 {
    let step = (received / ARRIVAL_STEP_NS + 1).saturating_mul(ARRIVAL_STEP_NS);
    i64::try_from(step).unwrap_or(i64::MAX)
}

/// The times of the first and the last of some points.
fn times_of(entries: &[Entry]) -> Option<Times> {
    let times = || entries.iter().map(|it| clamp_time(it.point.time_unix_nano));
    Some((times().min()?, times().max()?))
}

fn weight(entry: &Entry) -> usize {
    1 + match &entry.point.value {
        Value::Histogram(value) => value.counts.len(),
        Value::Exponential(value) => value.positive.counts.len() + value.negative.counts.len(),
        Value::Summary(value) => 2 * value.quantiles.len(),
        Value::Absent | Value::Int(_) | Value::Double(_) => 0,
    }
}

impl Plan {
    /// Sorts the points of a batch by where they go; `homes` are those of its series.
    #[must_use]
    pub fn of(rows: &MetricRows<'_>, homes: &[Home]) -> Self {
        let mut plan = Self::default();
        for row in &rows.points {
            let series = rows.series.get(row.series);
            let Some((series, home)) = series.zip(homes.get(row.series)) else {
                continue;
            };
            let slot = slot_of(row.point.time_unix_nano);
            let key = |place: &Place| ChunkKey {
                project: series.project,
                metric: place.0,
                slot,
                series: place.1,
            };
            let wanted = plan.chunks.entry(key(&home.place)).or_default();
            wanted.entries.push(Entry {
                origin: home.origin,
                point: row.point.clone(),
            });
            wanted.received = wanted.received.max(row.received_unix_nano);
            wanted.is_overflow = home.is_overflow();
            for place in &home.elsewhere {
                let places = wanted.elsewhere.entry(home.origin).or_default();
                places.insert((key(place), series.id.origin()));
            }
        }
        plan
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Only what goes to these chunks.
    #[must_use]
    pub fn only(mut self, keys: &BTreeSet<ChunkKey>) -> Self {
        self.chunks.retain(|key, _| keys.contains(key));
        self
    }

    /// The chunks that must be looked at, in order, and where in them points may be already.
    #[must_use]
    pub fn reads(&self) -> BTreeMap<ChunkKey, Times> {
        let mut reads: BTreeMap<ChunkKey, Times> = BTreeMap::new();
        for (key, wanted) in &self.chunks {
            let Some(times) = times_of(&wanted.entries) else {
                continue;
            };
            let elsewhere = wanted.elsewhere.values().flatten().map(|(key, _)| key);
            for key in elsewhere.chain([key]) {
                let read = reads.entry(*key).or_insert(times);
                *read = (read.0.min(times.0), read.1.max(times.1));
            }
        }
        reads
    }

    fn elsewhere(&self) -> impl Iterator<Item = &ChunkKey> {
        let places = self.chunks.values().flat_map(|it| it.elsewhere.values());
        places.flatten().map(|(key, _)| key)
    }

    /// The latest arrival by chunk, for who notes arrivals.
    pub fn arrivals(&self) -> impl Iterator<Item = (ChunkKey, u64)> {
        let chunks = self.chunks.iter();
        chunks.map(|(key, wanted)| (*key, wanted.received))
    }

    /// The parts to be written, in order, given what is stored.
    ///
    /// # Errors
    /// [`Error::Poison`] when a stored chunk can't be read: what goes to it is set aside, and holds
    /// up nothing else.
    pub fn merge(&self, stored: &Stored) -> Result<Vec<PartWrite>, Error> {
        // Once, for all the series that have points there.
        let mut known = BTreeMap::new();
        for key in self.elsewhere().collect::<BTreeSet<_>>() {
            let mut entries = HashSet::new();
            for part in stored.get(key).into_iter().flat_map(BTreeMap::values) {
                entries.extend(read(part)?.iter().map(Entry::key));
            }
            known.insert(*key, entries);
        }
        let mut writes = Vec::new();
        for (key, wanted) in &self.chunks {
            merge_chunk(key, wanted, (stored, &known), &mut writes)?;
        }
        Ok(writes)
    }
}

/// The points of chunks, by their keys there.
type Elsewhere = BTreeMap<ChunkKey, HashSet<EntryKey>>;

fn read(part: &[u8]) -> Result<Vec<Entry>, Error> {
    decode(part).map_err(|source| Error::Poison {
        context: "read points of metrics",
        source: Box::new(source),
    })
}

/// Adds the writes for one chunk.
fn merge_chunk(
    key: &ChunkKey,
    wanted: &Wanted,
    (stored, elsewhere): (&Stored, &Elsewhere),
    writes: &mut Vec<PartWrite>,
) -> Result<(), Error> {
    let parts = stored.get(key);
    let mut seen: HashSet<EntryKey> = HashSet::new();
    let mut last = Vec::new();
    for part in parts.into_iter().flat_map(BTreeMap::values) {
        last = read(part)?;
        seen.extend(last.iter().map(Entry::key));
    }
    let before = last.len();
    for entry in &wanted.entries {
        if !is_elsewhere(entry, wanted, elsewhere) && seen.insert(entry.key()) {
            last.push(entry.clone());
        }
    }
    let mut added = (last.len() - before) as u64;
    if added == 0 {
        return Ok(());
    }
    last.sort_by_key(Entry::key);
    let last_part = parts.and_then(|parts| parts.keys().next_back().copied());
    for (number, part) in (last_part.unwrap_or(0)..).zip(split(&last)) {
        writes.push(PartWrite {
            key: *key,
            part: number,
            is_new: last_part.is_none_or(|last| number > last),
            received: step_after(wanted.received),
            times: times_of(part).unwrap_or_default(),
            points: encode(part),
            added: std::mem::take(&mut added),
            is_overflow: wanted.is_overflow,
        });
    }
    Ok(())
}

/// Whether a point is stored with others already.
fn is_elsewhere(entry: &Entry, wanted: &Wanted, elsewhere: &Elsewhere) -> bool {
    let (time, start, origin) = entry.key();
    let mut places = wanted.elsewhere.get(&origin).into_iter().flatten();
    places.any(|(key, there)| {
        let there = (time, start, *there);
        elsewhere.get(key).is_some_and(|keys| keys.contains(&there))
    })
}

/// Pieces that are not too large, the last one with room.
fn split(entries: &[Entry]) -> Vec<&[Entry]> {
    let mut pieces = Vec::new();
    let (mut rest, mut taken, mut numbers) = (entries, 0, 0);
    for entry in entries {
        let more = weight(entry);
        if numbers + more > PART_WEIGHT_MAX && taken > 0 {
            let (piece, after) = rest.split_at(taken);
            pieces.push(piece);
            (rest, taken, numbers) = (after, 0, 0);
        }
        taken += 1;
        numbers += more;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests;
