//! Issues: each event counts once whatever happens, and what people say of them holds.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http::{self, Response};
use crate::otlp::{now, text};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A thrown exception, at a time.
fn thrown(kind: &str, message: &str, at: u64) -> LogRecord {
    LogRecord {
        time_unix_nano: at,
        severity_number: 17,
        body: Some(AnyValue {
            value: Some(Any::StringValue("it failed".to_owned())),
        }),
        attributes: vec![
            text("exception.type", kind),
            text("exception.message", message),
        ],
        ..LogRecord::default()
    }
}

fn send(daemon: &Daemon, service: &str, log_records: Vec<LogRecord>) {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", service),
                    text("deployment.environment.name", "test"),
                ],
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    let headers = [("content-type", "application/x-protobuf")];
    let address = daemon.addresses().http;
    let answer = http::post(address, "/v1/logs", &headers, &request.encode_to_vec()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn patch(daemon: &Daemon, fingerprint: &str, body: &str) -> Response {
    let address = daemon.addresses().gateway;
    let length = body.len();
    let request = format!(
        "PATCH /api/v1/issues/{fingerprint} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    http::exchange(address, request.as_bytes()).unwrap()
}

fn await_issues(daemon: &Daemon, query: &str, counts: &[u64]) -> Vec<Value> {
    eventually("issues to be shown", PATIENCE, || {
        let found = daemon.list(&format!("/api/v1/issues{query}"));
        let shown: Vec<_> = found
            .iter()
            .map(|it| it["event_count"].as_u64().unwrap())
            .collect();
        (shown == counts).then_some(found)
    })
}

// Scenario: errors that differ by numbers and one of another sort, from two services, in requests that
// are sent twice, with a kill in between.
// Guarantees: alike ones are one issue, each event counts once; lists are filtered and sorted; one has
// its counts over time and its latest events.
fn alike_errors_are_one_issue_and_count_once(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[]);
    let start = now();
    let first = vec![
        thrown("Timeout", "after 30 ms", start - 2),
        thrown("Timeout", "after 31 ms", start - 1),
        thrown("KeyError", "no such key", start - 9),
    ];
    for _ in 0..2 {
        send(&daemon, "api", first.clone());
        daemon.process.kill9();
        daemon.restart();
        send(
            &daemon,
            "web",
            vec![thrown("Timeout", "after 9 ms", start - 5)],
        );
    }
    daemon.await_stored();
    let found = await_issues(&daemon, "", &[3, 1]);
    let timeout = &found[0];
    assert_eq!(
        (&timeout["type"], &timeout["level"]),
        (&json!("Timeout"), &json!("error"))
    );
    assert_eq!(timeout["message"], "after 31 ms");
    assert_eq!(timeout["services"], json!(["api", "web"]));
    assert_eq!(timeout["environments"], json!(["test"]));
    assert_eq!(
        (&timeout["status"], &timeout["regressed"]),
        (&json!("unresolved"), &json!(false))
    );
    for (query, counts) in [
        ("?sort=count", &[3, 1][..]),
        ("?sort=first_seen", &[3, 1]),
        ("?service=web", &[3]),
        ("?service=api", &[3, 1]),
        ("?environment=prod", &[]),
        ("?type=KeyError", &[1]),
        ("?level=fatal", &[]),
        ("?level=error", &[3, 1]),
        ("?search=SUCH", &[1]),
        ("?status=resolved", &[]),
        ("?status=unresolved&limit=1", &[3, 1]),
    ] {
        let found = daemon.list(&format!("/api/v1/issues{query}"));
        let shown: Vec<_> = found
            .iter()
            .map(|it| it["event_count"].as_u64().unwrap())
            .collect();
        assert_eq!(shown, counts, "{query}");
    }
    let fingerprint = timeout["fingerprint"].as_str().unwrap();
    let one = daemon
        .api(&format!("/api/v1/issues/{fingerprint}?step=5m"))
        .json();
    assert_eq!(one["event_count"], 3);
    let counted = one["timeline"]["buckets"].as_array().unwrap().iter();
    let counted: u64 = counted.map(|it| it["event_count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 3, "{one:#}");
    let events = one["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["attributes"]["exception.message"], "after 31 ms");
    assert!(
        events
            .iter()
            .all(|event| event["fingerprint"] == fingerprint)
    );
    for (path, status) in [
        ("/api/v1/issues/00000000000000aa", 404),
        ("/api/v1/issues/xyz", 400),
        (&format!("/api/v1/issues/{fingerprint}?step=7m"), 400),
        ("/api/v1/issues?level=warn", 400),
    ] {
        let answer = http::get(daemon.addresses().gateway, path).unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}

// Scenario: an issue is resolved; something of it that happened before arrives; then it happens again;
// then it is ignored, and happens again. Another node's clock is ahead.
// Guarantees: it comes back only when it is seen after that; every change is in the audit log.
fn what_was_resolved_comes_back(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let minute = 60_000_000_000;
    send(&daemon, "api", vec![thrown("E", "m", now() + 60 * minute)]);
    let found = await_issues(&daemon, "", &[1]);
    let fingerprint = found[0]["fingerprint"].as_str().unwrap().to_owned();
    let answer = patch(&daemon, &fingerprint, r#"{"status":"resolved"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["status"], "resolved");
    send(&daemon, "api", vec![thrown("E", "m", now() - minute)]);
    let found = await_issues(&daemon, "?status=resolved", &[2]);
    assert_eq!(found[0]["regressed"], false);
    send(&daemon, "api", vec![thrown("E", "m", now())]);
    let found = await_issues(&daemon, "?status=unresolved", &[3]);
    assert_eq!(found[0]["regressed"], true);
    assert_eq!(
        patch(&daemon, &fingerprint, r#"{"status":"ignored"}"#).status,
        200
    );
    send(&daemon, "api", vec![thrown("E", "m", now())]);
    await_issues(&daemon, "?status=ignored", &[4]);
    for (of, body, status) in [
        (fingerprint.as_str(), r#"{"status":"gone"}"#, 400),
        (&fingerprint, "{}", 400),
        ("00000000000000aa", r#"{"status":"resolved"}"#, 404),
    ] {
        assert_eq!(patch(&daemon, of, body).status, status, "{body}");
    }
    let audit = daemon.list("/api/v1/audit");
    let said: Vec<_> = audit
        .iter()
        .filter(|it| it["action"] == "issue.status")
        .collect();
    assert_eq!(said.len(), 2, "{audit:#?}");
    assert_eq!(said[0]["target"], format!("{fingerprint} ignored"));
}

// Scenario: retention deletes what is some seconds old.
// Guarantees: an issue that nothing happens to goes, with its counts.
fn what_is_old_goes(store: Store) {
    let settings = [
        ("storage.retention.max_age", "3s"),
        ("storage.retention.check_interval", "1s"),
    ];
    let daemon = Daemon::spawn_on(store, &settings);
    send(&daemon, "api", vec![thrown("E", "m", now())]);
    let found = await_issues(&daemon, "", &[1]);
    let fingerprint = found[0]["fingerprint"].as_str().unwrap();
    await_issues(&daemon, "", &[]);
    let path = format!("/api/v1/issues/{fingerprint}");
    assert_eq!(
        http::get(daemon.addresses().gateway, &path).unwrap().status,
        404
    );
}

on_both_stores! {
    alike_errors_are_one_issue_and_count_once,
    what_was_resolved_comes_back,
    what_is_old_goes,
}
