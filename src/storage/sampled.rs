//! Spans that were sampled out: not stored, but counted once in all sums. Pure; the same for both
//! stores.
//!
//! What is remembered of such a trace is the ids of the spans left out, by which they are known again
//! when they are sent or read again, and the list of its model calls, so that what is counted
//! is a function of the set of its spans, stored or not (see [`super::calls`]). It is kept beside the
//! traces, and forgotten after a while.
//!
//! A batch decides by trace. Its spans are stored if any of them is to be, or if the trace is stored
//! already; else they are left out. So a trace that is stored once is stored from then on, and takes
//! over the list of calls; what was left out of it before stays out.

use std::ops::Range;

use super::calls::Stored;
use super::summary::clamp_time;
use super::write::SpanRow;
use crate::model::SpanId;
use crate::model::sampling::SampledOut;

/// Spans of a trace that can be left out; its further ones are stored. Their ids are written anew with
/// each batch that adds some.
pub const SPANS_MAX: usize = 1024;

/// When something is forgotten is noted in steps this long, ns, so that the index on it is mostly left alone.
const STEP_NS: i64 = 3600 * 1_000_000_000;

const ID_BYTES: usize = 8;

/// What is remembered of a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Ids of the spans left out, sorted.
    spans: Vec<SpanId>,
    /// What they add up to, unless a stored trace has taken it over.
    pub calls: Stored,
}

impl LeftOut {
    /// Reads what [`Self::span_ids`] wrote.
    #[must_use]
    pub fn read(span_ids: &[u8], calls: Stored) -> Self {
        let ids = span_ids.chunks_exact(ID_BYTES);
        let mut spans: Vec<_> = ids.filter_map(id).collect();
        // They are, unless somebody else wrote them.
        spans.sort_unstable();
        Self { spans, calls }
    }

    /// Whether a span was left out.
    #[must_use]
    pub fn holds(&self, span: &SpanRow<'_>) -> bool {
        self.spans.binary_search(&span.span_id).is_ok()
    }

    /// Whether these new spans of a trace that is not stored are left out.
    #[must_use]
    pub fn takes(&self, spans: &[&SpanRow<'_>]) -> bool {
        let has_room = self.spans.len().saturating_add(spans.len()) <= SPANS_MAX;
        has_room && spans.iter().all(|span| span.sampled_out.is_some())
    }

    /// Adds new spans that are left out.
    pub fn add(&mut self, spans: &[&SpanRow<'_>]) {
        self.spans.extend(spans.iter().map(|span| span.span_id));
        self.spans.sort_unstable();
    }

    /// The ids, for the store.
    #[must_use]
    pub fn span_ids(&self) -> Vec<u8> {
        self.spans.iter().flat_map(|id| id.0).collect()
    }

    /// How many spans were left out.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.spans.len()
    }

    /// Whether it has a list of calls, which a stored trace takes over.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        self.calls != Stored::default()
    }
}

fn id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(bytes.first_chunk::<ID_BYTES>()?)
}

/// When spans are forgotten that arrived until a time, if they are remembered for so long. All in ns.
#[must_use]
pub const fn forget_at(received: i64, remember_ns: i64) -> i64 {
    let step = received / STEP_NS;
    (step.saturating_add(1).saturating_mul(STEP_NS)).saturating_add(remember_ns)
}

/// What may go when there is no room, by when it is due, first what is to go first: what arrived an hour
/// before the newest at least; then what is due later than the newest, because a clock was ahead or more
/// was remembered before. `latest`: when the last is due, ns. `remember_ns`: for how long what arrives now
/// is remembered, if that is known.
#[must_use]
pub fn to_spare(latest: i64, now: i64, remember_ns: Option<i64>) -> [Range<i64>; 2] {
    let newest = remember_ns.map_or(latest, |remember_ns| {
        latest.min(forget_at(now, remember_ns))
    });
    let hour_before = |time: i64| time.saturating_sub(STEP_NS);
    [
        i64::MIN..hour_before(newest),
        newest.saturating_add(1)..hour_before(latest),
    ]
}

/// The latest arrival of some spans, ns.
#[must_use]
pub fn latest(spans: &[&SpanRow<'_>]) -> i64 {
    let received = spans.iter().map(|span| span.received_unix_nano);
    clamp_time(received.max().unwrap_or(0))
}

/// Counts spans that were left out.
pub fn count(spans: &[&SpanRow<'_>], counts: &mut SampledOut) {
    for reason in spans.iter().filter_map(|span| span.sampled_out) {
        counts.count(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::genai::Totals;

    #[test]
    fn what_is_remembered_comes_back() {
        let ids = [[9; 8], [1; 8], [5; 8]].concat();
        let calls = Stored {
            totals: Totals {
                llm_calls: 1,
                ..Totals::default()
            },
            list: vec![1],
        };
        let remembered = LeftOut::read(&ids, calls.clone());
        assert_eq!(remembered.count(), 3);
        assert!(remembered.has_calls());
        let again = LeftOut::read(&remembered.span_ids(), calls);
        assert_eq!(again, remembered);
        assert!(!LeftOut::default().has_calls());
    }

    #[test]
    fn what_is_forgotten_was_remembered_for_long_enough() {
        for received in [0, 1, STEP_NS - 1, STEP_NS, 5 * STEP_NS + 7] {
            let forget = forget_at(received, 10);
            assert!((received + 10..=received + STEP_NS + 10).contains(&forget));
        }
        assert_eq!(forget_at(i64::MAX, i64::MAX), i64::MAX);
    }

    #[test]
    fn an_hour_is_never_to_spare() {
        let is_spare = |received, newest| {
            let latest = forget_at(newest, 10);
            // Whatever else is due later.
            let bounds = [
                to_spare(latest, newest, None),
                to_spare(latest, newest, Some(10)),
                to_spare(latest + 100 * STEP_NS, newest, Some(10)),
                to_spare(latest, newest + 100 * STEP_NS, Some(10)),
            ];
            let due = forget_at(received, 10);
            let is_spare = bounds.map(|spare| spare.iter().any(|times| times.contains(&due)));
            assert_eq!(is_spare, [is_spare[0]; 4]);
            is_spare[0]
        };
        for newest in [5 * STEP_NS, 6 * STEP_NS - 1] {
            assert!(!is_spare(newest - STEP_NS, newest));
            assert!(is_spare(newest - 2 * STEP_NS, newest));
        }
    }
}
