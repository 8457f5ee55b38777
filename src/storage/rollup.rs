//! What a batch adds to rollups and services. Pure: sums, minima and maxima, so that any order and
//! split of the same spans adds up to the same.

use std::collections::BTreeMap;

use super::summary::clamp_time;
use super::write::SpanRow;
use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::model::histogram::Histogram;
use crate::model::span::Status;

const NS_PER_MINUTE: i64 = 60 * 1_000_000_000;

/// Distinct minutes and groups one batch may touch; what is over goes to the service
/// [`OVERFLOW`], so that a client that invents names can't grow the table without bound.
const KEYS_PER_BATCH_MAX: usize = 4096;

/// Stands for everything over the bound.
const OVERFLOW: &str = "other";

/// How long the time bucket of a rollup is. Every span is counted once in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// One minute.
    Minute = 0,
    /// One hour.
    Hour = 1,
    /// One day (UTC).
    Day = 2,
}

impl Level {
    /// All levels, shortest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Minutes in a bucket.
    #[must_use]
    pub const fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 24 * 60,
        }
    }
}

/// Buckets of one level that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Length of the buckets.
    pub level: Level,
    /// First minute in it, minutes since the Unix epoch.
    pub start: i64,
    /// First minute after it.
    pub end: i64,
}

/// The fewest buckets that add up to exactly a range, in which no bucket holds a bound of a step:
/// days where they fit, hours before and after them, minutes at the ends. All in minutes; at most
/// five stretches, in order.
#[must_use]
pub fn cover(start: i64, end: i64, step: Option<u32>) -> Vec<Stretch> {
    let fits_step =
        |level: &Level| step.is_none_or(|step| i64::from(step.max(1)) % level.minutes() == 0);
    let levels: Vec<_> = Level::ALL.into_iter().filter(fits_step).collect();
    let mut stretches = Vec::new();
    cover_with(&levels, start, end, &mut stretches);
    stretches
}

/// `levels` are shortest first.
fn cover_with(levels: &[Level], start: i64, end: i64, out: &mut Vec<Stretch>) {
    let Some((level, finer)) = levels.split_last() else {
        return;
    };
    if start >= end {
        return;
    }
    let minutes = level.minutes();
    let first = start.div_euclid(minutes) * minutes;
    let first = if first < start {
        first + minutes
    } else {
        first
    };
    let after = end.div_euclid(minutes) * minutes;
    if first >= after {
        cover_with(finer, start, end, out);
        return;
    }
    cover_with(finer, start, first, out);
    out.push(Stretch {
        level: *level,
        start: first,
        end: after,
    });
    cover_with(finer, after, end, out);
}

/// What a rollup row is about. Sorts as stores order their keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Length of the time bucket.
    pub level: Level,
    /// Start of the time bucket, minutes since the Unix epoch.
    pub minute: i64,
    /// Service name.
    pub service: &'a str,
    /// Operation name.
    pub operation: &'a str,
    /// Provider; empty when unknown.
    pub provider: &'a str,
    /// Model; empty when unknown.
    pub model: &'a str,
}

/// What a rollup row adds up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// Latest arrival, ns.
    pub received: i64,
    /// Spans.
    pub span_count: i64,
    /// Those with status error.
    pub error_count: i64,
    /// Sum of durations, ns; stops at the largest integer.
    pub duration_sum_ns: i64,
    /// Durations.
    pub durations: Histogram,
    /// Tokens and cost of model calls.
    pub totals: Totals,
}

/// What a batch adds to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSums {
    /// Latest arrival, ns.
    pub received: i64,
    /// Earliest span start, ns.
    pub first_seen: i64,
    /// Latest span start, ns.
    pub last_seen: i64,
    /// Spans.
    pub span_count: i64,
    /// Those with status error.
    pub error_count: i64,
}

/// What a batch adds.
#[derive(Debug, Default)]
pub struct Rollups<'a> {
    minutes: BTreeMap<Key<'a>, Sums>,
    /// By project and service name.
    pub services: BTreeMap<(ProjectId, &'a str), ServiceSums>,
}

impl<'a> Rollups<'a> {
    /// Adds a span that is new to the store.
    pub fn add(&mut self, span: &'a SpanRow<'a>, service: &'a str) {
        let received = clamp_time(span.received_unix_nano);
        let key = self.key_of(span, service);
        let sums = self.minutes.entry(key).or_default();
        sums.received = sums.received.max(received);
        sums.span_count += 1;
        sums.error_count += i64::from(span.status == Status::Error);
        sums.duration_sum_ns = sums
            .duration_sum_ns
            .saturating_add(clamp_time(span.duration_ns()));
        sums.durations.record(span.duration_ns());
        sums.totals.add(span.basics.counted());
        self.add_to_service(span, service);
    }

    /// The rows of every level, in key order.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<Key<'a>, Sums> {
        let mut rows = self.minutes.clone();
        for level in [Level::Hour, Level::Day] {
            for (key, sums) in &self.minutes {
                let minute = key.minute.div_euclid(level.minutes()) * level.minutes();
                let key = Key {
                    level,
                    minute,
                    ..key.clone()
                };
                rows.entry(key).or_default().merge(sums);
            }
        }
        rows
    }

    fn key_of(&self, span: &'a SpanRow<'a>, service: &'a str) -> Key<'a> {
        let basics = &span.basics;
        let key = Key {
            project: span.project,
            level: Level::Minute,
            minute: clamp_time(span.start_unix_nano) / NS_PER_MINUTE,
            service,
            operation: basics.operation.as_str(),
            provider: basics.provider.as_deref().unwrap_or_default(),
            model: basics.model().unwrap_or_default(),
        };
        if self.minutes.len() < KEYS_PER_BATCH_MAX || self.minutes.contains_key(&key) {
            return key;
        }
        Key {
            minute: clamp_time(span.received_unix_nano) / NS_PER_MINUTE,
            service: OVERFLOW,
            operation: OVERFLOW,
            provider: "",
            model: "",
            ..key
        }
    }

    fn add_to_service(&mut self, span: &SpanRow<'_>, service: &'a str) {
        let start = clamp_time(span.start_unix_nano);
        let received = clamp_time(span.received_unix_nano);
        let crowded = self.services.len() >= KEYS_PER_BATCH_MAX
            && !self.services.contains_key(&(span.project, service));
        let service = if crowded { OVERFLOW } else { service };
        let sums = self
            .services
            .entry((span.project, service))
            .or_insert(ServiceSums {
                received,
                first_seen: start,
                last_seen: start,
                span_count: 0,
                error_count: 0,
            });
        sums.received = sums.received.max(received);
        sums.first_seen = sums.first_seen.min(start);
        sums.last_seen = sums.last_seen.max(start);
        sums.span_count += 1;
        sums.error_count += i64::from(span.status == Status::Error);
    }
}

impl Sums {
    /// Adds another row's sums.
    pub fn merge(&mut self, other: &Self) {
        self.received = self.received.max(other.received);
        self.span_count = self.span_count.saturating_add(other.span_count);
        self.error_count = self.error_count.saturating_add(other.error_count);
        self.duration_sum_ns = self.duration_sum_ns.saturating_add(other.duration_sum_ns);
        self.durations.merge(&other.durations);
        self.totals.add(other.totals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_covered_by_days_then_hours_then_minutes() {
        let day = 24 * 60;
        let covered = |start, end, step| {
            let stretches = cover(start, end, step);
            let parts = stretches
                .iter()
                .map(|part| (part.level, part.start, part.end));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(
            covered(day - 61, 3 * day + 121, None),
            [
                (Level::Minute, day - 61, day - 60),
                (Level::Hour, day - 60, day),
                (Level::Day, day, 3 * day),
                (Level::Hour, 3 * day, 3 * day + 120),
                (Level::Minute, 3 * day + 120, 3 * day + 121),
            ]
        );
        let hours = [(Level::Hour, 0, 3 * day)];
        assert_eq!(covered(0, 3 * day, Some(60)), hours);
        assert_eq!(covered(0, 3 * day, Some(90)), [(Level::Minute, 0, 3 * day)]);
        assert_eq!(covered(5, 50, None), [(Level::Minute, 5, 50)]);
        assert_eq!(covered(5, 5, None), []);
    }

    proptest::proptest! {
        // Scenario: any range and step.
        // Guarantees: what covers it joins to exactly the range, in whole buckets.
        #[test]
        fn what_covers_a_range_joins_to_it(
            start in 0_i64..100_000,
            length in 0_i64..100_000,
            step in proptest::option::of(proptest::sample::select(vec![1_u32, 60, 90, 1440, 10_080])),
        ) {
            let mut at = start;
            for part in cover(start, start + length, step) {
                proptest::prop_assert_eq!(part.start, at);
                proptest::prop_assert!(part.start < part.end);
                proptest::prop_assert_eq!(part.start % part.level.minutes(), 0);
                proptest::prop_assert_eq!(part.end % part.level.minutes(), 0);
                at = part.end;
            }
            proptest::prop_assert_eq!(at, start + length);
        }
    }

    #[test]
    fn every_level_adds_up_to_the_same() {
        let mut rollups = Rollups::default();
        for minute in [0, 59, 60, 61, 1440] {
            let key = Key {
                project: ProjectId::DEFAULT,
                level: Level::Minute,
                minute,
                service: "api",
                operation: "http",
                provider: "",
                model: "",
            };
            let sums = Sums {
                span_count: minute + 1,
                ..Sums::default()
            };
            rollups.minutes.insert(key, sums);
        }
        let rows = rollups.rows();
        for level in Level::ALL {
            let of_level = rows.iter().filter(|(key, _)| key.level == level);
            let sum: i64 = of_level.map(|(_, sums)| sums.span_count).sum();
            assert_eq!(sum, 1 + 60 + 61 + 62 + 1441, "{level:?}");
        }
        let buckets: Vec<_> = rows.keys().map(|key| (key.level, key.minute)).collect();
        assert!(buckets.contains(&(Level::Hour, 60)) && buckets.contains(&(Level::Day, 1440)));
    }
}
