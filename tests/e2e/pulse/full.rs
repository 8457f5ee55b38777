//! What is refused while nothing can be taken.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Client, KEY};
use crate::daemon::{Daemon, eventually};
use crate::http::Response;

// Scenario: the store can't be written for a while, and clients queue until the log is full.
// Guarantees: 503 in the words of each route, and when to come back; later all is taken again. (What
// the store is does not matter: the log refuses.)
#[test]
fn a_full_log_is_told_in_the_words_of_each_route() {
    let client = Client(Daemon::spawn(&[
        ("queue.max_size", "512KiB"),
        ("queue.segment_size", "64KiB"),
        ("processors.batch.timeout", "20ms"),
    ]));
    let path = client.0.setup.data_dir.join("pulse.db");
    let store = rusqlite::Connection::open(path).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let trace = |number: usize, text: &str| {
        json!([{"trace_id": format!("{number:08x}-0000-4000-8000-000000000000"),
            "timestamp": "2026-01-05T10:00:00Z", "provider": "openai", "model_requested": "m",
            "request_body": {}, "status": "success", "latency_ms": 1, "output_text": text}])
        .to_string()
    };
    let span = json!([{"span_id": "s", "session_id": "s", "timestamp": "2026-01-05T10:00:00Z",
        "source": "codex", "kind": "tool_use", "event_type": "x", "status": "success"}]);
    let span = span.to_string();
    let otlp = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]}).to_string();
    let post = |path: &str, body: &str| {
        let headers = [KEY, ("content-type", "application/json")];
        client.post_as(path, &headers, body.as_bytes())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let large = "x".repeat(20_000);
    let mut number = 0;
    while post("/v1/traces/async", &trace(number, &large)).status == 202 {
        assert!(Instant::now() < deadline, "the log never fills");
        number += 1;
    }
    let busy = |answer: &Response, what: &str| {
        let body = format!(r#"{{"error":"Failed to enqueue {what}"}}"#);
        assert_eq!((answer.status, answer.text()), (503, body));
        assert!(answer.header("retry-after").is_some());
    };
    // A little room may be left: it is used up.
    eventually("nothing to be taken", Duration::from_secs(30), || {
        let answer = post("/v1/spans/async", &span);
        (answer.status == 503).then_some(())
    });
    busy(&post("/v1/spans/async", &span), "span");
    busy(&post("/v1/traces/async", &trace(number + 1, "")), "trace");
    busy(&post("/v1/traces", &otlp), "span");
    store.execute_batch("ROLLBACK").unwrap();
    eventually("requests to be taken", Duration::from_secs(30), || {
        (post("/v1/spans/async", &span).status == 202).then_some(())
    });
    let found = client.await_found("/v1/traces/00000000-0000-4000-8000-000000000000");
    assert_eq!(found.json()["outputText"], large);
}
