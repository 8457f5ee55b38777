//! The example clients, generated as their README says.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::*;
use crate::sdk;

/// A copy of an example where it can write, with the definition where it looks for it.
fn copy(language: &str, into: &Path) -> std::path::PathBuf {
    let example = into.join("examples/clients").join(language);
    std::fs::create_dir_all(&example).unwrap();
    let source = sdk::root().join("examples/clients").join(language);
    for file in std::fs::read_dir(source).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            std::fs::copy(&file, example.join(file.file_name().unwrap())).unwrap();
        }
    }
    std::os::unix::fs::symlink(sdk::root().join("proto"), into.join("proto")).unwrap();
    example
}

fn done(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said} {output:?}");
    output.stdout
}

/// What a client says of the trace that it sent is so.
fn assert_done(daemon: &Daemon, key: &str, service: &str, said: &[u8]) {
    let said: Value = serde_json::from_slice(said).unwrap();
    let names = json!(["exported", "streamed 1", "streamed 2"]);
    let expected = json!({
        "trace_id": said["trace_id"],
        "following": "following",
        "rejected": 0,
        "acknowledged": [1, 2],
        "told": names,
        "spans": names,
        "is_as_sent": true,
        "traces": [said["trace_id"]],
        "tokens": [45],
        "unknown": "NOT_FOUND",
    });
    assert_eq!(said, expected);
    let path = format!("/api/v1/traces?service={service}");
    let listed = crate::access::get(daemon, &path, key).json();
    assert_eq!(listed["items"][0]["trace_id"], said["trace_id"]);
    assert_eq!(listed["items"][0]["span_count"], 3);
}

// Scenario: the Python client is generated and run.
// Guarantees: it sends, follows, reads and lists a trace.
#[test]
fn the_python_client_reads_what_it_sends() {
    let directory = tempfile::tempdir().unwrap();
    let example = copy("python", directory.path());
    let daemon = Daemon::spawn(&[("processors.batch.timeout", "10ms")]);
    let key = create_key(&daemon.setup, "default", "ingest,read").text;
    let python = |script: &str| {
        let mut command = Command::new(sdk::tool("clients-python/bin/python"));
        command.args(["-B", script]).current_dir(&example);
        command
    };
    done(&mut python("generate.py"));
    let mut client = python("client.py");
    client
        .arg(daemon.addresses().grpc.to_string())
        .env("PULSE_API_KEY", &key);
    assert_done(&daemon, &key, "python-client", &done(&mut client));
}

// Scenario: the TypeScript client is generated, compiled and run.
// Guarantees: it sends, follows, reads and lists a trace.
#[test]
fn the_typescript_client_reads_what_it_sends() {
    let directory = tempfile::tempdir().unwrap();
    let example = copy("typescript", directory.path());
    let modules = sdk::tool("clients-typescript/node_modules");
    std::os::unix::fs::symlink(modules, example.join("node_modules")).unwrap();
    let daemon = Daemon::spawn(&[("processors.batch.timeout", "10ms")]);
    let key = create_key(&daemon.setup, "default", "ingest,read").text;
    let npm = |arguments: &[&str]| {
        let mut command = Command::new("npm");
        command
            .args(["run", "--silent"])
            .args(arguments)
            .current_dir(&example);
        command
    };
    done(&mut npm(&["build"]));
    let address = daemon.addresses().grpc.to_string();
    let mut client = npm(&["start", "--", &address]);
    client.env("PULSE_API_KEY", &key);
    assert_done(&daemon, &key, "typescript-client", &done(&mut client));
}
