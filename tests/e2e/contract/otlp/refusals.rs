//! Exports that are refused, whole or in part, and spans that leave out what others say.

use serde_json::{Value, json};

use super::super::error;
use super::{attributes, export, merged, plain, pulse, text};
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::rows::{Row, Table, get, post};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

/// A part of an export that was not taken.
fn partial(count: usize, message: &str) -> String {
    let message = json!(message);
    format!(r#"{{"partialSuccess":{{"rejectedSpans":{count},"errorMessage":{message}}}}}"#)
}

fn whole(rule: &str, spans: &Value, text: impl Into<String>) -> Row {
    post(rule, "/v1/traces", export(&json!({}), spans)).is(200, text)
}

/// Rows of exports that are refused, whole or in part.
fn refusals() -> Vec<Row> {
    let missing = error("Missing resourceSpans");
    let mut rows = Vec::new();
    for body in [
        "{}",
        "[]",
        "null",
        "7",
        r#"{"resourceSpans":null}"#,
        r#"{"resourceSpans":{}}"#,
        r#"{"resource_spans":[]}"#,
    ] {
        rows.push(post("no list of resources", "/v1/traces", body).is(400, &*missing));
    }
    for body in ["", "{", "{]"] {
        rows.push(post("no JSON", "/v1/traces", body).is(400, error("Invalid JSON body")));
    }
    rows.push(
        whole(
            "a thousand spans at most",
            &json!(vec![Value::Null; 1001]),
            "",
        )
        .is(400, error("Export exceeds 1000 spans")),
    );
    rows.push(post("no spans", "/v1/traces", r#"{"resourceSpans":[]}"#).is(200, "{}"));
    let odd = r#"{"resourceSpans":[null,5,{},{"scopeSpans":null},{"scopeSpans":[null,7,{"spans":null}]}]}"#;
    rows.push(
        post(
            "odd resources and scopes are passed over",
            "/v1/traces",
            odd,
        )
        .is(200, "{}"),
    );
    let nothing = whole("nothing that is a span", &json!([null, 7, "x"]), "");
    rows.push(nothing.is(200, partial(3, "Invalid input: expected object")));
    let late = json!({"spanId": "late", "startTimeUnixNano": "2", "endTimeUnixNano": "1"});
    rows.push(whole(
        "an end before its start",
        &json!([late]),
        partial(1, "Too small: expected number to be >=0"),
    ));
    let said = |key: &str, value: Value| json!({"spanId": "no", "attributes": attributes(json!({key: value}))});
    let fraction = said("gen_ai.usage.input_tokens", json!({"doubleValue": 1.5}));
    rows.push(whole(
        "a fraction of a token",
        &json!([fraction]),
        partial(1, "Invalid input: expected int, received number"),
    ));
    let negative = said("gen_ai.usage.output_tokens", json!({"intValue": "-1"}));
    rows.push(whole(
        "less than no token",
        &json!([negative]),
        partial(1, "Too small: expected number to be >=0"),
    ));
    let cost = said("pulse.cost_cents", json!({"doubleValue": -0.5}));
    rows.push(whole(
        "less than no cost",
        &json!([cost]),
        partial(1, "Too small: expected number to be >=0"),
    ));
    let source = said("pulse.source", text("x"));
    let words =
        r#"Invalid option: expected one of "claude_code"|"codex"|"opencode"|"openclaw"|"sdk""#;
    rows.push(whole(
        "a source that there is not",
        &json!([source]),
        partial(1, words),
    ));
    let kind = said("pulse.kind", text("x"));
    let words = r#"Invalid option: expected one of "llm_call"|"tool_use"|"agent_run"|"session"|"user_prompt"|"llm_response"|"notification""#;
    rows.push(whole(
        "a kind that there is not",
        &json!([kind, source]),
        partial(2, words),
    ));
    let good = merged(&plain(0), &json!({"spanId": "good"}));
    let mixed = json!([late, good, fraction]);
    let told = partial(2, "Too small: expected number to be >=0");
    rows.push(whole(
        "the first failure is told, the good one taken",
        &mixed,
        &*told,
    ));
    rows.push(whole("and is taken once", &mixed, told));
    rows
}

/// The only span of a session, as soon as it is there.
fn only(table: &Table, session: &str) -> Value {
    eventually(session, SOON, || {
        let path = format!("/v1/spans?session_id={session}");
        let found = table.kept(&get("a span without an id", path)).json();
        (found["total"] == 1).then(|| found["spans"][0].clone())
    })
}

// Scenario: exports that are wrong in each way, as a whole and in single spans; spans without ids and times.
// Guarantees: refused in the contract's words, what is good is stored, once; what is missing is made up.
fn what_is_wrong_in_an_export_is_told(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    table.check(refusals());
    daemon.await_stored();
    table.check([
        get("the good one", "/v1/spans/good").has("/spanId", "good"),
        get("once", "/v1/spans?trace_id=trace%200").has("/total", 1),
        get("and no other", "/v1/spans/late").is(404, error("Span not found")),
        get("nor this", "/v1/spans/no").is(404, error("Span not found")),
    ]);
    let attributes =
        attributes(json!({"pulse.session_id": text("nameless"), "pulse.kind": text("llm_call")}));
    let before = jiff::Timestamp::now();
    table.kept(&whole(
        "no ids and no times",
        &json!([{"attributes": attributes}]),
        "{}",
    ));
    let made = only(&table, "nameless");
    for key in ["spanId", "traceId"] {
        let id = made[key].as_str().unwrap();
        let is_uuid = id.len() == 36 && id.bytes().filter(|it| *it == b'-').count() == 4;
        assert!(is_uuid, "{key}: {id}");
    }
    let at: jiff::Timestamp = made["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((at - before).get_seconds().abs() < 600, "{made}");
    assert_eq!(made["durationMs"], Value::Null);
}

on_both_stores! {
    what_is_wrong_in_an_export_is_told,
}
