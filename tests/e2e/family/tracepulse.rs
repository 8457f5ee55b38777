//! What DebugQueue sends is taken as TracePulse took it, and stored once.

use super::Client;
use crate::daemon::{Store, on_both_stores};
use crate::http;

const KEY: &str = "x-api-key";
const PATH: &str = "/webhook/event";
const TRACE: &str = "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11";

fn body() -> String {
    format!(
        r#"{{"events":[{{"eventType":"SESSION_DROP","details":{{}},"correlationId":"1767607200000-ab12cd34e","level":"info","priority":"medium","service":"calls","timestamp":"2026-01-05T10:00:00.000Z"}},{{"eventType":"FAILED","details":{{"error":{{"message":"no","stack":"Error: no\n    at f (a.js:1:2)","name":"Error"}}}},"correlationId":"{TRACE}","level":"error","priority":"high","service":"calls","timestamp":"2026-01-05T10:00:01.000Z"}}],"environment":"development"}}"#
    )
}

// Scenario: what DebugQueue sends, and again after a failure.
// Guarantees: accepted in the server's words, stored once, correlation ids kept, linked where it is
// the id of a trace.
fn events_are_taken_as_by_its_server(store: Store) {
    let client = Client::on(store, KEY);
    for _ in 0..2 {
        let answer = client.post(PATH, &body());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let time = answer.json()["timestamp"].as_str().unwrap().to_owned();
        let expected = format!(
            r#"{{"status":"accepted","message":"Processing 2 events","timestamp":"{time}"}}"#
        );
        assert_eq!(answer.text(), expected);
        assert_eq!(time.len(), "2026-01-05T10:00:00.000Z".len());
    }
    let none = client.post(PATH, r#"{"events":[]}"#);
    assert_eq!(
        (none.status, &none.json()["message"]),
        (200, &"Processing 0 events".into())
    );
    let found = client.await_events(2);
    let (failed, drop) = (&found[0], &found[1]);
    assert_eq!(
        (&failed["source"], &drop["name"]),
        (&"tracepulse".into(), &"SESSION_DROP".into())
    );
    assert_eq!(
        drop["attributes"]["pulse.correlation_id"],
        "1767607200000-ab12cd34e"
    );
    assert_eq!(drop["attributes"]["pulse.priority"], "medium");
    assert_eq!(drop["service_name"], "calls");
    assert_eq!(drop["environment"], "development");
    assert!(
        drop["trace_id"].is_null() && drop["fingerprint"].is_null(),
        "{drop}"
    );
    assert_eq!(failed["trace_id"], TRACE);
    assert_eq!(failed["body"], "no");
    assert_eq!(failed["severity_number"], 17);
    assert!(failed["fingerprint"].is_string());
    assert_eq!(
        failed["attributes"]["pulse.details"]["error"]["name"],
        "Error"
    );
    let of_trace = client
        .daemon
        .list(&format!("/api/v1/events?trace_id={TRACE}"));
    assert_eq!(of_trace.len(), 1);
}

// Scenario: bodies that are wrong in each way the contract names, and the wrong method.
// Guarantees: refused in the server's words; nothing is stored.
fn wrong_requests_are_refused(store: Store) {
    let client = Client::on(store, KEY);
    for (body, events) in [
        ("{}", r#"["Required"]"#),
        (
            r#"{"eventType":"A","details":{"service":"s"}}"#,
            r#"["Required"]"#,
        ),
        (
            r#"{"events":[{"details":{}},{"eventType":"A","details":{},"level":"warning"}]}"#,
            r#"["Required","Invalid enum value. Expected 'debug' | 'info' | 'warn' | 'error' | 'critical', received 'warning'"]"#,
        ),
    ] {
        let text = format!(
            r#"{{"error":"Invalid payload","details":{{"formErrors":[],"fieldErrors":{{"events":{events}}}}}}}"#
        );
        client.refused(PATH, body, 400, &text);
    }
    let text = r#"{"error":"Invalid payload","details":{"formErrors":["Expected object, received array"],"fieldErrors":{}}}"#;
    client.refused(PATH, "[]", 400, text);
    for body in ["", "{"] {
        client.refused(PATH, body, 500, r#"{"error":"Internal server error"}"#);
    }
    for (key, text) in [
        (("x-other", "k"), r#"{"error":"Missing API key"}"#),
        ((KEY, ""), r#"{"error":"Missing API key"}"#),
    ] {
        let answer = client.post_as(PATH, key, &body());
        assert_eq!((answer.status, answer.text().as_str()), (401, text));
    }
    let address = client.daemon.addresses().gateway;
    let get = http::get_with(address, PATH, "x-api-key: dev-api-key").unwrap();
    let text = r#"{"error":"Method not allowed","message":"Use POST to send events"}"#;
    assert_eq!((get.status, get.text().as_str()), (405, text));
    client.await_events(0);
}

on_both_stores! {
    events_are_taken_as_by_its_server,
    wrong_requests_are_refused,
}
