//! From traces and spans in JSON of their own to an OTLP export request.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::json::Json;
use super::schema::Item;
use super::{ids, names, scalar};
use crate::model::{SpanId, TraceId};

/// Service of traces, which don't name one: what the SDK of the time called itself.
const SDK_SERVICE: &str = "pulse-sdk";
/// Doubles below this that are whole are integers.
const SAFE_INTEGER: f64 = 9_007_199_254_740_992.0;
const NS_PER_MS: f64 = 1e6;

/// Which ids an item gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ids {
    /// Of its trace.
    pub trace: TraceId,
    /// Of itself.
    pub span: SpanId,
}

/// The ids of a trace of the first generation.
#[must_use]
pub fn trace_ids(item: &Item) -> Ids {
    let trace = ids::trace_id(item.text("trace_id"));
    Ids {
        trace,
        span: ids::only_span_id(trace),
    }
}

/// The ids of a span.
#[must_use]
pub fn span_ids(item: &Item) -> Ids {
    let trace = match item.get("trace_id") {
        Some(_) => ids::trace_id(item.text("trace_id")),
        None => ids::unnamed_trace_id(item.text("source"), item.text("session_id")),
    };
    Ids {
        trace,
        span: ids::span_id(item.text("span_id")),
    }
}

/// Traces of the first generation as spans, one each.
#[must_use]
pub fn traces<'i>(items: impl IntoIterator<Item = &'i Item>) -> ExportTraceServiceRequest {
    let spans = items.into_iter().map(|item| (SDK_SERVICE, trace(item)));
    request("pulse.traces", spans)
}

/// Spans as spans.
#[must_use]
pub fn spans<'i>(items: impl IntoIterator<Item = &'i Item>) -> ExportTraceServiceRequest {
    let spans = items.into_iter().map(|item| {
        let service = item.text("service");
        let service = if service.is_empty() {
            item.text("source")
        } else {
            service
        };
        (service, span(item))
    });
    request("pulse.spans", spans)
}

/// Neighbours of one service share a resource.
fn request<'s>(
    scope: &str,
    spans: impl Iterator<Item = (&'s str, Span)>,
) -> ExportTraceServiceRequest {
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    let mut last = None;
    for (service, span) in spans {
        if last != Some(service) {
            last = Some(service);
            resource_spans.push(empty(scope, service));
        }
        let scopes = resource_spans.last_mut().map(|it| &mut it.scope_spans);
        if let Some(scope) = scopes.and_then(|scopes| scopes.last_mut()) {
            scope.spans.push(span);
        }
    }
    ExportTraceServiceRequest { resource_spans }
}

fn empty(scope: &str, service: &str) -> ResourceSpans {
    let scope = InstrumentationScope {
        name: scope.to_owned(),
        ..InstrumentationScope::default()
    };
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn trace(item: &Item) -> Span {
    let ids = trace_ids(item);
    let mut span = Span {
        trace_id: ids.trace.0.to_vec(),
        span_id: ids.span.0.to_vec(),
        name: format!("chat {}", item.text("model_requested")),
        status: Some(status(item)),
        attributes: vec![
            text(names::RECORD, names::TRACE_RECORD),
            text(names::SOURCE, "sdk"),
            text(names::KIND, "llm_call"),
            text(names::EVENT_TYPE, "provider_call"),
        ],
        ..Span::default()
    };
    times(item, "latency_ms", &mut span);
    let fields = [
        ("trace_id", names::TRACE_ID, Form::Plain),
        ("provider", names::GENAI_PROVIDER, Form::Plain),
        ("model_requested", names::GENAI_REQUEST_MODEL, Form::Plain),
        ("request_body", names::REQUEST, Form::Json),
        ("response_body", names::RESPONSE, Form::Json),
    ];
    take(item, &fields, &mut span);
    take(item, &SHARED_FIELDS, &mut span);
    span
}

fn span(item: &Item) -> Span {
    let ids = span_ids(item);
    let kind = item.text("kind");
    let name = match item.text("tool_name") {
        tool if kind == "tool_use" && !tool.is_empty() => tool,
        _ => item.text("event_type"),
    };
    let parent = item.get("parent_span_id").and_then(Json::as_text);
    let parent = parent.map_or_else(Vec::new, |name| ids::span_id(name).0.to_vec());
    let mut span = Span {
        trace_id: ids.trace.0.to_vec(),
        span_id: ids.span.0.to_vec(),
        parent_span_id: parent,
        name: name.to_owned(),
        status: Some(status(item)),
        attributes: vec![text(names::RECORD, names::SPAN_RECORD)],
        ..Span::default()
    };
    times(item, "duration_ms", &mut span);
    let fields = [
        ("span_id", names::SPAN_ID, Form::Plain),
        ("trace_id", names::TRACE_ID, Form::Plain),
        ("parent_span_id", names::PARENT_SPAN_ID, Form::Plain),
        ("source", names::SOURCE, Form::Plain),
        ("service", names::SERVICE, Form::Plain),
        ("kind", names::KIND, Form::Plain),
        ("event_type", names::EVENT_TYPE, Form::Plain),
        ("tool_use_id", names::TOOL_ID, Form::Plain),
        ("tool_name", names::TOOL_NAME, Form::Plain),
        ("tool_input", names::TOOL_INPUT, Form::Json),
        ("tool_response", names::TOOL_RESPONSE, Form::Json),
        ("is_interrupt", names::IS_INTERRUPT, Form::Plain),
        ("cwd", names::CWD, Form::Plain),
        ("model", names::MODEL, Form::Plain),
        ("agent_name", names::AGENT_NAME, Form::Plain),
        ("provider", names::GENAI_PROVIDER, Form::Plain),
    ];
    take(item, &fields, &mut span);
    take(item, &SHARED_FIELDS, &mut span);
    span
}

/// Fields that traces and spans both have.
const SHARED_FIELDS: [(&str, &str, Form); 10] = [
    ("session_id", names::SESSION_ID, Form::Plain),
    ("model_used", names::GENAI_RESPONSE_MODEL, Form::Plain),
    ("provider_request_id", names::GENAI_RESPONSE_ID, Form::Plain),
    ("input_tokens", names::GENAI_INPUT_TOKENS, Form::Plain),
    ("output_tokens", names::GENAI_OUTPUT_TOKENS, Form::Plain),
    ("cost_cents", names::COST_CENTS, Form::Double),
    (
        "finish_reason",
        names::GENAI_FINISH_REASONS,
        Form::OneOfList,
    ),
    ("output_text", names::OUTPUT_TEXT, Form::Plain),
    ("error", names::ERROR, Form::Json),
    ("metadata", names::METADATA, Form::Json),
];

/// How a field becomes an attribute.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// As what it is.
    Plain,
    /// As a double, whole or not.
    Double,
    /// As JSON text.
    Json,
    /// As the only item of a list.
    OneOfList,
}

fn take(item: &Item, fields: &[(&str, &str, Form)], span: &mut Span) {
    for (field, key, form) in fields {
        let Some(value) = item.get(field) else {
            continue;
        };
        let value = match (form, value) {
            (Form::Double, Json::Number(number)) => Value::DoubleValue(*number),
            (Form::Plain, Json::Number(number)) => number_value(*number),
            (Form::Plain, Json::Bool(flag)) => Value::BoolValue(*flag),
            (Form::Plain, Json::Text(text)) => Value::StringValue(text.clone()),
            (Form::OneOfList, Json::Text(text)) => Value::ArrayValue(ArrayValue {
                values: vec![AnyValue {
                    value: Some(Value::StringValue(text.clone())),
                }],
            }),
            (_, value) => Value::StringValue(value.to_string()),
        };
        span.attributes.push(key_value(key, value));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole and within what both types tell exactly"
)]
fn number_value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < SAFE_INTEGER {
        Value::IntValue(number as i64)
    } else {
        Value::DoubleValue(number)
    }
}

/// Start and end. OTLP has no times before 1970, and a span without duration has no end.
fn times(item: &Item, duration: &str, span: &mut Span) {
    let start = scalar::datetime(item.text("timestamp")).unwrap_or_default();
    span.start_time_unix_nano = u64::try_from(start).unwrap_or_default();
    if u64::try_from(start).is_err() || start == 0 {
        let shown = scalar::iso(start);
        span.attributes.push(text(names::TIMESTAMP, &shown));
    }
    if let Some(ms) = item.get(duration).and_then(Json::as_number) {
        let end = span.start_time_unix_nano.saturating_add(nanos(ms));
        span.end_time_unix_nano = end;
        let exact = key_value(names::DURATION_MS, Value::DoubleValue(ms));
        span.attributes.push(exact);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "stops at the bounds of the type"
)]
fn nanos(ms: f64) -> u64 {
    (ms * NS_PER_MS).round() as u64
}

fn status(item: &Item) -> Status {
    if item.text("status") != "error" {
        return Status {
            code: StatusCode::Ok.into(),
            ..Status::default()
        };
    }
    let error = item.get("error");
    let message = error.and_then(|error| error.get("message").or(Some(error)));
    Status {
        code: StatusCode::Error.into(),
        message: message
            .and_then(Json::as_text)
            .unwrap_or_default()
            .to_owned(),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Value::StringValue(value.to_owned()))
}

pub(super) fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
