//! What a batch adds to rollups and services. Pure: sums, minima and maxima, so that any order and
//! split of the same spans adds up to the same.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::calls::Change;
use super::summary::clamp_time;
use super::write::{ResourceRow, SpanRow};
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
    pub service: Cow<'a, str>,
    /// Operation name.
    pub operation: Cow<'a, str>,
    /// Provider; empty when unknown.
    pub provider: Cow<'a, str>,
    /// Model; empty when unknown.
    pub model: Cow<'a, str>,
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
    /// What is to be taken away again, after all else is added.
    pub removed: Totals,
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

/// Which groups of a batch get rows of their own. A property of the batch as it came.
#[derive(Debug, Default)]
pub struct Crowd<'a> {
    /// Absent when there can't be too many.
    own: Option<BTreeSet<Key<'a>>>,
}

impl<'a> Crowd<'a> {
    /// Looks at the spans of a batch and the resources they refer to.
    #[must_use]
    pub fn of(spans: &'a [SpanRow<'a>], resources: &'a [ResourceRow<'a>]) -> Self {
        if spans.len() <= KEYS_PER_BATCH_MAX {
            return Self::default();
        }
        let mut own = BTreeSet::new();
        for span in spans {
            if own.len() == KEYS_PER_BATCH_MAX {
                break;
            }
            if let Some(resource) = resources.get(span.resource) {
                own.insert(Key::of(span, &resource.service_name));
            }
        }
        let is_full = own.len() == KEYS_PER_BATCH_MAX;
        Self {
            own: is_full.then_some(own),
        }
    }

    /// Whether a span goes to what is over the bound.
    #[must_use]
    pub fn has_no_room_for(&self, span: &'a SpanRow<'a>, service: &'a str) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| !own.contains(&Key::of(span, service)))
    }
}

impl<'a> Key<'a> {
    fn of(span: &'a SpanRow<'a>, service: &'a str) -> Self {
        let basics = &span.basics;
        Self {
            project: span.project,
            level: Level::Minute,
            minute: clamp_time(span.start_unix_nano) / NS_PER_MINUTE,
            service: Cow::Borrowed(service),
            operation: Cow::Borrowed(basics.operation.as_str()),
            provider: Cow::Borrowed(basics.provider.as_deref().unwrap_or_default()),
            model: Cow::Borrowed(basics.model().unwrap_or_default()),
        }
    }

    /// The row of what is over the bound, by arrival, ns.
    const fn overflow(project: ProjectId, received: i64) -> Self {
        Self {
            project,
            level: Level::Minute,
            minute: received / NS_PER_MINUTE,
            service: Cow::Borrowed(OVERFLOW),
            operation: Cow::Borrowed(OVERFLOW),
            provider: Cow::Borrowed(""),
            model: Cow::Borrowed(""),
        }
    }
}

/// Rows of every level, in key order.
pub type Rows<'a> = BTreeMap<Key<'a>, Sums>;

/// What a batch adds.
#[derive(Debug, Default)]
pub struct Rollups<'a> {
    minutes: BTreeMap<Key<'a>, Sums>,
    /// By project and service name.
    pub services: BTreeMap<(ProjectId, &'a str), ServiceSums>,
}

impl<'a> Rollups<'a> {
    /// Adds a span that is new to the store; what it counts for is another matter (`change`).
    pub fn add(&mut self, span: &'a SpanRow<'a>, service: &'a str, crowd: &Crowd<'a>) {
        let received = clamp_time(span.received_unix_nano);
        let key = if crowd.has_no_room_for(span, service) {
            Key::overflow(span.project, received)
        } else {
            Key::of(span, service)
        };
        let sums = self.minutes.entry(key).or_default();
        sums.received = sums.received.max(received);
        sums.span_count += 1;
        sums.error_count += i64::from(span.status == Status::Error);
        sums.duration_sum_ns = sums
            .duration_sum_ns
            .saturating_add(clamp_time(span.duration_ns()));
        sums.durations.record(span.duration_ns());
        self.add_to_service(span, service);
    }

    /// Adds or takes away what a span counts for.
    pub fn change(&mut self, project: ProjectId, change: &Change<'a>) {
        let key = match change.crowded_at {
            Some(received) => Key::overflow(project, received),
            None => Key {
                project,
                level: Level::Minute,
                minute: change.start / NS_PER_MINUTE,
                service: change.service.clone(),
                operation: change.operation.clone(),
                provider: change.provider.clone(),
                model: change.model.clone(),
            },
        };
        let sums = self.minutes.entry(key).or_default();
        sums.totals.add(change.added);
        sums.removed.add(change.removed);
    }

    /// The rows of every level, in key order.
    #[must_use]
    pub fn rows(&self) -> Rows<'a> {
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
        self.removed.add(other.removed);
    }
}
