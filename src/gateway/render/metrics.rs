//! Metrics, and their points over time.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::time;
use crate::otlp::protobuf::AnyValue;
use crate::storage::metrics::query::{
    Aggregation, Group, MetricAnswer, MetricKey, MetricQuery, MetricSummary,
};

/// Aggregations by their names in the API.
pub(in crate::gateway) fn aggregations() -> impl Iterator<Item = (&'static str, Aggregation)> {
    const ALL: [(&str, Aggregation); 13] = [
        ("rate", Aggregation::Rate),
        ("increase", Aggregation::Increase),
        ("sum", Aggregation::Sum),
        ("avg", Aggregation::Avg),
        ("min", Aggregation::Min),
        ("max", Aggregation::Max),
        ("last", Aggregation::Last),
        ("count", Aggregation::Count),
        ("p50", Aggregation::Quantile(50)),
        ("p75", Aggregation::Quantile(75)),
        ("p90", Aggregation::Quantile(90)),
        ("p95", Aggregation::Quantile(95)),
        ("p99", Aggregation::Quantile(99)),
    ];
    ALL.into_iter()
}

fn name_of(aggregation: Aggregation) -> &'static str {
    let found = aggregations().find(|(_, it)| *it == aggregation);
    found.map_or("", |(name, _)| name)
}

/// What a metric is.
#[derive(Debug, Serialize)]
struct Instrument {
    name: String,
    r#type: &'static str,
    unit: Option<String>,
    temporality: Option<&'static str>,
    is_monotonic: bool,
}

impl From<MetricKey> for Instrument {
    fn from(key: MetricKey) -> Self {
        Self {
            r#type: key.kind.as_str(),
            unit: Some(key.unit).filter(|unit| !unit.is_empty()),
            temporality: key.temporality.as_str(),
            is_monotonic: key.is_monotonic,
            name: key.name,
        }
    }
}

/// A metric of the list.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Metric {
    #[serde(flatten)]
    instrument: Instrument,
    description: Option<String>,
    services: Vec<String>,
    series_count: u64,
    has_overflow: bool,
    last_seen_time: String,
    last_seen_time_unix_nano: String,
}

impl From<MetricSummary> for Metric {
    fn from(metric: MetricSummary) -> Self {
        Self {
            instrument: metric.key.into(),
            description: Some(metric.description).filter(|text| !text.is_empty()),
            services: metric.services,
            series_count: metric.series_count,
            has_overflow: metric.has_overflow,
            last_seen_time: time(metric.last_seen_unix_nano),
            last_seen_time_unix_nano: metric.last_seen_unix_nano.to_string(),
        }
    }
}

/// Points of a metric.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct MetricPoints {
    metrics: Vec<Instrument>,
    aggregation: &'static str,
    start_time: String,
    start_time_unix_nano: String,
    end_time: String,
    end_time_unix_nano: String,
    step_ns: Option<u64>,
    group_by: Vec<String>,
    series_count: u64,
    groups: Vec<PointsOfGroup>,
    /// Whether there are more groups.
    truncated: bool,
}

#[derive(Debug, Serialize)]
struct PointsOfGroup {
    group: BTreeMap<String, Option<String>>,
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Point {
    bucket_time: String,
    bucket_time_unix_nano: String,
    value: Value,
}

/// A number; a text where JSON has none for it.
fn number(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else {
        Value::String(AnyValue::Double(value).text().into_owned())
    }
}

impl MetricPoints {
    /// Shows an answer.
    pub(in crate::gateway) fn new(query: &MetricQuery, answer: MetricAnswer) -> Self {
        let group = |group: Group| PointsOfGroup {
            group: query.group_by.iter().cloned().zip(group.values).collect(),
            points: group
                .points
                .into_iter()
                .map(|(bucket, value)| Point {
                    bucket_time: time(bucket),
                    bucket_time_unix_nano: bucket.to_string(),
                    value: number(value),
                })
                .collect(),
        };
        Self {
            metrics: answer.metrics.into_iter().map(Instrument::from).collect(),
            aggregation: name_of(answer.aggregation),
            start_time: time(query.start_unix_nano),
            start_time_unix_nano: query.start_unix_nano.to_string(),
            end_time: time(query.end_unix_nano),
            end_time_unix_nano: query.end_unix_nano.to_string(),
            step_ns: query.step_ns,
            group_by: query.group_by.clone(),
            series_count: answer.series_count,
            groups: answer.groups.into_iter().map(group).collect(),
            truncated: answer.is_cut,
        }
    }
}
