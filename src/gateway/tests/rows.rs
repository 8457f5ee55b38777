//! The rows that the stub answers.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use prost::Message as _;

use super::stub::{EVENT, SPAN, TRACE};
use crate::model::event::{EventFacts, EventSource};
use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Totals, Usage};
use crate::model::histogram::Histogram;
use crate::model::span::{Kind, Status, TimeMarks};
use crate::storage::events::EventColumns;
use crate::storage::query::{
    Details, FirstError, Measures, SpanSummary, StoredResource, StoredScope, StoredSpan,
    UserSummary,
};
use crate::storage::{Cursor, Page, SessionSummary, StoredEvent, TraceSummary};

pub(super) fn one<T>(item: T) -> Page<T> {
    Page {
        items: vec![item],
        next: Some(Cursor {
            unix_nano: 5,
            key: vec![1, 2],
        }),
    }
}

pub(super) fn trace_summary() -> TraceSummary {
    TraceSummary {
        trace_id: TRACE,
        name: "GET /".to_owned(),
        service_name: "api".to_owned(),
        root_span_id: Some(SPAN),
        start_unix_nano: 1_700_000_000_000_000_001,
        end_unix_nano: 1_700_000_000_000_000_011,
        span_count: 1,
        error_count: 1,
        genai_span_count: 0,
        totals: totals(),
        services: vec!["api".to_owned()],
        models: vec!["m".to_owned()],
        session_id: None,
        user_id: Some("u".to_owned()),
        first_error: Some(FirstError {
            span_id: SPAN,
            name: "GET /".to_owned(),
            error_type: None,
            message: "no".to_owned(),
        }),
    }
}

pub(super) fn totals() -> Totals {
    Totals {
        llm_calls: 2,
        input_tokens: 30,
        output_tokens: 4,
        cache_read_tokens: 10,
        cost_nano_usd: 5_000_000_000,
    }
}

pub(super) fn genai() -> GenAi<'static> {
    GenAi {
        dialect: Some("otel".into()),
        response_id: Some("r-1".into()),
        streaming: Some(true),
        time_to_first_token_ns: Some(7),
        agent_name: Some("writer".into()),
        tags: vec!["beta".into(), "a,b".into()],
        usage: Usage {
            input: Some(15),
            output: Some(0),
            ..Usage::default()
        },
        cost: Cost {
            total: Some(2_500_000_000),
            source: Some(CostSource::Computed),
            price_version: Some("2026-11".into()),
            ..Cost::default()
        },
        is_model_call: true,
        ..GenAi::default()
    }
}

pub(super) fn measures() -> Measures {
    let mut durations = Histogram::default();
    for duration in [0, 100, 200, 1000] {
        durations.record(duration);
    }
    Measures {
        span_count: 4,
        error_count: 1,
        duration_sum_ns: 1300,
        durations,
        totals: totals(),
        details: Details {
            reasoning_tokens: 3,
            unpriced_calls: 1,
            ..Details::default()
        },
    }
}

pub(in crate::gateway) fn span_summary() -> SpanSummary {
    SpanSummary {
        trace_id: TRACE,
        span_id: SPAN,
        parent_span_id: None,
        name: "GET /".to_owned(),
        kind: Kind::Server,
        status: Status::Error,
        status_message: "no".to_owned(),
        service_name: "api".to_owned(),
        start_unix_nano: 1_700_000_000_000_000_001,
        duration_ns: 10,
        time_marks: TimeMarks(1),
        operation: "http".to_owned(),
        genai: Some(Box::new(genai())),
        provider: None,
        request_model: None,
        response_model: None,
        session_id: None,
        user_id: None,
        error_type: Some("500".to_owned()),
        error_kind: Some(ErrorKind::Server),
        http_method: Some("GET".to_owned()),
        http_route: Some("/".to_owned()),
        http_status_code: Some(500),
        db_system: None,
        db_operation: None,
        rpc_system: None,
        rpc_service: None,
        rpc_method: None,
    }
}

pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(super) fn message() -> Span {
    Span {
        trace_id: TRACE.0.to_vec(),
        span_id: SPAN.0.to_vec(),
        name: "GET /".to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_001,
        end_time_unix_nano: 1_700_000_000_000_000_011,
        attributes: vec![attribute("k", Value::IntValue(7))],
        events: vec![span::Event {
            name: "exception".to_owned(),
            time_unix_nano: 1_700_000_000_000_000_002,
            ..span::Event::default()
        }],
        links: vec![span::Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            ..span::Link::default()
        }],
        ..Span::default()
    }
}

pub(in crate::gateway) fn stored_span() -> StoredSpan {
    StoredSpan {
        summary: span_summary(),
        resource: Arc::new(StoredResource {
            message: Vec::new(),
            schema_url: "https://example.com/1".to_owned(),
            service_name: "api".to_owned(),
        }),
        scope: Arc::new(StoredScope {
            message: Vec::new(),
            schema_url: String::new(),
        }),
        message: message().encode_to_vec(),
        received_unix_nano: 1_700_000_001_000_000_000,
    }
}

pub(in crate::gateway) fn stored_event() -> StoredEvent {
    let record = LogRecord {
        time_unix_nano: EVENT.unix_nano,
        severity_number: 17,
        body: Some(value(Value::StringValue("it broke".to_owned()))),
        attributes: vec![KeyValue {
            key: "k".to_owned(),
            value: Some(value(Value::IntValue(7))),
            ..KeyValue::default()
        }],
        ..LogRecord::default()
    };
    let span = stored_span();
    StoredEvent {
        columns: EventColumns {
            id: EVENT,
            observed_unix_nano: 0,
            received_unix_nano: 1_800_000_001_000_000_000,
            severity: 17,
            severity_text: Some("ERROR".to_owned()),
            trace_id: Some(TRACE),
            span_id: Some(SPAN),
            source: EventSource::Otlp,
            service_name: "api".to_owned(),
            environment: None,
            release: Some("1.2".to_owned()),
            facts: EventFacts {
                name: Some("failure".into()),
                cost_nano_usd: Some(1_500),
                fingerprint: Some(255),
                ..EventFacts::default()
            },
        },
        resource: span.resource,
        scope: span.scope,
        message: record.encode_to_vec(),
    }
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(super) fn session_summary() -> SessionSummary {
    SessionSummary {
        session_id: "s".to_owned(),
        user_id: None,
        start_unix_nano: 1,
        end_unix_nano: 4,
        trace_count: 1,
        span_count: 2,
        error_count: 0,
        totals: totals(),
    }
}

pub(super) fn user_summary() -> UserSummary {
    UserSummary {
        user_id: "u".to_owned(),
        first_seen_unix_nano: 1,
        last_seen_unix_nano: 4,
        trace_count: 3,
        failed_trace_count: 1,
        span_count: 9,
        totals: totals(),
    }
}

/// A stored chat, in the OpenTelemetry GenAI conventions.
pub(super) fn chat() -> StoredSpan {
    let text = |text: &str| Value::StringValue(text.to_owned());
    let messages = r#"[{"role":"user","content":"Hi"}]"#;
    let span = Span {
        attributes: vec![
            attribute("gen_ai.operation.name", text("chat")),
            attribute("gen_ai.input.messages", text(messages)),
        ],
        ..message()
    };
    StoredSpan {
        message: span.encode_to_vec(),
        ..stored_span()
    }
}
