//! What is refused while nothing can be taken.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Client, KEY};
use crate::daemon::{Daemon, Setup, Store, eventually, on_both_stores};
use crate::http::Response;
use crate::postgres::{Database, run_sql};

/// Holds a lock until there is a table that says so.
const HOLD: &str = "BEGIN; LOCK TABLE trace IN EXCLUSIVE MODE; \
    DO $$ BEGIN \
        WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'released') LOOP \
            PERFORM pg_sleep(0.02); \
        END LOOP; \
    END $$; \
    COMMIT";

/// Keeps a store from being written.
enum Held<'d> {
    Sqlite(rusqlite::Connection),
    Postgres(&'d Database, JoinHandle<()>),
}

impl<'d> Held<'d> {
    fn new(setup: &'d Setup) -> Self {
        if let Some(database) = setup.database() {
            let url = database.url().to_owned();
            let holder = std::thread::spawn(move || {
                run_sql(&url, HOLD);
            });
            return Self::Postgres(database, holder);
        }
        let store = rusqlite::Connection::open(setup.data_dir.join("pulse.db")).unwrap();
        store.busy_timeout(Duration::from_secs(10)).unwrap();
        store.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self::Sqlite(store)
    }

    fn release(self) {
        match self {
            Self::Sqlite(store) => store.execute_batch("ROLLBACK").unwrap(),
            Self::Postgres(database, holder) => {
                database.execute("CREATE TABLE released ()");
                holder.join().unwrap();
            }
        }
    }
}

// Scenario: the store can't be written for a while, and clients queue until the log is full.
// Guarantees: 503 in the words of each route, and when to come back; later all is taken again.
fn a_full_log_is_told_in_the_words_of_each_route(store: Store) {
    let client = Client(Daemon::spawn_on(
        store,
        &[
            ("queue.max_size", "512KiB"),
            ("queue.segment_size", "64KiB"),
            ("processors.batch.timeout", "20ms"),
        ],
    ));
    let held = Held::new(&client.0.setup);
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
    held.release();
    eventually("requests to be taken", Duration::from_secs(30), || {
        (post("/v1/spans/async", &span).status == 202).then_some(())
    });
    let found = client.await_found("/v1/traces/00000000-0000-4000-8000-000000000000");
    assert_eq!(found.json()["outputText"], large);
}

on_both_stores! {
    a_full_log_is_told_in_the_words_of_each_route,
}
