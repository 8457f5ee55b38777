//! What is known of the traces that wait, in whichever partition of the log their spans are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::sampling::Reason;
use crate::model::span::{Operation, Status};
use crate::model::{ProjectId, TraceId};
use crate::otlp::protobuf::Span;
use crate::processors::sampling::Randomness;
use crate::processors::sampling::tail::{Budget, Facts, Policy, Seen, Tail};
use crate::storage::calls::{self, Fresh, Stored};
use crate::storage::{Batch, SpanRow};
use crate::telemetry::metrics::Metrics;

/// Whose a trace is.
pub(super) type Key = (ProjectId, TraceId);

/// What becomes of the traces of some records: why they are left out, if they are.
pub(in crate::exporters::storage) type Verdicts = HashMap<Key, Option<Reason>>;

/// Memory of what is known of a trace, its list of calls aside, and of its being named by a record, bytes.
const TRACE_BYTES: u64 = 320;

/// What is known of the traces that wait. Shared by the partitions of a process.
#[derive(Debug)]
pub struct Traces {
    tail: Tail,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    traces: HashMap<Key, Trace>,
    budget: Budget,
    /// How far each partition has been looked through.
    looked: BTreeMap<u32, Looked>,
    /// Records of all partitions that wait, and their memory in bytes.
    records: i64,
    bytes: i64,
    /// Memory of the lists of calls, which stay as long as anything of their traces waits, bytes.
    lists: u64,
}

/// How far a partition has been looked through.
#[derive(Debug)]
struct Looked {
    /// When what was read last was received, ns.
    until: u64,
    /// When that was.
    at: Instant,
}

/// A trace of which something waits.
#[derive(Debug, Default)]
struct Trace {
    facts: Facts,
    /// Its model calls, where it matters what they cost.
    calls: Stored,
    /// Records with spans of it that wait.
    records: u32,
    /// Spans seen, and those that the budget was asked for.
    spans: u64,
    paid: u64,
    decided: Option<Decision>,
}

/// What was decided about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// It stays so.
    Kept(Policy),
    /// So far.
    LeftOut(Reason),
}

/// What a look at a record found.
#[derive(Debug, Default)]
pub(super) struct Glance {
    /// Its traces.
    pub(super) traces: BTreeSet<Key>,
    /// Memory that what is known of them takes, their lists of calls aside.
    pub(super) bytes: u64,
}

impl Traces {
    /// Nothing waits.
    #[must_use]
    pub fn new(tail: &Tail) -> Self {
        Self {
            tail: tail.clone(),
            state: Mutex::new(State {
                traces: HashMap::new(),
                budget: Budget::new(tail),
                looked: BTreeMap::new(),
                records: 0,
                bytes: 0,
                lists: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition is going to be looked through: others wait for it.
    pub fn expect(&self, partition: u32) {
        let nothing = Looked {
            until: 0,
            at: Instant::now(),
        };
        self.state().looked.entry(partition).or_insert(nothing);
    }

    /// A partition is left to others.
    pub fn expect_no_more(&self, partition: u32) {
        self.state().looked.remove(&partition);
    }

    /// How far a partition has been looked through, ns.
    pub(super) fn looked_until(&self, partition: u32, until: u64) {
        let at = Instant::now();
        self.state().looked.insert(partition, Looked { until, at });
    }

    /// Whether all partitions have been looked through as far, but those that have not been looked at for
    /// so long.
    pub(super) fn all_looked_until(&self, time: u64, patience: Duration) -> bool {
        let state = self.state();
        let mut looked = state.looked.values();
        looked.all(|looked| looked.until >= time || looked.at.elapsed() >= patience)
    }

    /// The clock was set back to a time, ns.
    pub(super) fn set_back(&self, time: u64) {
        self.state().budget.set_back(time);
    }

    /// Memory of what is known of traces besides what is counted with their records, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.state().lists
    }

    /// Takes what spans of a record tell of their traces. What the head leaves out is not looked at.
    pub(super) fn look(&self, batch: &Batch<'_>, glance: &mut Glance) {
        let mut state = self.state();
        let State { traces, lists, .. } = &mut *state;
        let mut spans: Vec<_> = batch.spans.iter().collect();
        spans.retain(|span| span.sampled_out.is_none());
        spans.sort_by_key(|span| (span.project, span.trace_id));
        let key = |span: &SpanRow<'_>| (span.project, span.trace_id);
        for spans in spans.chunk_by(|a, b| key(a) == key(b)) {
            let Some(key) = spans.first().map(|span| key(span)) else {
                continue;
            };
            let trace = traces.entry(key).or_default();
            if glance.traces.insert(key) {
                glance.bytes += TRACE_BYTES;
                trace.records += 1;
            }
            *lists -= trace.list_bytes();
            trace.look(&self.tail, spans, batch);
            *lists += trace.list_bytes();
        }
    }

    /// Decides about the traces of a record that is handed on, with all that is known of them now.
    pub(super) fn decide(
        &self,
        metrics: &Metrics,
        since: u64,
        traces: &[Key],
        verdicts: &mut Verdicts,
    ) {
        let mut state = self.state();
        state.budget.fill(since);
        let State {
            traces: all,
            budget,
            lists,
            ..
        } = &mut *state;
        for key in traces {
            let Some(trace) = all.get_mut(key) else {
                continue;
            };
            let before = trace.decided;
            let decision = trace.decide(&self.tail, budget);
            if let (Decision::Kept(policy), true) = (decision, before != Some(decision)) {
                metrics.sampling_kept(policy);
            }
            let reason = match decision {
                Decision::Kept(_) => None,
                Decision::LeftOut(reason) => Some(reason),
            };
            // Of one batch, all of a trace is kept or nothing.
            let verdict = verdicts.entry(*key).or_insert(reason);
            *verdict = verdict.and(reason);
            leave(all, lists, key);
        }
    }

    /// A record of these traces waits no longer, and nothing was decided.
    pub(super) fn leave(&self, traces: &[Key]) {
        let mut state = self.state();
        let State {
            traces: all, lists, ..
        } = &mut *state;
        for key in traces {
            leave(all, lists, key);
        }
    }

    /// So many records more wait, with so many bytes.
    pub(super) fn waits(&self, metrics: &Metrics, records: i64, bytes: i64) {
        let mut state = self.state();
        state.records += records;
        state.bytes += bytes;
        let bytes = state.bytes.unsigned_abs() + state.lists;
        metrics.sampling_waiting(state.records.unsigned_abs(), bytes);
    }
}

/// A record less with spans of a trace waits.
fn leave(traces: &mut HashMap<Key, Trace>, lists: &mut u64, key: &Key) {
    if let Some(trace) = traces.get_mut(key) {
        trace.records = trace.records.saturating_sub(1);
        if trace.records == 0 {
            *lists -= trace.list_bytes();
            traces.remove(key);
        }
    }
}

impl Trace {
    const fn list_bytes(&self) -> u64 {
        self.calls.list.capacity() as u64
    }

    fn look(&mut self, tail: &Tail, spans: &[&SpanRow<'_>], batch: &Batch<'_>) {
        let mut fresh = Fresh::default();
        for span in spans {
            let resource = batch.resources.get(span.resource);
            let service = resource.map_or("", |resource| &resource.service_name);
            let parsed = Span::parse(&span.message).unwrap_or_default();
            let seen = Seen {
                service,
                operation: span.basics.operation.as_str(),
                model: span.basics.model(),
                is_genai: matches!(span.basics.operation, Operation::GenAi(_)),
                failed: span.status == Status::Error,
                start: span.start_unix_nano,
                end: span.end_unix_nano,
                is_plausible: span.time_marks.0 == 0,
                randomness: Randomness::of(span.trace_id, parsed.trace_state),
                attributes: parsed.attributes,
            };
            tail.look(&seen, &mut self.facts);
            if tail.asks_for_cost() {
                fresh.add(span, service, || false);
            }
        }
        self.spans += spans.len() as u64;
        if tail.asks_for_cost() {
            let settled = calls::settle(&self.calls, &fresh);
            self.calls.totals = settled.totals;
            if let Some(list) = settled.list {
                self.calls.list = list;
            }
            self.facts.cost_nano_usd = self.calls.totals.cost_nano_usd;
        }
    }

    fn decide(&mut self, tail: &Tail, budget: &mut Budget) -> Decision {
        let decision = match self.decided {
            Some(kept @ Decision::Kept(_)) => kept,
            decided => match (tail.policy(&self.facts), decided) {
                (Some(policy), _) => Decision::Kept(policy),
                // Nothing new speaks for it.
                (None, Some(decided)) => decided,
                (None, None) => {
                    let more = self.spans - self.paid;
                    match tail.by_percentage(&self.facts, budget, more) {
                        Ok(()) => {
                            self.paid = self.spans;
                            Decision::Kept(Policy::Percentage)
                        }
                        Err(reason) => Decision::LeftOut(reason),
                    }
                }
            },
        };
        if decision == Decision::Kept(Policy::Percentage) && self.spans > self.paid {
            budget.take(self.spans - self.paid);
            self.paid = self.spans;
        }
        self.decided = Some(decision);
        decision
    }
}
