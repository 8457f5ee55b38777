//! Sums over time, as asked for.

use serde::Serialize;
use serde_json::{Map, Value};

use super::time;
use crate::storage::query::{AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, Dimension, Measures};

const NS_PER_MINUTE: u64 = 60_000_000_000;

/// What can be asked of a bucket and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Measure {
    Requests,
    Errors,
    ErrorRate,
    DurationAvg,
    /// A percentile of durations.
    Duration(u8),
    InputTokens,
    OutputTokens,
    CacheReadTokens,
    LlmCalls,
    Cost,
    CacheWriteTokens,
    ReasoningTokens,
    AudioInputTokens,
    AudioOutputTokens,
    ImageInputTokens,
    ImageOutputTokens,
    UnpricedCalls,
    /// A percentile of the times to the first token.
    FirstToken(u8),
}

impl Measure {
    /// Names in the API, in the order in which they are answered.
    pub(in crate::gateway) const NAMES: [(&'static str, Self); 24] = [
        ("requests", Self::Requests),
        ("errors", Self::Errors),
        ("error_rate", Self::ErrorRate),
        ("duration_avg_ns", Self::DurationAvg),
        ("duration_p50_ns", Self::Duration(50)),
        ("duration_p90_ns", Self::Duration(90)),
        ("duration_p95_ns", Self::Duration(95)),
        ("duration_p99_ns", Self::Duration(99)),
        ("input_tokens", Self::InputTokens),
        ("output_tokens", Self::OutputTokens),
        ("cache_read_tokens", Self::CacheReadTokens),
        ("llm_calls", Self::LlmCalls),
        ("cost_nano_usd", Self::Cost),
        ("cache_write_tokens", Self::CacheWriteTokens),
        ("reasoning_tokens", Self::ReasoningTokens),
        ("audio_input_tokens", Self::AudioInputTokens),
        ("audio_output_tokens", Self::AudioOutputTokens),
        ("image_input_tokens", Self::ImageInputTokens),
        ("image_output_tokens", Self::ImageOutputTokens),
        ("unpriced_calls", Self::UnpricedCalls),
        ("time_to_first_token_p50_ns", Self::FirstToken(50)),
        ("time_to_first_token_p90_ns", Self::FirstToken(90)),
        ("time_to_first_token_p95_ns", Self::FirstToken(95)),
        ("time_to_first_token_p99_ns", Self::FirstToken(99)),
    ];

    /// Whether rollups don't have it, so that spans must be looked at.
    pub(in crate::gateway) const fn is_of_details(self) -> bool {
        matches!(
            self,
            Self::CacheWriteTokens
                | Self::ReasoningTokens
                | Self::AudioInputTokens
                | Self::AudioOutputTokens
                | Self::ImageInputTokens
                | Self::ImageOutputTokens
                | Self::UnpricedCalls
                | Self::FirstToken(_)
        )
    }

    /// Whether it is read from the histogram of durations.
    pub(in crate::gateway) const fn is_of_durations(self) -> bool {
        matches!(self, Self::Duration(_))
    }

    fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, measure)| *measure == self);
        found.map_or("", |(name, _)| name)
    }

    fn value(self, sums: &Measures) -> Value {
        match self {
            Self::Requests => sums.span_count.into(),
            Self::Errors => sums.error_count.into(),
            Self::ErrorRate => share(sums.error_count, sums.span_count),
            Self::DurationAvg => sums.duration_sum_ns.checked_div(sums.span_count).into(),
            Self::Duration(percent) => sums.durations.quantile(f64::from(percent) / 100.0).into(),
            Self::InputTokens => sums.totals.input_tokens.into(),
            Self::OutputTokens => sums.totals.output_tokens.into(),
            Self::CacheReadTokens => sums.totals.cache_read_tokens.into(),
            Self::LlmCalls => sums.totals.llm_calls.into(),
            Self::Cost => sums.totals.cost_nano_usd.into(),
            Self::CacheWriteTokens => sums.details.cache_write_tokens.into(),
            Self::ReasoningTokens => sums.details.reasoning_tokens.into(),
            Self::AudioInputTokens => sums.details.audio_input_tokens.into(),
            Self::AudioOutputTokens => sums.details.audio_output_tokens.into(),
            Self::ImageInputTokens => sums.details.image_input_tokens.into(),
            Self::ImageOutputTokens => sums.details.image_output_tokens.into(),
            Self::UnpricedCalls => sums.details.unpriced_calls.into(),
            Self::FirstToken(percent) => {
                let share = f64::from(percent) / 100.0;
                sums.details.first_tokens.quantile(share).into()
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share needs no more digits than a double has"
)]
fn share(part: u64, whole: u64) -> Value {
    if whole == 0 {
        Value::Null
    } else {
        (part as f64 / whole as f64).into()
    }
}

/// Name of a dimension in the API.
pub(in crate::gateway) const fn dimension_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Service => "service",
        Dimension::Operation => "operation",
        Dimension::Provider => "provider",
        Dimension::Model => "model",
        Dimension::User => "user_id",
        Dimension::Agent => "agent",
        Dimension::Tool => "tool",
        Dimension::Environment => "environment",
        Dimension::Tag => "tag",
        Dimension::ErrorKind => "error_kind",
        Dimension::CostSource => "cost_source",
    }
}

/// The answer, with the range that was really read.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Sums {
    #[serde(flatten)]
    extent: Extent,
    step_ns: Option<u64>,
    group_by: Vec<&'static str>,
    measures: Vec<&'static str>,
    rows: Vec<Row>,
    truncated: bool,
}

/// A range of time, and how much of it was counted.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Extent {
    start_time: String,
    start_time_unix_nano: String,
    end_time: String,
    end_time_unix_nano: String,
    /// Whether all of it was counted.
    complete: bool,
    /// Else, from where on.
    counted_from_time: Option<String>,
    counted_from_time_unix_nano: Option<String>,
}

impl Extent {
    /// A range, ns, and from where on it was counted if not whole.
    pub(in crate::gateway) fn new(start: u64, end: u64, counted_from: Option<u64>) -> Self {
        Self {
            start_time: time(start),
            start_time_unix_nano: start.to_string(),
            end_time: time(end),
            end_time_unix_nano: end.to_string(),
            complete: counted_from.is_none(),
            counted_from_time: counted_from.map(time),
            counted_from_time_unix_nano: counted_from.map(|from| from.to_string()),
        }
    }
}

/// One bucket and group.
#[derive(Debug, Serialize)]
struct Row {
    bucket_time: String,
    bucket_time_unix_nano: String,
    group: Map<String, Value>,
    measures: Map<String, Value>,
}

impl Sums {
    /// Renders the measures asked for.
    pub(in crate::gateway) fn new(
        query: &AnalyticsQuery,
        measures: &[Measure],
        answer: AnalyticsAnswer,
    ) -> Self {
        let (start, end) = (unix_nano(query.start_minute), unix_nano(query.end_minute));
        let names: Vec<_> = query.group_by.iter().copied().map(dimension_name).collect();
        let rows = answer.rows.into_iter();
        Self {
            extent: Extent::new(start, end, answer.counted_from_unix_nano),
            step_ns: query
                .step_minutes
                .map(|minutes| u64::from(minutes) * NS_PER_MINUTE),
            rows: rows.map(|row| Row::new(&names, measures, row)).collect(),
            group_by: names,
            measures: measures.iter().map(|measure| measure.name()).collect(),
            truncated: answer.truncated,
        }
    }
}

impl Row {
    fn new(names: &[&'static str], measures: &[Measure], row: AnalyticsRow) -> Self {
        let bucket = unix_nano(row.bucket_minute);
        let groups = names.iter().zip(row.group).map(|(name, value)| {
            let value = (!value.is_empty()).then_some(value);
            ((*name).to_owned(), value.into())
        });
        let sums = &row.measures;
        let measures = measures
            .iter()
            .map(|measure| (measure.name().to_owned(), measure.value(sums)));
        Self {
            bucket_time: time(bucket),
            bucket_time_unix_nano: bucket.to_string(),
            group: groups.collect(),
            measures: measures.collect(),
        }
    }
}

/// The start of a minute, ns.
pub(in crate::gateway) fn unix_nano(minute: i64) -> u64 {
    u64::try_from(minute)
        .unwrap_or(0)
        .saturating_mul(NS_PER_MINUTE)
}
