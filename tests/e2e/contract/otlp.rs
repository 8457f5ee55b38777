//! `POST /v1/traces`: OTLP/JSON as the second generation sends it (§5.1).

mod attributes;
mod refusals;

use serde_json::{Value, json};

use super::{merged, pulse};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{get, post};

const NS: &str = "1767225600000000000";

fn text(value: &str) -> Value {
    json!({"stringValue": value})
}

/// Attributes, by their names.
fn attributes(entries: Value) -> Value {
    let Value::Object(entries) = entries else {
        panic!("no object: {entries}");
    };
    entries
        .into_iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

/// An export of one resource.
fn export(of_resource: &Value, spans: &Value) -> String {
    let resource = json!({"attributes": attributes(of_resource.clone())});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).to_string()
}

/// A span and what it becomes.
struct Case {
    rule: &'static str,
    of_resource: Value,
    span: Value,
    expected: Value,
}

/// A span of some attributes.
fn says(rule: &'static str, entries: Value, expected: Value) -> Case {
    sends(rule, json!({"attributes": attributes(entries)}), expected)
}

/// A span of some fields.
fn sends(rule: &'static str, span: Value, expected: Value) -> Case {
    Case {
        rule,
        of_resource: json!({}),
        span,
        expected,
    }
}

impl Case {
    fn of(mut self, resource: Value) -> Self {
        self.of_resource = resource;
        self
    }
}

/// A span as every case has it, if it says nothing else.
fn plain(number: usize) -> Value {
    json!({"traceId": format!("trace {number}"), "spanId": format!("row {number}"), "name": "named",
        "startTimeUnixNano": NS, "endTimeUnixNano": NS})
}

/// Sends all cases, and checks what each became.
fn check(store: Store, cases: &[Case]) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    for (number, case) in cases.iter().enumerate() {
        let span = merged(&plain(number), &case.span);
        let body = export(&case.of_resource, &json!([span]));
        table.kept(&post(case.rule, "/v1/traces", body).is(200, "{}"));
    }
    daemon.await_stored();
    table.check(cases.iter().enumerate().map(|(number, case)| {
        let row = get(case.rule, format!("/v1/spans/row%20{number}"));
        let expected = case.expected.as_object().unwrap().iter();
        expected.fold(row, |row, (key, value)| {
            row.has(&format!("/{key}"), value.clone())
        })
    }));
}

// Scenario: spans whose ids, times, status and kind are of every form, or are not there.
// Guarantees: as the table of the contract; a status by its name is one too.
fn fields_of_a_span_are_read_leniently(store: Store) {
    let ms = |from: &str, to: &str| json!({"startTimeUnixNano": from, "endTimeUnixNano": to});
    let status = |code: Value| json!({"status": {"code": code, "message": "m"}});
    check(
        store,
        &[
            sends(
                "ids are opaque",
                json!({"traceId": "My trace!"}),
                json!({"traceId": "My trace!", "sessionId": "My trace!"}),
            ),
            sends(
                "an empty parent is none",
                json!({"parentSpanId": ""}),
                json!({"parentSpanId": null}),
            ),
            sends(
                "a parent is any text",
                json!({"parentSpanId": "p q"}),
                json!({"parentSpanId": "p q"}),
            ),
            sends(
                "milliseconds are whole",
                ms(NS, "1767225600250900000"),
                json!({"durationMs": 250, "timestamp": "2026-01-01T00:00:00.000Z"}),
            ),
            sends(
                "no end, no duration",
                json!({"endTimeUnixNano": null}),
                json!({"durationMs": null}),
            ),
            sends(
                "a malformed end is none",
                ms(NS, "x"),
                json!({"durationMs": null, "timestamp": "2026-01-01T00:00:00.000Z"}),
            ),
            sends(
                "times may be numbers",
                json!({"startTimeUnixNano": 1_767_225_600_000_000_000_u64, "endTimeUnixNano": 1_767_225_601_000_000_000_u64}),
                json!({"durationMs": 1000, "timestamp": "2026-01-01T00:00:00.000Z"}),
            ),
            sends(
                "status 2 is an error",
                status(json!(2)),
                json!({"status": "error"}),
            ),
            sends(
                "status 1 is none",
                status(json!(1)),
                json!({"status": "success"}),
            ),
            sends(
                "no status is none",
                json!({"status": null}),
                json!({"status": "success"}),
            ),
            sends(
                "any status is taken",
                status(json!(99)),
                json!({"status": "success"}),
            ),
            sends(
                "a status by its name (decided)",
                status(json!("STATUS_CODE_ERROR")),
                json!({"status": "error"}),
            ),
            sends(
                "the message of a status is no error",
                status(json!(2)),
                json!({"error": null}),
            ),
            sends(
                "any kind is taken",
                json!({"kind": "SPAN_KIND_INTERNAL"}),
                json!({"status": "success"}),
            ),
            sends(
                "even one that there is not",
                json!({"kind": "whatever"}),
                json!({"status": "success"}),
            ),
            sends(
                "events, links and state are passed over",
                json!({"events": [{"name": "e"}], "links": [], "traceState": "a=b", "droppedAttributesCount": 3}),
                json!({"metadata": null}),
            ),
            sends(
                "an HTTP span is no call (decided)",
                json!({}),
                json!({"kind": "span", "eventType": "named"}),
            ),
        ],
    );
}

// Scenario: metadata and payloads of every type of value, and some that are too large.
// Guarantees: as the contract writes them; attributes of other names are passed over.
fn payloads_and_metadata_are_whole(store: Store) {
    let input = |value: Value| json!({"pulse.tool.input": value});
    let nested = json!({"kvlistValue": {"values": [
        {"key": "b", "value": {"arrayValue": {"values": [{"intValue": "7"}, {"boolValue": false}]}}},
        {"key": "a", "value": {"doubleValue": 1.5}}]}});
    let large = "x".repeat(70_000);
    let preview = format!("\"{}", "x".repeat(65_535));
    check(
        store,
        &[
            says(
                "lists and maps",
                input(nested.clone()),
                json!({"toolInput": {"b": [7, false], "a": 1.5}}),
            ),
            says(
                "a boolean",
                input(json!({"boolValue": true})),
                json!({"toolInput": true}),
            ),
            says(
                "bytes are undefined",
                input(json!({"bytesValue": "AAEC"})),
                json!({"toolInput": null}),
            ),
            says(
                "64 KiB at most",
                input(text(&large)),
                json!({"toolInput": {"truncated": true, "originalBytes": 70_002, "preview": preview}}),
            ),
            says(
                "metadata in an object is spread",
                json!({"pulse.metadata": nested, "pulse.session_name": text("n")}),
                json!({"metadata": {"b": [7, false], "a": 1.5, "session_name": "n"}}),
            ),
            says(
                "metadata in a text is kept under its name",
                json!({"pulse.metadata": text(r#"{"turn":1}"#)}),
                json!({"metadata": {"pulse.metadata": {"turn": 1}}}),
            ),
            says(
                "other attributes of ours are metadata",
                json!({"pulse.request": text(r#"{"q":1}"#), "pulse.cli.hooks": text("x"), "gen_ai.request.temperature": {"doubleValue": 0.5}}),
                json!({"metadata": {"pulse.request": {"q": 1}, "pulse.cli.hooks": "x", "gen_ai.request.temperature": 0.5}}),
            ),
            says(
                "attributes of others are passed over",
                json!({"pulse.kind": text("llm_call"), "http.method": text("GET"), "userId": text("u")}),
                json!({"metadata": null}),
            ),
            says(
                "those of the resource count",
                json!({}),
                json!({"metadata": {"pulse.project.id": "p"}}),
            )
            .of(json!({"pulse.project.id": text("p"), "host.name": text("h")})),
        ],
    );
}

on_both_stores! {
    fields_of_a_span_are_read_leniently,
    payloads_and_metadata_are_whole,
}
