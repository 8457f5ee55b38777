//! The SDKs of PulseKit, PulseBoard and DebugQueue work with nothing changed but a URL and a key.

mod board;
mod pulseboard;
mod pulsekit;
mod tracepulse;

use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Daemon, Setup, Store, eventually};
use crate::http::{self, Response};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one of these servers.
struct Client {
    daemon: Daemon,
    /// Header that shows the key, and the key.
    key: (&'static str, String),
}

impl Client {
    /// Of a daemon without keys, where any key will do.
    fn on(store: Store, header: &'static str) -> Self {
        Self {
            daemon: Daemon::spawn_on(store, &[]),
            key: (header, "dev-api-key".to_owned()),
        }
    }

    fn post(&self, path: &str, body: &str) -> Response {
        self.post_as(path, (self.key.0, &self.key.1), body)
    }

    fn post_as(&self, path: &str, key: (&str, &str), body: &str) -> Response {
        let headers = [("content-type", "application/json"), key];
        let address = self.daemon.addresses().gateway;
        http::post(address, path, &headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    fn refused(&self, path: &str, body: &str, status: u16, text: &str) {
        let answer = self.post(path, body);
        let found = (answer.status, answer.text());
        assert_eq!(found, (status, text.to_owned()), "{path} {body}");
    }

    /// All events, as soon as there are so many, by their names.
    fn await_events(&self, count: usize) -> Vec<Value> {
        self.daemon.await_stored();
        eventually("events to be shown", PATIENCE, || {
            let mut found = self.daemon.list("/api/v1/events?limit=500");
            assert!(found.len() <= count, "{found:#?}");
            found.sort_by_key(|event| event["name"].to_string());
            (found.len() == count).then_some(found)
        })
    }
}

/// Makes a key of a project beside a running daemon.
fn create_key(setup: &Setup, project: &str, scopes: &str) -> String {
    let arguments = [
        "key",
        "create",
        "--json",
        "--project",
        project,
        "--scope",
        scopes,
    ];
    let output = setup.run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// Waits until a key is known to the daemon.
fn await_key(daemon: &Daemon, key: &str) {
    eventually("the key to be known", PATIENCE, || {
        let header = format!("authorization: Bearer {key}");
        let answer = http::get_with(daemon.addresses().gateway, "/api/v1/services", &header);
        (answer.ok()?.status != 401).then_some(())
    });
}
