//! Bodies that are refused: every field of traces (§3.1) and spans (§4.1), and what is said of each
//! (§1.1, §1.2).

use serde_json::{Value, json};

use super::issues::{
    self, TOO_MANY, empty, not_a_datetime, not_a_uuid, not_one_of, not_safe, not_whole, too_small,
    wrong_type,
};
use super::{merged, pulse};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, get, post};

const PROVIDERS: &[&str] = &["openai", "anthropic", "openrouter"];
const STATUSES: &[&str] = &["success", "error"];
const SOURCES: &[&str] = &["claude_code", "codex", "opencode", "openclaw", "sdk"];
const KINDS: &[&str] = &[
    "llm_call",
    "tool_use",
    "agent_run",
    "session",
    "user_prompt",
    "llm_response",
    "notification",
];

/// One of traces or spans: its routes, an item that is good, and how many fields that must have.
struct Sort {
    routes: [&'static str; 2],
    good: Value,
}

fn traces() -> Sort {
    Sort {
        routes: ["/v1/traces/batch", "/v1/traces/async"],
        good: json!({"trace_id": "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
            "timestamp": "2026-01-05T10:00:00Z", "provider": "openai", "model_requested": "m",
            "request_body": {}, "status": "success", "latency_ms": 1}),
    }
}

fn spans() -> Sort {
    Sort {
        routes: ["/v1/spans/batch", "/v1/spans/async"],
        good: json!({"span_id": "s", "session_id": "s", "timestamp": "2026-01-05T10:00:00Z",
            "source": "codex", "kind": "tool_use", "event_type": "x", "status": "error"}),
    }
}

impl Sort {
    /// A good item with another field in it.
    fn with(&self, field: &str, value: &Value) -> Value {
        merged(&self.good, &json!({field: value}))
    }

    /// A good item without a field.
    fn without(&self, field: &str) -> Value {
        let mut item = self.good.clone();
        item.as_object_mut().unwrap().remove(field).unwrap();
        item
    }

    /// On both routes, a body of one item is refused for one thing.
    fn rows(&self, rule: &str, item: &Value, issue: &str) -> Vec<Row> {
        let refused = issues::body(&[issue.to_owned()]);
        let row = |route: &&str| post(rule, *route, json!([item]).to_string()).is(400, &*refused);
        self.routes.iter().map(row).collect()
    }

    /// Fields of a type: what is said of values of every other type, and of none.
    fn typed(&self, field: &str, expected: &str, is_optional: bool) -> Vec<Row> {
        let path = format!("0,\"{field}\"");
        let mut rows = Vec::new();
        for (received, value) in [
            ("null", Value::Null),
            ("string", json!("x")),
            ("number", json!(5)),
            ("array", json!([])),
            ("object", json!({})),
            ("boolean", json!(true)),
        ] {
            let is_right = received == expected || received == "object" && expected == "record";
            let is_absent = received == "null" && is_optional && self.routes[0].contains("traces");
            if !is_right && !is_absent {
                let rule = format!("{field} is no {received}");
                let issue = wrong_type(&path, expected, received);
                rows.extend(self.rows(&rule, &self.with(field, &value), &issue));
            }
        }
        if !is_optional {
            let issue = wrong_type(&path, expected, "undefined");
            rows.extend(self.rows(&format!("{field} is needed"), &self.without(field), &issue));
        }
        rows
    }

    /// Fields that are one of a few words; a value of another type is said to be none of them.
    fn words(&self, field: &str, words: &[&str]) -> Vec<Row> {
        let issue = not_one_of(&format!("0,\"{field}\""), words);
        let mut rows = self.rows(&format!("{field} is needed"), &self.without(field), &issue);
        for wrong in [json!("google"), json!(""), json!(5), Value::Null, json!([])] {
            let rule = format!("{field} is one of its words");
            rows.extend(self.rows(&rule, &self.with(field, &wrong), &issue));
        }
        rows
    }

    /// A field with a value of the right type that is wrong all the same.
    fn wrong(&self, field: &str, value: &Value, issue: fn(&str) -> String) -> Vec<Row> {
        let issue = issue(&format!("0,\"{field}\""));
        self.rows(
            &format!("{field}: {value}"),
            &self.with(field, value),
            &issue,
        )
    }

    fn numbers(&self, whole: &[&str], others: &[&str]) -> Vec<Row> {
        let mut rows = Vec::new();
        for field in whole {
            rows.extend(self.typed(field, "number", true));
            rows.extend(self.wrong(field, &json!(-1), |path| too_small(path, 0)));
            rows.extend(self.wrong(field, &json!(1.5), not_whole));
            rows.extend(self.wrong(field, &json!(9_007_199_254_740_992_u64), not_safe));
        }
        for field in others {
            rows.extend(self.wrong(field, &json!(-1), |path| too_small(path, 0)));
            rows.extend(self.wrong(field, &json!(-0.5), |path| too_small(path, 0)));
        }
        rows
    }

    /// What is said of bodies that are no list of at most a hundred objects.
    fn lists(&self) -> Vec<Row> {
        let [batch, _] = self.routes;
        let mut rows = Vec::new();
        for route in self.routes {
            for (rule, body) in [
                ("nothing", ""),
                ("no end", "["),
                ("a comma too many", "[1,]"),
            ] {
                rows.push(post(rule, route, body).is(400, r#"{"error":"Invalid JSON body"}"#));
            }
            for (received, body) in [
                ("object", "{}"),
                ("null", "null"),
                ("string", "\"x\""),
                ("number", "7"),
                ("boolean", "true"),
            ] {
                let issue = wrong_type("", "array", received);
                rows.push(post("no list", route, body).is(400, issues::body(&[issue])));
            }
            for (received, body) in [("string", "[\"a\"]"), ("null", "[null]"), ("array", "[[]]")] {
                let issue = wrong_type("0", "object", received);
                rows.push(post("no object", route, body).is(400, issues::body(&[issue])));
            }
        }
        let many = json!(vec![&self.good; 101]).to_string();
        let too_many = issues::body(&[TOO_MANY.to_owned()]);
        rows.push(post("a hundred items at most", batch, many).is(400, too_many));
        rows
    }
}

const BAD_TIMES: [&str; 14] = [
    "",
    "2026-01-05",
    "2026-01-05T10:00:00",
    "2026-01-05T10:00:00+0200",
    "2026-01-05T10:00:00z",
    "2026-01-05t10:00:00Z",
    "2026-01-05 10:00:00Z",
    "2026-02-30T10:00:00Z",
    "2025-02-29T10:00:00Z",
    "2026-01-05T10:00:60Z",
    "2026-01-05T24:00:00Z",
    "2026-01-05T10:00:00.Z",
    "2026-01-05T10:00:00+24:00",
    "1767607200",
];

const BAD_UUIDS: [&str; 6] = [
    "",
    "free text",
    "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11",
    "0d5f6c0e-8d0c-9f7e-9d55-6a3c1f0f9a11",
    "0d5f6c0e-8d0c-4f7e-7d55-6a3c1f0f9a11",
    "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a1g",
];

// Scenario: each field of a trace with every value that it may not have, alone and with others.
// Guarantees: refused in the words and the order of the contract, on both routes; nothing is stored.
fn wrong_traces_are_told_field_by_field(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let sort = traces();
    let mut rows = sort.lists();
    for field in ["trace_id", "session_id"] {
        for wrong in BAD_UUIDS {
            rows.extend(sort.wrong(field, &json!(wrong), not_a_uuid));
        }
    }
    for wrong in BAD_TIMES {
        rows.extend(sort.wrong("timestamp", &json!(wrong), not_a_datetime));
    }
    for field in ["trace_id", "timestamp", "model_requested"] {
        rows.extend(sort.typed(field, "string", false));
    }
    rows.extend(sort.wrong("model_requested", &json!(""), empty));
    rows.extend(sort.words("provider", PROVIDERS));
    rows.extend(sort.words("status", STATUSES));
    rows.extend(sort.typed("request_body", "record", false));
    rows.extend(sort.typed("latency_ms", "number", false));
    for field in [
        "model_used",
        "provider_request_id",
        "output_text",
        "finish_reason",
    ] {
        rows.extend(sort.typed(field, "string", true));
    }
    for field in ["response_body", "error", "metadata"] {
        rows.extend(sort.typed(field, "record", true));
    }
    rows.extend(sort.typed("cost_cents", "number", true));
    rows.extend(sort.numbers(
        &["input_tokens", "output_tokens"],
        &["latency_ms", "cost_cents"],
    ));
    let all =
        json!([{"status": 1, "trace_id": 7, "input_tokens": -1.5}, sort.good, {"latency_ms": "x"}]);
    let text = |index: usize, field: &str, received: &str| {
        wrong_type(&format!("{index},\"{field}\""), "string", received)
    };
    let everything = [
        text(0, "trace_id", "number"),
        text(0, "timestamp", "undefined"),
        not_one_of("0,\"provider\"", PROVIDERS),
        text(0, "model_requested", "undefined"),
        wrong_type("0,\"request_body\"", "record", "undefined"),
        not_whole("0,\"input_tokens\""),
        not_one_of("0,\"status\"", STATUSES),
        wrong_type("0,\"latency_ms\"", "number", "undefined"),
        text(2, "trace_id", "undefined"),
        text(2, "timestamp", "undefined"),
        not_one_of("2,\"provider\"", PROVIDERS),
        text(2, "model_requested", "undefined"),
        wrong_type("2,\"request_body\"", "record", "undefined"),
        not_one_of("2,\"status\"", STATUSES),
        wrong_type("2,\"latency_ms\"", "number", "string"),
    ];
    let rule = "all that is wrong is said, by item and then by field as declared";
    rows.push(post(rule, sort.routes[0], all.to_string()).is(400, issues::body(&everything)));
    let table = pulse(&daemon);
    table.check(rows);
    daemon.await_stored();
    table.kept(&get("nothing is stored", "/v1/traces?model=m").has("/total", 0));
}

// Scenario: each field of a span with every value that it may not have.
// Guarantees: as for traces, but that null is no absence in any field with a type.
fn wrong_spans_are_told_field_by_field(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let sort = spans();
    let mut rows = sort.lists();
    for field in ["span_id", "session_id", "event_type"] {
        rows.extend(sort.typed(field, "string", false));
        rows.extend(sort.wrong(field, &json!(""), empty));
    }
    for field in ["trace_id", "parent_span_id"] {
        rows.extend(sort.typed(field, "string", true));
        rows.extend(sort.wrong(field, &json!(""), empty));
    }
    rows.extend(sort.typed("timestamp", "string", false));
    for wrong in BAD_TIMES {
        rows.extend(sort.wrong("timestamp", &json!(wrong), not_a_datetime));
    }
    rows.extend(sort.words("source", SOURCES));
    rows.extend(sort.words("kind", KINDS));
    rows.extend(sort.words("status", STATUSES));
    for field in [
        "service",
        "tool_use_id",
        "tool_name",
        "cwd",
        "model",
        "agent_name",
        "provider",
        "model_used",
        "finish_reason",
        "output_text",
        "provider_request_id",
    ] {
        rows.extend(sort.typed(field, "string", true));
    }
    rows.extend(sort.typed("is_interrupt", "boolean", true));
    rows.extend(sort.typed("metadata", "record", true));
    for field in ["duration_ms", "cost_cents"] {
        rows.extend(sort.typed(field, "number", true));
    }
    rows.extend(sort.numbers(
        &["input_tokens", "output_tokens"],
        &["duration_ms", "cost_cents"],
    ));
    let table = pulse(&daemon);
    table.check(rows);
    daemon.await_stored();
    table.kept(&get("nothing is stored", "/v1/spans?source=codex").has("/total", 0));
}

on_both_stores! {
    wrong_traces_are_told_field_by_field,
    wrong_spans_are_told_field_by_field,
}
