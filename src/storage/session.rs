//! What a batch adds to sessions. Pure: sums, minima and maxima, so that any order and split of
//! the same spans adds up to the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::calls::Change;
use super::summary::clamp_time;
use super::write::SpanRow;
use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::model::span::Status;

/// What a batch adds to one session.
#[derive(Debug, PartialEq, Eq)]
pub struct SessionSums<'a, K> {
    /// The smallest user id, when any span names one.
    pub user_id: Option<&'a str>,
    /// Earliest span start, ns.
    pub start: i64,
    /// Latest span end, ns.
    pub end: i64,
    /// Latest arrival, ns.
    pub received: i64,
    /// Spans. Without any, there is nothing but a change of what earlier ones count for.
    pub span_count: i64,
    /// Those with status error.
    pub error_count: i64,
    /// Tokens and cost of model calls.
    pub totals: Totals,
    /// What is to be taken away again, after all else is added.
    pub removed: Totals,
    /// Traces with a span of the session, by the store's key of a trace.
    pub traces: BTreeSet<K>,
}

impl<K> SessionSums<'_, K> {
    /// Whether bounds and user of a session are right without these other sums, if these are part
    /// of it.
    #[must_use]
    pub fn covers<L>(&self, other: &SessionSums<'_, L>) -> bool {
        self.start <= other.start && self.end >= other.end && self.user_id == other.user_id
    }
}

/// What a batch adds, by project and session.
#[derive(Debug)]
pub struct Sessions<'a, K> {
    /// In key order.
    pub sums: BTreeMap<(ProjectId, Cow<'a, str>), SessionSums<'a, K>>,
}

impl<K> Default for Sessions<'_, K> {
    fn default() -> Self {
        Self {
            sums: BTreeMap::new(),
        }
    }
}

impl<'a, K: Ord> Sessions<'a, K> {
    /// Adds a span that is new to the store, if it names a session; what it counts for is another
    /// matter (`change`).
    pub fn add(&mut self, span: &'a SpanRow<'a>, trace: K) {
        self.add_in(span, Some(trace));
    }

    fn add_in(&mut self, span: &'a SpanRow<'a>, trace: Option<K>) {
        let Some(session_id) = span.basics.session_id.as_deref() else {
            return;
        };
        let start = clamp_time(span.start_unix_nano);
        let end = clamp_time(span.end_unix_nano).max(start);
        let received = clamp_time(span.received_unix_nano);
        let sums = self.sums_of(span.project, Cow::Borrowed(session_id));
        // The smallest, so that the order of arrival does not matter.
        sums.user_id = match (sums.user_id, span.basics.user_id.as_deref()) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        sums.start = sums.start.min(start);
        sums.end = sums.end.max(end);
        sums.received = sums.received.max(received);
        sums.span_count += 1;
        sums.error_count += i64::from(span.status == Status::Error);
        sums.traces.extend(trace);
    }

    /// Adds a span that is counted but not stored: its session has no trace of it.
    pub fn add_unstored(&mut self, span: &'a SpanRow<'a>) {
        self.add_in(span, None);
    }

    /// Adds or takes away what a span counts for, if that is part of a session.
    pub fn change(&mut self, project: ProjectId, change: &Change<'a>) {
        let Some(session_id) = &change.session else {
            return;
        };
        let sums = self.sums_of(project, session_id.clone());
        sums.totals.add(change.added);
        sums.removed.add(change.removed);
    }

    fn sums_of(&mut self, project: ProjectId, session_id: Cow<'a, str>) -> &mut SessionSums<'a, K> {
        let sums = self.sums.entry((project, session_id));
        // What leaves the row as it is: a change may be all there is. The span it is of need not
        // name the session itself.
        sums.or_insert_with(|| SessionSums {
            user_id: None,
            start: i64::MAX,
            end: 0,
            received: 0,
            span_count: 0,
            error_count: 0,
            totals: Totals::default(),
            removed: Totals::default(),
            traces: BTreeSet::new(),
        })
    }
}
