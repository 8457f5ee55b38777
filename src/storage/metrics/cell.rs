//! What points of a bucket add up to.

use super::distribution::{Distribution, grown};
use super::engine::is_level;
use super::query::{Aggregation, MetricKey};
use crate::model::metric::{Exponential, Histogram, MetricKind, Point, Temporality, Totals, Value};

/// Points of one start that follow each other.
#[derive(Debug, Default)]
pub(super) struct Stream {
    before: Option<Value>,
    /// Bucket and value of the last point of a level.
    level: Option<(u64, f64)>,
}

/// What a point adds.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Its number, or what distributions have in place of one.
    value: Option<f64>,
    /// What a total grew by.
    increase: Option<f64>,
    /// Measurements, and their sum, that are new.
    count: Option<u64>,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
    buckets: Option<New>,
    is_level: bool,
}

/// New measurements in buckets.
#[derive(Debug)]
enum New {
    Histogram(Box<Histogram>, Vec<u64>),
    Exponential(Box<Exponential>, Option<Box<Exponential>>),
}

impl Stream {
    /// What a point adds to those before it. `from`: when the first point that is known may be; a
    /// total that started earlier has counted what is not known.
    pub(super) fn step(&mut self, key: &MetricKey, point: &Point, from: u64) -> Step {
        if point.value == Value::Absent {
            return Step::default();
        }
        let is_total =
            key.temporality == Temporality::Cumulative || key.kind == MetricKind::Summary;
        let before = self.before.take();
        // Whole: a total since a start that is known, or what was measured since the point before.
        let is_whole = !is_total || point.start_unix_nano >= from && point.start_unix_nano > 0;
        let step = match &point.value {
            Value::Absent => Step::default(),
            Value::Int(value) => number(key, *value as f64, before.as_ref(), is_total, is_whole),
            Value::Double(value) => number(key, *value, before.as_ref(), is_total, is_whole),
            Value::Histogram(value) => {
                let earlier = match &before {
                    Some(Value::Histogram(before)) if is_total => Some(before),
                    _ => None,
                };
                let totals = earlier.map(|it| it.totals);
                let mut step = distribution(&value.totals, totals, is_whole);
                let continues = earlier.filter(|it| it.totals.count <= value.totals.count);
                let counts = match continues {
                    Some(it) if same_bounds(it, value) => grown(&value.counts, &it.counts),
                    // Other buckets than before: what is new in them is not known.
                    Some(_) => None,
                    None => (is_whole || earlier.is_some()).then(|| value.counts.clone()),
                };
                step.buckets = counts.map(|counts| New::Histogram(value.clone(), counts));
                step
            }
            Value::Exponential(value) => {
                let earlier = match before {
                    Some(Value::Exponential(before)) if is_total => Some(before),
                    _ => None,
                };
                let totals = earlier.as_ref().map(|it| it.totals);
                let mut step = distribution(&value.totals, totals, is_whole);
                let was_there = earlier.is_some();
                let continues = earlier.filter(|it| it.totals.count <= value.totals.count);
                if continues.is_some() || is_whole || was_there {
                    step.buckets = Some(New::Exponential(value.clone(), continues));
                }
                step
            }
            Value::Summary(value) => {
                let totals = |it: &crate::model::metric::Summary| Totals {
                    count: it.count,
                    sum: Some(it.sum),
                    ..Totals::default()
                };
                let earlier = match &before {
                    Some(Value::Summary(before)) => Some(totals(before)),
                    _ => None,
                };
                distribution(&totals(value), earlier, is_whole)
            }
        };
        self.before = Some(point.value.clone());
        step
    }

    /// Notes the level at a point; answers the last one of the bucket that it leaves.
    pub(super) fn level(&mut self, bucket: u64, step: &Step) -> Option<(u64, f64)> {
        let value = step.value.filter(|_| step.is_level)?;
        let left = self.level.replace((bucket, value));
        left.filter(|(left, _)| *left != bucket)
    }

    /// The last level of the last bucket.
    pub(super) fn last_level(&self) -> Option<(u64, f64)> {
        self.level
    }
}

fn same_bounds(a: &Histogram, b: &Histogram) -> bool {
    let bits = |it: &Histogram| it.bounds.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
    bits(a) == bits(b)
}

fn number(
    key: &MetricKey,
    value: f64,
    before: Option<&Value>,
    is_total: bool,
    is_whole: bool,
) -> Step {
    let before = match before {
        Some(Value::Int(before)) => Some(*before as f64),
        Some(Value::Double(before)) => Some(*before),
        _ => None,
    };
    let increase = match before.filter(|_| is_total) {
        // What only grows and fell has begun anew.
        Some(before) if value < before && key.is_monotonic => Some(value),
        Some(before) => Some(value - before),
        None => is_whole.then_some(value),
    };
    Step {
        value: Some(value),
        increase: increase.filter(|_| key.kind == MetricKind::Sum),
        min: Some(value),
        max: Some(value),
        is_level: is_level(key),
        ..Step::default()
    }
}

fn distribution(totals: &Totals, before: Option<Totals>, is_whole: bool) -> Step {
    let sum = totals.sum.unwrap_or_default();
    let (count, sum) = match before {
        Some(before) => match totals.count.checked_sub(before.count) {
            Some(count) => (Some(count), sum - before.sum.unwrap_or_default()),
            None => (Some(totals.count), sum),
        },
        None if is_whole => (Some(totals.count), sum),
        None => (None, 0.0),
    };
    Step {
        count,
        sum,
        increase: count.map(|count| count as f64),
        min: totals.min,
        max: totals.max,
        ..Step::default()
    }
}

/// A bucket of a group.
#[derive(Debug, Default)]
pub(super) struct Cell {
    points: u64,
    total: f64,
    increase: Option<f64>,
    level: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    last: Option<(u64, f64)>,
    count: Option<u64>,
    sum: f64,
    distribution: Distribution,
}

impl Cell {
    /// Adds what a point says; answers how many more numbers it holds.
    pub(super) fn add(&mut self, step: &Step, time: u64, with_buckets: bool) -> usize {
        if let Some(value) = step.value {
            self.points += 1;
            self.total += value;
            if self.last.is_none_or(|(last, _)| time >= last) {
                self.last = Some((time, value));
            }
        }
        if let Some(increase) = step.increase {
            self.increase = Some(self.increase.unwrap_or_default() + increase);
        }
        if let Some(count) = step.count {
            self.count = Some(self.count.unwrap_or_default().saturating_add(count));
            self.sum += step.sum;
        }
        // An empty distribution has neither.
        if step.value.is_some() || step.count.is_some_and(|count| count > 0) {
            if let Some(min) = step.min {
                self.min = Some(self.min.map_or(min, |least| least.min(min)));
            }
            if let Some(max) = step.max {
                self.max = Some(self.max.map_or(max, |most| most.max(max)));
            }
        }
        let Some(buckets) = step.buckets.as_ref().filter(|_| with_buckets) else {
            return 0;
        };
        let before = self.distribution.numbers();
        match buckets {
            New::Histogram(value, counts) => self.distribution.add_histogram(value, counts),
            New::Exponential(value, before) => {
                self.distribution.add_exponential(value, before.as_deref());
            }
        }
        self.distribution.numbers().saturating_sub(before)
    }

    /// Adds the last level of a series.
    pub(super) fn add_level(&mut self, level: f64) {
        self.level = Some(self.level.unwrap_or_default() + level);
    }

    /// What is asked for; `None` when there is nothing to say.
    pub(super) fn answer(&self, aggregation: Aggregation, seconds: f64) -> Option<f64> {
        let measured = self.count.is_some().then_some(self.sum);
        match aggregation {
            Aggregation::Rate => self
                .increase
                .filter(|_| seconds > 0.0)
                .map(|it| it / seconds),
            Aggregation::Increase => self.increase,
            Aggregation::Sum => measured.or(self.level).or(self.increase),
            Aggregation::Avg => match self.count {
                Some(0) => None,
                Some(count) => Some(self.sum / count as f64),
                None => (self.points > 0).then(|| self.total / self.points as f64),
            },
            Aggregation::Min => self.min,
            Aggregation::Max => self.max,
            Aggregation::Last => self.last.map(|(_, value)| value),
            Aggregation::Count => match self.count {
                Some(count) => Some(count as f64),
                None => (self.points > 0).then_some(self.points as f64),
            },
            Aggregation::Quantile(percent) => {
                self.distribution.quantile(f64::from(percent) / 100.0)
            }
        }
    }
}
