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

    /// The coarsest level whose buckets fit a range and step, all in minutes.
    #[must_use]
    pub fn coarsest(start: i64, end: i64, step: Option<u32>) -> Self {
        let fits = |level: &Self| {
            let minutes = level.minutes();
            start % minutes == 0
                && end % minutes == 0
                && step.is_none_or(|step| i64::from(step) % minutes == 0)
        };
        Self::ALL
            .into_iter()
            .rev()
            .find(fits)
            .unwrap_or(Self::Minute)
    }
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
    fn the_coarsest_level_that_fits_is_read() {
        let day = 24 * 60;
        assert_eq!(Level::coarsest(0, 30 * day, None), Level::Day);
        assert_eq!(Level::coarsest(0, 30 * day, Some(60)), Level::Hour);
        assert_eq!(Level::coarsest(60, 30 * day, None), Level::Hour);
        assert_eq!(Level::coarsest(0, 30 * day, Some(90)), Level::Minute);
        assert_eq!(Level::coarsest(1, 30 * day, None), Level::Minute);
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
