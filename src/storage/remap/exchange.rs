//! What changes in sums when the columns of stored spans do. Pure.

use crate::model::ProjectId;
use crate::storage::calls::{Change, Fresh, Settled, Stored, Unstored};
use crate::storage::rollup::{Crowd, Rollups, Rows};
use crate::storage::session::Sessions;
use crate::storage::summary::{Summary, clamp_time};
use crate::storage::write::{ResourceRow, SpanRow};

/// What all spans of a trace add up to, stored or not.
#[derive(Debug)]
pub(in crate::storage) struct State<'b> {
    /// Its summary.
    pub(in crate::storage) summary: Summary<'b>,
    /// Latest span start, ns.
    pub(in crate::storage) last_start: i64,
    /// Its model calls.
    pub(in crate::storage) calls: Settled<'b>,
}

/// What was counted of a trace besides its stored spans. `counted`: what its row says, which was written
/// with these rows.
pub(in crate::storage) fn unstored(
    counted: &Stored,
    spans: &[SpanRow<'_>],
    resources: &[ResourceRow<'_>],
) -> Unstored {
    if counted.list.is_empty() {
        return Unstored::default();
    }
    let ids = spans.iter().map(|span| span.span_id).collect();
    Unstored::of(counted, &ids, &fresh_of(spans, resources))
}

fn fresh_of<'b>(spans: &'b [SpanRow<'b>], resources: &'b [ResourceRow<'b>]) -> Fresh<'b> {
    let mut fresh = Fresh::default();
    for span in spans {
        if let Some(resource) = resources.get(span.resource) {
            fresh.add(span, &resource.service_name, || false);
        }
    }
    fresh
}

/// What the rows of all spans of a trace add up to, with what was counted besides; `None` without any.
pub(in crate::storage) fn add_up<'b>(
    spans: &'b [SpanRow<'b>],
    resources: &'b [ResourceRow<'b>],
    unstored: &Unstored,
) -> Option<State<'b>> {
    let mut summary: Option<Summary<'b>> = None;
    let mut last_start = i64::MIN;
    for span in spans {
        let resource = resources.get(span.resource)?;
        match &mut summary {
            Some(summary) => summary.add(span, resource),
            None => summary = Some(Summary::of(span, resource)),
        }
        last_start = last_start.max(clamp_time(span.start_unix_nano));
    }
    Some(State {
        summary: summary?,
        last_start,
        calls: unstored.settle(&fresh_of(spans, resources)),
    })
}

/// Collects what traces were and what they are.
#[derive(Debug)]
pub(in crate::storage) struct Exchange<'b, K> {
    old: Sums<'b, K>,
    new: Sums<'b, K>,
}

#[derive(Debug)]
struct Sums<'b, K> {
    rollups: Rollups<'b>,
    sessions: Sessions<'b, K>,
}

/// What is to be added to sums, and what is to be taken away from them then.
#[derive(Debug)]
pub(in crate::storage) struct Exchanged<'b, K> {
    pub(in crate::storage) rollups: Shifted<Rows<'b>>,
    pub(in crate::storage) sessions: Shifted<Sessions<'b, K>>,
}

/// Two sides of an exchange.
#[derive(Debug)]
pub(in crate::storage) struct Shifted<T> {
    pub(in crate::storage) added: T,
    pub(in crate::storage) taken: T,
}

impl<K> Default for Exchange<'_, K> {
    fn default() -> Self {
        let sums = || Sums {
            rollups: Rollups::default(),
            sessions: Sessions::default(),
        };
        Self {
            old: sums(),
            new: sums(),
        }
    }
}

impl<'b, K: Ord + Copy> Exchange<'b, K> {
    /// Takes all that a trace was for all that it is. `key` is the store's key of the trace.
    pub(in crate::storage) fn trace(
        &mut self,
        key: K,
        resources: &'b [ResourceRow<'b>],
        (old, old_calls): (&'b [SpanRow<'b>], &[Change<'b>]),
        (new, new_calls): (&'b [SpanRow<'b>], &[Change<'b>]),
    ) {
        self.old.add(key, resources, old, old_calls);
        self.new.add(key, resources, new, new_calls);
    }

    /// What differs.
    pub(in crate::storage) fn finish(self) -> Exchanged<'b, K> {
        let (mut taken, mut added) = (self.old.rollups.rows(), self.new.rollups.rows());
        leave_equal_out(&mut taken, &mut added);
        let rollups = Shifted { added, taken };
        let (mut taken, mut added) = (self.old.sessions, self.new.sessions);
        leave_equal_out(&mut taken.sums, &mut added.sums);
        Exchanged {
            rollups,
            sessions: Shifted { added, taken },
        }
    }
}

fn leave_equal_out<K: Ord, V: PartialEq>(
    ours: &mut std::collections::BTreeMap<K, V>,
    theirs: &mut std::collections::BTreeMap<K, V>,
) {
    ours.retain(|key, value| {
        let is_equal = theirs.get(key) == Some(value);
        if is_equal {
            theirs.remove(key);
        }
        !is_equal
    });
}

impl<'b, K: Ord + Copy> Sums<'b, K> {
    fn add(
        &mut self,
        key: K,
        resources: &'b [ResourceRow<'b>],
        spans: &'b [SpanRow<'b>],
        calls: &[Change<'b>],
    ) {
        let nobody = Crowd::default();
        let mut project = ProjectId::DEFAULT;
        for span in spans {
            project = span.project;
            if let Some(resource) = resources.get(span.resource) {
                self.rollups.add(span, &resource.service_name, &nobody);
            }
            self.sessions.add(span, key);
        }
        for change in calls {
            self.rollups.change(project, change);
            self.sessions.change(project, change);
        }
    }
}
