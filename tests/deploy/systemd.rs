//! `deploy/systemd`: the unit.

use std::fs;
use std::process::Command;

use pulse_collector::config::Config;

use crate::{
    assert_fits_memory, assert_succeeds, bytes, connections, run_if_installed, seconds, text,
};

const UNIT: &str = "deploy/systemd/pulse-collector.service";
const BINARY: &str = "/usr/bin/pulse-collector";

/// The settings, in order.
fn settings() -> Vec<(String, String)> {
    let text = text(UNIT);
    let pairs = text.lines().filter(|line| !line.starts_with(['#', '[']));
    pairs
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The value of a setting that is there once.
fn setting(key: &str) -> String {
    let found: Vec<_> = settings()
        .into_iter()
        .filter(|(name, _)| name == key)
        .collect();
    assert_eq!(found.len(), 1, "{key}");
    found[0].1.clone()
}

#[test]
fn the_unit_waits_for_the_drain_and_restarts_after_failures_only() {
    let drain = Config::default().service.drain_timeout.0;
    assert!(seconds(&setting("TimeoutStopSec")) > drain);
    assert_eq!(setting("Restart"), "on-failure");
    assert_eq!(setting("Type"), "notify");
    assert_eq!(setting("ExecStart"), format!("{BINARY} serve"));
}

#[test]
fn the_unit_fits_the_defaults_of_the_daemon() {
    let config = Config::default();
    assert_fits_memory(&config, bytes(&setting("MemoryMax")));
    let descriptors: u64 = setting("LimitNOFILE").parse().unwrap();
    assert!(descriptors > connections(&config));
    let state = setting("StateDirectory");
    let expected = format!("PULSE_HOME=%S/{state}");
    assert_eq!(setting("Environment"), expected);
    let default_file = pulse_collector::config::load::DEFAULT_FILE;
    let directory = format!("/etc/{}/", setting("ConfigurationDirectory"));
    assert!(default_file.starts_with(&directory), "{default_file}");
}

#[test]
fn the_unit_gives_the_daemon_nothing_that_it_does_not_need() {
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
        ("SystemCallArchitectures", "native"),
    ] {
        assert_eq!(setting(key), value, "{key}");
    }
    let filters: Vec<_> = settings()
        .into_iter()
        .filter(|(key, _)| key == "SystemCallFilter")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(filters, ["@system-service", "~@privileged @resources"]);
}

// Scenario: systemd reads the unit, with the binary where the unit expects it replaced by the one
// under test.
// Guarantees: no setting is unknown or misspelt, and systemd's own rating of the sandbox is "OK".
#[test]
fn systemd_understands_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("pulse-collector.service");
    let binary = env!("CARGO_BIN_EXE_pulse-collector");
    fs::write(&unit, text(UNIT).replace(BINARY, binary)).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let Some(output) = run_if_installed(verify.arg("verify").arg(&unit)) else {
        return;
    };
    // What it does not understand it ignores, with a line that names the file, and succeeds.
    let complaints = String::from_utf8(output.stderr.clone()).unwrap();
    let about_it: Vec<_> = complaints
        .lines()
        .filter(|line| line.contains("pulse-collector"))
        .collect();
    assert!(about_it.is_empty(), "{complaints}");
    assert_succeeds(&output);

    let mut rate = Command::new("systemd-analyze");
    // Offline rating came with systemd 250.
    rate.args(["security", "--offline=true", "--threshold=20"])
        .arg(&unit);
    let output = rate.output().unwrap();
    if !String::from_utf8_lossy(&output.stderr).contains("unrecognized option") {
        assert_succeeds(&output);
    }
}
