//! What the OpenTelemetry JavaScript SDK sends is served as it was sent.

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
    let modules = sdk::tool("node/node_modules");
    let mut command = Command::new("node");
    command.env("EXPORTER_MODULES", modules.parent().unwrap());
    command.arg(sdk::root().join("tests/support/node/export.js"));
    command.args([protocol, &format!("http://{address}"), compression]);
    sdk::assert_served(&daemon, &sdk::run(&mut command));
}

// Scenario: a Node application sends its spans over gRPC, and over gRPC with gzip.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn node_spans_over_grpc_are_served_as_sent() {
    send("grpc", "none");
    send("grpc", "gzip");
}

// Scenario: a Node application sends protobuf over HTTP, and protobuf with gzip.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn node_spans_in_protobuf_over_http_are_served_as_sent() {
    send("proto", "none");
    send("proto", "gzip");
}

// Scenario: a Node application sends JSON over HTTP, and JSON with gzip.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn node_spans_in_json_over_http_are_served_as_sent() {
    send("json", "none");
    send("json", "gzip");
}
