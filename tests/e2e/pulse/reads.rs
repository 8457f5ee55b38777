//! Lists, their filters and pages, sessions and sums.

use serde_json::{Value, json};

use super::{Client, keys};
use crate::daemon::{Store, on_both_stores};
use crate::otlp::{post_accepted, request, span, text};

fn trace(number: u32, at: &str, provider: &str, model: &str, rest: &str) -> String {
    format!(
        r#"{{"trace_id":"{number:08x}-0000-4000-8000-000000000000","timestamp":"{at}","provider":"{provider}","model_requested":"{model}","request_body":{{}}{rest}}}"#
    )
}

fn id(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

const SESSION: &str = "6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";

/// Four calls of two days, of which one failed; two are in a session.
fn four(client: &Client) {
    let session = format!(r#","session_id":"{SESSION}""#);
    let ok = |rest: &str| format!(r#","status":"success"{rest}"#);
    let traces = [
        trace(
            1,
            "2026-02-01T10:00:00.000Z",
            "openai",
            "gpt-4o",
            &ok(&format!(
                r#","latency_ms":150,"cost_cents":2,"input_tokens":10{session}"#
            )),
        ),
        trace(
            2,
            "2026-02-01T10:30:00.000Z",
            "openai",
            "gpt-4o-mini",
            &ok(&format!(
                r#","latency_ms":50,"cost_cents":1.5,"input_tokens":7,"output_tokens":1{session}"#
            )),
        ),
        trace(
            3,
            "2026-02-02T11:00:00.000Z",
            "anthropic",
            "claude",
            &ok(r#","latency_ms":100,"cost_cents":0.5"#),
        ),
        trace(
            4,
            "2026-02-02T23:59:59.999Z",
            "openrouter",
            "x/y",
            r#","status":"error","latency_ms":400"#,
        ),
    ];
    let answer = client.post("/v1/traces/batch", &format!("[{}]", traces.join(",")));
    assert_eq!(answer.json()["count"], 4, "{}", answer.text());
}

fn ids(list: &Value) -> Vec<String> {
    let traces = list["traces"].as_array().unwrap().iter();
    traces
        .map(|it| it["traceId"].as_str().unwrap().to_owned())
        .collect()
}

// Scenario: four traces of the first generation, asked for with every filter and in pages.
// Guarantees: exactly those that match, newest first, with the number of all of them; wrong
// parameters are refused in the words of that time.
fn traces_are_listed_by_every_filter(store: Store) {
    let client = Client::on(store);
    four(&client);
    for (query, numbers) in [
        ("", vec![4, 3, 2, 1]),
        ("provider=openai", vec![2, 1]),
        ("provider=openrouter&status=error", vec![4]),
        ("status=success", vec![3, 2, 1]),
        ("model=gpt-4o", vec![1]),
        ("model=", vec![4, 3, 2, 1]),
        (&format!("session_id={SESSION}"), vec![2, 1]),
        ("date_from=2026-02-02&date_to=2026-02-02", vec![4, 3]),
        ("date_to=2026-02-01T10:00:00Z", vec![1]),
        ("date_from=1769941800000&date_to=1769941800", vec![2]),
        ("date_from=2026-03-01&date_to=2026-02-01", vec![]),
        ("unknown=x&status=error&status=nonsense", vec![4]),
        ("source=sdk", vec![4, 3, 2, 1]),
        ("source=codex", vec![]),
    ] {
        let list = client.ok(&format!("/v1/traces?{query}"));
        let expected: Vec<_> = numbers.into_iter().map(id).collect();
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list["total"], expected.len(), "{query}");
    }
    let page = client.get("/v1/traces?limit=%202&offset=0x1");
    assert_eq!(keys(&page.text()), ["traces", "total", "limit", "offset"]);
    let page = page.json();
    assert_eq!(ids(&page), [id(3), id(2)]);
    assert_eq!(
        (&page["total"], &page["limit"], &page["offset"]),
        (&json!(4), &json!(2), &json!(1))
    );
    client.refused(
        "/v1/traces?date_from=soon",
        400,
        r#"{"error":"Invalid date_from parameter"}"#,
    );
    client.refused(
        "/v1/traces?date_to=",
        400,
        r#"{"error":"Invalid date_to parameter"}"#,
    );
    client.refused("/v1/traces?limit=2.5&status=bad", 400, r#"{"error":"Invalid query parameters","details":[{"code":"invalid_value","values":["success","error"],"path":["status"],"message":"Invalid option: expected one of \"success\"|\"error\""},{"expected":"int","format":"safeint","code":"invalid_type","path":["limit"],"message":"Invalid input: expected int, received number"}]}"#);
    client.refused("/v1/traces/none", 404, r#"{"error":"Trace not found"}"#);
    client.refused("/v1/spans/none", 404, r#"{"error":"Span not found"}"#);
    client.refused("/v1/sessions/none", 404, r#"{"error":"Session not found"}"#);
    client.refused(
        "/v1/sessions/none/spans",
        404,
        r#"{"error":"Session not found"}"#,
    );
    let session = client.ok(&format!("/v1/sessions/{SESSION}"));
    assert_eq!(
        (&session["sessionId"], ids(&session)),
        (&json!(SESSION), vec![id(1), id(2)])
    );
    // Traces of the first generation were no spans.
    assert_eq!(client.ok("/v1/spans")["total"], 0);
}

// Scenario: the sums over the four calls.
// Guarantees: the numbers of the contract, to the byte; other groups than hours are days.
fn calls_add_up(store: Store) {
    let client = Client::on(store);
    four(&client);
    let range = "date_from=2026-02-01T00:00:00Z&date_to=2026-02-02T23:59:59.999Z";
    let by_day = client.get(&format!("/v1/analytics?{range}")).text();
    assert_eq!(
        by_day,
        r#"{"totalCost":4,"totalRequests":4,"totalSessions":1,"totalTokens":{"input":17,"output":1,"total":18},"avgLatency":175,"errorRate":25,"costOverTime":[{"period":"2026-02-01","provider":"openai","costCents":3.5},{"period":"2026-02-02","provider":"anthropic","costCents":0.5},{"period":"2026-02-02","provider":"openrouter","costCents":0}],"costByProvider":[{"provider":"openai","costCents":3.5,"requests":2},{"provider":"anthropic","costCents":0.5,"requests":1},{"provider":"openrouter","costCents":0,"requests":1}],"topModels":[{"provider":"anthropic","model":"claude","requests":1,"costCents":0.5,"avgLatency":100,"totalTokens":0,"errorRate":0},{"provider":"openai","model":"gpt-4o","requests":1,"costCents":2,"avgLatency":150,"totalTokens":10,"errorRate":0},{"provider":"openai","model":"gpt-4o-mini","requests":1,"costCents":1.5,"avgLatency":50,"totalTokens":8,"errorRate":0},{"provider":"openrouter","model":"x/y","requests":1,"costCents":0,"avgLatency":400,"totalTokens":0,"errorRate":100}],"computed":{"costPerRequest":1,"tokensPerRequest":4.5,"costPer1kTokens":222.2222222222222,"tracesPerSession":4,"avgInputTokens":4.25,"avgOutputTokens":0.25}}"#
    );
    assert_eq!(
        client
            .get(&format!("/v1/analytics?{range}&group_by=model"))
            .text(),
        by_day
    );
    let by_hour = client.ok(&format!("/v1/analytics?{range}&group_by=hour"));
    assert_eq!(by_hour["costOverTime"][0]["period"], "2026-02-01 10:00:00");
    let none =
        client.ok("/v1/analytics?date_from=2026-02-03T00:00:00Z&date_to=2026-02-01T00:00:00Z");
    assert_eq!(
        (&none["totalRequests"], &none["errorRate"]),
        (&json!(0), &json!(0))
    );
    client.refused("/v1/analytics?date_to=2026-02-01T00:00:00Z&group_by=week", 400, r#"{"error":"Invalid query parameters","details":[{"expected":"string","code":"invalid_type","path":["date_from"],"message":"Invalid input: expected string, received undefined"},{"code":"invalid_value","values":["day","hour","model","provider"],"path":["group_by"],"message":"Invalid option: expected one of \"day\"|\"hour\"|\"model\"|\"provider\""}]}"#);
    let bare = client.get("/v1/analytics?date_from=2026-02-01&date_to=2026-02-01T00:00:00Z");
    assert_eq!(bare.status, 400, "{}", bare.text());
}

fn event(number: u32, source: &str, kind: &str, rest: &str) -> String {
    format!(
        r#"{{"span_id":"e-{number}","trace_id":"turn","session_id":"s","timestamp":"2026-01-25T10:0{number}:00Z","source":"{source}","kind":"{kind}","event_type":"x","status":"success"{rest}}}"#
    )
}

// Scenario: events of an agent's turn, one of them failed, and a span that came in as OTLP.
// Guarantees: sums of spans as in the contract; the trace is summed up in the order of keys of the
// second generation; the OTLP span is there too, and is no call of a model.
fn events_add_up_and_sum_up(store: Store) {
    let client = Client::on(store);
    let edit =
        r#","tool_name":"Edit","tool_use_id":"u","duration_ms":10,"tool_input":{"file_path":"/a"}"#;
    let events = [
        event(
            1,
            "claude_code",
            "user_prompt",
            r#","metadata":{"prompt":"p"}"#,
        ),
        event(2, "claude_code", "tool_use", edit),
        event(3, "claude_code", "tool_use", edit),
        event(
            4,
            "codex",
            "tool_use",
            r#","tool_name":"Bash","duration_ms":20"#,
        ),
        event(5, "claude_code", "session", r#","duration_ms":70"#),
    ];
    let body = events
        .join(",")
        .replace(r#""e-4""#, r#""e-4","error":{"m":1}"#);
    let body = body.replacen(
        r#""status":"success","tool_name":"Bash""#,
        r#""status":"error","tool_name":"Bash""#,
        1,
    );
    assert_eq!(
        client.post("/v1/spans/batch", &format!("[{body}]")).json()["count"],
        5
    );
    let range = "date_from=2026-01-25T00:00:00Z&date_to=2026-01-26T00:00:00Z";
    assert_eq!(
        client.get(&format!("/v1/analytics/spans?{range}")).text(),
        r#"{"agentRuns":0,"toolCalls":3,"avgSessionDurationMs":70,"successRate":80,"topTools":[{"name":"Edit","count":2},{"name":"Bash","count":1}],"totalSpans":5,"errorRate":20,"avgDurationMs":27.5,"spansByKind":[{"kind":"tool_use","count":3},{"kind":"session","count":1},{"kind":"user_prompt","count":1}],"spansBySource":[{"source":"claude_code","count":4},{"source":"codex","count":1}],"spansOverTime":[{"period":"2026-01-25","count":5}]}"#
    );
    let trace = client.get("/v1/traces/turn");
    assert_eq!(
        keys(&trace.text()),
        [
            "traceId",
            "sessionId",
            "timestamp",
            "latencyMs",
            "source",
            "services",
            "spanCount",
            "summary",
            "toolCallCount",
            "filesEdited",
            "status",
            "error",
            "errorService",
            "metadata",
            "spans",
            "provider",
            "modelRequested",
            "modelUsed",
            "inputTokens",
            "outputTokens",
            "costCents",
            "requestBody",
            "responseBody",
            "projectId",
        ]
    );
    let trace = trace.json();
    assert_eq!(trace["summary"], "2 tool calls · 1 files edited");
    assert_eq!(
        (&trace["latencyMs"], &trace["status"]),
        (&json!(110), &json!("error"))
    );
    assert_eq!(trace["metadata"], json!({"prompt": "p", "toolCalls": 2}));
    assert_eq!(trace["spans"][1]["label"], "Edit");

    let mut http = span(&[9; 16], &[9; 8], "GET /");
    http.attributes = vec![text("http.request.method", "GET")];
    post_accepted(client.0.addresses().http, &request("shop", vec![http]));
    let found = client.await_found("/v1/spans/0909090909090909").json();
    assert_eq!(
        (&found["kind"], &found["service"]),
        (&json!("span"), &json!("shop"))
    );
    let mine = client.ok("/v1/traces?service=shop");
    assert_eq!(
        (&mine["total"], &mine["traces"][0]["summary"]),
        (&json!(1), &json!("0 tool calls"))
    );
    let in_trace = client.ok("/v1/sessions/09090909090909090909090909090909/spans");
    assert_eq!(in_trace["spans"].as_array().unwrap().len(), 1);
}

on_both_stores!(
    traces_are_listed_by_every_filter,
    calls_add_up,
    events_add_up_and_sum_up,
);
