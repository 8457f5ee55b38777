//! Adding spans up by time and group, for what rollups don't have. Pure.
//!
//! A store shows its spans newest first, though not strictly: it says from where on it has shown
//! all. What lies before that is kept apart, second by second, so that an answer that had to stop
//! early counts exactly the spans from some second on.

use std::collections::BTreeMap;

use super::query::{AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, Details, Dimension, Measures};
use crate::model::genai::{Cost, CostSource, GenAi, Usage};

/// Distinct rows added up at most: bounds memory.
const GROUPS_MAX: usize = 100_000;

const NS_PER_SECOND: i64 = 1_000_000_000;
const NS_PER_MINUTE: i64 = 60 * NS_PER_SECOND;

/// A span, as far as sums go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Start, ns since the Unix epoch.
    pub start_unix_nano: i64,
    /// End minus start, ns.
    pub duration_ns: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it is a model call, whose usage counts.
    pub is_model_call: bool,
    /// Tokens.
    pub usage: Usage,
    /// Cost altogether, nano-USD.
    pub cost_nano_usd: Option<i64>,
    /// Where the cost comes from.
    pub cost_source: Option<CostSource>,
    /// From the start to the first token, ns.
    pub time_to_first_token_ns: Option<i64>,
}

/// Texts of a span.
pub trait Texts {
    /// The value of a dimension other than [`Dimension::Tag`]; empty where unknown.
    fn value(&self, dimension: Dimension) -> &str;

    /// The tags.
    fn tags(&self) -> Vec<&str>;
}

type Groups = BTreeMap<(i64, Vec<String>), Measures>;

/// Adds spans up.
#[derive(Debug)]
pub struct Tally<'q> {
    query: &'q AnalyticsQuery,
    /// Spans of seconds that have been shown whole.
    counted: Groups,
    /// Spans of other seconds, by second.
    open: BTreeMap<i64, Groups>,
    /// Every span that starts here or later has been shown.
    shown_from: i64,
}

impl<'q> Tally<'q> {
    /// Adds up what a question asks for.
    #[must_use]
    pub fn new(query: &'q AnalyticsQuery) -> Self {
        Self {
            query,
            counted: Groups::new(),
            open: BTreeMap::new(),
            shown_from: i64::MAX,
        }
    }

    /// First and last start that count, ns; `None` when none does.
    #[must_use]
    pub fn bounds(query: &AnalyticsQuery) -> Option<(i64, i64)> {
        let from = query.start_minute.saturating_mul(NS_PER_MINUTE).max(0);
        let end = query.end_minute.saturating_mul(NS_PER_MINUTE);
        (from < end).then(|| (from, end - 1))
    }

    /// Adds a span that starts within the bounds, if it is one that is asked for.
    pub fn add(&mut self, sample: &Sample, texts: &impl Texts) {
        let tags = if self.query.has(Dimension::Tag) {
            texts.tags()
        } else {
            Vec::new()
        };
        let is_wanted = |(dimension, wanted): &(Dimension, String)| match dimension {
            Dimension::Tag => tags.contains(&wanted.as_str()),
            other => texts.value(*other) == wanted,
        };
        if !self.query.filters.iter().all(is_wanted) {
            return;
        }
        let minute = sample.start_unix_nano.div_euclid(NS_PER_MINUTE);
        let bucket = self
            .query
            .step_minutes
            .map_or(self.query.start_minute, |step| {
                let step = i64::from(step.max(1));
                minute.div_euclid(step) * step
            });
        let second = sample.start_unix_nano.div_euclid(NS_PER_SECOND);
        let groups = if second * NS_PER_SECOND >= self.shown_from {
            &mut self.counted
        } else {
            self.open.entry(second).or_default()
        };
        let by_tag = self.query.group_by.contains(&Dimension::Tag);
        let mut tags = if by_tag { tags } else { Vec::new() };
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() {
            tags.push("");
        }
        for tag in tags {
            let value = |dimension: &Dimension| match dimension {
                Dimension::Tag => tag.to_owned(),
                other => texts.value(*other).to_owned(),
            };
            let group = self.query.group_by.iter().map(value).collect();
            let sums = groups.entry((bucket, group)).or_default();
            add(sums, sample, self.query);
        }
    }

    /// Says that every span that starts here or later has been shown; answers whether the rows are
    /// few enough to go on.
    pub fn shown_from(&mut self, unix_nano: i64) -> bool {
        self.shown_from = self.shown_from.min(unix_nano);
        let first_whole = div_ceil(self.shown_from, NS_PER_SECOND);
        for groups in self.open.split_off(&first_whole).into_values() {
            for (key, sums) in groups {
                self.counted.entry(key).or_default().merge(&sums);
            }
        }
        let open: usize = self.open.values().map(BTreeMap::len).sum();
        self.counted.len().saturating_add(open) < GROUPS_MAX
    }

    /// The answer, when all spans have been shown.
    #[must_use]
    pub fn whole(mut self) -> AnalyticsAnswer {
        self.shown_from(i64::MIN);
        self.answer(None)
    }

    /// The answer to a question that had to end early.
    #[must_use]
    pub fn partial(self) -> AnalyticsAnswer {
        let second = div_ceil(self.shown_from, NS_PER_SECOND);
        let from = u64::try_from(second.saturating_mul(NS_PER_SECOND)).unwrap_or(0);
        // Nothing at all has been shown: the end of the range is as far as it got.
        let end = self.query.end_minute.saturating_mul(NS_PER_MINUTE);
        let from = from.min(u64::try_from(end).unwrap_or(0));
        self.answer(Some(from))
    }

    fn answer(self, counted_from_unix_nano: Option<u64>) -> AnalyticsAnswer {
        let truncated = self.counted.len() > self.query.limit;
        let rows = self.counted.into_iter().take(self.query.limit);
        let rows = rows.map(|((bucket_minute, group), measures)| AnalyticsRow {
            bucket_minute,
            group,
            measures,
        });
        AnalyticsAnswer {
            rows: rows.collect(),
            truncated,
            counted_from_unix_nano,
        }
    }
}

fn div_ceil(number: i64, by: i64) -> i64 {
    let floor = number.div_euclid(by);
    floor + i64::from(number.rem_euclid(by) > 0)
}

fn add(sums: &mut Measures, sample: &Sample, query: &AnalyticsQuery) {
    sums.span_count += 1;
    sums.error_count += u64::from(sample.failed);
    let duration = sample.duration_ns;
    sums.duration_sum_ns = capped(sums.duration_sum_ns.saturating_add(capped(duration)));
    if query.durations {
        sums.durations.record(duration);
    }
    let call = GenAi {
        is_model_call: sample.is_model_call,
        usage: sample.usage,
        cost: Cost {
            total: sample.cost_nano_usd,
            ..Cost::default()
        },
        ..GenAi::default()
    };
    if call.is_model_call {
        sums.totals.add(call.amounts());
    }
    if query.details && sample.is_model_call {
        add_details(&mut sums.details, sample);
    }
}

fn add_details(details: &mut Details, sample: &Sample) {
    let amount = |amount: Option<i64>| amount.unwrap_or(0).max(0);
    let usage = &sample.usage;
    let sums = [
        (&mut details.cache_write_tokens, amount(usage.cache_write)),
        (&mut details.reasoning_tokens, amount(usage.reasoning)),
        (&mut details.audio_input_tokens, amount(usage.audio_in)),
        (&mut details.audio_output_tokens, amount(usage.audio_out)),
        (&mut details.image_input_tokens, amount(usage.image_in)),
        (&mut details.image_output_tokens, amount(usage.image_out)),
        (
            &mut details.unpriced_calls,
            i64::from(sample.cost_source == Some(CostSource::Unpriced)),
        ),
    ];
    for (sum, more) in sums {
        *sum = sum.saturating_add(more);
    }
    let first_token = sample.time_to_first_token_ns.map(u64::try_from);
    if let Some(Ok(first_token)) = first_token {
        details.first_tokens.record(first_token);
    }
}

/// As rollups add up: sums stop at the largest integer that a store keeps.
fn capped(sum: u64) -> u64 {
    sum.min(i64::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests;
