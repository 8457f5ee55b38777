//! Every column of a span comes back.

use std::borrow::Cow;

use super::fixture::{TestSpan, batch, call, page, span, span_id, trace_id};
use super::{Backend, NOW, PROJECT, runtime};
use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Usage};
use crate::model::span::{Basics, Kind, Operation, Status, TimeMarks};
use crate::storage::SpanFilter;
use crate::storage::query::SpanSummary;

fn full_genai() -> GenAi<'static> {
    GenAi {
        dialect: Some("otel".into()),
        response_id: Some("response-1".into()),
        finish_reason: Some("stop".into()),
        streaming: Some(false),
        time_to_first_token_ns: Some(17),
        agent_name: Some("writer".into()),
        agent_id: Some("agent-1".into()),
        tool_name: Some("search".into()),
        tool_call_id: Some("call-1".into()),
        usage: Usage {
            input: Some(100),
            output: Some(20),
            cache_read: Some(30),
            cache_write: Some(0),
            reasoning: Some(5),
            audio_in: Some(6),
            audio_out: Some(7),
            image_in: Some(8),
            image_out: Some(9),
        },
        cost: Cost {
            input: Some(1_000),
            output: Some(2_000),
            total: Some(3_000),
            source: Some(CostSource::Computed),
            price_version: Some("2026-11".into()),
        },
        tags: vec!["b".into(), "a, {\"é\"}".into(), "NULL".into()],
        is_model_call: true,
    }
}

fn full_basics() -> Basics<'static> {
    let text = |text: &'static str| Some(Cow::Borrowed(text));
    Basics {
        operation: Operation::GenAi("chat"),
        genai: Some(Box::new(full_genai())),
        provider: text("provider"),
        request_model: text("asked"),
        response_model: text("answered"),
        session_id: text("session"),
        user_id: text("user"),
        error_type: text("TimeoutError"),
        error_message: text("too slow"),
        error_kind: Some(ErrorKind::Timeout),
        http_method: text("GET"),
        http_route: text("/é"),
        http_status_code: Some(-1),
        db_system: text("postgresql"),
        db_operation: text("SELECT"),
        rpc_system: text("grpc"),
        rpc_service: text("Service"),
        rpc_method: text("Method"),
    }
}

fn full_summary() -> SpanSummary {
    let text = |text: &str| Some(text.to_owned());
    SpanSummary {
        trace_id: trace_id(1),
        span_id: span_id(2),
        parent_span_id: Some(span_id(1)),
        name: "operation".to_owned(),
        kind: Kind::Client,
        status: Status::Error,
        status_message: "failed".to_owned(),
        service_name: "api".to_owned(),
        start_unix_nano: NOW + 1,
        duration_ns: 10,
        time_marks: TimeMarks(9),
        operation: "chat".to_owned(),
        genai: Some(Box::new(full_genai())),
        provider: text("provider"),
        request_model: text("asked"),
        response_model: text("answered"),
        session_id: text("session"),
        user_id: text("user"),
        error_type: text("TimeoutError"),
        error_kind: Some(ErrorKind::Timeout),
        http_method: text("GET"),
        http_route: text("/é"),
        http_status_code: Some(-1),
        db_system: text("postgresql"),
        db_operation: text("SELECT"),
        rpc_system: text("grpc"),
        rpc_service: text("Service"),
        rpc_method: text("Method"),
    }
}

/// A span with every column, a model call that reports nothing, a plain span, a failed one and a
/// call with a tag.
fn spans() -> [TestSpan; 5] {
    let bare = Basics {
        operation: Operation::GenAi("chat"),
        genai: Some(Box::default()),
        ..Basics::default()
    };
    let failed = Basics {
        operation: Operation::Http,
        error_kind: Some(ErrorKind::Other),
        ..Basics::default()
    };
    let mut tagged = call("answered", 1, 2);
    if let Some(genai) = &mut tagged.genai {
        genai.tags = vec!["b".into()];
    }
    let full = TestSpan {
        name: "operation",
        parent: Some(1),
        failed: true,
        ..span(1, 2, NOW + 1)
    };
    let with = |span, basics| TestSpan { basics, ..span };
    [
        with(full, full_basics()),
        with(span(1, 3, NOW + 2), bare),
        span(1, 4, NOW + 3),
        with(span(1, 5, NOW + 4), failed),
        with(span(1, 6, NOW + 5), tagged),
    ]
}

// Scenario: spans that have all columns, some and none, side by side.
// Guarantees: lists and details answer every column as it was taken, and what is absent as absent.
pub(super) fn every_column_comes_back(backend: &mut impl Backend) {
    let mut rows = batch(&spans());
    rows.spans[0].kind = Kind::Client;
    rows.spans[0].time_marks = TimeMarks(9);
    runtime().block_on(backend.writer().write(&rows)).unwrap();
    let reader = backend.reader();
    runtime().block_on(async {
        let listed = reader
            .list_spans(PROJECT, &SpanFilter::default(), &page(10))
            .await;
        let mut listed = listed.unwrap().items;
        listed.reverse();
        let trace = reader.trace(PROJECT, trace_id(1), &page(10)).await;
        let trace = trace.unwrap().unwrap();
        let detailed: Vec<_> = trace.spans.into_iter().map(|span| span.summary).collect();
        assert_eq!(listed, detailed);
        assert_eq!(listed[0], full_summary());
        assert_eq!(listed[1].genai, Some(Box::default()));
        assert_eq!(listed[2].genai, None);
        let kinds = listed.iter().map(|span| span.error_kind);
        let kinds: Vec<_> = kinds.collect();
        let (timeout, other) = (Some(ErrorKind::Timeout), Some(ErrorKind::Other));
        assert_eq!(kinds, [timeout, None, None, other, None]);
        let tags = listed.iter().map(|span| Some(&span.genai.as_ref()?.tags));
        let tags: Vec<_> = tags.map(|tags| tags.map_or(0, Vec::len)).collect();
        assert_eq!(tags, [3, 0, 0, 0, 1]);
        assert_eq!(listed[4].genai.as_ref().unwrap().tags, ["b"]);
        assert_eq!(
            (listed[2].operation.as_str(), listed[2].provider.as_deref()),
            ("http", None)
        );
        assert_eq!(trace.summary.models, ["answered"]);
        let error = trace.summary.first_error.unwrap();
        assert_eq!(
            (error.span_id, error.message.as_str()),
            (span_id(2), "failed")
        );
        assert_eq!(error.error_type.as_deref(), Some("TimeoutError"));
    });
}
