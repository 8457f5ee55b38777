//! Coding agents that tell of their calls in log records: each call counts once, whatever else tells
//! of it, whenever the process is killed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http;
use crate::sdk;

/// Where the records of the corpus lie in time.
const RANGE: &str = "start=1768470000000000000&end=1768490000000000000";
const CLAUDE_SESSION: &str = "6a0f8e1c-2b7d-4a55-9d0e-1f2a3b4c5d6e";

fn corpus(name: &str) -> String {
    std::fs::read_to_string(sdk::root().join("tests/golden").join(name)).unwrap()
}

fn post(daemon: &Daemon, signal: &str, body: &str) {
    let answer = http::post(
        daemon.addresses().http,
        &format!("/v1/{signal}"),
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({}), "nothing is rejected");
}

/// The spans of Claude Code of the corpus, as spans of the session whose records are in it.
fn claude_spans() -> String {
    corpus("claude_code/beta_traces.json").replace("s-10", CLAUDE_SESSION)
}

fn ok(daemon: &Daemon, path: &str) -> Value {
    let answer = daemon.api(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Calls, tokens and cost by service.
fn counted(daemon: &Daemon) -> Value {
    let measures = "llm_calls,input_tokens,output_tokens,cost_nano_usd";
    let path = format!("/api/v1/analytics?{RANGE}&group_by=service&measures={measures}");
    let rows = ok(daemon, &path)["rows"].take();
    let rows = rows.as_array().unwrap().iter();
    let row = |row: &Value| {
        let service = row["group"]["service"].as_str().unwrap().to_owned();
        (service, row["measures"].clone())
    };
    rows.map(row).collect::<serde_json::Map<_, _>>().into()
}

fn measures(calls: i64, input: i64, output: i64, cost: i64) -> Value {
    json!({
        "llm_calls": calls, "input_tokens": input, "output_tokens": output, "cost_nano_usd": cost,
    })
}

fn session(daemon: &Daemon, id: &str) -> Value {
    ok(daemon, &format!("/api/v1/sessions/{id}"))["session"].take()
}

const LOGS: [&str; 3] = [
    "claude_code/logs.json",
    "codex/logs.json",
    "gemini_cli/logs.json",
];

// Scenario: three agents send their log records, each twice; the process is killed at once after the
// last acknowledgement, and after it has stored them.
// Guarantees: analytics, sessions, users and traces tell of each call once, with tokens and cost as
// they are; the records themselves are events, as many as were sent; what names a span makes none.
fn calls_in_logs_count_once(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[]);
    for name in LOGS.iter().chain(&LOGS) {
        post(&daemon, "logs", &corpus(name));
    }
    daemon.process.kill9();
    daemon.restart();
    daemon.await_stored();
    let expected = json!({
        "claude-code": measures(4, 18_312, 310, 25_150_000),
        "codex_cli_rs": measures(2, 2_600, 110, 1_875_000),
        "gemini-cli": measures(3, 130, 30, 314_000),
    });
    assert_eq!(counted(&daemon), expected);
    daemon.process.kill9();
    daemon.restart();
    assert_eq!(counted(&daemon), expected);

    for (service, events) in [("claude-code", 8), ("codex_cli_rs", 10), ("gemini-cli", 7)] {
        let found = daemon.list(&format!(
            "/api/v1/events?{RANGE}&service={service}&limit=100"
        ));
        assert_eq!(found.len(), events, "{service}");
    }
    let accepted = daemon.list(&format!("/api/v1/spans?{RANGE}&service=codex_cli_rs"));
    assert_eq!(accepted.len(), 2);

    let told = session(&daemon, CLAUDE_SESSION);
    assert_eq!(
        (&told["span_count"], &told["error_count"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(told["totals"]["llm_call_count"], 3);
    assert_eq!(told["totals"]["cost_nano_usd"], 24_980_000);
    assert_eq!(told["trace_count"], 2, "a trace for each prompt");
    let users = daemon.list(&format!("/api/v1/users?{RANGE}"));
    assert_eq!(users[0]["user_id"], "8f1c", "{users:#?}");
}

// Scenario: the records of a prompt that led to two calls.
// Guarantees: they are one trace, whose spans say what the records said.
fn a_trace_shows_the_calls_of_a_prompt(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    post(&daemon, "logs", &corpus(LOGS[0]));
    let path = format!("/api/v1/traces?{RANGE}&session_id={CLAUDE_SESSION}");
    let found = eventually("the trace of a prompt", Duration::from_secs(30), || {
        let found = daemon.list(&path);
        (found.len() == 2).then_some(found)
    });
    let prompt = found.iter().find(|it| it["span_count"] == 2).unwrap();
    let trace = ok(
        &daemon,
        &format!("/api/v1/traces/{}", prompt["trace_id"].as_str().unwrap()),
    );
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 2);
    let call = &spans[0];
    assert_eq!(
        (&call["name"], &call["kind"]),
        (&json!("claude_code.api_request"), &json!("client"))
    );
    assert_eq!(
        call["attributes"]["pulse.derived_from"],
        "claude_code.api_request"
    );
    assert_eq!(call["attributes"]["query_source"], "repl_main_thread");
    assert_eq!(call["duration_ns"], 2_500_000_000_u64);
    assert_eq!(call["genai"]["response_id"], "req_011A");
}

// Scenario: a session is told of in spans too, before its records come, after them, or between two
// sends of them.
// Guarantees: the calls of the spans count, the records of that session add nothing; those of another
// session go on counting.
fn spans_of_a_session_take_the_place_of_its_logs(store: Store) {
    let logs = corpus(LOGS[0]);
    let spans = claude_spans();
    let logs = ("logs", &logs);
    let spans = ("traces", &spans);
    for order in [
        vec![logs, spans],
        vec![spans, logs],
        vec![logs, spans, logs, spans],
    ] {
        let daemon = Daemon::spawn_on(store, &[]);
        for (signal, body) in order {
            post(&daemon, signal, body);
            daemon.await_stored();
        }
        // Two calls of the spans, of which one failed; and a call of the other session.
        let expected = json!({
            "claude-code": measures(1, 140, 20, 170_000),
            "claude_code-app": measures(2, 100, 20, 0),
        });
        let mut found = counted(&daemon);
        let cost = found["claude_code-app"]["cost_nano_usd"].take();
        assert!(cost.as_i64().unwrap() > 0);
        found["claude_code-app"]["cost_nano_usd"] = json!(0);
        assert_eq!(found, expected);
        let told = session(&daemon, CLAUDE_SESSION);
        assert_eq!(told["totals"]["llm_call_count"], 2);
        assert_eq!(told["totals"]["input_tokens"], 100);
    }
}

on_both_stores! {
    calls_in_logs_count_once,
    a_trace_shows_the_calls_of_a_prompt,
    spans_of_a_session_take_the_place_of_its_logs,
}
