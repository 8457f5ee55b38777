//! Models and users, added up.

use serde::Serialize;

use super::{Extent, genai, time};
use crate::storage::query::{Measures, UserSummary};

/// A page of the models called within a range.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Models {
    #[serde(flatten)]
    pub(in crate::gateway) extent: Extent,
    pub(in crate::gateway) items: Vec<Model>,
    pub(in crate::gateway) next_cursor: Option<String>,
}

/// A model of a provider.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Model {
    provider: Option<String>,
    model: Option<String>,
    span_count: u64,
    error_count: u64,
    totals: genai::Totals,
    duration_p50_ns: Option<u64>,
    duration_p95_ns: Option<u64>,
}

impl Model {
    /// A model by its names, which are empty where unknown.
    pub(in crate::gateway) fn new(provider: String, model: String, sums: &Measures) -> Self {
        Self {
            provider: known(provider),
            model: known(model),
            span_count: sums.span_count,
            error_count: sums.error_count,
            totals: sums.totals.into(),
            duration_p50_ns: sums.durations.quantile(0.5),
            duration_p95_ns: sums.durations.quantile(0.95),
        }
    }
}

fn known(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Models that were called within a range and have no price.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct UnpricedModels {
    #[serde(flatten)]
    pub(in crate::gateway) extent: Extent,
    pub(in crate::gateway) items: Vec<UnpricedModel>,
    pub(in crate::gateway) truncated: bool,
}

/// A model without a price.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct UnpricedModel {
    provider: Option<String>,
    model: Option<String>,
    llm_call_count: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
}

impl UnpricedModel {
    /// A model by its names, which are empty where unknown.
    pub(in crate::gateway) fn new(provider: String, model: String, sums: &Measures) -> Self {
        Self {
            provider: known(provider),
            model: known(model),
            llm_call_count: sums.totals.llm_calls,
            input_tokens: sums.totals.input_tokens,
            output_tokens: sums.totals.output_tokens,
            cache_read_tokens: sums.totals.cache_read_tokens,
        }
    }
}

/// A page of the users seen within a range.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Users {
    #[serde(flatten)]
    pub(in crate::gateway) extent: Extent,
    pub(in crate::gateway) items: Vec<User>,
    pub(in crate::gateway) next_cursor: Option<String>,
}

/// A user.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct User {
    user_id: String,
    first_seen_time: String,
    first_seen_time_unix_nano: String,
    last_seen_time: String,
    last_seen_time_unix_nano: String,
    trace_count: u64,
    failed_trace_count: u64,
    span_count: u64,
    totals: genai::Totals,
}

impl From<UserSummary> for User {
    fn from(user: UserSummary) -> Self {
        Self {
            user_id: user.user_id,
            first_seen_time: time(user.first_seen_unix_nano),
            first_seen_time_unix_nano: user.first_seen_unix_nano.to_string(),
            last_seen_time: time(user.last_seen_unix_nano),
            last_seen_time_unix_nano: user.last_seen_unix_nano.to_string(),
            trace_count: user.trace_count,
            failed_trace_count: user.failed_trace_count,
            span_count: user.span_count,
            totals: user.totals.into(),
        }
    }
}
