//! Every column comes back.

use std::borrow::Cow;

use super::{NOW, PROJECT, Store, wait};
use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Usage};
use crate::model::span::{Basics, Kind, Operation, Status, TimeMarks};
use crate::model::{SpanId, TraceId};
use crate::queue::Position;
use crate::storage::query::{SpanFilter, SpanSummary};
use crate::storage::{
    Batch, PageRequest, ResourceRow, RetentionConfig, ScopeRow, SpanReader as _, SpanRow,
    SpanWriter as _,
};

fn some(text: &'static str) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(text))
}

fn genai() -> GenAi<'static> {
    GenAi {
        dialect: some("otel"),
        response_id: some("response"),
        finish_reason: some("stop"),
        streaming: Some(false),
        time_to_first_token_ns: Some(7),
        agent_name: some("agent"),
        agent_id: some("agent id"),
        tool_name: some("tool"),
        tool_call_id: some("tool call"),
        usage: Usage {
            input: Some(1),
            output: Some(2),
            cache_read: Some(3),
            cache_write: Some(4),
            reasoning: Some(5),
            audio_in: Some(6),
            audio_out: Some(i64::MAX),
            image_in: Some(7),
            image_out: Some(8),
        },
        cost: Cost {
            input: Some(11),
            output: Some(12),
            total: Some(23),
            source: Some(CostSource::Computed),
            price_version: some("2026-11"),
        },
        tags: vec![Cow::Borrowed("tag"), Cow::Borrowed("another \\ tag")],
        is_model_call: true,
    }
}

fn basics(genai: Option<GenAi<'static>>) -> Basics<'static> {
    Basics {
        operation: Operation::GenAi("chat"),
        genai: genai.map(Box::new),
        provider: some("provider"),
        request_model: some("request model"),
        response_model: some("response model"),
        session_id: some("session"),
        user_id: some("user"),
        error_type: some("error type"),
        error_message: some("error message"),
        error_kind: Some(ErrorKind::RateLimited),
        http_method: some("GET"),
        http_route: some("/route"),
        http_status_code: Some(-5),
        db_system: some("db system"),
        db_operation: some("db operation"),
        rpc_system: some("rpc system"),
        rpc_service: some("rpc service"),
        rpc_method: some("rpc method"),
    }
}

fn row(number: u8, basics: Basics<'static>) -> SpanRow<'static> {
    SpanRow {
        project: PROJECT,
        trace_id: TraceId([number; 16]),
        span_id: SpanId([number; 8]),
        parent_span_id: Some(SpanId([9; 8])),
        name: Cow::Borrowed("name"),
        kind: Kind::Consumer,
        status: Status::Error,
        status_message: Cow::Borrowed("status"),
        start_unix_nano: NOW + 1,
        end_unix_nano: NOW + 1001,
        time_marks: TimeMarks(5),
        resource: 0,
        scope: 0,
        received_unix_nano: NOW,
        basics,
        message: Cow::Borrowed(b"\x2a\x01x"),
        scope_digest: 0,
        is_derived: false,
        is_recorded: false,
        sampled_out: None,
    }
}

fn batch(next: u64, spans: Vec<SpanRow<'static>>) -> Batch<'static> {
    Batch {
        next: Position(next),
        resources: vec![ResourceRow {
            project: PROJECT,
            message: Cow::Borrowed(b""),
            schema_url: "resource url",
            service_name: Cow::Borrowed("service"),
            service_version: some("1"),
            service_instance: some("instance"),
            environment: some("test"),
        }],
        scopes: vec![ScopeRow {
            project: PROJECT,
            message: Cow::Borrowed(b""),
            schema_url: "scope url",
            name: Cow::Borrowed("scope"),
            version: Cow::Borrowed("2"),
        }],
        spans,
        ..Batch::default()
    }
}

fn assert_same(found: &SpanSummary, expected: &SpanRow<'_>) {
    let basics = &expected.basics;
    assert_eq!(found.parent_span_id, expected.parent_span_id);
    assert_eq!((found.kind, found.status), (expected.kind, expected.status));
    assert_eq!(found.status_message, expected.status_message);
    assert_eq!(found.service_name, "service");
    assert_eq!(found.start_unix_nano, expected.start_unix_nano);
    assert_eq!(found.duration_ns, 1000);
    assert_eq!(found.time_marks, expected.time_marks);
    assert_eq!(found.operation, basics.operation.as_str());
    assert_eq!(found.genai, basics.genai);
    let texts = [
        (&found.provider, &basics.provider),
        (&found.request_model, &basics.request_model),
        (&found.response_model, &basics.response_model),
        (&found.session_id, &basics.session_id),
        (&found.user_id, &basics.user_id),
        (&found.error_type, &basics.error_type),
        (&found.http_method, &basics.http_method),
        (&found.http_route, &basics.http_route),
        (&found.db_system, &basics.db_system),
        (&found.db_operation, &basics.db_operation),
        (&found.rpc_system, &basics.rpc_system),
        (&found.rpc_service, &basics.rpc_service),
        (&found.rpc_method, &basics.rpc_method),
    ];
    for (found, expected) in texts {
        assert_eq!(found.as_deref(), expected.as_deref());
    }
    assert_eq!(found.http_status_code, basics.http_status_code);
    assert_eq!(found.error_kind, basics.error_kind);
}

// Scenario: spans with every column, with none, and with GenAI columns that are all absent, in one
// batch and in batches of their own, which are copied with other lists of columns.
// Guarantees: each comes back as it went in.
#[test]
fn every_column_comes_back() {
    let rows = || {
        let mut bare = row(2, Basics::default());
        bare.parent_span_id = None;
        bare.status = Status::Unset;
        bare.status_message = Cow::Borrowed("");
        [
            row(1, basics(Some(genai()))),
            bare,
            row(3, basics(None)),
            row(4, basics(Some(GenAi::default()))),
        ]
    };
    let together = |store: &mut Store| {
        wait(store.writer.write(&batch(2, rows().to_vec()))).unwrap();
    };
    let apart = |store: &mut Store| {
        for (next, row) in (2..).zip(rows()) {
            wait(store.writer.write(&batch(next, vec![row]))).unwrap();
        }
    };
    for (deliver, attributes) in [
        (&together as &dyn Fn(&mut Store), true),
        (&apart, true),
        (&together, false),
    ] {
        let mut store = Store::with(RetentionConfig::default(), |config| {
            config.attributes_jsonb = attributes;
        });
        deliver(&mut store);
        let page = PageRequest {
            limit: 10,
            after: None,
        };
        let filter = SpanFilter::default();
        let listed = wait(store.reader.list_spans(PROJECT, &filter, &page)).unwrap();
        assert_eq!(listed.items.len(), 4);
        for expected in rows() {
            let found = listed
                .items
                .iter()
                .find(|span| span.span_id == expected.span_id)
                .unwrap();
            assert_same(found, &expected);
        }
        let messages = store.database.value("SELECT min(error_message) FROM span");
        assert_eq!(messages, "error message");
        let resource = store.database.rows(
            "SELECT service_version, service_instance, environment, schema_url FROM resource",
        );
        let expected = ["1", "instance", "test", "resource url"];
        assert_eq!(resource, [expected.map(|text| Some(text.to_owned()))]);
    }
}
