//! What `deploy/` says, held against the code: configurations are valid, ports, paths, probes and
//! times fit the daemon, and dashboards and alerts ask for metrics that exist.
//!
//! Commands that know these formats (`systemd-analyze`, `kubectl`, `promtool`) are asked where they
//! are installed; what they check beyond this file is not checked where they are missing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::too_many_lines,
    reason = "a test that goes wrong should end at once and say where"
)]

#[path = "deploy/compose.rs"]
mod compose;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/kubernetes.rs"]
mod kubernetes;
#[path = "deploy/monitoring.rs"]
mod monitoring;
#[path = "deploy/promql.rs"]
mod promql;
#[path = "deploy/systemd.rs"]
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use pulse_collector::config::{self, CheckFiles, Config, Environment, Sources};
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse_yaml(name: &str, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(path: &str) -> Value {
    parse_yaml(path, &text(path))
}

/// Every file below a directory, with its path in the repository.
fn files(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Runs a command that may not be installed; `None` when it is not.
fn run_if_installed(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not installed, so not asked: {command:?}");
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

fn assert_succeeds(output: &Output) -> String {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout
}

/// `pulse-collector validate`, which sees only these variables.
fn validate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pulse-collector"))
        .arg("validate")
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// A configuration file as the daemon reads it.
fn load<const COUNT: usize>(path: &str, variables: [(&str, &str); COUNT]) -> Config {
    let sources = Sources {
        documents: vec![format!("file:{}", repository(path).display())],
        environment: Environment::of(variables),
        ..Sources::default()
    };
    config::load(&sources, CheckFiles::No).unwrap()
}

/// The endpoints of all listeners: OTLP/gRPC, OTLP/HTTP, the API, metrics and probes.
fn endpoints(config: &Config) -> [String; 4] {
    let protocols = &config.receivers.otlp.protocols;
    [
        protocols.grpc.as_ref().unwrap().endpoint.clone(),
        protocols.http.as_ref().unwrap().endpoint.clone(),
        config.gateway.endpoint.clone(),
        config.service.telemetry.metrics.endpoint.clone(),
    ]
}

/// The default ports, in the order of [`endpoints`].
fn default_ports() -> [u64; 4] {
    endpoints(&Config::default()).map(|endpoint| port(&endpoint))
}

fn port(endpoint: &str) -> u64 {
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

/// Listens on every interface, at the default ports.
fn assert_reachable(config: &Config) {
    let expected = default_ports().map(|port| format!("0.0.0.0:{port}"));
    assert_eq!(endpoints(config), expected);
}

/// A size as systemd, Docker and Kubernetes write it. Only powers of 1,024: Kubernetes' `M` is
/// another one and not used.
fn bytes(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("{text}"));
    let shift = match &text[digits.len()..] {
        "" => 0,
        "Mi" | "M" | "m" => 20,
        "Gi" | "G" | "g" => 30,
        unit => panic!("unit {unit} in {text}"),
    };
    number << shift
}

/// A time as systemd and Compose write it.
fn seconds(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("{text}"));
    Duration::from_secs(match &text[digits.len()..] {
        "s" => number,
        "m" | "min" => number * 60,
        unit => panic!("unit {unit} in {text}"),
    })
}

fn mib(count: u32) -> u64 {
    u64::from(count) << 20
}

/// The limiter acts well before the system kills: a quarter lies between them.
fn assert_fits_memory(config: &Config, limit: u64) {
    let limiter = mib(config.processors.memory_limiter.limit_mib);
    assert!(limiter * 5 / 4 <= limit, "{limiter} in {limit}");
    assert!(limit <= limiter * 2, "{limiter} wastes {limit}");
}

/// Connections of all listeners together, each a file descriptor.
fn connections(config: &Config) -> u64 {
    let protocols = &config.receivers.otlp.protocols;
    let counts = [
        protocols.grpc.as_ref().unwrap().max_connections,
        protocols.http.as_ref().unwrap().max_connections,
        config.gateway.max_connections,
    ];
    counts.into_iter().map(u64::from).sum()
}

#[test]
fn every_document_parses() {
    let mut count = 0;
    for path in files("deploy") {
        if path.ends_with(".yaml") {
            let value = yaml(&path);
            assert!(value.is_object(), "{path}");
            count += 1;
        } else if path.ends_with(".json") {
            let value: Value = serde_json::from_str(&text(&path)).unwrap();
            assert!(value.is_object(), "{path}");
            count += 1;
        }
    }
    assert!(count >= 15, "{count} documents");
}

// Scenario: README.md of deploy/ is read for links to files and the paths in its commands.
// Guarantees: none of them is missing.
#[test]
fn the_manual_names_files_that_exist() {
    let manual = text("deploy/README.md");
    let links = manual
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|link| !link.is_empty())
        .map(|link| format!("deploy/{link}"));
    let words = manual
        .split([' ', '\n', '`'])
        .filter(|word| word.starts_with("deploy/"))
        .map(str::to_owned);
    let mut named = 0;
    for path in links.chain(words) {
        assert!(repository(&path).exists(), "{path}");
        named += 1;
    }
    assert!(named > 15, "{named}");
}

// Scenario: the version in Cargo.toml is raised.
// Guarantees: no file of deploy/ goes on naming the old one.
#[test]
fn images_are_named_by_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let mut tags = 0;
    for path in files("deploy") {
        for tag in text(&path).split("pulse-collector:").skip(1) {
            let tag = tag.split([' ', '\n', '`']).next().unwrap();
            if tag.starts_with(|c: char| c.is_ascii_digit()) {
                assert_eq!(tag, version, "{path}");
                tags += 1;
            }
        }
    }
    assert!(tags >= 3, "{tags}");
    let kustomization = yaml("deploy/kubernetes/embedded/kustomization.yaml");
    assert_eq!(kustomization["images"][0]["newTag"], version);
}
