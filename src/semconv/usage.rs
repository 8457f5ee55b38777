//! Tokens of a call, from what libraries count in different ways.
//!
//! The canonical input includes cached tokens, the canonical output includes reasoning. What was
//! not reported is absent. Counts of several vocabularies on one span are never added up: the first
//! vocabulary (in the order of the table) that has an input or an output is taken, and others only
//! fill in details that fit into it.

pub(super) mod raw;

use super::dialect::Dialect;
use crate::model::genai::Usage;

/// A count that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Count {
    Input,
    Output,
    Total,
    CacheRead,
    CacheWrite,
    /// Of the tokens written to the cache, those kept for an hour.
    CacheWrite1h,
    /// Of those, the ones kept for five minutes.
    CacheWrite5m,
    /// Input without cached tokens.
    Uncached,
    Reasoning,
    AudioIn,
    AudioOut,
    ImageIn,
    ImageOut,
}

const COUNTS: usize = 13;

/// Counts of one vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts([Option<i64>; COUNTS]);

impl Counts {
    pub(super) fn get(&self, count: Count) -> Option<i64> {
        self.0.get(count as usize).copied().flatten()
    }

    /// Sets a count that is not there. A zero gives way: of two spellings one may be left at its
    /// default.
    pub(super) fn set(&mut self, count: Count, number: i64) {
        if let Some(place) = self.0.get_mut(count as usize)
            && place.is_none_or(|known| known == 0)
        {
            *place = Some(number);
        }
    }

    pub(super) fn put(&mut self, count: Count, number: Option<i64>) {
        if let Some(place) = self.0.get_mut(count as usize) {
            *place = number;
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn is_all_zero(&self) -> bool {
        !self.is_empty() && self.0.iter().flatten().all(|number| *number == 0)
    }

    /// Whether it has what a whole record has.
    fn is_whole(&self) -> bool {
        self.get(Count::Input).is_some() || self.get(Count::Output).is_some()
    }
}

/// Where cached tokens and reasoning are counted, when the sender is known for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Habits {
    /// Input is what was not cached.
    pub(super) cache_beside_input: Option<bool>,
    /// Output is what is not reasoning.
    pub(super) reasoning_beside_output: Option<bool>,
}

/// Collects what is reported, in order of precedence.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// The vocabulary that is taken, and its counts.
    base: Option<(Dialect, Counts)>,
    /// Counts of others.
    rest: Counts,
    pub(super) habits: Habits,
}

/// What a span says beside its counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context {
    /// Whether the call failed.
    pub(super) failed: bool,
    /// Whether the provider counts reasoning in the total only.
    pub(super) is_google: bool,
}

impl Reported {
    /// Takes one count of a vocabulary.
    pub(super) fn count(&mut self, dialect: Dialect, count: Count, number: i64) {
        match &mut self.base {
            Some((base, counts)) if *base == dialect => counts.set(count, number),
            None if matches!(count, Count::Input | Count::Output | Count::Uncached) => {
                let mut counts = Counts::default();
                counts.set(count, number);
                self.base = Some((dialect, counts));
            }
            _ => self.rest.set(count, number),
        }
    }

    /// Takes a whole record. Its habits count if it is the one that is taken.
    pub(super) fn record(&mut self, dialect: Dialect, record: &Counts, habits: Habits) {
        if self.base.is_none() && record.is_whole() {
            self.base = Some((dialect, *record));
            self.habits = habits;
            return;
        }
        for (place, number) in self.rest.0.iter_mut().zip(record.0) {
            *place = place.or(number);
        }
    }

    /// Whether anything is counted.
    pub(super) fn has_counts(&self) -> bool {
        self.base.is_some() || !self.rest.is_empty()
    }

    /// The canonical counts, and the tokens written to the cache for an hour.
    pub(super) fn settle(self, context: Context) -> (Usage, Option<i64>) {
        let mut counts = self.base.map(|(_, counts)| counts).unwrap_or_default();
        // A successful call with text has tokens: zeros mean that nobody counted.
        if !context.failed && (counts.is_all_zero() || counts.is_empty()) {
            counts = self.rest;
            if counts.is_all_zero() || !counts.is_whole() && counts.get(Count::Total).is_none() {
                return (Usage::default(), None);
            }
        }
        if counts.get(Count::Input).is_none() && counts.get(Count::Output).is_none() {
            // Embeddings are sometimes reported by their total alone.
            counts.put(
                Count::Input,
                counts.get(Count::Uncached).or(counts.get(Count::Total)),
            );
        }
        fill(&mut counts, &self.rest);
        settle_cache(&mut counts, self.habits);
        settle_output(&mut counts, self.habits, context);
        let usage = Usage {
            input: counts.get(Count::Input),
            output: counts.get(Count::Output),
            cache_read: counts.get(Count::CacheRead),
            cache_write: written(&counts),
            reasoning: counts.get(Count::Reasoning),
            audio_in: counts.get(Count::AudioIn),
            audio_out: counts.get(Count::AudioOut),
            image_in: counts.get(Count::ImageIn),
            image_out: counts.get(Count::ImageOut),
        };
        (usage, counts.get(Count::CacheWrite1h))
    }
}

/// Fills in details that are missing and fit.
fn fill(counts: &mut Counts, rest: &Counts) {
    let details = [
        (Count::CacheRead, Count::Input),
        (Count::CacheWrite, Count::Input),
        (Count::CacheWrite1h, Count::Input),
        (Count::CacheWrite5m, Count::Input),
        (Count::AudioIn, Count::Input),
        (Count::ImageIn, Count::Input),
        (Count::Reasoning, Count::Output),
        (Count::AudioOut, Count::Output),
        (Count::ImageOut, Count::Output),
    ];
    for (detail, whole) in details {
        let fits = |number: &i64| counts.get(whole).is_some_and(|whole| *number <= whole);
        if counts.get(detail).is_none_or(|number| number == 0)
            && let Some(number) = rest.get(detail).filter(fits)
        {
            counts.put(detail, Some(number));
        }
    }
    if counts.get(Count::Total).is_none() {
        counts.put(Count::Total, rest.get(Count::Total));
    }
}

/// Tokens written to the cache: as reported, else by how long they are kept.
fn written(counts: &Counts) -> Option<i64> {
    let reported = counts.get(Count::CacheWrite);
    let parts = [Count::CacheWrite5m, Count::CacheWrite1h].map(|part| counts.get(part));
    match (reported, parts) {
        (None | Some(0), [None, None]) => reported,
        (None | Some(0), [short, long]) => {
            Some(short.unwrap_or(0).saturating_add(long.unwrap_or(0)))
        }
        _ => reported,
    }
}

/// Makes input include cached tokens.
fn settle_cache(counts: &mut Counts, habits: Habits) {
    let read = counts.get(Count::CacheRead).unwrap_or(0);
    let cached = read.saturating_add(written(counts).unwrap_or(0));
    let uncached = counts.get(Count::Uncached);
    let Some(input) = counts.get(Count::Input) else {
        let input = uncached.map(|plain| plain.saturating_add(cached));
        counts.put(Count::Input, input);
        return;
    };
    let output = counts.get(Count::Output).unwrap_or(0);
    let sums_to_total = |input: i64| {
        let total = counts.get(Count::Total)?;
        Some(input.saturating_add(output) == total)
    };
    let is_beside = cached > 0
        && match (habits.cache_beside_input, uncached) {
            (Some(known), _) => known,
            (None, Some(plain)) => plain == input,
            (None, None) if cached > input => true,
            (None, None) => {
                sums_to_total(input) == Some(false)
                    && sums_to_total(input.saturating_add(cached)) == Some(true)
            }
        };
    if is_beside {
        counts.put(Count::Input, Some(input.saturating_add(cached)));
    }
}

/// Makes output include reasoning, and what a total alone tells of.
fn settle_output(counts: &mut Counts, habits: Habits, context: Context) {
    let Some(output) = counts.get(Count::Output) else {
        return;
    };
    let reasoning = counts.get(Count::Reasoning).unwrap_or(0);
    let input = counts.get(Count::Input).unwrap_or(0);
    let total = counts.get(Count::Total);
    let sums_to_total = |output: i64| total == Some(input.saturating_add(output));
    let with_reasoning = output.saturating_add(reasoning);
    let is_beside = reasoning > 0
        && habits
            .reasoning_beside_output
            .unwrap_or_else(|| !sums_to_total(output) && sums_to_total(with_reasoning));
    let mut whole = if is_beside { with_reasoning } else { output };
    // Gemini's total has thoughts that some packages report nowhere else.
    if context.is_google
        && let Some(hidden) = total.and_then(|total| total.checked_sub(input))
    {
        whole = whole.max(hidden);
    }
    counts.put(Count::Output, Some(whole));
    if reasoning > whole {
        counts.put(Count::Reasoning, Some(whole));
    }
}

#[cfg(test)]
mod tests;
