//! What changes in sums when the columns of stored spans do. Pure.

use crate::model::ProjectId;
use crate::storage::calls::{self, Change, Fresh, Settled, Stored};
use crate::storage::rollup::{Crowd, Rollups, Rows};
use crate::storage::session::Sessions;
use crate::storage::summary::{Summary, clamp_time};
use crate::storage::write::{ResourceRow, SpanRow};

/// What all spans of a trace add up to.
#[derive(Debug)]
pub(in crate::storage) struct State<'b> {
    /// Its summary.
    pub(in crate::storage) summary: Summary<'b>,
    /// Latest span start, ns.
    pub(in crate::storage) last_start: i64,
    /// Its model calls.
    pub(in crate::storage) calls: Settled<'b>,
}

/// What the rows of all spans of a trace add up to; `None` without any.
pub(in crate::storage) fn add_up<'b>(
    spans: &'b [SpanRow<'b>],
    resources: &'b [ResourceRow<'b>],
) -> Option<State<'b>> {
    let mut fresh = Fresh::default();
    let mut summary: Option<Summary<'b>> = None;
    let mut last_start = i64::MIN;
    for span in spans {
        let resource = resources.get(span.resource)?;
        match &mut summary {
            Some(summary) => summary.add(span, resource),
            None => summary = Some(Summary::of(span, resource)),
        }
        fresh.add(span, &resource.service_name, || false);
        last_start = last_start.max(clamp_time(span.start_unix_nano));
    }
    let mut calls = calls::settle(&Stored::default(), &fresh);
    // Nothing in place of a list would leave the one that is stored.
    calls.list.get_or_insert_default();
    Some(State {
        summary: summary?,
        last_start,
        calls,
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
