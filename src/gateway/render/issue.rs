//! Issues.

use serde::Serialize;

use super::{EventDetail, time};
use crate::model::fingerprint::Fingerprint;
use crate::storage::issues::{Issue as Stored, IssueBucket, LEVELS};

/// Events of a fingerprint, a type and a level.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Issue {
    fingerprint: String,
    #[serde(rename = "type")]
    kind: String,
    level: &'static str,
    status: &'static str,
    regressed: bool,
    status_changed_time: Option<String>,
    event_count: u64,
    first_seen_time: String,
    last_seen_time: String,
    message: String,
    services: Vec<String>,
    environments: Vec<String>,
    releases: Vec<String>,
}

impl From<Stored> for Issue {
    fn from(issue: Stored) -> Self {
        let level = LEVELS.get(usize::from(issue.level));
        Self {
            fingerprint: issue.fingerprint.to_string(),
            level: level.copied().unwrap_or("error"),
            status: issue.status().as_str(),
            regressed: issue.is_regressed(),
            status_changed_time: issue.said.map(|(_, at)| time(at)),
            event_count: issue.event_count,
            first_seen_time: time(issue.first_unix_nano),
            last_seen_time: time(issue.last_unix_nano),
            kind: issue.kind,
            message: issue.message,
            services: issue.services,
            environments: issue.environments,
            releases: issue.releases,
        }
    }
}

/// Events of some length of time.
#[derive(Debug, Serialize)]
struct Bucket {
    start_time: String,
    event_count: u64,
}

/// Events over time.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Timeline {
    start_time: String,
    end_time: String,
    step_seconds: u64,
    buckets: Vec<Bucket>,
}

impl Timeline {
    /// All stretches from a start to an end, with what was counted in them.
    pub(in crate::gateway) fn new(
        start: u64,
        end: u64,
        step: u64,
        counted: &[IssueBucket],
    ) -> Self {
        let step = step.max(1);
        let mut counted = counted.iter().peekable();
        let mut buckets = Vec::new();
        let mut at = start;
        while at < end {
            let next = at.saturating_add(step);
            let mut event_count = 0_u64;
            while let Some(bucket) = counted.next_if(|it| it.start_unix_nano < next) {
                event_count = event_count.saturating_add(bucket.event_count);
            }
            buckets.push(Bucket {
                start_time: time(at),
                event_count,
            });
            at = next;
        }
        Self {
            start_time: time(start),
            end_time: time(end),
            step_seconds: step / 1_000_000_000,
            buckets,
        }
    }
}

/// All of a fingerprint.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Detail {
    fingerprint: String,
    status: &'static str,
    regressed: bool,
    event_count: u64,
    first_seen_time: String,
    last_seen_time: String,
    issues: Vec<Issue>,
    timeline: Timeline,
    events: Vec<EventDetail>,
}

impl Detail {
    /// Of what is stored; `None` when that is nothing. It came back when any type or level of it did.
    pub(in crate::gateway) fn new(
        fingerprint: Fingerprint,
        groups: Vec<Stored>,
        timeline: Timeline,
        events: Vec<EventDetail>,
    ) -> Option<Self> {
        let first = groups.iter().map(|it| it.first_unix_nano).min()?;
        let latest = groups.iter().max_by_key(|it| it.last_unix_nano)?;
        Some(Self {
            fingerprint: fingerprint.to_string(),
            status: latest.status().as_str(),
            regressed: latest.is_regressed(),
            event_count: groups.iter().map(|it| it.event_count).sum(),
            first_seen_time: time(first),
            last_seen_time: time(latest.last_unix_nano),
            issues: groups.into_iter().map(Issue::from).collect(),
            timeline,
            events,
        })
    }
}
