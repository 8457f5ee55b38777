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
}

impl Measure {
    /// Names in the API, in the order in which all of them are answered.
    pub(in crate::gateway) const NAMES: [(&'static str, Self); 13] = [
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
    ];

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
    }
}

/// The answer, with the range that was really read.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Sums {
    start_time: String,
    start_time_unix_nano: String,
    end_time: String,
    end_time_unix_nano: String,
    step_ns: Option<u64>,
    group_by: Vec<&'static str>,
    measures: Vec<&'static str>,
    rows: Vec<Row>,
    truncated: bool,
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
            start_time: time(start),
            start_time_unix_nano: start.to_string(),
            end_time: time(end),
            end_time_unix_nano: end.to_string(),
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

fn unix_nano(minute: i64) -> u64 {
    u64::try_from(minute)
        .unwrap_or(0)
        .saturating_mul(NS_PER_MINUTE)
}
