//! What PulseKit's SDKs send is taken as its server took it, and stored once.

use serde_json::{Value, json};

use super::{Client, PATIENCE, await_key, create_key};
use crate::daemon::{Store, eventually, on_both_stores};
use crate::http;

const KEY: &str = "x-pulsekit-key";
const ONE: &str = "/api/v1/events";
const BATCH: &str = "/api/v1/events/batch";

/// As the TypeScript SDK sends it.
const PAYMENT: &str = r#"{"type":"payment.success","level":"info","message":"ok","metadata":{"amount":1.5},"tags":{"a":"b"},"timestamp":"2026-01-05T10:00:00.123Z","environment":"production","release":"1.0"}"#;
/// As the Elixir SDK sends it.
const CRASH: &str = r#"{"type":"error","level":"nil","message":"** (KeyError) key :a not found","metadata":{"exception_type":"KeyError","trace_id":"0d5f6c0e8d0c4f7e9d556a3c1f0f9a11","span_id":"00f067aa0ba902b7"},"stacktrace":[{"module":"A","function":"f/1","file":"a.ex","line":3}],"environment":"test","release":null,"fingerprint":null,"tags":{"n":1},"timestamp":"2026-01-05T10:00:01.123456Z"}"#;

// Scenario: single events and a batch as the SDKs send them, some of them again.
// Guarantees: answered as by the server, with the same id for what is sent again; stored once, every
// field in its place.
fn events_are_taken_as_by_its_server(store: Store) {
    let client = Client::on(store, KEY);
    let answer = client.post(ONE, PAYMENT);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let told = answer.json();
    let id = told["event"]["id"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(
        answer.text(),
        format!(
            r#"{{"success":true,"event":{{"id":"{id}","type":"payment.success","level":"info","timestamp":"2026-01-05T10:00:00Z"}}}}"#
        )
    );
    assert_eq!(client.post(ONE, PAYMENT).text(), answer.text());
    let batch = format!(r#"{{"events":[{PAYMENT},{CRASH},{{"level":"info"}},7,{CRASH}]}}"#);
    for _ in 0..2 {
        let answer = client.post(BATCH, &batch);
        let expected = (201, r#"{"success":true,"count":3}"#.to_owned());
        assert_eq!((answer.status, answer.text()), expected);
    }
    // The same event twice in one batch is two events.
    let found = client.await_events(3);
    let [crash, _, payment] = found.as_slice() else {
        panic!("three")
    };
    assert_eq!(payment["source"], "pulsekit");
    assert_eq!(payment["name"], "payment.success");
    assert_eq!(payment["body"], "ok");
    assert_eq!(payment["time"], "2026-01-05T10:00:00.123000000Z");
    assert_eq!(payment["severity_number"], 9);
    assert_eq!(payment["environment"], "production");
    assert_eq!(payment["release"], "1.0");
    assert_eq!(payment["attributes"]["pulse.event.id"], id);
    assert_eq!(payment["attributes"]["pulse.tag.a"], "b");
    assert_eq!(
        payment["attributes"]["pulse.metadata"],
        json!({"amount": 1.5})
    );
    // MD5 of `payment.success:ok`.
    assert_eq!(payment["fingerprint"], "903e0d11e6af3d4b");
    assert_eq!(crash["trace_id"], "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11");
    assert_eq!(crash["span_id"], "00f067aa0ba902b7");
    assert_eq!(crash["severity_text"], "info");
    assert_eq!(crash["release"], Value::Null);
    assert_eq!(crash["attributes"]["pulse.stack"][0]["function"], "f/1");
    let of_tag = client.daemon.list("/api/v1/events?attr.pulse.tag.a=b");
    assert_eq!(of_tag.len(), 1);
    let rejected = client
        .daemon
        .metric("pulse_receiver_rejected_log_records_total{transport=\"http_json\"}");
    assert!((rejected - 4.0).abs() < 0.5, "{rejected}");
    let health = http::get(client.daemon.addresses().gateway, "/api/v1/health").unwrap();
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &json!("ok"))
    );
    let timestamp = health.json()["timestamp"].as_str().unwrap().to_owned();
    assert_eq!(
        (timestamp.len(), timestamp.ends_with('Z')),
        (27, true),
        "{timestamp}"
    );
}

// Scenario: bodies that are wrong in each way the contract names.
// Guarantees: refused in the server's words, and nothing is stored of them.
fn wrong_bodies_are_refused(store: Store) {
    let client = Client::on(store, KEY);
    for (body, text) in [
        (
            "{}",
            r#"{"success":false,"errors":{"type":["can't be blank"]}}"#,
        ),
        (
            "",
            r#"{"success":false,"errors":{"type":["can't be blank"]}}"#,
        ),
        (
            "[]",
            r#"{"success":false,"errors":{"type":["can't be blank"]}}"#,
        ),
        (
            r#"{"type":"a","level":"warn"}"#,
            r#"{"success":false,"errors":{"level":["is invalid"]}}"#,
        ),
        (
            r#"{"type":"a","metadata":[],"stacktrace":1}"#,
            r#"{"success":false,"errors":{"metadata":["is invalid"],"stacktrace":["is invalid"]}}"#,
        ),
    ] {
        client.refused(ONE, body, 422, text);
    }
    for path in [ONE, BATCH] {
        client.refused(path, "{", 400, r#"{"errors":{"detail":"Bad Request"}}"#);
    }
    let no_list = r#"{"success":false,"error":"Invalid request","message":"Expected 'events' array in request body"}"#;
    for body in ["{}", "[]", "", r#"{"events":{}}"#] {
        client.refused(BATCH, body, 400, no_list);
    }
    let many = vec!["1"; 10_001].join(",");
    let too_many = no_list.replace(
        "Expected 'events' array in request body",
        "A batch may hold 10000 events",
    );
    client.refused(BATCH, &format!(r#"{{"events":[{many}]}}"#), 400, &too_many);
    let none = client.post(BATCH, r#"{"events":[{}]}"#);
    assert_eq!(
        (none.status, none.text().as_str()),
        (201, r#"{"success":true,"count":0}"#)
    );
    client.await_events(0);
}

// Scenario: keys of two projects, and one that may only read.
// Guarantees: each event is of the project of its key; 401 and 403 in the server's words.
fn a_key_names_the_project(store: Store) {
    let client = Client::on(store, KEY);
    let setup = &client.daemon.setup;
    let keys = ["one", "two"].map(|project| {
        assert!(setup.run(&["project", "create", project]).status.success());
        create_key(setup, project, "ingest,read")
    });
    let reader = create_key(setup, "one", "read");
    for key in keys.iter().chain([&reader]) {
        await_key(&client.daemon, key);
    }
    for key in &keys {
        let answer = client.post_as(ONE, (KEY, key), PAYMENT);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let mut ids = Vec::new();
    for key in &keys {
        let header = format!("authorization: Bearer {key}");
        let items = eventually("the event", PATIENCE, || {
            let found = http::get_with(client.daemon.addresses().gateway, ONE, &header).unwrap();
            let items = found.json()["items"].as_array().unwrap().clone();
            (!items.is_empty()).then_some(items)
        });
        assert_eq!(items.len(), 1);
        ids.push(items[0]["attributes"]["pulse.event.id"].to_string());
    }
    assert_ne!(ids[0], ids[1]);
    let forbidden = client.post_as(ONE, (KEY, &reader), PAYMENT);
    let text = r#"{"errors":{"detail":"Forbidden"}}"#;
    assert_eq!((forbidden.status, forbidden.text().as_str()), (403, text));
    let text = r#"{"error":"Invalid API key","message":"The provided API key is invalid or has been revoked"}"#;
    // Until the daemon knows of the first key, any will do.
    eventually("keys to be asked for", PATIENCE, || {
        let unknown = client.post(ONE, PAYMENT);
        ((unknown.status, unknown.text().as_str()) == (401, text)).then_some(())
    });
}

// Scenario: the daemon is killed right after it took an event, and a batch.
// Guarantees: both are there after the next start, once, though the client sends them again.
fn a_kill_after_201_loses_nothing(store: Store) {
    let mut client = Client::on(store, KEY);
    for round in 0..3 {
        let event = |name: &str| PAYMENT.replace("payment.success", &format!("{name}-{round}"));
        let batch = format!(r#"{{"events":[{},{}]}}"#, event("b"), event("c"));
        for (path, body) in [(ONE, event("a")), (BATCH, batch)] {
            assert_eq!(client.post(path, &body).status, 201);
            client.daemon.process.kill9();
            client.daemon.restart();
            assert_eq!(client.post(path, &body).status, 201);
        }
    }
    client.await_events(9);
}

on_both_stores! {
    events_are_taken_as_by_its_server,
    wrong_bodies_are_refused,
    a_key_names_the_project,
    a_kill_after_201_loses_nothing,
}
