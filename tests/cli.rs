//! The command line as the binary offers it: commands, flags, exit codes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread::JoinHandle;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulse-collector"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/home/someone")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_names_every_command_and_flag() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = stdout(&help);
    let commands: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "serve",
        "validate",
        "print-config",
        "migrate",
        "remap",
        "project",
        "key",
        "user",
        "health",
        "wal",
        "bench",
        "help",
    ];
    assert_eq!(commands, expected, "{text}");
    for flag in [
        "--config <FILE>",
        "--set <KEY=VALUE>",
        "--log-level <LEVEL>",
        "--log-format",
    ] {
        assert!(text.contains(flag), "{flag} is not in\n{text}");
    }
    let wal = stdout(&run(&["wal", "--help"]));
    assert!(wal.contains("inspect") && wal.contains("verify"), "{wal}");
}

#[test]
fn the_version_is_printed() {
    let version = stdout(&run(&["--version"]));
    assert_eq!(
        version,
        concat!("pulse-collector ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_is_exit_code_two() {
    for arguments in [
        &["--bogus"][..],
        &["nonsense"],
        &["--log-format", "xml"],
        &["wal"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

// Scenario: the flags of the configuration are given before the command, after it, and both.
// Guarantees: all of them count; of two for the same thing the later one wins.
#[test]
fn flags_count_before_and_after_the_command() {
    let size = "queue.max_size=1GiB";
    let level = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        let printed = stdout(&output);
        let has = |line: &str| printed.lines().any(|printed| printed.trim() == line);
        (
            has("max_size: 1GiB"),
            has("level: debug"),
            has("encoding: json"),
        )
    };
    let all = (true, true, true);
    let flags = [
        "--set",
        size,
        "--log-level",
        "debug",
        "--log-format",
        "json",
    ];
    assert_eq!(level(&[&flags[..], &["print-config"]].concat()), all);
    assert_eq!(level(&[&["print-config"], &flags[..]].concat()), all);
    assert_eq!(
        level(&[&flags[..3], &["warn", "print-config"], &flags[2..]].concat()),
        all
    );
    assert_eq!(level(&["print-config"]), (false, false, false));
}

// Scenario: a valid configuration is validated while its ports are taken.
// Guarantees: validate binds nothing.
#[test]
fn validate_binds_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let set = format!("gateway.endpoint={}", taken.local_addr().unwrap());
    let output = run(&["validate", "--set", &set]);
    assert_eq!(stdout(&output), "configuration is valid\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn validate_looks_for_tls_files_and_print_config_does_not() {
    let tls = "gateway.tls={cert_file: /nowhere/c.pem, key_file: /nowhere/k.pem}";
    let output = run(&["validate", "--set", tls]);
    assert_eq!(stderr(&output).lines().count(), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("--set: gateway.tls.cert_file: read /nowhere/c.pem"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(run(&["print-config", "--set", tls]).status.code(), Some(0));
}

#[test]
fn serving_with_a_wrong_configuration_fails_before_anything_else() {
    for arguments in [
        &["serve", "--set", "queue.max_size=0"][..],
        &["--set", "queue.max_size=0"],
    ] {
        let output = run(arguments);
        assert!(stderr(&output).starts_with("--set: queue.max_size: 0B must hold"));
        assert_eq!(output.status.code(), Some(1));
    }
}

// Scenario: the log of a data directory that was never used, and of one that is not there.
// Guarantees: an empty log is sound; a wrong directory is an error that names it, not an empty log.
#[test]
fn the_log_is_looked_for_in_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("wal")).unwrap();
    let set = format!("service.data_dir={}", directory.path().display());
    let inspected = run(&["wal", "inspect", "--json", "--set", &set]);
    assert_eq!(
        stdout(&inspected),
        "{\"partitions\":[]}\n",
        "{}",
        stderr(&inspected)
    );
    let verified = run(&["--set", &set, "wal", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));

    let nowhere = run(&["wal", "verify", "--set", "queue.directory=/nowhere/wal"]);
    assert!(stderr(&nowhere).starts_with("error: read the log in /nowhere/wal: "));
    assert_eq!(nowhere.status.code(), Some(1));
}

/// Answers one request with a status and hands back its first line.
fn probe_endpoint(status: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 8\r\n\r\ndraining");
        stream.write_all(answer.as_bytes()).unwrap();
        let request = String::from_utf8(request).unwrap();
        request.lines().next().unwrap().to_owned()
    });
    (address, thread)
}

// Scenario: health is asked of an endpoint that says 200, and of one that says 503.
// Guarantees: the exit code and one line tell which; the right path is asked.
#[test]
fn health_is_what_the_probe_says() {
    let (address, request) = probe_endpoint("200 OK");
    let set = format!("service.telemetry.metrics.endpoint={address}");
    let output = run(&["health", "--set", &set]);
    assert_eq!(request.join().unwrap(), "GET /readyz HTTP/1.1");
    assert_eq!(stdout(&output), "ready\n");
    assert_eq!(output.status.code(), Some(0));

    let (address, request) = probe_endpoint("503 Service Unavailable");
    let output = run(&["health", "--live", "--endpoint", &address.to_string()]);
    assert_eq!(request.join().unwrap(), "GET /livez HTTP/1.1");
    let expected = format!("error: not alive: {address}/livez answered 503: draining\n");
    assert_eq!(stderr(&output), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn health_without_a_daemon_fails_in_one_line() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = run(&["health", "--endpoint", &free.to_string()]);
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("connect"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(1));
    let off = run(&["health", "--set", "service.telemetry.metrics.endpoint=''"]);
    assert!(stderr(&off).contains("switched off"), "{}", stderr(&off));
}
