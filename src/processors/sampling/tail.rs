//! The tail: what is known of a trace after a while decides whether it is stored. Pure.
//!
//! What speaks for a trace is gathered span by span in any order ([`Facts`]): a failure, a flag, a span
//! that a filter names, how long it took, what it cost. Nothing of it goes away when more is known,
//! so a trace that is kept stays kept. If nothing speaks for it, it is among the percentage that is
//! kept, or it is not; how many of those are kept a second may be limited ([`Budget`]).

mod budget;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::threshold::{Randomness, Threshold};
use super::{Problem, percentage_problem};
use crate::config::{ByteSize, Duration};
use crate::model::sampling::Reason;
use crate::otlp::protobuf::{AnyValue, KeyValues};

pub use budget::Budget;

/// Entries of a list of the settings.
const LIST_MAX: usize = 100;

/// `processors.sampling.tail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TailConfig {
    /// Whether traces are looked at.
    pub enabled: bool,
    /// How long a request waits in the log for others that tell of its traces.
    pub decision_wait: Duration,
    /// Most memory of waiting requests; when there are more, the oldest is decided about early.
    pub decision_memory: ByteSize,
    /// Traces with a span whose status is error are kept.
    pub errors: bool,
    /// Traces that take at least so long are kept; zero: whatever they take.
    pub slow: Duration,
    /// Traces that cost at least so many USD are kept; zero: whatever they cost.
    pub expensive_usd: f64,
    /// Traces with a span that has one of these attributes are kept: true, a number above zero, or a
    /// text other than "0" and "false".
    pub flags: Vec<String>,
    /// Traces with a span that one of these names are kept.
    pub keep: Vec<Filter>,
    /// Of all others, those that are kept.
    pub percentage: f64,
    /// Most spans a second that are kept by the percentage; zero: any number.
    pub max_spans_per_second: u32,
}

impl Default for TailConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            decision_wait: Duration::seconds(10),
            decision_memory: ByteSize::mib(64),
            errors: true,
            slow: Duration::seconds(0),
            expensive_usd: 0.0,
            flags: vec!["sampling.priority".to_owned()],
            keep: Vec::new(),
            percentage: 10.0,
            max_spans_per_second: 0,
        }
    }
}

/// One entry of `processors.sampling.tail.keep`: all that it names must be so of one span.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Its service.
    pub service: Option<String>,
    /// Its operation.
    pub operation: Option<String>,
    /// The model that answered, else the one asked for.
    pub model: Option<String>,
    /// Whether it has a GenAI operation.
    pub genai: Option<bool>,
    /// Its attributes; numbers and truth values as they are written.
    pub attributes: BTreeMap<String, String>,
}

impl TailConfig {
    pub(super) fn problems(&self, problems: &mut Vec<Problem>) {
        let mut complain = |path: String, message: String| problems.push(Problem { path, message });
        if self.decision_wait.0.is_zero() {
            complain(
                "tail.decision_wait".to_owned(),
                "must be more than zero".to_owned(),
            );
        }
        if self.decision_memory.0 == 0 {
            complain(
                "tail.decision_memory".to_owned(),
                "must be more than zero".to_owned(),
            );
        }
        if let Some(message) = percentage_problem(self.percentage) {
            complain("tail.percentage".to_owned(), message);
        }
        if !(0.0..=1e9).contains(&self.expensive_usd) {
            let message = format!("expected an amount in USD, got {}", self.expensive_usd);
            complain("tail.expensive_usd".to_owned(), message);
        }
        for (index, flag) in self.flags.iter().enumerate() {
            if flag.is_empty() {
                let message = "expected the key of an attribute".to_owned();
                complain(format!("tail.flags[{index}]"), message);
            }
        }
        for (index, filter) in self.keep.iter().enumerate() {
            if *filter == Filter::default() {
                let message = "names nothing: expected service, operation, model, genai or \
                               attributes";
                complain(format!("tail.keep[{index}]"), message.to_owned());
            }
        }
        for (key, entries) in [("flags", self.flags.len()), ("keep", self.keep.len())] {
            if entries > LIST_MAX {
                let message = format!("must have at most {LIST_MAX} entries, has {entries}");
                complain(format!("tail.{key}"), message);
            }
        }
    }
}

/// What speaks for a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// A span failed.
    Error,
    /// A span has a flag.
    Flag,
    /// A filter names a span.
    Filter,
    /// It took long.
    Slow,
    /// It cost much.
    Expensive,
    /// Nothing but the percentage.
    Percentage,
}

impl Policy {
    /// All of them, the first that applies first.
    pub const ALL: [Self; 6] = [
        Self::Error,
        Self::Flag,
        Self::Filter,
        Self::Slow,
        Self::Expensive,
        Self::Percentage,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Flag => "flag",
            Self::Filter => "filter",
            Self::Slow => "slow",
            Self::Expensive => "expensive",
            Self::Percentage => "percentage",
        }
    }
}

/// What is looked at of a span.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its service.
    pub service: &'a str,
    /// Its operation.
    pub operation: &'a str,
    /// Its model.
    pub model: Option<&'a str>,
    /// Whether it has a GenAI operation.
    pub is_genai: bool,
    /// Whether it failed.
    pub failed: bool,
    /// Its start, ns since the Unix epoch.
    pub start: u64,
    /// Its end, ns since the Unix epoch.
    pub end: u64,
    /// Whether its times can be compared with those of others.
    pub is_plausible: bool,
    /// What is random about its trace.
    pub randomness: Randomness,
    /// Its attributes.
    pub attributes: KeyValues<'a>,
}

/// What is known of a trace. Does not depend on the order in which its spans are seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    failed: bool,
    flagged: bool,
    named: bool,
    /// Of the longest span, ns.
    longest: u64,
    /// Of the spans whose times are plausible: earliest start and latest end.
    bounds: Option<(u64, u64)>,
    randomness: Option<Randomness>,
    /// What it costs, 10^-9 USD.
    pub cost_nano_usd: i64,
}

/// The tail's settings, ready to be applied.
#[derive(Debug, Clone)]
pub struct Tail {
    /// How long a request waits, ns.
    pub wait_ns: u64,
    /// Most memory of waiting requests, bytes.
    pub memory: u64,
    errors: bool,
    slow_ns: Option<u64>,
    expensive_nano_usd: Option<i64>,
    flags: Vec<String>,
    keep: Vec<Filter>,
    threshold: Threshold,
    spans_per_second: u32,
}

impl Tail {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an amount of at most 10^9 USD, as was checked; else the bound"
    )]
    pub(super) fn of(config: &TailConfig) -> Self {
        let ns = |duration: Duration| u64::try_from(duration.0.as_nanos()).unwrap_or(u64::MAX);
        let expensive = config.expensive_usd > 0.0;
        Self {
            wait_ns: ns(config.decision_wait),
            memory: config.decision_memory.0,
            errors: config.errors,
            slow_ns: Some(ns(config.slow)).filter(|slow| *slow > 0),
            expensive_nano_usd: expensive.then(|| (config.expensive_usd * 1e9).round() as i64),
            flags: config.flags.clone(),
            keep: config.keep.clone(),
            threshold: Threshold::of_percentage(config.percentage),
            spans_per_second: config.max_spans_per_second,
        }
    }

    /// Whether it matters what a trace costs.
    #[must_use]
    pub const fn asks_for_cost(&self) -> bool {
        self.expensive_nano_usd.is_some()
    }

    /// Takes what a span says of its trace.
    pub fn look(&self, span: &Seen<'_>, facts: &mut Facts) {
        facts.failed |= span.failed;
        facts.longest = facts.longest.max(span.end.saturating_sub(span.start));
        if span.is_plausible {
            let (start, end) = facts.bounds.unwrap_or((span.start, span.end));
            facts.bounds = Some((start.min(span.start), end.max(span.end)));
        }
        // The smallest, should they disagree, so that the order does not matter.
        facts.randomness = match facts.randomness {
            Some(known) => Some(known.min(span.randomness)),
            None => Some(span.randomness),
        };
        facts.flagged |= !self.flags.is_empty() && self.has_flag(span);
        facts.named |= self.keep.iter().any(|filter| filter.names(span));
    }

    fn has_flag(&self, span: &Seen<'_>) -> bool {
        let is_set = |value: &AnyValue<'_>| match value {
            AnyValue::Bool(value) => *value,
            AnyValue::Int(value) => *value > 0,
            AnyValue::Double(value) => *value > 0.0,
            AnyValue::Str(text) => !matches!(*text, "" | "0" | "false"),
            _ => false,
        };
        let mut attributes = span.attributes.iter();
        attributes.any(|it| self.flags.iter().any(|flag| flag == it.key) && is_set(&it.value))
    }

    /// What speaks for a trace, besides the percentage.
    #[must_use]
    pub fn policy(&self, facts: &Facts) -> Option<Policy> {
        let overall = facts
            .bounds
            .map_or(0, |(start, end)| end.saturating_sub(start));
        let took = overall.max(facts.longest);
        let applies = |policy: &Policy| match policy {
            Policy::Error => self.errors && facts.failed,
            Policy::Flag => facts.flagged,
            Policy::Filter => facts.named,
            Policy::Slow => self.slow_ns.is_some_and(|slow| took >= slow),
            Policy::Expensive => {
                let least = self.expensive_nano_usd;
                least.is_some_and(|least| facts.cost_nano_usd >= least)
            }
            Policy::Percentage => false,
        };
        Policy::ALL.into_iter().find(applies)
    }

    /// Whether a trace that nothing speaks for is kept: if it is among the percentage, and there is
    /// room for so many spans.
    ///
    /// # Errors
    /// Why it is not.
    pub fn by_percentage(
        &self,
        facts: &Facts,
        budget: &mut Budget,
        spans: u64,
    ) -> Result<(), Reason> {
        let randomness = facts.randomness;
        if !randomness.is_some_and(|it| it.is_kept_by(self.threshold)) {
            return Err(Reason::Tail);
        }
        if self.spans_per_second > 0 && !budget.has_room() {
            return Err(Reason::Rate);
        }
        budget.take(spans);
        Ok(())
    }
}

impl Filter {
    fn names(&self, span: &Seen<'_>) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        is(&self.service, span.service)
            && is(&self.operation, span.operation)
            && is(&self.model, span.model.unwrap_or_default())
            && self.genai.is_none_or(|genai| genai == span.is_genai)
            && self.attributes.iter().all(|(key, wanted)| {
                let mut attributes = span.attributes.iter();
                attributes.any(|it| it.key == key && has_text(&it.value, wanted))
            })
    }
}

/// Whether a value is written like this.
fn has_text(value: &AnyValue<'_>, text: &str) -> bool {
    match value {
        AnyValue::Str(value) => *value == text,
        AnyValue::Bool(value) => value.to_string() == text,
        AnyValue::Int(value) => value.to_string() == text,
        AnyValue::Double(value) => value.to_string() == text,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
