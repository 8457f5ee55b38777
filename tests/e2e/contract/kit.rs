//! `PulseKit` (§9.1): what its server took and refused.

use serde_json::{Value, json};

use super::with;
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::rows::{Row, Table, get, post};

const ONE: &str = "/api/v1/events";
const BATCH: &str = "/api/v1/events/batch";
const KEY: &str = "x-pulsekit-key";
const TYPE: &str = "application/json; charset=utf-8";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn kit(daemon: &Daemon) -> Table {
    let table = Table::new(daemon.addresses().gateway, TYPE);
    table
        .with("content-type", "application/json")
        .with(KEY, "pk_abcdefghijklmnopqrstuvwxyz012345")
}

fn wrong(field: &str, why: &str) -> String {
    format!(r#"{{"success":false,"errors":{{"{field}":["{why}"]}}}}"#)
}

/// An event that says something more than its type.
fn says(rule: &str, more: Value) -> Row {
    let body = with(json!({"type": "a"}), more);
    post(rule, ONE, body.to_string())
}

/// Events and how they are answered.
fn events() -> Vec<Row> {
    let mut rows = Vec::new();
    for level in ["debug", "info", "warning", "error", "fatal"] {
        rows.push(
            says(level, json!({"level": level}))
                .status(201)
                .has("/event/level", level),
        );
    }
    for absent in [json!({}), json!({"level": null}), json!({"level": "nil"})] {
        rows.push(
            says("a level is info", absent)
                .status(201)
                .has("/event/level", "info"),
        );
    }
    for level in ["warn", "INFO", "critical"] {
        rows.push(says(level, json!({"level": level})).is(422, wrong("level", "is invalid")));
    }
    for (sent, shown) in [
        ("2026-01-05T10:00:00.999Z", "2026-01-05T10:00:00Z"),
        ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z"),
        (
            "2026-01-05T10:00:00.123456789+00:00",
            "2026-01-05T10:00:00Z",
        ),
        ("2026-01-05T12:00:00.123456+02:00", "2026-01-05T10:00:00Z"),
    ] {
        rows.push(
            says(sent, json!({"timestamp": sent}))
                .status(201)
                .has("/event/timestamp", shown),
        );
    }
    for body in [
        "{}",
        r#"{"type":null}"#,
        r#"{"type":""}"#,
        r#"{"level":"info"}"#,
    ] {
        rows.push(post("a type is needed", ONE, body).is(422, wrong("type", "can't be blank")));
    }
    for stack in [
        json!([{"function": "f", "file": "a", "line": 1}]),
        json!({"0": "f"}),
        json!("at f"),
        json!([]),
        Value::Null,
    ] {
        rows.push(says("a stack of any form", json!({"stacktrace": stack})).status(201));
    }
    rows.push(
        says("but a number", json!({"stacktrace": 5})).is(422, wrong("stacktrace", "is invalid")),
    );
    for field in ["metadata", "tags"] {
        rows.push(says(field, json!({field: {"a": [1]}})).status(201));
        rows.push(says("no map", json!({field: [1]})).is(422, wrong(field, "is invalid")));
    }
    for field in ["message", "environment", "release", "fingerprint"] {
        rows.push(says("null is absent", json!({field: null})).status(201));
        rows.push(says("a text", json!({field: "t"})).status(201));
        rows.push(says("no text", json!({field: 5})).is(422, wrong(field, "is invalid")));
    }
    rows
}

/// Batches and how they are answered.
fn batches() -> Vec<Row> {
    let no_list = r#"{"success":false,"error":"Invalid request","message":"Expected 'events' array in request body"}"#;
    let mut rows = Vec::new();
    for body in ["{}", "[]", "7", r#"{"events":null}"#, r#"{"events":{}}"#] {
        rows.push(post("no list", BATCH, body).is(400, no_list));
    }
    for (events, count) in [
        (json!([]), 0),
        (json!([{"type": "a"}]), 1),
        (
            json!([{"type": "a"}, {"level": "info"}, null, {"type": "b", "level": "loud"}, {"type": "b"}]),
            2,
        ),
    ] {
        let body = json!({"events": events}).to_string();
        let text = format!(r#"{{"success":true,"count":{count}}}"#);
        rows.push(post("invalid ones are dropped", BATCH, body).is(201, text));
    }
    for path in [ONE, BATCH] {
        rows.push(post("no JSON", path, "{").is(400, r#"{"errors":{"detail":"Bad Request"}}"#));
    }
    rows
}

// Scenario: single events and batches of every form, right and wrong.
// Guarantees: taken and refused as by the server; a time is told in seconds, and is now if it is none.
fn events_are_judged_field_by_field(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = kit(&daemon);
    table.check(events());
    table.check(batches());
    for more in [
        json!({}),
        json!({"timestamp": "soon"}),
        json!({"timestamp": 5}),
    ] {
        let answer = table.kept(&says("now", more).status(201));
        let told = answer.json();
        let (id, at) = (
            told["event"]["id"].as_str().unwrap(),
            told["event"]["timestamp"].as_str().unwrap(),
        );
        let text = format!(
            r#"{{"success":true,"event":{{"id":"{id}","type":"a","level":"info","timestamp":"{at}"}}}}"#
        );
        assert_eq!(answer.text(), text);
        assert_eq!(
            (id.len(), id.split('-').count(), at.len()),
            (36, 5, 20),
            "{text}"
        );
        let at: jiff::Timestamp = at.parse().unwrap();
        assert!(
            (jiff::Timestamp::now() - at).get_seconds().abs() < 600,
            "{at}"
        );
    }
}

// Scenario: keys that are missing, unknown, and for something else; the health, without one.
// Guarantees: 401 in the words of the server, before the body is read.
fn a_key_is_asked_for(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = kit(&daemon);
    let made = daemon.setup.run(&[
        "key",
        "create",
        "--json",
        "--project",
        "default",
        "--scope",
        "ingest",
    ]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let missing = r#"{"error":"Missing API key","message":"Please provide an API key via the X-PulseKit-Key header"}"#;
    let invalid = r#"{"error":"Invalid API key","message":"The provided API key is invalid or has been revoked"}"#;
    eventually("keys to be asked for", PATIENCE, || {
        (table.ask(&post("any key", ONE, "{}")).status == 401).then_some(())
    });
    let mut rows = Vec::new();
    for path in [ONE, BATCH] {
        rows.push(post("no key", path, "{").without(KEY).is(401, missing));
        rows.push(
            post("as others show it", path, "{")
                .without(KEY)
                .with("authorization", "Bearer x")
                .is(401, missing),
        );
        rows.push(
            post("an empty key", path, "{")
                .with(KEY, "")
                .is(401, invalid),
        );
        rows.push(post("an unknown key", path, "{").is(401, invalid));
    }
    let key = made["key"].as_str().unwrap();
    rows.push(
        post("a key", ONE, r#"{"type":"a"}"#)
            .with(KEY, key)
            .status(201),
    );
    rows.push(
        get("the health is for all", "/api/v1/health")
            .without(KEY)
            .has("/status", "ok")
            .tells("content-type", "application/json"),
    );
    table.check(rows);
}

on_both_stores! {
    events_are_judged_field_by_field,
    a_key_is_asked_for,
}
