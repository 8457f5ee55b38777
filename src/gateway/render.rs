//! The JSON of the API.
//!
//! Keys are snake_case and always present; what is unknown is `null`. Ids are lower-case hex.
//! Every time is given twice: RFC 3339 with nine fractional digits, and as a string of ns since
//! the Unix epoch under `<field>_unix_nano`, because a JSON number loses ns in most clients.
//! Durations are numbers in ns.

mod analytics;
pub(super) mod control;
mod conversation;
mod detail;
mod event;
mod genai;
pub(super) mod issue;
mod metrics;
mod models;
mod otlp;
mod prices;
mod search;
mod value;

use serde::Serialize;

use crate::model::failure::ErrorKind;
use crate::model::{SpanId, TraceId};
use crate::storage::query::{self, DeadLetter};
use crate::storage::{Error, ServiceSummary, SessionSummary};

pub(super) use analytics::{Extent, Measure, Sums, dimension_name, unix_nano};
pub(super) use conversation::{CallOf, Conversation, TraceOf};
pub(super) use detail::{SpanDetail, messages, write_trace};
pub(super) use event::EventDetail;
pub(super) use metrics::{Metric, MetricPoints, aggregations};
pub(super) use models::{Model, Models, UnpricedModel, UnpricedModels, User, Users};
pub(super) use otlp::write_otlp;
pub(super) use prices::{PriceOverrides, Prices};
pub(super) use search::SearchPage;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    /// The items.
    pub(super) items: Vec<T>,
    /// Where to go on; `null` at the end.
    pub(super) next_cursor: Option<String>,
}

/// RFC 3339 in UTC with nine fractional digits.
pub(super) fn time(unix_nano: u64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(unix_nano)) {
        Ok(time) => format!("{time:.9}"),
        // Every u64 of ns lies before the year 2555.
        Err(_) => String::new(),
    }
}

/// A trace without its spans.
#[derive(Debug, Serialize)]
pub(super) struct TraceSummary {
    trace_id: TraceId,
    name: String,
    service_name: String,
    root_span_id: Option<SpanId>,
    start_time: String,
    start_time_unix_nano: String,
    end_time: String,
    end_time_unix_nano: String,
    duration_ns: u64,
    span_count: u64,
    error_count: u64,
    genai_span_count: u64,
    totals: genai::Totals,
    services: Vec<String>,
    models: Vec<String>,
    session_id: Option<String>,
    user_id: Option<String>,
    first_error: Option<FirstError>,
}

/// The earliest failed span of a trace.
#[derive(Debug, Serialize)]
struct FirstError {
    span_id: SpanId,
    name: String,
    error_type: Option<String>,
    message: String,
}

impl From<query::TraceSummary> for TraceSummary {
    fn from(trace: query::TraceSummary) -> Self {
        Self {
            trace_id: trace.trace_id,
            name: trace.name,
            service_name: trace.service_name,
            root_span_id: trace.root_span_id,
            start_time: time(trace.start_unix_nano),
            start_time_unix_nano: trace.start_unix_nano.to_string(),
            end_time: time(trace.end_unix_nano),
            end_time_unix_nano: trace.end_unix_nano.to_string(),
            duration_ns: trace.end_unix_nano.saturating_sub(trace.start_unix_nano),
            span_count: trace.span_count,
            error_count: trace.error_count,
            genai_span_count: trace.genai_span_count,
            totals: trace.totals.into(),
            services: trace.services,
            models: trace.models,
            session_id: trace.session_id,
            user_id: trace.user_id,
            first_error: trace.first_error.map(|error| FirstError {
                span_id: error.span_id,
                name: error.name,
                error_type: error.error_type,
                message: error.message,
            }),
        }
    }
}

/// A span's columns.
#[derive(Debug, Serialize)]
pub(super) struct SpanSummary {
    trace_id: TraceId,
    span_id: SpanId,
    parent_span_id: Option<SpanId>,
    name: String,
    kind: &'static str,
    status: Status,
    service_name: String,
    start_time: String,
    start_time_unix_nano: String,
    end_time: String,
    end_time_unix_nano: String,
    duration_ns: u64,
    time_marks: Vec<&'static str>,
    operation: String,
    genai: Option<genai::GenAi>,
    provider: Option<String>,
    request_model: Option<String>,
    response_model: Option<String>,
    session_id: Option<String>,
    user_id: Option<String>,
    error_type: Option<String>,
    error_kind: Option<&'static str>,
    http_method: Option<String>,
    http_route: Option<String>,
    http_status_code: Option<i64>,
    db_system: Option<String>,
    db_operation: Option<String>,
    rpc_system: Option<String>,
    rpc_service: Option<String>,
    rpc_method: Option<String>,
}

/// Status of a span.
#[derive(Debug, Serialize)]
struct Status {
    code: &'static str,
    message: String,
}

impl From<query::SpanSummary> for SpanSummary {
    fn from(span: query::SpanSummary) -> Self {
        let end_unix_nano = span.start_unix_nano.saturating_add(span.duration_ns);
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            name: span.name,
            kind: span.kind.as_str(),
            status: Status {
                code: span.status.as_str(),
                message: span.status_message,
            },
            service_name: span.service_name,
            start_time: time(span.start_unix_nano),
            start_time_unix_nano: span.start_unix_nano.to_string(),
            end_time: time(end_unix_nano),
            end_time_unix_nano: end_unix_nano.to_string(),
            duration_ns: span.duration_ns,
            time_marks: span.time_marks.names().collect(),
            operation: span.operation,
            genai: span.genai.map(|genai| (*genai).into()),
            provider: span.provider,
            request_model: span.request_model,
            response_model: span.response_model,
            session_id: span.session_id,
            user_id: span.user_id,
            error_type: span.error_type,
            error_kind: span.error_kind.map(ErrorKind::as_str),
            http_method: span.http_method,
            http_route: span.http_route,
            http_status_code: span.http_status_code,
            db_system: span.db_system,
            db_operation: span.db_operation,
            rpc_system: span.rpc_system,
            rpc_service: span.rpc_service,
            rpc_method: span.rpc_method,
        }
    }
}

/// A service.
#[derive(Debug, Serialize)]
pub(super) struct Service {
    name: String,
    first_seen_time: String,
    first_seen_time_unix_nano: String,
    last_seen_time: String,
    last_seen_time_unix_nano: String,
    span_count: u64,
    error_count: u64,
}

impl From<ServiceSummary> for Service {
    fn from(service: ServiceSummary) -> Self {
        Self {
            name: service.name,
            first_seen_time: time(service.first_seen_unix_nano),
            first_seen_time_unix_nano: service.first_seen_unix_nano.to_string(),
            last_seen_time: time(service.last_seen_unix_nano),
            last_seen_time_unix_nano: service.last_seen_unix_nano.to_string(),
            span_count: service.span_count,
            error_count: service.error_count,
        }
    }
}

/// A session.
#[derive(Debug, Serialize)]
pub(super) struct Session {
    session_id: String,
    user_id: Option<String>,
    start_time: String,
    start_time_unix_nano: String,
    end_time: String,
    end_time_unix_nano: String,
    duration_ns: u64,
    trace_count: u64,
    span_count: u64,
    error_count: u64,
    totals: genai::Totals,
}

impl From<SessionSummary> for Session {
    fn from(session: SessionSummary) -> Self {
        Self {
            session_id: session.session_id,
            user_id: session.user_id,
            start_time: time(session.start_unix_nano),
            start_time_unix_nano: session.start_unix_nano.to_string(),
            end_time: time(session.end_unix_nano),
            end_time_unix_nano: session.end_unix_nano.to_string(),
            duration_ns: session
                .end_unix_nano
                .saturating_sub(session.start_unix_nano),
            trace_count: session.trace_count,
            span_count: session.span_count,
            error_count: session.error_count,
            totals: session.totals.into(),
        }
    }
}

/// A span the store refused.
#[derive(Debug, Serialize)]
pub(super) struct RefusedSpan {
    trace_id: TraceId,
    span_id: SpanId,
    reason: String,
    created_time: String,
    created_time_unix_nano: String,
    /// The encoded OTLP `Span` message: what was refused may not be readable as anything else.
    message_base64: String,
}

impl From<DeadLetter> for RefusedSpan {
    fn from(letter: DeadLetter) -> Self {
        Self {
            trace_id: letter.trace_id,
            span_id: letter.span_id,
            reason: letter.reason,
            created_time: time(letter.created_unix_nano),
            created_time_unix_nano: letter.created_unix_nano.to_string(),
            message_base64: value::base64(&letter.message),
        }
    }
}

/// A stored message does not decode.
fn damaged(what: &'static str) -> impl Fn(prost::DecodeError) -> Error {
    move |source| Error::Corrupt {
        context: format!("{what} message: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nine_digits_up_to_the_last() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            time(1_700_000_000_000_000_001),
            "2023-11-14T22:13:20.000000001Z"
        );
        assert_eq!(time(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
