//! What the SDK sends and reads, with its key in body or query (§8.3, §8.5).

use serde_json::{Value, json};

use super::super::merged;
use super::{board, invalid, missing, refused};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{get, post};

/// The fields that each route needs, and one body that has them.
fn routes() -> [(&'static str, Value); 5] {
    [
        (
            "/ingest",
            json!({"apiKey": "k", "type": "event", "name": "n", "payload": {}}),
        ),
        (
            "/analytics/crash",
            json!({"apiKey": "k", "errorName": "E", "errorMessage": "m", "stackTrace": "s", "isFatal": true}),
        ),
        (
            "/analytics/session",
            json!({"apiKey": "k", "sessionId": "s", "startedAt": "2026-01-05T10:00:00.000Z"}),
        ),
        (
            "/analytics/screen-view",
            json!({"apiKey": "k", "screenName": "s"}),
        ),
        (
            "/analytics/api-call",
            json!({"apiKey": "k", "endpoint": "/", "httpMethod": "GET", "statusCode": 200, "duration": 1}),
        ),
    ]
}

// Scenario: bodies of every route of the SDK without each field, and with values of other types.
// Guarantees: what is missing is told, one thing at a time; scalars are coerced; others have no key.
fn bodies_of_the_sdk_are_checked(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let mut rows = Vec::new();
    for (path, full) in routes() {
        for field in full.as_object().unwrap().keys() {
            let mut body = full.clone();
            body.as_object_mut().unwrap().remove(field);
            let row = post(format!("{path} needs {field}"), path, body.to_string());
            rows.push(row.is(400, missing(field)));
        }
        let row = post("the first of all", path, "{}");
        rows.push(row.is(400, missing("apiKey")));
        let empty = merged(&full, &json!({"apiKey": ""}));
        let row = post("no key", path, empty.to_string());
        rows.push(row.is(401, refused("Invalid API key")));
        let more = merged(&full, &json!({"unknown": [1], "apiKey": 5}));
        rows.push(
            post(
                "a number is a key, what is unknown is passed over",
                path,
                more.to_string(),
            )
            .status(201),
        );
    }
    let anyof = "body/type must be equal to constant, body/type must be equal to constant, body/type must be equal to constant, body/type must match a schema in anyOf";
    for (path, field, value, message) in [
        ("/ingest", "type", json!("warning"), anyof),
        (
            "/ingest",
            "payload",
            json!("x"),
            "body/payload must be object",
        ),
        ("/ingest", "name", json!({}), "body/name must be string"),
        (
            "/analytics/crash",
            "isFatal",
            json!("yes"),
            "body/isFatal must be boolean",
        ),
        (
            "/analytics/crash",
            "stackTrace",
            json!([1, 2]),
            "body/stackTrace must be string",
        ),
        (
            "/analytics/crash",
            "context",
            json!(5),
            "body/context must be object",
        ),
        (
            "/analytics/session",
            "duration",
            json!("long"),
            "body/duration must be number",
        ),
        (
            "/analytics/session",
            "crashed",
            json!("maybe"),
            "body/crashed must be boolean",
        ),
        (
            "/analytics/screen-view",
            "loadTime",
            json!({}),
            "body/loadTime must be number",
        ),
        (
            "/analytics/api-call",
            "statusCode",
            json!("ok"),
            "body/statusCode must be number",
        ),
        (
            "/analytics/api-call",
            "payloadSize",
            json!("big"),
            "body/payloadSize must be number",
        ),
    ] {
        let (_, full) = routes()
            .into_iter()
            .find(|(known, _)| *known == path)
            .unwrap();
        let body = merged(&full, &json!({field: value}));
        let row = post(format!("{path} {field}: {value}"), path, body.to_string());
        rows.push(row.is(400, invalid(message)));
    }
    for (path, field, value) in [
        ("/ingest", "name", json!(5)),
        ("/analytics/crash", "isFatal", json!("false")),
        ("/analytics/session", "duration", json!("5.5")),
        ("/analytics/api-call", "statusCode", json!("200")),
    ] {
        let (_, full) = routes()
            .into_iter()
            .find(|(known, _)| *known == path)
            .unwrap();
        let body = merged(&full, &json!({field: value}));
        rows.push(post(format!("coerced: {field}: {value}"), path, body.to_string()).status(201));
    }
    let failed =
        r#"{"statusCode":500,"error":"Internal Server Error","message":"Invalid time value"}"#;
    let body =
        json!({"apiKey": "k", "type": "event", "name": "n", "payload": {}, "timestamp": "soon"});
    rows.push(post("no time", "/ingest", body.to_string()).is(500, failed));
    let needed = "querystring must have required property 'apiKey'";
    rows.push(get("no key to read with", "/events").is(400, invalid(needed)));
    rows.push(get("an empty one", "/events?apiKey=").is(401, refused("Invalid API key")));
    board(&daemon).check(rows);
}

on_both_stores! {
    bodies_of_the_sdk_are_checked,
}
