//! What the new events of a batch add to issues.

use std::collections::{BTreeMap, BTreeSet};

use super::{BUCKET_NS, Details, LATEST_MAX, NAMES_MAX};
use crate::model::ProjectId;
use crate::model::event::EventId;
use crate::storage::summary::clamp_time;
use crate::storage::write::{EventRow, ResourceRow};

/// Level of what names none: only errors have a fingerprint of their own then.
const LEVEL_UNKNOWN: u8 = 4;
/// Numbers of a level.
const SEVERITIES_PER_LEVEL: u8 = 4;

/// Which row of issues.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::storage) struct Key {
    pub(in crate::storage) project: ProjectId,
    pub(in crate::storage) fingerprint: i64,
    pub(in crate::storage) level: u8,
    pub(in crate::storage) kind: String,
}

/// What is added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage) struct Tally {
    pub(in crate::storage) count: i64,
    pub(in crate::storage) first: i64,
    pub(in crate::storage) last: i64,
    pub(in crate::storage) received: i64,
    pub(in crate::storage) details: Details,
}

/// What is added to a stretch of time: events, and their latest arrival.
pub(in crate::storage) type Bucket = (i64, i64);

/// Everything that is added, in the order in which writers lock it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Gathered {
    pub(in crate::storage) issues: BTreeMap<Key, Tally>,
    /// By project, fingerprint and first time.
    pub(in crate::storage) buckets: BTreeMap<(ProjectId, i64, i64), Bucket>,
}

/// When an event was seen: when it says it happened, but not after it arrived.
fn seen(id: EventId, received: i64) -> i64 {
    match clamp_time(id.unix_nano) {
        0 => received,
        happened => happened.min(received),
    }
}

fn add_name(names: &mut BTreeSet<String>, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        names.insert(name.to_owned());
    }
    while names.len() > NAMES_MAX {
        names.pop_last();
    }
}

impl Gathered {
    /// From events that are stored in this transaction, with what they are of.
    pub(in crate::storage) fn of<'e>(
        events: impl Iterator<Item = (&'e EventRow<'e>, &'e ResourceRow<'e>)>,
    ) -> Self {
        let mut gathered = Self::default();
        for (event, resource) in events {
            gathered.add(event, resource);
        }
        gathered
    }

    fn add(&mut self, event: &EventRow<'_>, resource: &ResourceRow<'_>) {
        let (Some(fingerprint), Some(outline)) = (event.facts.fingerprint, &event.outline) else {
            return;
        };
        let received = clamp_time(event.received_unix_nano);
        let seen = seen(event.id, received);
        let level = match event.severity {
            0 => LEVEL_UNKNOWN,
            severity => (severity - 1) / SEVERITIES_PER_LEVEL,
        };
        let key = Key {
            project: event.project,
            fingerprint,
            level,
            // What a store can't hold in a key.
            kind: outline.kind.replace('\0', "\u{fffd}"),
        };
        let mut details = Details {
            message: outline.message.clone().into_owned(),
            latest: vec![event.id.to_string()],
            ..Details::default()
        };
        add_name(&mut details.services, Some(&resource.service_name));
        add_name(&mut details.environments, resource.environment.as_deref());
        add_name(&mut details.releases, resource.service_version.as_deref());
        let one = Tally {
            count: 1,
            first: seen,
            last: seen,
            received,
            details,
        };
        match self.issues.get_mut(&key) {
            Some(tally) => tally.add(one),
            None => drop(self.issues.insert(key, one)),
        }
        let length = clamp_time(BUCKET_NS);
        let start = seen - seen.rem_euclid(length);
        let bucket = self.buckets.entry((event.project, fingerprint, start));
        let (count, latest) = bucket.or_default();
        *count += 1;
        *latest = received.max(*latest);
    }
}

impl Tally {
    /// Adds what is known from elsewhere.
    pub(in crate::storage) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.received = self.received.max(other.received);
        self.details.add(other.details);
    }
}

impl Details {
    /// Adds what is known from elsewhere.
    pub(in crate::storage) fn add(&mut self, other: Self) {
        // Ids are ordered as their texts are.
        if other.latest.first() > self.latest.first() {
            self.message = other.message;
        }
        for id in other.latest {
            if !self.latest.contains(&id) {
                self.latest.push(id);
            }
        }
        self.latest
            .sort_unstable_by(|one, another| another.cmp(one));
        self.latest.truncate(LATEST_MAX);
        for (names, others) in [
            (&mut self.services, other.services),
            (&mut self.environments, other.environments),
            (&mut self.releases, other.releases),
        ] {
            for name in others {
                add_name(names, Some(&name));
            }
        }
    }
}
