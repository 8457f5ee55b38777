//! Adding up distributions of any buckets, and reading percentiles from them.
//!
//! Within a bucket, measurements are taken to be spread evenly. Buckets of several layouts may overlap: what
//! each says counts.

use std::collections::BTreeMap;

use crate::model::metric::{Buckets, Exponential, Histogram, Totals};

/// Measurements in buckets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Distribution {
    /// By bounds, as bits.
    explicit: BTreeMap<Vec<u64>, Vec<u64>>,
    /// By scale, the buckets above and below zero by index.
    powers: BTreeMap<(i32, bool), BTreeMap<i32, u64>>,
    /// Measurements of zero, by up to where that is, as bits.
    zeros: BTreeMap<u64, u64>,
    least: Option<f64>,
    largest: Option<f64>,
    /// Whether all that was added said its least and largest.
    is_bounded: bool,
    is_begun: bool,
}

/// Measurements between two values.
#[derive(Debug, Clone, Copy)]
struct Interval {
    low: f64,
    high: f64,
    count: u64,
}

impl Interval {
    /// Measurements up to a value; those of just that value, where the interval is one, only if they
    /// are `included`.
    fn until(&self, value: f64, included: bool) -> f64 {
        let share = if value > self.high || value == self.high && (included || self.low < value) {
            1.0
        } else if value <= self.low {
            0.0
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.count as f64 * share
    }
}

/// The difference of counts, where each has grown.
pub(super) fn grown(counts: &[u64], before: &[u64]) -> Option<Vec<u64>> {
    if counts.len() != before.len() {
        return None;
    }
    let pairs = counts.iter().zip(before);
    pairs
        .map(|(now, before)| now.checked_sub(*before))
        .collect()
}

impl Distribution {
    /// Adds measurements in buckets with these bounds.
    pub(super) fn add_histogram(&mut self, value: &Histogram, counts: &[u64]) {
        let bounds: Vec<_> = value.bounds.iter().map(|it| it.to_bits()).collect();
        let sums = self.explicit.entry(bounds).or_default();
        sums.resize(counts.len().max(sums.len()), 0);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.saturating_add(*count);
        }
        self.bound(&value.totals);
    }

    /// Adds measurements in buckets of powers, as far as they are more than some before.
    pub(super) fn add_exponential(&mut self, value: &Exponential, before: Option<&Exponential>) {
        let zeros = value.zero_count;
        let zeros = zeros.saturating_sub(before.map_or(0, |before| before.zero_count));
        if zeros > 0 {
            let threshold = value.zero_threshold.abs().to_bits();
            let all: &mut u64 = self.zeros.entry(threshold).or_default();
            *all = all.saturating_add(zeros);
        }
        let sides = [
            (true, &value.positive, before.map(|it| &it.positive)),
            (false, &value.negative, before.map(|it| &it.negative)),
        ];
        for (is_positive, buckets, of_before) in sides {
            let mut indexed = by_index(buckets, 0);
            if let (Some(of_before), Some(before)) = (of_before, before) {
                let shift = before.scale.saturating_sub(value.scale);
                for (index, count) in by_index(of_before, shift) {
                    let now = indexed.entry(index).or_default();
                    *now = now.saturating_sub(count);
                }
            }
            let sums = self.powers.entry((value.scale, is_positive)).or_default();
            for (index, count) in indexed.into_iter().filter(|(_, count)| *count > 0) {
                let sum = sums.entry(index).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        self.bound(&value.totals);
    }

    fn bound(&mut self, totals: &Totals) {
        let is_bounded =
            totals.min.is_some_and(f64::is_finite) && totals.max.is_some_and(f64::is_finite);
        self.is_bounded = is_bounded && (self.is_bounded || !self.is_begun);
        self.is_begun = true;
        if let Some(min) = totals.min {
            self.least = Some(self.least.map_or(min, |least| least.min(min)));
        }
        if let Some(max) = totals.max {
            self.largest = Some(self.largest.map_or(max, |largest| largest.max(max)));
        }
    }

    /// Numbers that it holds.
    pub(super) fn numbers(&self) -> usize {
        let explicit: usize = self.explicit.values().map(Vec::len).sum();
        let powers: usize = self.powers.values().map(BTreeMap::len).sum();
        2 * explicit + 2 * powers + self.zeros.len()
    }

    /// The value that this share of measurements does not exceed; `None` when there are none in
    /// buckets.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let intervals = self.intervals();
        let total: f64 = intervals.iter().map(|it| it.count as f64).sum();
        if total <= 0.0 {
            return None;
        }
        let mut edges: Vec<_> = intervals.iter().flat_map(|it| [it.low, it.high]).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let count = |value: f64, included| -> f64 {
            intervals.iter().map(|it| it.until(value, included)).sum()
        };
        let until = |value| count(value, true);
        let target = total * share;
        // The first edge up to which there are as many; rounding must not pass over the last.
        let place = edges.partition_point(|edge| until(*edge) < target);
        let place = place.min(edges.len().saturating_sub(1));
        let high = edges.get(place).copied()?;
        let low = place.checked_sub(1).and_then(|before| edges.get(before));
        let value = low.map_or(high, |low| {
            let (from, to) = (until(*low), count(high, false));
            if to > from && target < to {
                low + (high - low) * ((target - from) / (to - from)).clamp(0.0, 1.0)
            } else {
                high
            }
        });
        match (self.least, self.largest) {
            (Some(least), Some(largest)) if self.is_bounded && least <= largest => {
                Some(value.clamp(least, largest))
            }
            _ => Some(value),
        }
    }

    fn intervals(&self) -> Vec<Interval> {
        let mut intervals = Vec::new();
        for (bounds, counts) in &self.explicit {
            let bound = |place: usize| bounds.get(place).map(|bits| f64::from_bits(*bits));
            for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let below = place
                    .checked_sub(1)
                    .and_then(bound)
                    .filter(|it| it.is_finite());
                let above = bound(place).filter(|it| it.is_finite());
                let low = below.or_else(|| self.lowest(above));
                let high = above.or_else(|| self.highest(below));
                if let (Some(low), Some(high)) = (low, high) {
                    intervals.push(Interval {
                        low: low.min(high),
                        high,
                        count: *count,
                    });
                }
            }
        }
        for ((scale, is_positive), buckets) in &self.powers {
            for (index, count) in buckets {
                let near = power(*scale, *index);
                let far = power(*scale, index.saturating_add(1));
                let (low, high) = if *is_positive {
                    (near, far)
                } else {
                    (-far, -near)
                };
                intervals.push(Interval {
                    low,
                    high,
                    count: *count,
                });
            }
        }
        for (threshold, count) in &self.zeros {
            let threshold = f64::from_bits(*threshold);
            let threshold = if threshold.is_finite() {
                threshold
            } else {
                0.0
            };
            intervals.push(Interval {
                low: -threshold,
                high: threshold,
                count: *count,
            });
        }
        intervals
    }

    /// Where the first bucket begins: at the least value if that is known, at zero if it may.
    fn lowest(&self, above: Option<f64>) -> Option<f64> {
        let above = above.or(self.largest)?;
        let least = self.least.filter(|least| least.is_finite());
        Some(least.unwrap_or(0.0).min(above))
    }

    /// Where the last bucket ends: at the largest value if that is known, else where it begins.
    fn highest(&self, below: Option<f64>) -> Option<f64> {
        let below = below.or(self.least)?;
        let largest = self.largest.filter(|largest| largest.is_finite());
        Some(largest.unwrap_or(below).max(below))
    }
}

/// Counts by index, as they are `shift` scales coarser.
fn by_index(buckets: &Buckets, shift: i32) -> BTreeMap<i32, u64> {
    let mut indexed = BTreeMap::new();
    for (index, count) in (buckets.offset..).zip(&buckets.counts) {
        let index = index >> shift.clamp(0, 31);
        let all: &mut u64 = indexed.entry(index).or_default();
        *all = all.saturating_add(*count);
    }
    indexed
}

/// The lower bound of a bucket, as far as a double goes.
fn power(scale: i32, index: i32) -> f64 {
    let exponent = f64::from(index) * f64::from(-scale).exp2();
    exponent.exp2().min(f64::MAX)
}

#[cfg(test)]
mod tests;
