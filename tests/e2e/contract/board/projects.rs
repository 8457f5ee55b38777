//! Projects, their report and their stream (§8.2, §8.4, §8.5).

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use super::super::merged;
use super::{OPEN, board, invalid, missing, project, refused, register, token_of};
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http;
use crate::rows::{ask, get, post};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

// Scenario: every route of owners without a token and with wrong ones, and about projects that are not
// theirs; routes that there are not.
// Guarantees: 401, 404 and the words of the framework.
fn owners_keep_to_their_own(store: Store) {
    let daemon = Daemon::spawn_on(store, OPEN);
    let table = board(&daemon);
    let ada = register(&table, "ada");
    let (bobs, _) = project(&register(&table, "bob"), "bob's");
    let made = ada.kept(&post("a number is a name", "/projects", r#"{"name":5}"#).status(201));
    let data = made.json()["data"].clone();
    let whole = |key: &Value| {
        format!(
            r#"{{"id":{},"name":"5","apiKey":{key},"userId":{},"createdAt":{2},"updatedAt":{2}}}"#,
            data["id"], data["userId"], data["createdAt"]
        )
    };
    assert_eq!(
        made.text(),
        format!(r#"{{"success":true,"data":{}}}"#, whole(&data["apiKey"]))
    );
    let key = data["apiKey"].as_str().unwrap();
    let masked = json!(format!("{}{}", &key[..13], "*".repeat(32)));
    let id = data["id"].as_str().unwrap();
    let mut rows = vec![
        get("one", format!("/projects/{id}")).is(
            200,
            format!(r#"{{"success":true,"data":{}}}"#, whole(&masked)),
        ),
        get("all of one's own", "/projects").is(
            200,
            format!(r#"{{"success":true,"data":[{}]}}"#, whole(&masked)),
        ),
        post("no name", "/projects", "{}").is(400, missing("name")),
        post("an empty one", "/projects", r#"{"name":""}"#).is(
            400,
            invalid("body/name must NOT have fewer than 1 characters"),
        ),
        post("no text", "/projects", r#"{"name":{}}"#).is(400, invalid("body/name must be string")),
    ];
    for (method, path) in [
        ("GET", "/projects/{id}"),
        ("DELETE", "/projects/{id}"),
        ("DELETE", "/projects/{id}/events"),
        ("GET", "/projects/{id}/analytics"),
        ("GET", "/projects"),
        ("POST", "/projects"),
    ] {
        for id in [&bobs, "99", "x"] {
            let path = path.replace("{id}", id);
            for header in [
                "",
                "Bearer ",
                "Bearer a.b.c",
                "Bearer pulse_sk_x",
                &token_of(&ada, "x"),
                &token_of(&ada, "")[1..],
            ] {
                let row = ask(
                    method,
                    format!("no token: {method} {path}: {header}"),
                    &*path,
                );
                rows.push(
                    row.with("authorization", header)
                        .is(401, refused("Unauthorized")),
                );
            }
            if path.len() > "/projects".len() {
                let row = ask(method, format!("not theirs: {method} {path}"), &*path);
                rows.push(row.is(404, refused("Project not found")));
            }
        }
    }
    for (method, path) in [
        ("GET", "/auth/login"),
        ("POST", "/auth/other?a=b"),
        ("PUT", "/projects"),
        ("PATCH", "/projects/1"),
        ("GET", "/projects/1/other"),
        ("GET", "/realtime/1"),
        ("GET", "/analytics/nothing"),
        ("GET", "/ingest"),
    ] {
        let text = format!(
            r#"{{"message":"Route {method}:{path} not found","error":"Not Found","statusCode":404}}"#
        );
        rows.push(ask(method, "no such route", path).is(404, text));
    }
    ada.check(rows);
}

// Scenario: twelve of everything that a report lists.
// Guarantees: ten are listed, calls by how slow they are; crashes that are alike are one by the fingerprint of
// the contract.
fn reports_list_ten(store: Store) {
    let daemon = Daemon::spawn_on(store, OPEN);
    let table = board(&daemon);
    let ada = register(&table, "ada");
    let (id, key) = project(&ada, "shop");
    let mut rows = Vec::new();
    for number in 1..=12 {
        let context = json!({"device": {"model": format!("d{number}"), "appVersion": "1.0"}});
        let stack = "a\nb\nc\nd";
        for (path, body) in [
            (
                "crash",
                json!({"errorName": format!("E{number}"), "errorMessage": "m", "stackTrace": stack, "isFatal": false, "context": context}),
            ),
            (
                "screen-view",
                json!({"screenName": format!("s{number}"), "loadTime": number}),
            ),
            (
                "api-call",
                json!({"endpoint": format!("/{number}"), "httpMethod": "GET", "statusCode": 200, "duration": number}),
            ),
        ] {
            let body = merged(&body, &json!({"apiKey": key}));
            rows.push(post(path, format!("/analytics/{path}"), body.to_string()).status(201));
        }
    }
    let crash = json!({"errorName": "TypeError", "errorMessage": "m", "stackTrace": "a\nb\nc\nd", "isFatal": true, "apiKey": key});
    for _ in 0..2 {
        rows.push(post("alike", "/analytics/crash", crash.to_string()).status(201));
    }
    ada.check(rows);
    daemon.await_stored();
    let path = format!("/projects/{id}/analytics");
    let data = eventually("all to be counted", PATIENCE, || {
        let data = ada
            .kept(&get("the report", &*path).has("/success", true))
            .json()["data"]
            .clone();
        let is_whole = data["topCrashes"][0]["occurrences"] == 2
            && data["crashesByVersion"][0]["crashes"] == 12;
        is_whole.then_some(data)
    });
    for list in [
        "topCrashes",
        "crashesByDevice",
        "apiPerformance",
        "screenPerformance",
    ] {
        assert_eq!(data[list].as_array().unwrap().len(), 10, "{list}");
    }
    // The first digits of the SHA-256 of the name, a colon, and three lines.
    assert_eq!(data["topCrashes"][0]["fingerprint"], "5ccdf3f5732d1747");
    let slowest: Vec<_> = data["apiPerformance"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["endpoint"].clone())
        .collect();
    let expected: Vec<_> = (3..=12)
        .rev()
        .map(|number| json!(format!("/{number}")))
        .collect();
    assert_eq!(slowest, expected);
}

// Scenario: an owner follows a project by server-sent events, and something is sent to it.
// Guarantees: the stream is of the type, and begins with the words, of the contract; the event is told as it
// was answered.
fn a_stream_tells_of_events(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "10ms")]);
    let table = board(&daemon);
    let ada = register(&table, "ada");
    let (id, key) = project(&ada, "shop");
    let address = daemon.addresses().gateway;
    let mut stream = http::connect(address).unwrap();
    let token = token_of(&ada, "");
    let head = format!(
        "GET /realtime/{id}/sse HTTP/1.1\r\nhost: {address}\r\nauthorization: {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut told = String::new();
    let mut read_until = |wanted: &str| {
        let mut bytes = [0; 4096];
        while !told.contains(wanted) {
            let length = stream.read(&mut bytes).unwrap();
            assert!(length > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        told.clone()
    };
    let begun = read_until(&format!(
        "data: {{\"type\":\"connected\",\"projectId\":\"{id}\"}}\n\n"
    ));
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-cache\r\n",
    ] {
        assert!(begun.to_lowercase().contains(header), "{begun}");
    }
    let body = json!({"apiKey": key, "type": "event", "name": "followed", "payload": {"a": 1}});
    let sent = ada
        .kept(&post("an event", "/ingest", body.to_string()).status(201))
        .json()["data"]
        .clone();
    let event = sent["id"].as_str().unwrap();
    let frame = format!(
        "data: {{\"id\":\"{event}\",\"projectId\":\"{id}\",\"type\":\"event\",\"name\":\"followed\",\"payload\":{{\"a\":1}},\"timestamp\":{},\"receivedAt\":\"",
        sent["timestamp"]
    );
    read_until(&frame);
}

on_both_stores! {
    owners_keep_to_their_own,
    reports_list_ten,
    a_stream_tells_of_events,
}
