//! `TracePulse` (§10): what its webhook took and refused.

use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::rows::{Row, Table, ask, get, post};

const PATH: &str = "/webhook/event";
const KEY: &str = "x-api-key";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn hook(daemon: &Daemon) -> Table {
    let table = Table::new(daemon.addresses().gateway, "application/json");
    table
        .with("content-type", "application/json")
        .with(KEY, "dev-api-key")
}

/// A refused body: what is wrong with the whole, with events and with the environment.
fn refused(form: &[&str], fields: &Value) -> String {
    let form = json!(form);
    format!(
        r#"{{"error":"Invalid payload","details":{{"formErrors":{form},"fieldErrors":{fields}}}}}"#
    )
}

fn of_events(messages: &[&str]) -> String {
    refused(&[], &json!({"events": messages}))
}

/// One event with a field that is another, or none.
fn with(field: &str, value: Option<Value>) -> String {
    let mut event = json!({"eventType": "A", "details": {}});
    match value {
        Some(value) => event[field] = value,
        None => event.as_object_mut().unwrap().retain(|key, _| key != field),
    }
    json!({"events": [event]}).to_string()
}

fn refusals() -> Vec<Row> {
    let row = |rule: &str, body: String, text: String| post(rule, PATH, body).is(400, text);
    let mut rows = Vec::new();
    for field in ["eventType", "details"] {
        rows.push(row(field, with(field, None), of_events(&["Required"])));
    }
    for field in ["eventType", "correlationId", "service", "timestamp"] {
        let text = of_events(&["Expected string, received number"]);
        rows.push(row(field, with(field, Some(json!(5))), text));
    }
    for field in ["details", "metadata"] {
        let text = of_events(&["Expected object, received array"]);
        rows.push(row(field, with(field, Some(json!([]))), text));
    }
    for field in ["errorCode", "userId", "sessionId", "edgeDevice"] {
        let text = of_events(&["Expected string, received number"]);
        rows.push(row(field, with("metadata", Some(json!({field: 5}))), text));
    }
    let levels = "Invalid enum value. Expected 'debug' | 'info' | 'warn' | 'error' | 'critical', received 'fatal'";
    rows.push(row(
        "level",
        with("level", Some(json!("fatal"))),
        of_events(&[levels]),
    ));
    let priorities = "Invalid enum value. Expected 'low' | 'medium' | 'high', received 'urgent'";
    rows.push(row(
        "priority",
        with("priority", Some(json!("urgent"))),
        of_events(&[priorities]),
    ));
    let all = json!({"events": [{}, {"eventType": 1, "details": {}, "priority": "urgent"}], "environment": 5});
    let text = format!(
        r#"{{"events":["Required","Required","Expected string, received number",{}],"environment":["Expected string, received number"]}}"#,
        json!(priorities)
    );
    let text = format!(
        r#"{{"error":"Invalid payload","details":{{"formErrors":[],"fieldErrors":{text}}}}}"#
    );
    rows.push(row("all that is wrong", all.to_string(), text));
    for (received, body) in [("object", "{}"), ("string", "\"x\""), ("null", "null")] {
        let text = of_events(&[&format!("Expected array, received {received}")]);
        rows.push(row("no list", format!(r#"{{"events":{body}}}"#), text));
    }
    rows.push(row("no events", "{}".to_owned(), of_events(&["Required"])));
    let planned =
        r#"{"eventType":"A","correlationId":"c","details":{"service":"s","errorCode":"E"}}"#;
    rows.push(row(
        "the form that was planned",
        planned.to_owned(),
        of_events(&["Required"]),
    ));
    for (received, body) in [("array", "[]"), ("string", "\"x\""), ("null", "null")] {
        let text = refused(
            &[&format!("Expected object, received {received}")],
            &json!({}),
        );
        rows.push(row("no object", body.to_owned(), text));
    }
    for body in ["", "{"] {
        let row = post("no JSON", PATH, body);
        rows.push(row.is(500, r#"{"error":"Internal server error"}"#));
    }
    rows
}

/// Bodies that are taken.
fn taken() -> Vec<Row> {
    let mut rows = Vec::new();
    for level in ["debug", "info", "warn", "error", "critical"] {
        rows.push(post(level, PATH, with("level", Some(json!(level)))));
    }
    for priority in ["low", "medium", "high"] {
        rows.push(post(
            priority,
            PATH,
            with("priority", Some(json!(priority))),
        ));
    }
    rows.push(post(
        "extra keys of metadata",
        PATH,
        with("metadata", Some(json!({"userId": "u", "more": [1]}))),
    ));
    rows.push(post(
        "a time that is none",
        PATH,
        with("timestamp", Some(json!("soon"))),
    ));
    rows.push(post(
        "unknown fields",
        PATH,
        with("unknown", Some(json!(1))),
    ));
    let one = "Processing 1 events";
    let rows = rows
        .into_iter()
        .map(|row| row.has("/status", "accepted").has("/message", one));
    let none = post("none", PATH, r#"{"events":[]}"#).has("/message", "Processing 0 events");
    rows.chain([none]).collect()
}

// Scenario: bodies of every form, right and wrong; other methods; pages of any origin.
// Guarantees: taken and refused as by the server; every page may ask.
fn events_are_judged_field_by_field(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = hook(&daemon);
    table.check(refusals());
    table.check(taken());
    let wrong = r#"{"error":"Method not allowed","message":"Use POST to send events"}"#;
    table.check([
        get("GET", PATH)
            .is(405, wrong)
            .tells("access-control-allow-origin", "*"),
        post("any page", PATH, r#"{"events":[]}"#)
            .with("origin", "https://a.example")
            .tells("access-control-allow-origin", "*"),
        ask("OPTIONS", "preflight", PATH)
            .with("origin", "https://a.example")
            .with("access-control-request-method", "POST")
            .is(204, "")
            .tells("access-control-allow-origin", "*"),
    ]);
}

// Scenario: keys that are missing and unknown, once there are keys.
// Guarantees: 401 in the words of the server, before the body is read.
fn a_key_is_asked_for(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = hook(&daemon);
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
    eventually("keys to be asked for", PATIENCE, || {
        (table.ask(&post("any key", PATH, "{")).status == 401).then_some(())
    });
    let missing = r#"{"error":"Missing API key"}"#;
    let invalid = r#"{"error":"Invalid API key"}"#;
    let key = made["key"].as_str().unwrap();
    table.check([
        post("no key", PATH, "{").without(KEY).is(401, missing),
        post("an empty one", PATH, "{")
            .with(KEY, "")
            .is(401, missing),
        post("an unknown one", PATH, "{").is(401, invalid),
        get("nor by GET", PATH).is(401, invalid),
        post("a key", PATH, r#"{"events":[]}"#)
            .with(KEY, key)
            .has("/status", "accepted"),
    ]);
}

on_both_stores! {
    events_are_judged_field_by_field,
    a_key_is_asked_for,
}
