//! Bodies that are taken, and what they come back as (§1.2, §3.2 to §3.4, §4.1, §4.2).

use serde_json::{Value, json};

use super::{in_project, merged, people, pulse, sign_in};
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::rows::{Table, get, post};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

fn trace(more: &Value) -> Value {
    let good = json!({"trace_id": "00000000-0000-0000-0000-000000000000",
        "timestamp": "2026-01-05T10:00:00Z", "provider": "openai", "model_requested": "m",
        "request_body": {}, "status": "success", "latency_ms": 1});
    merged(&good, more)
}

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn span(id: &str, more: &Value) -> Value {
    let good = json!({"span_id": id, "session_id": "s", "timestamp": "2026-01-05T10:00:00Z",
        "source": "sdk", "kind": "tool_use", "event_type": "x", "status": "success"});
    merged(&good, more)
}

/// Stores items in one batch; answers them as they were answered.
fn stored(table: &Table, sort: &str, items: &[Value]) -> Vec<Value> {
    let row = post(
        "a batch",
        format!("/v1/{sort}/batch"),
        json!(items).to_string(),
    );
    let answer = table.kept(&row.status(202).has("/count", items.len()));
    answer.json()[sort].as_array().unwrap().clone()
}

/// Texts that are UUIDs, of which case and version are kept.
const UUIDS: [&str; 8] = [
    "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
    "0D5F6C0E-8D0C-4F7E-8D55-6A3C1F0F9A12",
    "0d5f6c0e-8d0c-1f7e-ad55-6a3c1f0f9a13",
    "0d5f6c0e-8d0c-7f7e-bd55-6a3c1f0f9a14",
    "0d5f6c0e-8d0c-8f7e-Ad55-6a3c1f0f9a15",
    "0d5f6c0e-8d0c-8f7e-Bd55-6a3c1f0f9a16",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

/// Times, and how they are told.
const TIMES: [(&str, &str); 8] = [
    ("2026-01-05T10:00:00.123Z", "2026-01-05T10:00:00.123Z"),
    ("2026-01-05T10:00Z", "2026-01-05T10:00:00.000Z"),
    ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00.000Z"),
    (
        "2026-01-05T10:00:00.9999999+00:00",
        "2026-01-05T10:00:00.999Z",
    ),
    ("2026-01-05T10:00:00.1Z", "2026-01-05T10:00:00.100Z"),
    (
        "2026-01-05T10:00:00.123456+02:00",
        "2026-01-05T08:00:00.123Z",
    ),
    ("2024-02-29T23:59:59-05:30", "2024-03-01T05:29:59.000Z"),
    ("2026-01-05T10:00+00:00", "2026-01-05T10:00:00.000Z"),
];

/// Members of a trace as they come in and go out.
fn members() -> Vec<(&'static str, Value, &'static str, Value)> {
    let same = |sent, shown, value: Value| (sent, value.clone(), shown, value);
    vec![
        same("provider", "provider", json!("anthropic")),
        same("provider", "provider", json!("openrouter")),
        same("status", "status", json!("error")),
        same("latency_ms", "latencyMs", json!(0)),
        same("latency_ms", "latencyMs", json!(0.25)),
        ("latency_ms", json!(7.0), "latencyMs", json!(7)),
        ("input_tokens", json!(3.0), "inputTokens", json!(3)),
        same("input_tokens", "inputTokens", json!(0)),
        same("input_tokens", "inputTokens", json!(2_147_483_648_u64)),
        same(
            "output_tokens",
            "outputTokens",
            json!(9_007_199_254_740_991_u64),
        ),
        same("cost_cents", "costCents", json!(0)),
        same("cost_cents", "costCents", json!(0.000_045)),
        same("output_text", "outputText", json!("")),
        same("output_text", "outputText", json!("a\u{0}b")),
        same(
            "output_text",
            "outputText",
            json!("\u{1f600} \u{7f} \"\\\n"),
        ),
        same(
            "error",
            "error",
            json!({"name": "E", "deep": [{"a": null}]}),
        ),
        same("metadata", "metadata", json!({})),
        same("request_body", "requestBody", json!({"": {"": []}})),
        same(
            "response_body",
            "responseBody",
            json!({"b": 1, "a": {"d": 1.5, "c": true}}),
        ),
        same(
            "session_id",
            "sessionId",
            json!("6B0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11"),
        ),
        same("model_used", "modelUsed", json!("m-1")),
        same("provider_request_id", "providerRequestId", json!("r")),
        same("finish_reason", "finishReason", json!("tool_calls")),
        ("session_id", Value::Null, "sessionId", Value::Null),
        ("error", Value::Null, "error", Value::Null),
        ("metadata", Value::Null, "metadata", Value::Null),
        ("cost_cents", Value::Null, "costCents", Value::Null),
    ]
}

// Scenario: traces with every form of id and time, and every value that a field may have.
// Guarantees: each comes back as it came or as the contract writes it, in the answer and by its id; a
// column that is not set is null.
fn traces_come_back_as_they_are_written(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    let traces = UUIDS.map(|id| trace(&json!({"trace_id": id})));
    for (told, id) in stored(&table, "traces", &traces).iter().zip(UUIDS) {
        assert_eq!(told["traceId"], id);
        table.kept(&get("ids keep their case", format!("/v1/traces/{id}")).has("/traceId", id));
    }
    let traces: Vec<_> = (0..)
        .zip(TIMES)
        .map(|(number, (time, _))| trace(&json!({"trace_id": id(number), "timestamp": time})))
        .collect();
    for (told, (sent, shown)) in stored(&table, "traces", &traces).iter().zip(TIMES) {
        assert_eq!(told["timestamp"], shown, "{sent}");
    }
    let members = members();
    let traces = (1000..).zip(&members).map(|(number, (key, value, ..))| {
        let mut member = json!({"trace_id": id(number)});
        member[key] = value.clone();
        trace(&member)
    });
    let answered = stored(&table, "traces", &traces.collect::<Vec<_>>());
    let rows = (1000..).zip(&members).map(|(number, (_, _, key, value))| {
        let path = format!("/v1/traces/{}", id(number));
        get(format!("{key}: {value}"), path).has(&format!("/{key}"), value.clone())
    });
    table.check(rows);
    for (told, (_, _, key, value)) in answered.iter().zip(&members) {
        assert_eq!(told[key], *value, "{key}");
    }
    let bare = trace(&json!({"trace_id": id(5000), "unknown": {"a": 1}}));
    let row = post(
        "what is not set is null",
        "/v1/traces/batch",
        json!([bare]).to_string(),
    );
    let start = format!(
        r#"{{"count":1,"traces":[{{"traceId":"{}","projectId":"1","sessionId":null,"timestamp":"2026-01-05T10:00:00.000Z","latencyMs":1,"provider":"openai","modelRequested":"m","modelUsed":null,"providerRequestId":null,"requestBody":{{}},"responseBody":null,"inputTokens":null,"outputTokens":null,"outputText":null,"finishReason":null,"status":"success","error":null,"costCents":null,"metadata":null,"#,
        id(5000)
    );
    let told = table.kept(&row.starts(202, start)).text();
    assert!(!told.contains("unknown"), "{told}");
}

// Scenario: spans of every source and kind, with every value that only spans may have; the schema of the
// first generation and nothing of the second.
// Guarantees: as for traces; what is not set is null.
fn spans_come_back_as_they_are_written(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    let mut members: Vec<(&str, &str, Value)> = Vec::new();
    for source in ["claude_code", "codex", "opencode", "openclaw", "sdk"] {
        members.push(("source", "source", json!(source)));
    }
    for kind in [
        "llm_call",
        "tool_use",
        "agent_run",
        "session",
        "user_prompt",
        "llm_response",
        "notification",
    ] {
        members.push(("kind", "kind", json!(kind)));
    }
    for any in [
        json!(null),
        json!("t"),
        json!(5),
        json!([1, null]),
        json!({"b": 1, "a": 2}),
        json!(false),
    ] {
        members.push(("tool_input", "toolInput", any.clone()));
        members.push(("tool_response", "toolResponse", any.clone()));
        members.push(("error", "error", any));
    }
    members.extend([
        ("status", "status", json!("error")),
        ("session_id", "sessionId", json!("free text / of any kind?")),
        ("event_type", "eventType", json!("anything at all")),
        ("trace_id", "traceId", json!("a trace")),
        ("parent_span_id", "parentSpanId", json!("a parent")),
        ("duration_ms", "durationMs", json!(12.5)),
        ("duration_ms", "durationMs", json!(0)),
        ("service", "service", json!("")),
        ("tool_use_id", "toolUseId", json!("u")),
        ("tool_name", "toolName", json!("Edit")),
        ("cwd", "cwd", json!("/w")),
        ("model", "model", json!("m")),
        ("agent_name", "agentName", json!("a")),
        ("is_interrupt", "isInterrupt", json!(true)),
        ("is_interrupt", "isInterrupt", json!(false)),
        ("metadata", "metadata", json!({"b": [{}], "a": null})),
        ("provider", "provider", json!("anything")),
        ("model_used", "modelUsed", json!("m-1")),
        ("finish_reason", "finishReason", json!("stop")),
        ("output_text", "outputText", json!("a\u{0}b")),
        ("provider_request_id", "providerRequestId", json!("r")),
        ("input_tokens", "inputTokens", json!(2_147_483_648_u64)),
        ("output_tokens", "outputTokens", json!(0)),
        ("cost_cents", "costCents", json!(0.5)),
    ]);
    let spans = members.iter().enumerate().map(|(number, (key, _, value))| {
        let mut member = json!({});
        member[key] = value.clone();
        span(&format!("row {number}"), &member)
    });
    let answered = stored(&table, "spans", &spans.collect::<Vec<_>>());
    for (told, (_, key, value)) in answered.iter().zip(&members) {
        assert_eq!(told[key], *value, "{key}");
    }
    table.check(members.iter().enumerate().map(|(number, (_, key, value))| {
        let path = format!("/v1/spans/row%20{number}");
        get(format!("{key}: {value}"), path).has(&format!("/{key}"), value.clone())
    }));
    let first = span(
        "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
        &json!({"unknown": 1}),
    );
    let row = post(
        "what is not set is null",
        "/v1/spans/batch",
        json!([first]).to_string(),
    );
    table.kept(&row.is(202, r#"{"count":1,"skipped":0,"spans":[{"spanId":"0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11","traceId":null,"projectId":"1","sessionId":"s","parentSpanId":null,"timestamp":"2026-01-05T10:00:00.000Z","durationMs":null,"source":"sdk","service":null,"kind":"tool_use","eventType":"x","status":"success","toolUseId":null,"toolName":null,"toolInput":null,"toolResponse":null,"error":null,"isInterrupt":null,"cwd":null,"model":null,"agentName":null,"provider":null,"modelUsed":null,"inputTokens":null,"outputTokens":null,"costCents":null,"finishReason":null,"outputText":null,"providerRequestId":null,"metadata":null}]}"#));
}

// Scenario: none, a hundred, the same again in part, to be stored at once and soon.
// Guarantees: each route says how many, in the order they came; what was there is skipped.
fn batches_say_what_they_stored(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    let queued = |count: usize| format!(r#"{{"status":"queued","count":{count}}}"#);
    table.check([
        post("no traces", "/v1/traces/batch", "[]").is(202, r#"{"count":0,"traces":[]}"#),
        post("no spans", "/v1/spans/batch", "[]").is(202, r#"{"count":0,"skipped":0,"spans":[]}"#),
        post("no traces to queue", "/v1/traces/async", "[]").is(202, queued(0)),
        post("no spans to queue", "/v1/spans/async", " [ ] ").is(202, queued(0)),
    ]);
    // Not in the order of their times.
    let hour = |number: usize| format!("2026-01-05T{:02}:00:00Z", number * 7 % 24);
    let traces = |range: std::ops::Range<usize>| -> Vec<Value> {
        let of = |number| trace(&json!({"trace_id": id(number), "timestamp": hour(number)}));
        range.map(of).collect()
    };
    let spans = |range: std::ops::Range<usize>| -> Vec<Value> {
        let of = |number| span(&format!("s{number}"), &json!({"timestamp": hour(number)}));
        range.map(of).collect()
    };
    let told = stored(&table, "traces", &traces(0..100));
    let ids: Vec<_> = told
        .iter()
        .map(|it| it["traceId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, (0..100).map(id).collect::<Vec<_>>());
    let told = stored(&table, "spans", &spans(0..100));
    let ids: Vec<_> = told
        .iter()
        .map(|it| it["spanId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        ids,
        (0..100)
            .map(|number| format!("s{number}"))
            .collect::<Vec<_>>()
    );
    let again = json!(traces(90..110)).to_string();
    let row = post(
        "traces that are there are skipped",
        "/v1/traces/batch",
        again,
    );
    table.kept(&row.starts(202, r#"{"count":10,"skipped":10,"traces":[{"#));
    let again = json!(spans(90..110)).to_string();
    let row = post("spans that are there are skipped", "/v1/spans/batch", again);
    table.kept(&row.starts(202, r#"{"count":10,"skipped":10,"spans":[{"#));
    table.check([
        post(
            "traces",
            "/v1/traces/async",
            json!(traces(20..120)).to_string(),
        )
        .is(202, queued(100)),
        post(
            "spans",
            "/v1/spans/async",
            json!(spans(20..120)).to_string(),
        )
        .is(202, queued(100)),
    ]);
    for path in ["/v1/traces", "/v1/spans"] {
        eventually(path, SOON, || {
            let found = table.kept(&get("all are there once", path)).json();
            let total = found["total"].as_u64().unwrap();
            assert!(total <= 120, "{path}: {total}");
            (total == 120).then_some(())
        });
    }
}

// Scenario: people of two projects send the same ids.
// Guarantees: each has their own.
fn ids_are_of_a_project(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let people = people(&daemon);
    for name in ["ada", "bob"] {
        let (member, project) = in_project(&sign_in(&people, name));
        let body = json!([trace(&json!({"model_requested": name}))]).to_string();
        let row = post("a trace", "/dashboard/api/traces/batch", body);
        member.kept(&row.status(202).has("/count", 1));
        let body = json!([span("one", &json!({"cwd": name}))]).to_string();
        let row = post("a span", "/dashboard/api/spans/batch", body);
        member.kept(&row.status(202).has("/count", 1));
        let path = format!(
            "/dashboard/api/traces/{}",
            trace(&json!({}))["trace_id"].as_str().unwrap()
        );
        member.check([
            get("their own trace", path)
                .has("/modelRequested", name)
                .has("/projectId", &*project),
            get("their own span", "/dashboard/api/spans/one").has("/cwd", name),
            get("and no other", "/dashboard/api/spans").has("/total", 1),
        ]);
    }
}

on_both_stores! {
    traces_come_back_as_they_are_written,
    spans_come_back_as_they_are_written,
    batches_say_what_they_stored,
    ids_are_of_a_project,
}
