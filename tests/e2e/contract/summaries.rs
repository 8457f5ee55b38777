//! Traces and sessions worked out from spans (§5.2), and sums over calls and events (§3.7, §4.2, §5.3).

use serde_json::{Value, json};

use super::{merged, pulse, with};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Table, get, post};

/// A span of a trace, some minutes after ten.
fn span(id: &str, trace: &str, minute: u32, more: &Value) -> Value {
    let good = json!({"span_id": id, "trace_id": trace, "session_id": "s",
        "timestamp": format!("2026-01-25T10:{minute:02}:00Z"), "source": "sdk", "kind": "tool_use",
        "event_type": "x", "status": "success"});
    merged(&good, more)
}

fn send(table: &Table, spans: &[Value]) {
    let row = post("spans", "/v1/spans/batch", json!(spans).to_string());
    table.kept(&row.status(202).has("/count", spans.len()));
}

/// What spans of one trace, a minute apart, add up to.
struct Case {
    rule: &'static str,
    spans: Vec<Value>,
    expected: Value,
}

fn case(rule: &'static str, spans: &[Value], expected: Value) -> Case {
    Case {
        rule,
        spans: spans.to_vec(),
        expected,
    }
}

/// A call with some more fields.
fn call(more: Value) -> Value {
    with(json!({"kind": "llm_call"}), more)
}

fn check(store: Store, cases: &[Case]) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    for (number, case) in cases.iter().enumerate() {
        let spans = (0..).zip(&case.spans).map(|(minute, more)| {
            span(
                &format!("{number}.{minute}"),
                &format!("row {number}"),
                minute,
                more,
            )
        });
        send(&table, &spans.collect::<Vec<_>>());
    }
    table.check(cases.iter().enumerate().map(|(number, case)| {
        let row = get(case.rule, format!("/v1/traces/row%20{number}"));
        let expected = case.expected.as_object().unwrap().iter();
        expected.fold(row, |row, (key, value)| {
            row.has(&format!("/{}", key.replace('.', "/")), value.clone())
        })
    }));
}

// Scenario: traces with calls of models.
// Guarantees: the main span is the first call; each field comes from where the contract says.
fn traces_with_calls_are_summed_up(store: Store) {
    let named = json!({"model": "m", "provider": "p"});
    let failed = |error: Value| json!({"status": "error", "error": error});
    check(
        store,
        &[
            case(
                "the first call is the main span",
                &[
                    json!({"source": "codex", "metadata": {"a": 1}}),
                    call(
                        json!({"session_id": "t", "finish_reason": "stop", "provider_request_id": "r", "output_text": "Hi"}),
                    ),
                    call(json!({"output_text": "no"})),
                ],
                json!({"source": "sdk", "sessionId": "t", "timestamp": "2026-01-25T10:01:00.000Z", "finishReason": "stop", "providerRequestId": "r", "outputText": "Hi", "spanCount": 3}),
            ),
            case(
                "the model is the summary",
                &[call(named.clone())],
                json!({"summary": "m", "modelRequested": "m", "modelUsed": "m", "provider": "p"}),
            ),
            case(
                "the model used goes before",
                &[call(merged(&named, &json!({"model_used": "m-1"})))],
                json!({"modelRequested": "m", "modelUsed": "m-1"}),
            ),
            case(
                "no model",
                &[call(json!({}))],
                json!({"summary": "unknown", "modelRequested": "unknown", "modelUsed": null, "provider": "sdk"}),
            ),
            case(
                "a provider of the metadata, pulse's first",
                &[call(
                    json!({"metadata": {"provider": "b", "pulse.provider": "a", "gen_ai.system": "c"}}),
                )],
                json!({"provider": "a"}),
            ),
            case(
                "then the plain one",
                &[call(
                    json!({"metadata": {"provider": "b", "gen_ai.system": "c"}}),
                )],
                json!({"provider": "b"}),
            ),
            case(
                "then the system",
                &[call(json!({"metadata": {"gen_ai.system": "c"}}))],
                json!({"provider": "c"}),
            ),
            case(
                "tokens and cost are those of calls",
                &[
                    call(json!({"input_tokens": 1, "cost_cents": 0.5})),
                    json!({"input_tokens": 90, "output_tokens": 90, "cost_cents": 90}),
                    call(json!({"input_tokens": 2, "cost_cents": 0.25})),
                ],
                json!({"inputTokens": 3, "outputTokens": null, "costCents": 0.75}),
            ),
            case(
                "latency is the sum, of spans side by side too",
                &[
                    json!({"duration_ms": 10.5}),
                    call(json!({})),
                    json!({"duration_ms": 20}),
                ],
                json!({"latencyMs": 30.5}),
            ),
            case(
                "bodies under the names of the SDK",
                &[call(
                    json!({"metadata": {"pulse.request": {"q": 1}, "request": 2, "pulse.response": [3]}}),
                )],
                json!({"requestBody": {"q": 1}, "responseBody": [3]}),
            ),
            case(
                "or bare",
                &[call(
                    json!({"metadata": {"request": {"q": 1}, "response": "a"}}),
                )],
                json!({"requestBody": {"q": 1}, "responseBody": "a"}),
            ),
            case(
                "metadata is the main span's, with the number of tools",
                &[
                    json!({"metadata": {"no": 1}}),
                    call(json!({"metadata": {"a": 1, "toolCalls": 9}})),
                ],
                json!({"metadata": {"a": 1, "toolCalls": 1}}),
            ),
            case(
                "one span that failed fails the trace",
                &[
                    call(json!({"service": "a"})),
                    merged(&failed(json!({"m": 1})), &json!({"service": "b"})),
                    merged(&failed(json!({"m": 2})), &json!({"service": "a"})),
                ],
                json!({"status": "error", "error": {"m": 1}, "errorService": "b", "services": ["a", "b"]}),
            ),
            case(
                "the first error that says something",
                &[
                    failed(json!("")),
                    failed(json!(0)),
                    failed(json!(null)),
                    failed(json!({})),
                ],
                json!({"error": {}, "errorService": null}),
            ),
            case(
                "an error of a span that did not fail",
                &[json!({"error": "odd"}), call(json!({}))],
                json!({"status": "success", "error": "odd", "errorService": null}),
            ),
        ],
    );
}

// Scenario: traces without calls of models: tools, files, labels.
// Guarantees: tools count once, files too; what is of models is null, and there.
fn traces_without_calls_are_summed_up(store: Store) {
    let tool = |name: &str, id: &str| json!({"tool_name": name, "tool_use_id": id});
    let edit =
        |name: &str, file: &str| json!({"tool_name": name, "tool_input": {"file_path": file}});
    check(
        store,
        &[
            case(
                "no tool",
                &[json!({"kind": "notification"})],
                json!({"summary": "0 tool calls", "toolCallCount": 0, "filesEdited": [], "metadata": {"toolCalls": 0}}),
            ),
            case(
                "one tool has no singular",
                &[json!({})],
                json!({"summary": "1 tool calls"}),
            ),
            case(
                "before and after are one",
                &[tool("Bash", "u"), tool("Bash", "u"), tool("Bash", "v")],
                json!({"summary": "2 tool calls", "toolCallCount": 2}),
            ),
            case(
                "each without an id is one",
                &[json!({"tool_name": "Bash"}), json!({"tool_name": "Bash"})],
                json!({"toolCallCount": 2}),
            ),
            case(
                "files that were edited, once each",
                &[
                    edit("Edit", "/a"),
                    edit("Write", "/b"),
                    edit("MultiEdit", "/a"),
                    edit("apply_patch", "/c"),
                    edit("Read", "/d"),
                    json!({"tool_name": "Edit", "tool_input": "/e"}),
                ],
                json!({"summary": "6 tool calls · 3 files edited", "filesEdited": ["/a", "/b", "/c"]}),
            ),
            case(
                "what is of models is null",
                &[
                    json!({"model": "m", "provider": "p", "input_tokens": 3, "metadata": {"request": 1}}),
                ],
                json!({"provider": null, "modelRequested": null, "modelUsed": null, "inputTokens": null, "outputTokens": null, "costCents": null, "requestBody": null, "responseBody": null}),
            ),
            case(
                "labels: the tool, else the event",
                &[
                    json!({"tool_name": "Bash"}),
                    json!({}),
                    json!({"kind": "session", "event_type": "stop"}),
                ],
                json!({"spans.0.label": "Bash", "spans.1.label": "x", "spans.2.label": "stop"}),
            ),
            case(
                "the first span stands for all",
                &[
                    json!({"kind": "user_prompt", "source": "codex", "output_text": "Hi"}),
                    json!({}),
                ],
                json!({"source": "codex", "outputText": "Hi", "timestamp": "2026-01-25T10:00:00.000Z", "latencyMs": 0, "services": []}),
            ),
        ],
    );
}

// Scenario: traces that have spans in two sessions, spans of no trace, sessions that only begin and end.
// Guarantees: a session has its traces, of its own spans only, by their time; the others are none.
fn sessions_have_their_own_spans(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    let other = json!({"session_id": "t", "status": "error"});
    let mut lone = span("lone", "", 9, &json!({"session_id": "lonely"}));
    lone.as_object_mut().unwrap().remove("trace_id");
    let lifecycle =
        |event: &str| json!({"session_id": "short", "kind": "session", "event_type": event});
    send(
        &table,
        &[
            span("b2", "b", 4, &json!({})),
            span("a2", "a", 5, &other),
            span("a1", "a", 3, &json!({})),
            span("b1", "b", 1, &other),
            lone,
            span("c1", "c", 6, &lifecycle("session_start")),
            span("c2", "c", 7, &lifecycle("session_end")),
            span(
                "d1",
                "d",
                8,
                &merged(&lifecycle("notification"), &json!({"session_id": "u"})),
            ),
        ],
    );
    let missing = r#"{"error":"Session not found"}"#;
    table.check([
        get("by the time of what is its own", "/v1/sessions/s")
            .has("/sessionId", "s")
            .has("/traces/0/traceId", "a")
            .has("/traces/1/traceId", "b")
            .has("/traces/0/spanCount", 1)
            .has("/traces/0/status", "success"),
        get("in another session too", "/v1/sessions/t")
            .has("/traces/0/traceId", "b")
            .has("/traces/1/traceId", "a")
            .has("/traces/0/spanCount", 1)
            .has("/traces/0/status", "error"),
        get("the trace has all", "/v1/traces/a")
            .has("/spanCount", 2)
            .has("/spans/0/spanId", "a1")
            .has("/spans/1/spanId", "a2")
            .has("/status", "error"),
        get("no trace, no session of traces", "/v1/sessions/lonely").is(404, missing),
        get("but one of spans", "/v1/sessions/lonely/spans").has("/spans/0/spanId", "lone"),
        get("a beginning and an end are no trace", "/v1/sessions/short").is(404, missing),
        get("a notification is", "/v1/sessions/u").has("/traces/0/traceId", "d"),
        get("newest first", "/v1/traces")
            .has("/total", 3)
            .has("/traces/0/traceId", "d")
            .has("/traces/1/traceId", "a")
            .has("/traces/2/traceId", "b"),
    ]);
}

const RANGE: &str = "date_from=2026-01-25T00:00:00Z&date_to=2026-01-26T00:00:00Z";

// Scenario: calls of the second generation that say little, beside spans that are none.
// Guarantees: calls are added up as the contract does, to the byte; each is in a session.
fn calls_that_say_little_add_up(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    send(
        &table,
        &[
            span(
                "1",
                "a",
                1,
                &call(
                    json!({"provider": "openai", "model": "m", "duration_ms": 10, "cost_cents": 0.5, "input_tokens": 1}),
                ),
            ),
            span(
                "2",
                "a",
                2,
                &call(
                    json!({"provider": "openai", "model": "m", "duration_ms": 20, "status": "error"}),
                ),
            ),
            span(
                "3",
                "b",
                3,
                &call(json!({"session_id": "t", "output_tokens": 3})),
            ),
            span(
                "4",
                "b",
                4,
                &call(json!({"provider": "zeta", "model": "n", "cost_cents": 2})),
            ),
            span(
                "5",
                "b",
                5,
                &json!({"duration_ms": 1000, "cost_cents": 9, "input_tokens": 9}),
            ),
        ],
    );
    table.check([
        get("calls alone", format!("/v1/analytics?{RANGE}")).is(200, r#"{"totalCost":2.5,"totalRequests":4,"totalSessions":2,"totalTokens":{"input":1,"output":3,"total":4},"avgLatency":15,"errorRate":25,"costOverTime":[{"period":"2026-01-25","provider":"openai","costCents":0.5},{"period":"2026-01-25","provider":"sdk","costCents":0},{"period":"2026-01-25","provider":"zeta","costCents":2}],"costByProvider":[{"provider":"zeta","costCents":2,"requests":1},{"provider":"openai","costCents":0.5,"requests":2},{"provider":"sdk","costCents":0,"requests":1}],"topModels":[{"provider":"openai","model":"m","requests":2,"costCents":0.5,"avgLatency":15,"totalTokens":1,"errorRate":50},{"provider":"sdk","model":"unknown","requests":1,"costCents":0,"avgLatency":0,"totalTokens":3,"errorRate":0},{"provider":"zeta","model":"n","requests":1,"costCents":2,"avgLatency":0,"totalTokens":0,"errorRate":0}],"computed":{"costPerRequest":0.625,"tokensPerRequest":1,"costPer1kTokens":625,"tracesPerSession":2,"avgInputTokens":0.25,"avgOutputTokens":0.75}}"#),
        get("all spans", format!("/v1/analytics/spans?{RANGE}&group_by=hour")).is(200, r#"{"agentRuns":0,"toolCalls":1,"avgSessionDurationMs":0,"successRate":80,"topTools":[],"totalSpans":5,"errorRate":20,"avgDurationMs":343.3333333333333,"spansByKind":[{"kind":"llm_call","count":4},{"kind":"tool_use","count":1}],"spansBySource":[{"source":"sdk","count":5}],"spansOverTime":[{"period":"2026-01-25 10:00:00","count":5}]}"#),
    ]);
}

on_both_stores! {
    traces_with_calls_are_summed_up,
    traces_without_calls_are_summed_up,
    sessions_have_their_own_spans,
    calls_that_say_little_add_up,
}
