//! What the OpenTelemetry Python SDK sends is served as it was sent.

use std::process::Command;

use crate::daemon::Daemon;
use crate::sdk;

fn send(protocol: &str, compression: &str) {
    let daemon = Daemon::spawn(&[]);
    let addresses = daemon.addresses();
    let address = if protocol == "grpc" {
        addresses.grpc
    } else {
        addresses.http
    };
    let mut command = Command::new(sdk::tool("python/bin/python"));
    command
        .arg("-B")
        .arg(sdk::root().join("tests/support/python/export.py"));
    command.args([protocol, &format!("http://{address}"), compression]);
    sdk::assert_served(&daemon, &sdk::run(&mut command));
}

// Scenario: a Python application sends its spans over gRPC, and over gRPC with gzip.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn python_spans_over_grpc_are_served_as_sent() {
    send("grpc", "none");
    send("grpc", "gzip");
}

// Scenario: a Python application sends its spans over HTTP, and over HTTP with gzip.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn python_spans_over_http_are_served_as_sent() {
    send("http", "none");
    send("http", "gzip");
}
