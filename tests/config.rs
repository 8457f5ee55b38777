//! The configuration as an operator meets it: the documented default, the examples, and what the
//! binary says about files that are wrong.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pulse_collector::config::{self, CheckFiles, Config, Environment, Sources};
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A command that sees only the variables given, and a home directory.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulse-collector"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/home/someone");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn load(file: &Path) -> Config {
    let sources = Sources {
        documents: vec![format!("file:{}", file.display())],
        environment: Environment::of([("HOME", "/home/someone")]),
        ..Sources::default()
    };
    config::load(&sources, CheckFiles::No).unwrap()
}

/// The paths of all values that are not maps.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                leaves(value, &format!("{path}.{key}"), found);
            }
        }
        _ => assert!(found.insert(path.to_owned()), "{path} twice"),
    }
}

// Scenario: config/default.yaml is read as YAML and loaded as a configuration.
// Guarantees: it says what the code's defaults say, names every key there is, and no other.
#[test]
fn the_documented_default_is_the_default_and_is_complete() {
    let file = repository("config/default.yaml");
    let mut expected = Config::default();
    expected.service.data_dir = "/home/someone/.pulse".into();
    assert_eq!(load(&file), expected);

    let text = std::fs::read_to_string(&file).unwrap();
    let written: Value = serde_saphyr::from_str(&text).unwrap();
    let code = serde_json::to_value(Config::default()).unwrap();
    let [mut in_file, mut in_code] = [BTreeSet::new(), BTreeSet::new()];
    leaves(&written, "", &mut in_file);
    leaves(&code, "", &mut in_code);
    assert_eq!(in_file, in_code);
}

#[test]
fn every_documented_key_has_a_comment_above_it() {
    let text = std::fs::read_to_string(repository("config/default.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2) {
        let is_leaf = pair[1].contains(": ") && !pair[1].trim_start().starts_with('#');
        let explained = pair[0].trim_start().starts_with("# ");
        assert!(!is_leaf || explained, "no comment above: {}", pair[1]);
    }
}

// Scenario: each file in config/examples is loaded and checked, without looking for the files that
// it names on this machine.
// Guarantees: no example is wrong, or relies on a default without saying anything.
#[test]
fn every_example_is_valid() {
    let mut count = 0;
    for entry in std::fs::read_dir(repository("config/examples")).unwrap() {
        let file = entry.unwrap().path();
        let mut config = load(&file);
        config.service.data_dir = PathBuf::new();
        assert_ne!(config, Config::default(), "{}", file.display());
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn the_production_example_serves_tls_only() {
    let config = load(&repository("config/examples/production.yaml"));
    let protocols = config.receivers.otlp.protocols;
    assert!(protocols.grpc.is_some_and(|grpc| grpc.tls.is_some()));
    assert!(protocols.http.is_some_and(|http| http.tls.is_some()));
    assert!(
        config
            .gateway
            .tls
            .is_some_and(|tls| tls.client_ca_file.is_some())
    );
}

// Scenario: the output of print-config is given to print-config as a file.
// Guarantees: it is a complete configuration that means the same.
#[test]
fn a_printed_configuration_can_be_loaded_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("printed.yaml");
    for example in [
        "default.yaml",
        "examples/production.yaml",
        "examples/edge.yaml",
        "examples/redaction.yaml",
        "examples/sampling.yaml",
    ] {
        let source = repository(&format!("config/{example}"));
        let printed = run(&["print-config", "--config", source.to_str().unwrap()]);
        assert!(printed.status.success(), "{}", stderr(&printed));
        std::fs::write(&file, &printed.stdout).unwrap();
        let again = run(&["print-config", "--config", file.to_str().unwrap()]);
        assert_eq!(stdout(&again), stdout(&printed));
        assert_eq!(load(&file), load(&source));
    }
}

// Scenario: a file with many mistakes of all kinds is validated.
// Guarantees: each mistake is one line with file, line, path and what to write; nothing more.
#[test]
fn every_problem_is_reported_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let yaml = "receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 0.0.0.0:4317
        max_connections: many
      grcp:
        endpoint: 127.0.0.1:4317
queue:
  segment_size: 1KiB
service:
  data_dir: ${env:NOWHERE}
";
    std::fs::write(&file, yaml).unwrap();
    let name = file.to_str().unwrap();
    let output = run(&["validate", "--config", name]);
    let expected = format!(
        "{name}:6: receivers.otlp.protocols.grpc.max_connections: expected a whole number from 0 to \
         4294967295, got text \"many\"
{name}:7: receivers.otlp.protocols.grcp: unknown key, did you mean \"grpc\"?
{name}:10: queue.segment_size: must be at least 64KiB, got 1KiB
{name}:12: service.data_dir: environment variable NOWHERE is not set; set it or give a default as \
         in ${{env:NOWHERE:-default}}
"
    );
    assert_eq!(stderr(&output), expected);
    assert_eq!(stdout(&output), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "queue:\n  max_size: 1GiB\n  max_size: 2GiB\n").unwrap();
    let name = file.to_str().unwrap();
    for command in ["validate", "print-config", "serve"] {
        let output = run(&[command, "--config", name]);
        let problem = stderr(&output);
        assert!(
            problem.starts_with(&format!("{name}:3: not valid YAML: duplicate")),
            "{problem}"
        );
        assert_eq!(problem.lines().count(), 1, "{problem}");
        assert_eq!(output.status.code(), Some(1));
    }
}

// Scenario: one setting is given in a file, in the environment and as a flag, one more each time.
// Guarantees: flag over environment over file over default, as the binary applies it.
#[test]
fn the_nearest_source_wins() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "gateway: {endpoint: 127.0.0.1:1111}\n").unwrap();
    let file = file.to_str().unwrap();
    let set = "gateway.endpoint=127.0.0.1:3333";
    let printed = |port: Option<&str>, arguments: &[&str]| {
        let mut command = command(arguments);
        if let Some(port) = port {
            command.env("PORT", port);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let config: Value = serde_saphyr::from_str(&stdout(&output)).unwrap();
        config["gateway"]["endpoint"].as_str().unwrap().to_owned()
    };
    let with_file = ["print-config", "--config", file];
    let with_flag = ["print-config", "--config", file, "--set", set];
    assert_eq!(printed(None, &["print-config"]), "127.0.0.1:3000");
    assert_eq!(printed(None, &with_file), "127.0.0.1:1111");
    assert_eq!(printed(Some("2222"), &with_file), "127.0.0.1:2222");
    assert_eq!(printed(Some("2222"), &with_flag), "127.0.0.1:3333");
}

#[test]
fn a_database_url_is_used_and_never_shown_whole() {
    let run = |arguments: &[&str], url: &str| {
        let mut command = command(arguments);
        command.env("DATABASE_URL", url).output().unwrap()
    };
    let output = run(&["print-config"], "postgres://user:hunter2@db/pulse");
    let printed = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        printed.contains("postgres://user:***@db/pulse"),
        "{printed}"
    );
    assert!(!printed.contains("hunter2"), "{printed}");
    let output = run(&["validate"], "redis://user:hunter2@db/pulse");
    let complaint = stderr(&output);
    assert!(
        complaint.contains("DATABASE_URL: storage.postgres.url"),
        "{complaint}"
    );
    assert!(!complaint.contains("hunter2"), "{complaint}");
    assert_eq!(output.status.code(), Some(1));
}
