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

/// Runs a command on a data directory, with a line on standard input.
fn run_in(directory: &std::path::Path, arguments: &[&str], line: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pulse-collector"))
        .args(arguments)
        .env_clear()
        .env("PULSE_HOME", directory)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that fails early reads nothing.
    stdin.write_all(line.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().unwrap()
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
        "import",
        "project",
        "key",
        "user",
        "tail",
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

/// A data directory that no daemon ever used.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// What a command prints that works.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = run_in(self.0.path(), arguments, "");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        stdout(&output)
    }

    /// What a command says that does not.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = run_in(self.0.path(), arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        stderr(&output)
    }
}

// Scenario: projects are created, listed and deleted where no daemon ever ran.
// Guarantees: names are unique, deleting must be meant, what can't be done is one line.
#[test]
fn projects_are_kept_without_a_daemon() {
    let home = Home::new();
    let (ok, fails) = (|a: &[&str]| home.ok(a), |a: &[&str]| home.fails(a));
    assert_eq!(
        ok(&["project", "create", "team"]),
        "created project 2 \"team\"\n"
    );
    assert!(fails(&["project", "create", "team"]).contains("the name \"team\" is taken"));
    assert!(fails(&["project", "create", " "]).contains("must not be empty"));
    let listed = ok(&["project", "list"]);
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(names, ["NAME", "default", "team"]);

    assert!(fails(&["project", "delete", "team"]).contains("--yes"));
    assert!(fails(&["project", "delete", "default", "--yes"]).contains("can't be deleted"));
    assert!(ok(&["project", "delete", "team", "--yes"]).contains("deleted project 2"));
    assert!(!ok(&["project", "list"]).contains("team"));
}

// Scenario: a project is limited, in two steps, and goes back to the limits of the configuration.
// Guarantees: what is not named stays; wrong limits are one line.
#[test]
fn projects_are_limited_without_a_daemon() {
    let home = Home::new();
    let quota = |more: &[&str]| home.ok(&[&["project", "quota", "default"], more].concat());
    let of_config = "project 1 \"default\" may send: no limit (of the configuration)\n";
    assert_eq!(quota(&[]), of_config);
    let said = quota(&["--items-per-second", "500"]);
    assert_eq!(said, "project 1 \"default\" may send: 500 items/s\n");
    let said = quota(&["--bytes-per-day", "1KiB"]);
    assert!(said.ends_with("500 items/s, 1024 bytes/day\n"), "{said}");
    let said = quota(&["--items-per-second", "none", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&json["items_per_second"], &json["bytes_per_day"]),
        (&().into(), &1024.into())
    );
    let configured = quota(&["--default", "--set", "auth.quota.items_per_second=7"]);
    assert!(
        configured.ends_with("7 items/s (of the configuration)\n"),
        "{configured}"
    );
    assert!(
        home.fails(&["project", "quota", "nobody"])
            .contains("no project \"nobody\"")
    );
    for wrong in [
        &["--items-per-second", "0"][..],
        &["--bytes-per-day", "much"],
        &["--default", "--bytes-per-day", "1KiB"],
    ] {
        let arguments = [&["project", "quota", "default"], wrong].concat();
        let output = run_in(home.0.path(), &arguments, "");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

// Scenario: a key of a project is created, listed and revoked where no daemon ever ran.
// Guarantees: it is printed once; tables and JSON tell the same; nobody revokes another project's.
#[test]
fn keys_are_kept_without_a_daemon() {
    let home = Home::new();
    let (ok, fails) = (|a: &[&str]| home.ok(a), |a: &[&str]| home.fails(a));
    ok(&["project", "create", "team"]);
    let scope = "ingest,read";
    let made = ok(&[
        "key",
        "create",
        "--project",
        "team",
        "--name",
        "ci",
        "--scope",
        scope,
        "--expires",
        "90d",
    ]);
    let text = made.lines().next().unwrap();
    assert!(text.starts_with("pulse_sk_") && text.len() == 45, "{made}");
    assert!(
        made.contains(&format!("OTEL_EXPORTER_OTLP_HEADERS=x-api-key={text}\n")),
        "{made}"
    );
    let table = ok(&["key", "list", "--project", "team"]);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[1], row[3], row[4], row[7]),
        ("ci", "ingest,read", "active", "-"),
        "{table}"
    );
    assert!(!table.contains(text) && text.starts_with(row[2].trim_end_matches('…')));
    let json: serde_json::Value =
        serde_json::from_str(&ok(&["key", "list", "--project", "team", "--json"])).unwrap();
    assert_eq!(
        (&json[0]["id"], &json[0]["state"]),
        (&row[0].into(), &"active".into())
    );
    assert!(fails(&["key", "create", "--project", "nobody"]).contains("no project \"nobody\""));
    assert!(fails(&["key", "create", "--expires", "2001-01-01T00:00:00Z"]).contains("future"));
    assert!(
        fails(&["key", "revoke", row[0]]).contains("is not known"),
        "another project's"
    );
    assert!(ok(&["key", "revoke", row[0], "--project", "team"]).contains("within 5 s"));
    assert!(ok(&["key", "list", "--project", "team"]).contains("revoked"));
    for wrong in [
        &["key", "create", "--scope", "write"][..],
        &["key", "create", "--expires", "soon"],
    ] {
        assert_eq!(run_in(home.0.path(), wrong, "").status.code(), Some(2));
    }
}

// Scenario: a key of an older server is taken over, twice; so is a mistyped one.
// Guarantees: it is stored once, and never printed in a list.
#[test]
fn keys_of_older_servers_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let old = "pulse_sk_0b9d8a35-9a9e-4a0e-8e64-0c5a3f1f7a11";
    let import = |line: &str| {
        run_in(
            directory.path(),
            &["key", "create", "--import", "--json"],
            line,
        )
    };
    let first = import(&format!("{old}\n"));
    let made: serde_json::Value = serde_json::from_str(&stdout(&first)).unwrap();
    assert_eq!(made["key"], old);
    assert!(stderr(&import(old)).contains("the key is taken"));
    for wrong in ["", "sk_1", "pulse_sk_abcdefghijklmnopqrstuvwxyzABCD000000"] {
        assert!(stderr(&import(wrong)).contains("no key"), "{wrong}");
    }
    let listed = run_in(directory.path(), &["key", "list"], "");
    assert!(stdout(&listed).contains("pulse_sk_0b9d…") && !stdout(&listed).contains(old));
}

// Scenario: a person is added, added again, given another password, and listed; another is invited.
// Guarantees: passwords come from standard input only, and short ones are not taken; an invitation
// has an end.
#[test]
fn people_are_added_with_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let user = |arguments: &[&str], line: &str| {
        run_in(directory.path(), &[&["user"], arguments].concat(), line)
    };
    let made = user(
        &["create", "Ada@Example.org", "--role", "admin"],
        "correct horse\n",
    );
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stdout(&made).contains("ada@example.org, admin of project \"default\""));
    let twice = user(&["create", "ada@example.org"], "correct horse\n");
    assert!(stderr(&twice).contains("the address ada@example.org is taken"));
    assert!(stderr(&user(&["create", "b@x.org"], "short\n")).contains("at least 8"));
    assert!(stderr(&user(&["create", "nobody"], "")).contains("is not an email address"));
    assert!(
        user(&["passwd", "ADA@example.org"], "another horse\n")
            .status
            .success()
    );
    assert!(stderr(&user(&["passwd", "b@x.org"], "another horse\n")).contains("no user"));
    let invited = stdout(&user(&["invite", "Eve@x.org", "--role", "viewer"], ""));
    assert!(invited.starts_with("pulse_inv_"), "{invited}");
    assert!(
        invited.contains("to project \"default\" as viewer, until 20"),
        "{invited}"
    );
    assert!(stderr(&user(&["invite", "--expires", "31d"], "")).contains("at most 30d"));
    assert!(stderr(&user(&["invite", "nobody"], "")).contains("is not an email address"));
    let listed = stdout(&user(&["list"], ""));
    assert!(
        listed.contains("ada@example.org") && !listed.contains("argon2"),
        "{listed}"
    );
}
