//! How points of a series are stored: those of a quarter of an hour together.
//!
//! # Format
//!
//! A byte, the version, then the points in order of (time, start, origin), each as numbers of seven bits
//! a byte that say how it differs from the one before: an exporter sends at even intervals, keeps the
//! start and adds little to its counts, so a number mostly takes three bytes and a histogram hardly
//! more than one a bucket.
//!
//! A point is a tag: kind (3 bits), start (2 bits: as before, the time before, zero, else), whether
//! there is an origin, whether there are exemplars; then the time as the change of the interval, the
//! start where it is said, origin, value and exemplars.

use crate::model::metric::{
    Buckets, EXEMPLARS_MAX, Exemplar, Exponential, Histogram, Point, Summary, Totals, Value,
};
use crate::model::{SpanId, TraceId};
use crate::storage::Error;

use super::bytes::{Reader, Writer};

const VERSION: u8 = 1;

/// A point as it is stored, with the series it is of where several share one.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// See [`crate::model::metric::SeriesId::origin`]; zero where the series has its points alone.
    pub origin: u64,
    /// The point.
    pub point: Point,
}

/// What identifies a point within what it is stored with.
pub type EntryKey = (u64, u64, u64);

impl Entry {
    /// Its identity, which is its place too.
    #[must_use]
    pub fn key(&self) -> EntryKey {
        (
            self.point.time_unix_nano,
            self.point.start_unix_nano,
            self.origin,
        )
    }
}

mod kind {
    pub(super) const ABSENT: u64 = 0;
    pub(super) const INT: u64 = 1;
    pub(super) const DOUBLE: u64 = 2;
    pub(super) const HISTOGRAM: u64 = 3;
    pub(super) const EXPONENTIAL: u64 = 4;
    pub(super) const SUMMARY: u64 = 5;
}

const START_AS_BEFORE: u64 = 0;
const START_AT_TIME_BEFORE: u64 = 1;
const START_UNKNOWN: u64 = 2;
const START_ELSE: u64 = 3;
const HAS_ORIGIN: u64 = 1 << 5;
const HAS_EXEMPLARS: u64 = 1 << 6;

/// What the next point is told from.
#[derive(Debug, Default)]
struct Before {
    time: u64,
    interval: i64,
    start: u64,
    int: i64,
    double: f64,
    totals: Totals,
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

/// Encodes points, which are in order.
#[must_use]
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes.push(VERSION);
    let mut before = Before::default();
    for entry in entries {
        put(&mut out, entry, &mut before);
    }
    out.bytes
}

fn put(out: &mut Writer, entry: &Entry, before: &mut Before) {
    let point = &entry.point;
    let kind = match &point.value {
        Value::Absent => kind::ABSENT,
        Value::Int(_) => kind::INT,
        Value::Double(_) => kind::DOUBLE,
        Value::Histogram(_) => kind::HISTOGRAM,
        Value::Exponential(_) => kind::EXPONENTIAL,
        Value::Summary(_) => kind::SUMMARY,
    };
    let start = match point.start_unix_nano {
        start if start == before.start => START_AS_BEFORE,
        start if start == before.time => START_AT_TIME_BEFORE,
        0 => START_UNKNOWN,
        _ => START_ELSE,
    };
    let mut tag = kind | start << 3;
    if entry.origin != 0 {
        tag |= HAS_ORIGIN;
    }
    if !point.exemplars.is_empty() {
        tag |= HAS_EXEMPLARS;
    }
    out.number(tag);
    let interval = difference(point.time_unix_nano, before.time);
    out.signed(interval.wrapping_sub(before.interval));
    if start == START_ELSE {
        out.signed(difference(point.start_unix_nano, point.time_unix_nano));
    }
    if entry.origin != 0 {
        out.bytes.extend(entry.origin.to_be_bytes());
    }
    put_value(out, &point.value, before);
    if !point.exemplars.is_empty() {
        put_exemplars(out, point);
    }
    before.time = point.time_unix_nano;
    before.interval = interval;
    before.start = point.start_unix_nano;
}

fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b).cast_signed()
}

fn put_value(out: &mut Writer, value: &Value, before: &mut Before) {
    match value {
        Value::Absent => {}
        Value::Int(value) => {
            out.signed(value.wrapping_sub(before.int));
            before.int = *value;
        }
        Value::Double(value) => {
            out.double(*value, before.double);
            before.double = *value;
        }
        Value::Histogram(value) => {
            put_totals(out, &value.totals, before);
            put_counts(out, value, before);
        }
        Value::Exponential(value) => {
            put_totals(out, &value.totals, before);
            out.signed(value.scale.into());
            out.number(value.zero_count);
            out.double(value.zero_threshold, 0.0);
            for buckets in [&value.positive, &value.negative] {
                out.number(buckets.counts.len() as u64);
                out.signed(buckets.offset.into());
                buckets.counts.iter().for_each(|count| out.number(*count));
            }
        }
        Value::Summary(value) => {
            out.number(value.count);
            out.double(value.sum, 0.0);
            out.number(value.quantiles.len() as u64);
            for (quantile, value) in &value.quantiles {
                out.double(*quantile, 0.0);
                out.double(*value, 0.0);
            }
        }
    }
}

fn put_totals(out: &mut Writer, totals: &Totals, before: &mut Before) {
    out.signed(difference(totals.count, before.totals.count));
    let there = [totals.sum, totals.min, totals.max].map(|it| it.is_some());
    let there = there
        .iter()
        .rev()
        .fold(0, |all, it| all << 1 | u8::from(*it));
    out.bytes.push(there);
    let last = &before.totals;
    for (value, last) in [
        (totals.sum, last.sum),
        (totals.min, last.min),
        (totals.max, last.max),
    ] {
        if let Some(value) = value {
            out.double(value, last.unwrap_or_default());
        }
    }
    before.totals = *totals;
}

/// Buckets of a histogram: bounds only where they are others than before, counts as they changed.
fn put_counts(out: &mut Writer, value: &Histogram, before: &mut Before) {
    let same = |a: &[f64], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
    };
    let is_same = same(&value.bounds, &before.bounds) && value.counts.len() == before.counts.len();
    out.bytes.push(u8::from(!is_same));
    if !is_same {
        out.number(value.bounds.len() as u64);
        let mut last = 0.0;
        for bound in &value.bounds {
            out.double(*bound, last);
            last = *bound;
        }
        out.number(value.counts.len() as u64);
        before.bounds.clone_from(&value.bounds);
        before.counts = vec![0; value.counts.len()];
    }
    for (count, last) in value.counts.iter().zip(&mut before.counts) {
        out.signed(difference(*count, *last));
        *last = *count;
    }
}

fn put_exemplars(out: &mut Writer, point: &Point) {
    let kept = point.exemplars.iter().take(EXEMPLARS_MAX);
    out.number(kept.len() as u64);
    for exemplar in kept {
        out.signed(difference(exemplar.time_unix_nano, point.time_unix_nano));
        out.double(exemplar.value, 0.0);
        out.bytes.extend(exemplar.trace_id.0);
        out.bytes.push(u8::from(exemplar.span_id.is_some()));
        out.bytes
            .extend(exemplar.span_id.iter().flat_map(|id| id.0));
    }
}

/// Decodes points.
///
/// # Errors
/// [`Error::Corrupt`] when the bytes are not what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    take_all(bytes).ok_or_else(|| Error::Corrupt {
        context: "points of a metric".to_owned(),
    })
}

fn take_all(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut input = Reader::new(bytes);
    if input.byte()? != VERSION {
        return None;
    }
    let mut before = Before::default();
    let mut entries = Vec::new();
    while !input.is_empty() {
        entries.push(take(&mut input, &mut before)?);
    }
    Some(entries)
}

fn take(input: &mut Reader<'_>, before: &mut Before) -> Option<Entry> {
    let tag = input.number()?;
    let interval = before.interval.wrapping_add(input.signed()?);
    let time_unix_nano = before.time.wrapping_add(interval.cast_unsigned());
    let start_unix_nano = match tag >> 3 & 3 {
        START_AS_BEFORE => before.start,
        START_AT_TIME_BEFORE => before.time,
        START_UNKNOWN => 0,
        _ => time_unix_nano.wrapping_add(input.signed()?.cast_unsigned()),
    };
    let origin = match tag & HAS_ORIGIN {
        0 => 0,
        _ => u64::from_be_bytes(input.array()?),
    };
    let value = take_value(input, tag & 7, before)?;
    let exemplars = match tag & HAS_EXEMPLARS {
        0 => Vec::new(),
        _ => take_exemplars(input, time_unix_nano)?,
    };
    before.time = time_unix_nano;
    before.interval = interval;
    before.start = start_unix_nano;
    Some(Entry {
        origin,
        point: Point {
            time_unix_nano,
            start_unix_nano,
            value,
            exemplars,
        },
    })
}

fn take_value(input: &mut Reader<'_>, kind: u64, before: &mut Before) -> Option<Value> {
    Some(match kind {
        kind::ABSENT => Value::Absent,
        kind::INT => {
            before.int = before.int.wrapping_add(input.signed()?);
            Value::Int(before.int)
        }
        kind::DOUBLE => {
            before.double = input.double(before.double)?;
            Value::Double(before.double)
        }
        kind::HISTOGRAM => {
            let totals = take_totals(input, before)?;
            take_counts(input, before)?;
            Value::Histogram(Box::new(Histogram {
                totals,
                bounds: before.bounds.clone(),
                counts: before.counts.clone(),
            }))
        }
        kind::EXPONENTIAL => {
            let totals = take_totals(input, before)?;
            Value::Exponential(Box::new(Exponential {
                totals,
                scale: i32::try_from(input.signed()?).ok()?,
                zero_count: input.number()?,
                zero_threshold: input.double(0.0)?,
                positive: take_buckets(input)?,
                negative: take_buckets(input)?,
            }))
        }
        kind::SUMMARY => {
            let (count, sum) = (input.number()?, input.double(0.0)?);
            let quantiles = (0..input.count()?)
                .map(|_| Some((input.double(0.0)?, input.double(0.0)?)))
                .collect::<Option<_>>()?;
            Value::Summary(Box::new(Summary {
                count,
                sum,
                quantiles,
            }))
        }
        _ => return None,
    })
}

fn take_totals(input: &mut Reader<'_>, before: &mut Before) -> Option<Totals> {
    let last = before.totals;
    let count = last.count.wrapping_add(input.signed()?.cast_unsigned());
    let there = input.byte()?;
    let mut optional = |bit: u8, last: Option<f64>| match there & bit {
        0 => Some(None),
        _ => input.double(last.unwrap_or_default()).map(Some),
    };
    before.totals = Totals {
        count,
        sum: optional(1, last.sum)?,
        min: optional(2, last.min)?,
        max: optional(4, last.max)?,
    };
    Some(before.totals)
}

fn take_counts(input: &mut Reader<'_>, before: &mut Before) -> Option<()> {
    if input.byte()? != 0 {
        let mut last = 0.0;
        before.bounds.clear();
        for _ in 0..input.count()? {
            last = input.double(last)?;
            before.bounds.push(last);
        }
        before.counts = vec![0; input.count()?];
    }
    for count in &mut before.counts {
        *count = count.wrapping_add(input.signed()?.cast_unsigned());
    }
    Some(())
}

fn take_buckets(input: &mut Reader<'_>) -> Option<Buckets> {
    let count = input.count()?;
    let offset = i32::try_from(input.signed()?).ok()?;
    let counts = (0..count).map(|_| input.number());
    Some(Buckets {
        offset,
        counts: counts.collect::<Option<_>>()?,
    })
}

fn take_exemplars(input: &mut Reader<'_>, time: u64) -> Option<Vec<Exemplar>> {
    (0..input.count()?)
        .map(|_| {
            let time_unix_nano = time.wrapping_add(input.signed()?.cast_unsigned());
            let value = input.double(0.0)?;
            let trace_id = TraceId(input.array()?);
            let span_id = match input.byte()? {
                0 => None,
                _ => Some(SpanId(input.array()?)),
            };
            Some(Exemplar {
                time_unix_nano,
                value,
                trace_id,
                span_id,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
