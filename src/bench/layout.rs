//! Which spans a request holds, and their ids. Everything follows from the seed and the number of
//! the request, so that a list of acknowledged request numbers is enough to know every span that
//! must be in the store.

use serde::{Deserialize, Serialize};

use crate::model::{SpanId, TraceId};

/// A small deterministic generator (SplitMix64): the load must be the same for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`; zero when the bound is zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 128-bit product is spread evenly over the range.
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// One of the items, earlier ones more often, as names and routes are in real traffic.
    pub(super) fn skewed<T: Copy>(&mut self, items: &[T], otherwise: T) -> T {
        let bound = items.len() as u64;
        let index = self.below(bound).min(self.below(bound));
        let index = usize::try_from(index).unwrap_or(0);
        items.get(index).copied().unwrap_or(otherwise)
    }
}

/// A bijection of 64-bit numbers: different numbers give different ids.
pub(super) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// How spans are spread over traces and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// Spans in every request.
    pub(super) spans_per_request: u32,
    /// Spans in a trace; the last trace of a request may have fewer.
    pub(super) spans_per_trace: u32,
    /// Requests over which the spans of a trace are spread; 1 keeps them together.
    pub(super) fan: u32,
}

/// Place of a span in a request: which of its traces, and which span of that trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) trace: u32,
    pub(super) position: u32,
}

impl Layout {
    /// Splitting rounds the spans of a request down to whole shares of a trace.
    pub(super) fn new(spans_per_request: u32, spans_per_trace: u32, split: bool) -> Self {
        let spans_per_trace = spans_per_trace.max(1);
        let fan = if split { fan_of(spans_per_trace) } else { 1 };
        let mut spans_per_request = spans_per_request.max(1);
        if fan > 1 {
            let share = spans_per_trace / fan;
            spans_per_request = (spans_per_request / share).max(1) * share;
        }
        Self {
            spans_per_request,
            spans_per_trace,
            fan,
        }
    }

    /// Spans of one trace that one request holds.
    const fn share(self) -> u32 {
        self.spans_per_trace / self.fan
    }

    /// Traces that a request holds spans of.
    pub(super) const fn traces_per_request(self) -> u32 {
        self.spans_per_request.div_ceil(self.share())
    }

    /// The spans of a request, trace by trace.
    pub(super) fn slots(self, request: u64) -> impl Iterator<Item = Slot> {
        let turn = u32::try_from(request % u64::from(self.fan)).unwrap_or(0);
        (0..self.spans_per_request).map(move |index| Slot {
            trace: index / self.share(),
            position: index % self.share() * self.fan + turn,
        })
    }

    /// Number of the trace in a slot of a request.
    pub(super) fn trace_number(self, request: u64, trace_slot: u32) -> u64 {
        let group = request / u64::from(self.fan);
        group * u64::from(self.traces_per_request()) + u64::from(trace_slot)
    }

    /// Traces that requests with numbers below `requests` hold spans of.
    pub(super) fn traces_below(self, requests: u64) -> u64 {
        requests.div_ceil(u64::from(self.fan)) * u64::from(self.traces_per_request())
    }

    /// The requests that hold spans of a trace, each with the positions of those spans.
    pub(super) fn requests_of(
        self,
        trace_number: u64,
    ) -> impl Iterator<Item = (u64, impl Iterator<Item = u32>)> {
        let traces = u64::from(self.traces_per_request());
        let group = trace_number / traces;
        let slot = u32::try_from(trace_number % traces).unwrap_or(0);
        let first = slot * self.share();
        let last = (first + self.share()).min(self.spans_per_request);
        (0..self.fan).map(move |turn| {
            let positions = (first..last).map(move |index| index % self.share() * self.fan + turn);
            (group * u64::from(self.fan) + u64::from(turn), positions)
        })
    }
}

/// Requests a trace is spread over: the largest divisor up to 4, so that shares are equal.
fn fan_of(spans_per_trace: u32) -> u32 {
    (2..=4)
        .rev()
        .find(|fan| spans_per_trace.is_multiple_of(*fan))
        .unwrap_or(spans_per_trace)
}

/// Derives ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) layout: Layout,
    trace_key: u64,
    tail_key: u64,
    span_key: u64,
    conversation_key: u64,
}

impl Ids {
    pub(super) const fn new(seed: u64, layout: Layout) -> Self {
        let mut keys = Rng::new(seed);
        Self {
            layout,
            trace_key: keys.next(),
            tail_key: keys.next(),
            span_key: keys.next(),
            conversation_key: keys.next(),
        }
    }

    /// Unique for every trace number, as random as an SDK's.
    pub(super) const fn trace_id(&self, trace_number: u64) -> TraceId {
        let head = mix(self.trace_key.wrapping_add(trace_number));
        // The lowest bit is set so that the id can't be all zero.
        let tail = mix(head ^ self.tail_key) | 1;
        TraceId(((head as u128) << 64 | tail as u128).to_be_bytes())
    }

    /// Unique for every span of every trace.
    pub(super) fn span_id(&self, trace_number: u64, position: u32) -> SpanId {
        let number = trace_number
            .wrapping_mul(u64::from(self.layout.spans_per_trace))
            .wrapping_add(u64::from(position));
        // One input of 2^64 gives zero, which is no id; it takes the place of another one.
        let id = mix(self.span_key.wrapping_add(number)).max(1);
        SpanId(id.to_be_bytes())
    }

    /// A conversation has five turns, each a trace.
    pub(super) const fn conversation(&self, trace_number: u64) -> u64 {
        mix(self.conversation_key.wrapping_add(trace_number / 5))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    const LAYOUTS: [(u32, u32, bool); 7] = [
        (512, 8, false),
        (510, 3, false),
        (10, 8, false),
        (512, 8, true),
        (510, 3, true),
        (7, 7, true),
        (1, 1, true),
    ];

    // Ids of all spans of many requests are made twice: by walking the requests, and from the
    // traces as verification does. Guarantees that they agree and that no id is used twice.
    #[test]
    fn ids_re_derive_from_seed_and_request_number() {
        for (spans, per_trace, split) in LAYOUTS {
            let layout = Layout::new(spans, per_trace, split);
            let ids = Ids::new(42, layout);
            let requests = 24;
            let mut sent = HashSet::new();
            for request in 0..requests {
                for slot in layout.slots(request) {
                    let trace = layout.trace_number(request, slot.trace);
                    let span = ids.span_id(trace, slot.position);
                    assert!(sent.insert((request, ids.trace_id(trace), span)));
                }
            }
            let spans: HashSet<_> = sent.iter().map(|(_, _, span)| *span).collect();
            assert_eq!(spans.len(), sent.len(), "span ids are unique");
            let mut derived = HashSet::new();
            for trace in 0..layout.traces_below(requests) {
                let in_range = |(request, _): &(u64, _)| *request < requests;
                for (request, positions) in layout.requests_of(trace).filter(in_range) {
                    for position in positions {
                        let span = ids.span_id(trace, position);
                        assert!(derived.insert((request, ids.trace_id(trace), span)));
                    }
                }
            }
            assert!(derived == sent, "{layout:?}");
        }
    }

    #[test]
    fn split_traces_are_whole_over_their_requests_and_only_there() {
        let layout = Layout::new(512, 8, true);
        assert_eq!((layout.fan, layout.spans_per_request), (4, 512));
        let mut positions = BTreeSet::new();
        for request in 4..8 {
            let of_trace: Vec<_> = layout
                .slots(request)
                .filter(|slot| slot.trace == 3)
                .collect();
            assert_eq!(of_trace.len(), 2);
            positions.extend(of_trace.iter().map(|slot| slot.position));
        }
        assert_eq!(positions, (0..8).collect());
    }

    #[test]
    fn another_seed_gives_other_ids() {
        let layout = Layout::new(512, 8, false);
        let (one, two) = (Ids::new(1, layout), Ids::new(2, layout));
        assert_ne!(one.trace_id(0), two.trace_id(0));
        assert_ne!(one.span_id(0, 0), two.span_id(0, 0));
    }
}
