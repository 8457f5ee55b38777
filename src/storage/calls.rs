//! Which spans of a trace count for tokens, cost and calls, so that none is counted twice. Pure.
//!
//! A model call may be told of by several spans: a framework's, an instrumentation package's, the
//! SDK's own, the provider's. And agents, chains and wrappers repeat what the calls below them
//! used. Which spans are which can be told only when they are seen together, but they arrive one by
//! one and in any order. So each trace keeps a list of them ([`Stored::list`]). When spans are
//! added, [`settle`] says what the trace adds up to now, and what that changes in the sums that the
//! trace is part of: rollups and sessions.
//!
//! All of it is a function of the set of a trace's spans. What is counted before and after a batch
//! follows from the lists before and after it, so that the changes of any batches, in any order,
//! add up to the same.
//!
//! # Which spans tell of the same call
//!
//! Two model calls of a trace (`GenAi::is_model_call`) are the same call when
//!
//! 1. one is an ancestor of the other and
//!    - they have the same response id, or
//!    - one has no response id, their tokens agree and their models do (one may be unknown), or
//!    - one has no response id, one knows no tokens, and the models agree: for a parent and its
//!      child only, or
//!    - their response ids differ, as with gateways that make up their own, and all tokens, models
//!      and so on are the same, but the spans are of different dialects;
//! 2. or they have the same response id, wherever in the trace, their input tokens don't contradict
//!    each other, and their times overlap, if both know tokens. (Providers that stand in for real
//!    ones answer with one id for ever, and some local servers draw ids from a small range.)
//! 3. or one has no response id and is joined to none by 1 and 2, the times of one are within the
//!    other's, their models are the same, as are their tokens (which may be unknown, as when the
//!    call failed), and their dialects differ. Packages of one dialect may tell of a framework's call
//!    and of the client's: there the names of their scopes differ, and their tokens are known. No
//!    call is joined to two others by this.
//!
//! Ancestors are known as far as they are in the list themselves: calls, and wrappers with usage.
//! A span of another sort between two calls (an HTTP client's, say) hides that they belong
//! together, unless they have a response id: to keep all spans that may lie between calls would
//! cost every trace.
//!
//! Of the spans of one call, one counts, whole: the one with tokens, then with a cost that was
//! reported, then with one that was computed, then with most figures, then with the highest
//! computed cost (it knows of more that is charged for, as that what was written to a cache is kept
//! for an hour); of equals the outermost, then the one with the smallest span id. It counts for its
//! session or, if it names none, for the smallest that another span of the call names.
//!
//! # When wrappers count
//!
//! If no model call of the trace has tokens or cost, those of agents, chains and wrappers are all
//! that is known, and count: of each that has no other one for an ancestor, except that one counts
//! only if it can't lie within another one that counts. It can't if both have the same parent (or
//! none), or if their times don't overlap. The largest come first. They are no model calls: the
//! number of calls stays what it is.
//!
//! # Bounds
//!
//! A list holds [`CALLS_MAX`] spans: calls before wrappers, each by span id, so that which are kept
//! does not depend on the order of arrival. A trace with more *calls* than that keeps a mark in
//! place of the list, and all its calls count, each for itself.
//!
//! Sums stop at the largest integer. From then on, a rollup or session that something is taken
//! away from may be too small; traces are exact.

mod anew;
mod count;
mod entry;
#[cfg(test)]
mod tests;
mod wire;

use std::borrow::Cow;

use crate::model::genai::Totals;
use crate::storage::write::SpanRow;
use crate::telemetry::faults;
pub use anew::Unstored;
use count::{Counted, counted};
pub use entry::scope_digest;
use entry::{Entry, FreshSpan, Texts};

/// Spans in a list.
pub const CALLS_MAX: usize = 256;

/// What is stored of a trace's calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// What the trace adds up to.
    pub totals: Totals,
    /// A `pulse.storage.v1.CallList`; empty when no span of the trace has anything to do with
    /// usage.
    pub list: Vec<u8>,
}

/// Spans that are new to a trace and have to do with usage.
#[derive(Debug, Default)]
pub struct Fresh<'a> {
    spans: Vec<FreshSpan<'a>>,
    calls: usize,
}

/// What new spans make of a trace.
#[derive(Debug, Default)]
pub struct Settled<'a> {
    /// What the trace adds up to now.
    pub totals: Totals,
    /// The new list; absent when the one that is stored stays.
    pub list: Option<Vec<u8>>,
    /// What changes in sums that the trace is part of.
    pub changes: Vec<Change<'a>>,
}

/// What one span adds to sums, or no longer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its start, ns.
    pub start: i64,
    /// Its arrival, ns, if it shares the rollups of what was too much of its batch.
    pub crowded_at: Option<i64>,
    /// Its service.
    pub service: Cow<'a, str>,
    /// Its operation.
    pub operation: Cow<'a, str>,
    /// Its provider; empty when unknown.
    pub provider: Cow<'a, str>,
    /// Its model; empty when unknown.
    pub model: Cow<'a, str>,
    /// The session it counts for.
    pub session: Option<Cow<'a, str>>,
    /// What is added.
    pub added: Totals,
    /// What is taken away: never more than was added before.
    pub removed: Totals,
}

/// Whether a stored list was made by who knew the scopes of spans, which tell packages of one dialect
/// apart. One that can't be read is taken for such a list.
#[must_use]
pub fn knows_scopes(list: &[u8]) -> bool {
    let list = wire::decode(list);
    list.map_or(true, |list| {
        list.entries.is_empty() || list.entries.iter().any(|entry| entry.scope != 0)
    })
}

impl<'a> Fresh<'a> {
    /// Adds a span, if it has to do with usage. `is_crowded`: whether it shares the rollups of what
    /// is too much of its batch.
    pub fn add(
        &mut self,
        span: &'a SpanRow<'a>,
        service: &'a str,
        is_crowded: impl FnOnce() -> bool,
    ) {
        let Some(genai) = span.basics.genai.as_deref() else {
            return;
        };
        let amounts = genai.amounts();
        if genai.is_model_call || amounts != Totals::default() {
            self.calls += usize::from(genai.is_model_call);
            self.spans.push(FreshSpan {
                span,
                genai,
                amounts,
                service,
                is_crowded: is_crowded(),
            });
        }
    }
}

/// What a trace adds up to with new spans, none of which it had before.
#[must_use]
pub fn settle<'a>(before: &Stored, fresh: &Fresh<'a>) -> Settled<'a> {
    settle_within(CALLS_MAX, before, fresh)
}

/// What a trace that is new to the store adds up to, of which some spans were counted before without
/// being stored.
#[must_use]
pub fn take_over<'a>(before: &Stored, fresh: &Fresh<'a>) -> Settled<'a> {
    let mut settled = settle(before, fresh);
    if settled.list.is_none() && !before.list.is_empty() {
        settled.list = Some(before.list.clone());
    }
    settled
}

fn settle_within<'a>(max: usize, before: &Stored, fresh: &Fresh<'a>) -> Settled<'a> {
    if fresh.spans.is_empty() {
        return Settled {
            totals: before.totals,
            ..Settled::default()
        };
    }
    let mut list = List::read(&before.list);
    list.note_counted();
    list.add(max, before.totals, fresh)
}

/// A list, unpacked.
#[derive(Debug, Clone, Default)]
struct List<'a> {
    texts: Texts<'a>,
    /// By span id.
    entries: Vec<Entry>,
    is_full: bool,
}

impl<'a> List<'a> {
    fn read(stored: &[u8]) -> Self {
        wire::decode(stored).unwrap_or_else(|error| {
            // An error would be met again with every retry, and nothing would be stored any more.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the list of a trace's model calls is damaged; counting its further calls one by one"
            );
            faults::DAMAGED_CALL_LISTS.happened();
            Self {
                is_full: true,
                ..Self::default()
            }
        })
    }

    fn calls(&self) -> usize {
        self.entries.iter().filter(|it| !it.is_wrapper).count()
    }

    /// Notes what each span of it counts for before others are added.
    fn note_counted(&mut self) {
        let before = counted(&self.entries, &self.texts);
        for (entry, counted) in self.entries.iter_mut().zip(before) {
            entry.counted_before = counted;
        }
    }

    /// Adds spans. `totals`: what it adds up to, if it is full.
    fn add(self, max: usize, totals: Totals, fresh: &Fresh<'a>) -> Settled<'a> {
        if self.is_full || self.calls() + fresh.calls > max {
            self.give_up(totals, fresh)
        } else {
            self.grow(max, fresh)
        }
    }

    /// Adds spans that fit.
    fn grow(mut self, max: usize, fresh: &Fresh<'a>) -> Settled<'a> {
        self.take_in(max, fresh);
        let mut changes = Vec::new();
        self.keep(max, &mut changes);
        let mut totals = Totals::default();
        for (entry, now) in self.entries.iter().zip(counted(&self.entries, &self.texts)) {
            if let Some(now) = now {
                totals.add(now.totals);
            }
            entry.change(&self.texts, now, &mut changes);
        }
        Settled {
            totals,
            list: Some(wire::encode(&self.entries, &self.texts)),
            changes,
        }
    }

    fn take_in(&mut self, max: usize, fresh: &Fresh<'a>) {
        let mut order: Vec<_> = fresh.spans.iter().collect();
        order.sort_unstable_by_key(|fresh| fresh.span.span_id);
        // A batch may bring more wrappers than a list holds.
        let mut wrappers = 0;
        for fresh in order {
            wrappers += usize::from(!fresh.genai.is_model_call);
            if fresh.genai.is_model_call || wrappers <= max {
                let entry = fresh.entry(&mut self.texts);
                self.entries.push(entry);
            }
        }
        // Stable: what was there comes first of equals.
        self.entries.sort_by_key(|entry| entry.span_id);
        self.entries.dedup_by_key(|entry| entry.span_id);
    }

    /// Drops the wrappers that are too many.
    fn keep(&mut self, max: usize, changes: &mut Vec<Change<'a>>) {
        let mut room = max.saturating_sub(self.calls());
        let texts = &self.texts;
        self.entries.retain(|entry| {
            if entry.is_wrapper && room == 0 {
                entry.change(texts, None, changes);
                return false;
            }
            room -= usize::from(entry.is_wrapper);
            true
        });
    }

    /// Counts each call for itself.
    fn give_up(self, totals_before: Totals, fresh: &Fresh<'a>) -> Settled<'a> {
        let mut settled = Settled {
            totals: totals_before,
            ..Settled::default()
        };
        if !self.is_full {
            settled.totals = Totals::default();
            for entry in &self.entries {
                let now = (!entry.is_wrapper).then(|| Counted::alone(entry));
                if now.is_some() {
                    settled.totals.add(entry.amounts);
                }
                entry.change(&self.texts, now, &mut settled.changes);
            }
            settled.list = Some(wire::encode_full());
        }
        for fresh in fresh.spans.iter().filter(|it| it.genai.is_model_call) {
            settled.totals.add(fresh.amounts);
            settled.changes.push(fresh.change());
        }
        settled
    }
}
