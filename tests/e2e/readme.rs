//! README's first trace works as written.

use std::process::Command;

use crate::api::VISIBLE_WITHIN;
use crate::daemon::{Daemon, eventually};
use crate::sdk;

/// The code block of README in this language.
fn readme_block(language: &str) -> String {
    let readme = std::fs::read_to_string(sdk::root().join("README.md")).unwrap();
    let opening = format!("```{language}\n");
    let (_, rest) = readme.split_once(&opening).expect("README has the block");
    rest.split_once("```").unwrap().0.to_owned()
}

fn stored_spans(daemon: &Daemon) -> u64 {
    let traces = daemon.list("/api/v1/traces?service=shop");
    traces
        .iter()
        .map(|trace| trace["span_count"].as_u64().unwrap())
        .sum()
}

// Scenario: README's Python code is run as it stands there, the daemon is killed and started again.
// Guarantees: the trace is read back with README's query, once, before and after.
#[test]
fn the_first_trace_of_readme_is_read_back_and_survives_a_kill() {
    let mut daemon = Daemon::spawn(&[]);
    let sent = Command::new(sdk::tool("python/bin/python"))
        .args(["-c", &readme_block("python")])
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", daemon.addresses().http),
        )
        .output()
        .unwrap();
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let both = || (stored_spans(&daemon) == 2).then_some(());
    eventually("the trace is stored", VISIBLE_WITHIN, both);
    daemon.process.kill9();
    daemon.restart();
    assert_eq!(stored_spans(&daemon), 2);
}
