//! What the SDKs and hooks of both generations send, as they send it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use serde_json::{Value, json};

use super::{Client, KEY};
use crate::daemon::{Store, on_both_stores};
use crate::otlp::{request, span, text};

fn attribute(key: &str, value: Value) -> Value {
    let kind = match &value {
        Value::String(_) => "stringValue",
        Value::Number(number) if number.is_f64() => "doubleValue",
        _ => "intValue",
    };
    let typed = serde_json::Map::from_iter([(kind.to_owned(), value)]);
    json!({"key": key, "value": typed})
}

fn export(scope: &str, service: &str, spans: &Value) -> String {
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", json!(service))]},
        "scopeSpans": [{"scope": {"name": scope}, "spans": spans}],
    }]})
    .to_string()
}

fn call(trace: &str, id: &str, more: &[Value]) -> Value {
    let mut attributes = vec![
        attribute("pulse.source", json!("sdk")),
        attribute("pulse.kind", json!("llm_call")),
        attribute("pulse.event_type", json!("provider_call")),
        attribute("pulse.session_id", json!("s-1")),
        attribute("pulse.trace_id", json!(trace)),
        attribute("gen_ai.request.model", json!("gpt-4o-mini")),
        attribute("gen_ai.provider.name", json!("openai")),
        attribute("gen_ai.response.model", json!("gpt-4o-mini-2024-07-18")),
        attribute("gen_ai.response.id", json!("chatcmpl-1")),
        attribute("gen_ai.response.finish_reasons", json!("[\"stop\"]")),
        attribute("gen_ai.usage.input_tokens", json!("10")),
        attribute("gen_ai.usage.output_tokens", json!("5")),
        attribute("pulse.cost_cents", json!(0.00045)),
        attribute("pulse.output_text", json!("Hi")),
    ];
    for key in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        let tokens = attributes.iter_mut().find(|it| it["key"] == key).unwrap();
        tokens["value"] = json!({"intValue": tokens["value"]["stringValue"]});
    }
    attributes.extend(more.iter().cloned());
    json!({
        "traceId": trace, "spanId": id, "name": "provider_call",
        "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225600250000000",
        "attributes": attributes, "status": {"code": 1},
    })
}

const HEX: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn assert_call(trace: &Value) {
    assert_eq!(trace["latencyMs"], 250, "{trace}");
    assert_eq!(trace["provider"], "openai");
    assert_eq!(trace["modelRequested"], "gpt-4o-mini");
    assert_eq!(trace["modelUsed"], "gpt-4o-mini-2024-07-18");
    assert_eq!(
        (&trace["inputTokens"], &trace["outputTokens"]),
        (&json!(10), &json!(5))
    );
    assert_eq!(trace["costCents"], 0.00045);
    assert_eq!(
        (&trace["finishReason"], &trace["outputText"]),
        (&json!("stop"), &json!("Hi"))
    );
    assert_eq!(trace["providerRequestId"], "chatcmpl-1");
    assert_eq!(trace["metadata"], json!({"scenario": "x", "turn": 1}));
    assert_eq!(trace["requestBody"], json!({"model": "gpt-4o-mini"}));
    assert_eq!(trace["responseBody"], json!({"content": "Hi"}));
    assert_eq!(trace["sessionId"], "s-1");
}

// Scenario: a call as the TypeScript SDK of the second generation sends it, and as the Python SDK
// does, whose metadata has bare keys and whose JSON has spaces.
// Guarantees: 200 `{}`; both have bodies, tokens, cost and the application's own metadata; our own
// API has the same tokens and cost.
fn calls_of_both_sdks_are_whole(store: Store) {
    let client = Client::on(store);
    let typescript = [
        attribute("pulse.metadata.scenario", json!("x")),
        attribute("pulse.metadata.turn", json!("1")),
        attribute(
            "pulse.metadata.pulse.request",
            json!(r#"{"model":"gpt-4o-mini"}"#),
        ),
        attribute(
            "pulse.metadata.pulse.response",
            json!(r#"{"content":"Hi"}"#),
        ),
        attribute("pulse.metadata.pulse.provider", json!("openai")),
    ];
    let python = [
        attribute("scenario", json!("x")),
        attribute("turn", json!("1")),
        attribute("pulse.request", json!(r#"{"model": "gpt-4o-mini"}"#)),
        attribute("pulse.response", json!(r#"{"content": "Hi"}"#)),
    ];
    let other = HEX.replace('4', "5");
    let sent = [
        (
            "@eklabs/pulse-sdk",
            call(HEX, "00f067aa0ba902b7", &typescript),
        ),
        ("pulse-trace-sdk", call(&other, "00f067aa0ba902b8", &python)),
    ];
    for (scope, span) in sent {
        let answer = client.post("/v1/traces", &export(scope, "shop", &json!([span])));
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    }
    for trace in [HEX, &other] {
        let trace = client.await_found(&format!("/v1/traces/{trace}")).json();
        assert_call(&trace);
        assert_eq!(trace["services"], json!(["shop"]));
    }
    let own = client.0.api(&format!("/api/v1/traces/{HEX}"));
    let own = own.json()["trace"].to_string();
    assert!(own.contains("4500"), "{own}");
}

// Scenario: exports with ids that are no hex, that are missing, twice; with wrong spans among good
// ones; without a list; too long.
// Guarantees: good spans are stored under their ids, each once; the others are counted and the
// first is explained.
fn any_ids_are_taken_and_wrong_spans_alone_are_not(store: Store) {
    let client = Client::on(store);
    let span = |more: Value| {
        let mut span = call("My Trace", "span one", &[]);
        span.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        span
    };
    let good = span(json!({}));
    let wrong = span(json!({"endTimeUnixNano": "1"}));
    let tool = json!({"spanId": "tool", "parentSpanId": "span one", "traceId": "My Trace", "name": "search",
        "attributes": [attribute("pulse.event_type", json!("tool_request"))],
        "status": {"code": "STATUS_CODE_ERROR"}, "kind": "SPAN_KIND_INTERNAL"});
    let spans = json!([good, wrong, null, tool]);
    for _ in 0..2 {
        let answer = client.post("/v1/traces", &export("s", "svc", &spans));
        assert_eq!(
            answer.text(),
            r#"{"partialSuccess":{"rejectedSpans":2,"errorMessage":"Too small: expected number to be >=0"}}"#
        );
    }
    client.await_found("/v1/spans/tool");
    client.0.await_stored();
    let trace = client.ok("/v1/traces/My%20Trace");
    assert_eq!(
        (&trace["traceId"], &trace["spanCount"]),
        (&json!("My Trace"), &json!(2))
    );
    let tool = &client.ok("/v1/spans/tool");
    assert_eq!(
        (&tool["parentSpanId"], &tool["toolName"]),
        (&json!("span one"), &json!("search"))
    );
    assert_eq!(
        (&tool["kind"], &tool["status"]),
        (&json!("tool_use"), &json!("error"))
    );
    for (body, error) in [
        (
            r#"{"resource_spans":[]}"#.to_owned(),
            "Missing resourceSpans",
        ),
        ("{".to_owned(), "Invalid JSON body"),
        (
            export("s", "s", &json!(vec![Value::Null; 1001])),
            "Export exceeds 1000 spans",
        ),
    ] {
        let answer = client.post("/v1/traces", &body);
        assert_eq!(
            (answer.status, answer.text()),
            (400, format!(r#"{{"error":"{error}"}}"#))
        );
    }
}

// Scenario: OTLP as everybody sends it: protobuf, and packed with gzip, with a list of reasons.
// Guarantees: 200 in protobuf; the span is there as it came.
fn ordinary_otlp_works_too(store: Store) {
    let client = Client::on(store);
    let mut sent = span(&[7; 16], &[7; 8], "chat");
    sent.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4o"),
        crate::otlp::key_value(
            "gen_ai.response.finish_reasons",
            opentelemetry_proto::tonic::common::v1::any_value::Value::ArrayValue(
                opentelemetry_proto::tonic::common::v1::ArrayValue {
                    values: vec![text("", "length").value.unwrap()],
                },
            ),
        ),
    ];
    let bytes = request("shop", vec![sent]).encode_to_vec();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&bytes).unwrap();
    let headers = [
        KEY,
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ];
    let answer = client.post_as("/v1/traces", &headers, &packed.finish().unwrap());
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, 0),
        "{}",
        answer.text()
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    let found = client.await_found("/v1/spans/0707070707070707").json();
    assert_eq!(
        (&found["kind"], &found["finishReason"]),
        (&json!("llm_call"), &json!("length"))
    );
}

// Scenario: hooks of the command line of the second generation: a turn and its session's beginning.
// Guarantees: the turn is a trace with its prompt; the beginning of a session alone is none.
fn hooks_of_the_command_line_work(store: Store) {
    let client = Client::on(store);
    let hook = |trace: &str, id: &str, name: &str, event: &str, kind: &str| {
        let payload = json!({"kvlistValue": {"values": [
            {"key": "cli_version", "value": {"stringValue": "0.2.18"}},
            {"key": "raw", "value": {"kvlistValue": {"values": [{"key": "n", "value": {"intValue": "7"}}]}}},
        ]}});
        json!({"resourceSpans": [{
            "resource": {"attributes": [
                attribute("service.name", json!("pulse-cli")), attribute("pulse.source", json!("codex")),
                attribute("pulse.project.id", json!("p")),
            ]},
            "scopeSpans": [{"scope": {"name": "pulse.cli.hooks", "version": "0.2.18"}, "spans": [{
                "traceId": trace, "spanId": id, "name": name, "kind": "SPAN_KIND_INTERNAL",
                "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225600000000000",
                "attributes": [
                    attribute("pulse.event_type", json!(event)), attribute("pulse.kind", json!(kind)),
                    attribute("pulse.session_id", json!("talk")), {"key": "pulse.metadata", "value": payload},
                ],
                "status": {"code": 1},
            }]}],
        }]})
        .to_string()
    };
    let lifecycle = HEX.replace('4', "6");
    for body in [
        hook(
            &lifecycle,
            "00f067aa0ba902c1",
            "agent.session_lifecycle",
            "session_start",
            "session",
        ),
        hook(
            HEX,
            "00f067aa0ba902c2",
            "agent.turn",
            "user_prompt_submit",
            "user_prompt",
        ),
    ] {
        let answer = client.post("/v1/traces", &body);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    }
    client.await_found("/v1/spans/00f067aa0ba902c1");
    client.await_found("/v1/spans/00f067aa0ba902c2");
    let list = client.ok("/v1/traces?source=codex");
    assert_eq!(
        (&list["total"], &list["traces"][0]["traceId"]),
        (&json!(1), &json!(HEX)),
        "{list}"
    );
    assert_eq!(
        list["traces"][0]["metadata"],
        json!({"cli_version": "0.2.18", "raw": {"n": 7}})
    );
    let spans = client.ok("/v1/sessions/talk/spans");
    assert_eq!(spans["spans"].as_array().unwrap().len(), 2);
    assert_eq!(spans["spans"][0]["durationMs"], 0);
    assert_eq!(
        client.ok("/v1/sessions/talk")["traces"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

on_both_stores!(
    calls_of_both_sdks_are_whole,
    any_ids_are_taken_and_wrong_spans_alone_are_not,
    ordinary_otlp_works_too,
    hooks_of_the_command_line_work,
);
