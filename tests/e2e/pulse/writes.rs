//! Traces and spans in JSON of their own: taken, refused, found again word by word, never twice,
//! never lost.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Client, KEY, PROJECT, SOON, keys};
use crate::daemon::{Daemon, Store, eventually, on_both_stores};

const TRACE: &str = "0D5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";
const SESSION: &str = "6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";

fn full_trace() -> String {
    format!(
        r#"{{"trace_id":"{TRACE}","timestamp":"2026-01-05T10:00:00.123456+00:00","provider":"openai","model_requested":"gpt-4o-mini","model_used":"gpt-4o-mini-2024-07-18","provider_request_id":"r-1","request_body":{{"z":1.0,"model":"gpt-4o-mini","a":[null,12345678901234567890]}},"response_body":{{"content":"Hi"}},"input_tokens":1000,"output_tokens":500,"output_text":"Hi","finish_reason":"stop","status":"success","latency_ms":58.25,"cost_cents":0.045,"session_id":"{SESSION}","metadata":{{"feature":"chat","b":{{"y":1,"x":2}}}},"unknown":1}}"#
    )
}

fn small_trace(number: u32) -> String {
    format!(
        r#"{{"trace_id":"{number:08x}-0000-4000-8000-000000000000","timestamp":"2026-01-05T10:00:00Z","provider":"anthropic","model_requested":"m","request_body":{{}},"status":"error","error":{{"name":"E","message":"m"}},"latency_ms":0,"output_text":null,"input_tokens":null,"session_id":null}}"#
    )
}

// Scenario: a trace with all fields, one with few and explicit nulls, both once more, none.
// Guarantees: the answer is what came in, word by word in the order of the keys, and is what is
// found by id at once; what is there already is skipped and said; our own API knows tokens and cost.
fn traces_come_back_word_by_word(store: Store) {
    let client = Client::on(store);
    let first = client.post("/v1/traces/batch", &format!("[{}]", full_trace()));
    let row = format!(
        r#""traceId":"{TRACE}","projectId":"{PROJECT}","sessionId":"{SESSION}","timestamp":"2026-01-05T10:00:00.123Z","latencyMs":58.25,"provider":"openai","modelRequested":"gpt-4o-mini","modelUsed":"gpt-4o-mini-2024-07-18","providerRequestId":"r-1","requestBody":{{"z":1,"model":"gpt-4o-mini","a":[null,12345678901234567000]}},"responseBody":{{"content":"Hi"}},"inputTokens":1000,"outputTokens":500,"outputText":"Hi","finishReason":"stop","status":"success","error":null,"costCents":0.045,"metadata":{{"feature":"chat","b":{{"y":1,"x":2}}}},"#
    );
    let text = first.text();
    assert_eq!(first.status, 202, "{text}");
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert!(
        text.starts_with(&format!(r#"{{"count":1,"traces":[{{{row}"#)),
        "{text}"
    );
    let found = client.get(&format!("/v1/traces/{TRACE}"));
    assert_eq!(
        format!(r#"{{"count":1,"traces":[{}]}}"#, found.text()),
        text
    );
    assert_eq!(
        keys(&found.text())[19..],
        [
            "source",
            "services",
            "spanCount",
            "summary",
            "toolCallCount",
            "filesEdited",
            "errorService",
            "spans"
        ]
    );
    assert_eq!(found.json()["spans"][0]["kind"], "llm_call");

    let second = client.post(
        "/v1/traces/batch",
        &format!("[{},{},{}]", full_trace(), small_trace(7), small_trace(7)),
    );
    let second = second.json();
    assert_eq!(
        (&second["count"], &second["skipped"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(second["traces"][0]["outputText"], Value::Null);
    assert_eq!(
        second["traces"][0]["error"],
        json!({"name":"E","message":"m"})
    );
    let none = client.post("/v1/traces/batch", "[]");
    assert_eq!(
        (none.status, none.text().as_str()),
        (202, r#"{"count":0,"traces":[]}"#)
    );

    let own = client
        .0
        .api("/api/v1/traces/0d5f6c0e8d0c4f7e9d556a3c1f0f9a11")
        .json();
    let span = &own["spans"][0];
    assert_eq!(span["provider"], "openai", "{span}");
    assert_eq!(span["request_model"], "gpt-4o-mini");
    let listed = client.0.list("/api/v1/traces");
    let totals = listed
        .iter()
        .find(|it| it["trace_id"] == "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11");
    let text = totals.unwrap().to_string();
    assert!(text.contains("450000") && text.contains("1000"), "{text}");
}

const SPAN: &str = r#"{"span_id":"s-1","trace_id":"t-1","session_id":"free text","parent_span_id":"p-1","timestamp":"2026-01-05T10:00:00Z","duration_ms":12.5,"source":"claude_code","service":"svc","kind":"tool_use","event_type":"post_tool_use","status":"success","tool_use_id":"u-1","tool_name":"Edit","tool_input":{"z":1,"file_path":"/a"},"tool_response":"text","error":null,"is_interrupt":false,"cwd":"/w","model":"m","agent_name":"","metadata":{"k":1}}"#;

// Scenario: a span with most fields, as a batch; itself and another again; one without a trace.
// Guarantees: as for traces; null where null came in, and where nothing came in.
fn spans_come_back_word_by_word(store: Store) {
    let client = Client::on(store);
    let row = format!(
        r#"{{"spanId":"s-1","traceId":"t-1","projectId":"{PROJECT}","sessionId":"free text","parentSpanId":"p-1","timestamp":"2026-01-05T10:00:00.000Z","durationMs":12.5,"source":"claude_code","service":"svc","kind":"tool_use","eventType":"post_tool_use","status":"success","toolUseId":"u-1","toolName":"Edit","toolInput":{{"z":1,"file_path":"/a"}},"toolResponse":"text","error":null,"isInterrupt":false,"cwd":"/w","model":"m","agentName":"","provider":null,"modelUsed":null,"inputTokens":null,"outputTokens":null,"costCents":null,"finishReason":null,"outputText":null,"providerRequestId":null,"metadata":{{"k":1}}}}"#
    );
    let first = client.post("/v1/spans/batch", &format!("[{SPAN}]"));
    let expected = format!(r#"{{"count":1,"skipped":0,"spans":[{row}]}}"#);
    assert_eq!((first.status, first.text()), (202, expected));
    let again = client.post("/v1/spans/batch", &format!("[{SPAN}]"));
    assert_eq!(again.text(), r#"{"count":0,"skipped":1,"spans":[]}"#);
    assert_eq!(client.get("/v1/spans/s-1").text(), row);
    assert_eq!(
        client.get("/v1/sessions/free%20text/spans").text(),
        format!(r#"{{"sessionId":"free text","spans":[{row}]}}"#)
    );
    let listed = client.get("/v1/spans?tool_name=Edit&kind=tool_use&source=claude_code&trace_id=t-1&service=svc&status=success");
    assert_eq!(
        listed.text(),
        format!(r#"{{"spans":[{row}],"total":1,"limit":100,"offset":0}}"#)
    );
    let lone = SPAN
        .replace("\"trace_id\":\"t-1\",", "")
        .replace("s-1", "s-2");
    let stored = client.post("/v1/spans/batch", &format!("[{lone}]")).json();
    assert_eq!(stored["spans"][0]["traceId"], Value::Null, "{stored}");
    let traces = client.ok("/v1/traces");
    assert_eq!(
        (&traces["total"], &traces["traces"][0]["traceId"]),
        (&json!(1), &json!("t-1"))
    );
}

// Scenario: traces and spans are queued; clients look for them as soon as they do.
// Guarantees: 202 with the number, and what was queued is found; twice is once.
fn what_is_queued_is_soon_found(store: Store) {
    let client = Client::on(store);
    // The first request pays for opening what later ones find open.
    client.post("/v1/spans/batch", &format!("[{SPAN}]"));
    let queued = Instant::now();
    for path in ["/v1/traces/async", "/v1/traces/async"] {
        let answer = client.post(path, &format!("[{}]", full_trace()));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (202, r#"{"status":"queued","count":1}"#)
        );
    }
    client.await_found(&format!("/v1/traces/{TRACE}"));
    eprintln!("found after {:?}; clients wait {SOON:?}", queued.elapsed());
    let answer = client.post(
        "/v1/spans/async",
        &format!("[{}]", SPAN.replace("s-1", "s-9")),
    );
    assert_eq!(answer.text(), r#"{"status":"queued","count":1}"#);
    client.await_found("/v1/spans/s-9");
    assert_eq!(client.ok("/v1/traces")["total"], 2);
}

// Scenario: bodies that are no JSON, no array, too long, and wrong in several fields.
// Guarantees: 400 with what is wrong, on all four routes; nothing is stored.
fn wrong_bodies_are_refused_whole(store: Store) {
    let client = Client::on(store);
    for path in [
        "/v1/traces/batch",
        "/v1/traces/async",
        "/v1/spans/batch",
        "/v1/spans/async",
    ] {
        for body in ["", "{", "[1,]", "\u{feff}"] {
            let answer = client.post(path, body);
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (400, r#"{"error":"Invalid JSON body"}"#)
            );
        }
        let answer = client.post(path, "7");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (
                400,
                r#"{"error":"Validation failed","details":[{"expected":"array","code":"invalid_type","path":[],"message":"Invalid input: expected array, received number"}]}"#
            )
        );
        let without_key = client.post_as(path, &[], b"{");
        assert_eq!(
            (without_key.status, without_key.text().as_str()),
            (
                401,
                r#"{"error":"Missing or invalid Authorization header"}"#
            )
        );
    }
    let wrong = small_trace(1)
        .replace("\"anthropic\"", "\"google\"")
        .replace("\"latency_ms\":0", "\"latency_ms\":-1");
    let answer = client.post("/v1/traces/async", &format!("[{},{wrong}]", small_trace(2)));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (
            400,
            r#"{"error":"Validation failed","details":[{"code":"invalid_value","values":["openai","anthropic","openrouter"],"path":[1,"provider"],"message":"Invalid option: expected one of \"openai\"|\"anthropic\"|\"openrouter\""},{"origin":"number","code":"too_small","minimum":0,"inclusive":true,"path":[1,"latency_ms"],"message":"Too small: expected number to be >=0"}]}"#
        )
    );
    let many: Vec<_> = (0..101).map(small_trace).collect();
    let answer = client.post("/v1/traces/batch", &format!("[{}]", many.join(",")));
    assert_eq!(
        answer.text(),
        r#"{"error":"Validation failed","details":[{"origin":"array","code":"too_big","maximum":100,"inclusive":true,"path":[],"message":"Too big: expected array to have <=100 items"}]}"#
    );
    client.0.await_stored();
    assert_eq!(client.ok("/v1/traces?provider=anthropic")["total"], 0);
}

// Scenario: the daemon is killed right after it queued a trace and a span.
// Guarantees: both are there after the next start.
fn a_kill_after_202_loses_nothing(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[]);
    for number in 1..4 {
        let address = daemon.addresses().gateway;
        let span = SPAN.replace("s-1", &format!("killed-{number}"));
        for (path, body) in [
            ("/v1/traces/async", small_trace(number)),
            ("/v1/spans/async", span),
        ] {
            let answer =
                crate::http::post(address, path, &[KEY], format!("[{body}]").as_bytes()).unwrap();
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
        daemon.process.kill9();
        daemon.restart();
    }
    let client = Client(daemon);
    for number in 1..4 {
        client.await_found(&format!(
            "/v1/traces/{number:08x}-0000-4000-8000-000000000000"
        ));
        client.await_found(&format!("/v1/spans/killed-{number}"));
    }
    eventually("no more than was sent", SOON * 10, || {
        (client.ok("/v1/spans")["total"] == 3).then_some(())
    });
}

on_both_stores!(
    traces_come_back_word_by_word,
    spans_come_back_word_by_word,
    what_is_queued_is_soon_found,
    wrong_bodies_are_refused_whole,
    a_kill_after_202_loses_nothing,
);
