//! Adds up the points of a metric by groups of its series. Shared by both stores; pure.
//!
//! A store tells which series a metric has ([`super::gather`]), then shows their chunks in the order of time. A cumulative total
//! counts as what it grew by from one point to the next of the same start: one that begins anew has
//! another start, and counts from zero; so does one that fell. What it was before the range is
//! looked up in the hour before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::cell::{Cell, Stream};
use super::chunk::{Entry, decode};
use super::gather::{Gather, Gathered, Values};
use super::merge::{SLOT_NS, slot_of};
use super::query::{Aggregation, Group, MetricAnswer, MetricKey, MetricQuery, NoAnswer};
use crate::model::metric::{MetricKind, SeriesId, Temporality};
use crate::storage::Error;

/// How far before the range a total is looked for, ns.
const LOOK_BACK_NS: u64 = 4 * SLOT_NS;
/// Numbers of distributions that are held at most; some megabytes.
const NUMBERS_MAX: usize = 2_000_000;

/// What is known of a wanted series.
#[derive(Debug)]
struct Wanted {
    key: Arc<MetricKey>,
    group: usize,
    /// In the order of their first points.
    streams: BTreeMap<(u64, u64), Stream>,
}

/// A question being answered.
#[derive(Debug)]
pub struct Engine<'q> {
    query: &'q MetricQuery,
    aggregation: Aggregation,
    metrics: BTreeSet<Arc<MetricKey>>,
    wanted: HashMap<SeriesId, Wanted>,
    groups: Vec<Arc<Values>>,
    cells: BTreeMap<(usize, u64), Cell>,
    numbers: usize,
    is_cut: bool,
    /// The chunk whose parts are being shown.
    open: Option<Open>,
}

/// Parts of a chunk.
#[derive(Debug)]
struct Open {
    slot: i64,
    series: SeriesId,
    parts: Vec<Vec<u8>>,
}

impl<'q> Engine<'q> {
    /// Begins with the series of the metric.
    ///
    /// # Errors
    /// There is nothing to answer.
    pub fn new(gathered: Gather<'q>) -> Result<Self, NoAnswer> {
        let Gathered {
            query,
            aggregation,
            groups,
            series,
            is_cut,
        } = gathered.finish()?;
        let mut engine = Self {
            query,
            aggregation,
            metrics: BTreeSet::new(),
            wanted: HashMap::new(),
            groups,
            cells: BTreeMap::new(),
            numbers: 0,
            is_cut,
            open: None,
        };
        for (id, key, group) in series {
            if let Ok(group) = engine.groups.binary_search(&group) {
                engine.metrics.insert(Arc::clone(&key));
                let wanted = Wanted {
                    key,
                    group,
                    streams: BTreeMap::new(),
                };
                engine.wanted.insert(id, wanted);
            }
        }
        Ok(engine)
    }

    /// The first and the last chunk to be shown.
    #[must_use]
    pub fn slots(&self) -> (i64, i64) {
        let first = self.query.start_unix_nano.saturating_sub(LOOK_BACK_NS);
        let last = self.query.end_unix_nano.saturating_sub(1);
        (slot_of(first), slot_of(last))
    }

    /// The series of which chunks are to be shown, if they are few.
    #[must_use]
    pub fn few(&self, max: usize) -> Option<Vec<SeriesId>> {
        (self.wanted.len() <= max).then(|| self.wanted.keys().copied().collect())
    }

    /// Shows a part of a chunk of any series of the metric, in the order of slots, series and parts.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the chunk before can't be read; [`Error::Timeout`] when there is too
    /// much to add up.
    pub fn show(&mut self, slot: i64, series: SeriesId, part: Vec<u8>) -> Result<(), Error> {
        if !self.wanted.contains_key(&series) {
            return Ok(());
        }
        match &mut self.open {
            Some(open) if open.slot == slot && open.series == series => {
                open.parts.push(part);
                Ok(())
            }
            _ => {
                let parts = vec![part];
                let before = self.open.replace(Open {
                    slot,
                    series,
                    parts,
                });
                self.add(before)
            }
        }
    }

    /// Adds a chunk that is whole.
    fn add(&mut self, chunk: Option<Open>) -> Result<(), Error> {
        let Some(chunk) = chunk else { return Ok(()) };
        let Some(wanted) = self.wanted.get_mut(&chunk.series) else {
            return Ok(());
        };
        let mut entries = Vec::new();
        for part in &chunk.parts {
            entries.append(&mut decode(part)?);
        }
        entries.sort_by_key(Entry::key);
        let from = self.query.start_unix_nano.saturating_sub(LOOK_BACK_NS);
        let range = self.query.start_unix_nano..self.query.end_unix_nano;
        for entry in &entries {
            let point = &entry.point;
            let time = point.time_unix_nano;
            if time < from || time >= range.end {
                continue;
            }
            let start = match wanted.key.temporality {
                // A level goes on when its process begins anew.
                Temporality::Cumulative if !is_level(&wanted.key) => point.start_unix_nano,
                _ => 0,
            };
            let stream = wanted.streams.entry((entry.origin, start)).or_default();
            let step = stream.step(&wanted.key, point, from);
            if !range.contains(&time) {
                continue;
            }
            let bucket = self.query.bucket_of(time);
            if let Some((bucket, level)) = stream.level(bucket, &step)
                && let Some(cell) = self.cells.get_mut(&(wanted.group, bucket))
            {
                cell.add_level(level);
            }
            let cell = self.cells.entry((wanted.group, bucket)).or_default();
            let with_buckets = matches!(self.aggregation, Aggregation::Quantile(_));
            self.numbers += cell.add(&step, time, with_buckets);
            if self.numbers > NUMBERS_MAX {
                return Err(Error::Timeout);
            }
        }
        Ok(())
    }

    /// The answer.
    ///
    /// # Errors
    /// As [`Engine::show`].
    pub fn finish(mut self) -> Result<MetricAnswer, Error> {
        let last = self.open.take();
        self.add(last)?;
        let by_id: BTreeMap<_, _> = self.wanted.iter().collect();
        for wanted in by_id.values() {
            for stream in wanted.streams.values() {
                if let Some((bucket, level)) = stream.last_level()
                    && let Some(cell) = self.cells.get_mut(&(wanted.group, bucket))
                {
                    cell.add_level(level);
                }
            }
        }
        let series_count = self.wanted.len() as u64;
        let groups = self.groups.into_iter().enumerate().map(|(number, values)| {
            let cells = self.cells.range((number, 0)..=(number, u64::MAX));
            let points = cells.filter_map(|((_, bucket), cell)| {
                let seconds = self.query.seconds_in(*bucket);
                Some((*bucket, cell.answer(self.aggregation, seconds)?))
            });
            Group {
                values: Arc::unwrap_or_clone(values),
                points: points.collect(),
            }
        });
        Ok(MetricAnswer {
            groups: groups.collect(),
            metrics: self.metrics.into_iter().map(Arc::unwrap_or_clone).collect(),
            aggregation: self.aggregation,
            series_count,
            is_cut: self.is_cut,
        })
    }
}

/// Whether values of a metric are a level at a time and not a total.
pub(super) fn is_level(key: &MetricKey) -> bool {
    match key.kind {
        MetricKind::Gauge => true,
        MetricKind::Sum => !key.is_monotonic && key.temporality != Temporality::Delta,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
