//! `deploy/compose.yaml`.

use pulse_collector::config::Config;
use serde_json::Value;

use crate::image::{self, CONFIG};
use crate::{
    assert_fits_memory, assert_succeeds, bytes, connections, default_ports, load, repository,
    seconds, text, validate, yaml,
};

const FILE: &str = "deploy/compose.yaml";

fn service(name: &str) -> Value {
    yaml(FILE)["services"][name].clone()
}

/// The variables of the daemon, as Compose gives them with this password.
fn variables(password: &str) -> Vec<(String, String)> {
    let service = service("pulse-collector");
    let variables = service["environment"].as_object().unwrap();
    let given = variables.iter().map(|(name, value)| {
        let value = value.as_str().unwrap();
        let value = match value.split_once("${POSTGRES_PASSWORD:?") {
            Some((before, rest)) => {
                let (_, after) = rest.split_once('}').unwrap();
                format!("{before}{password}{after}")
            }
            None => value.to_owned(),
        };
        (name.clone(), value)
    });
    given.collect()
}

// Scenario: the daemon's variables are given to `validate` with the image's configuration.
// Guarantees: the daemon starts with them. The store is left out here: see the next test.
#[test]
fn the_daemon_of_compose_has_a_valid_configuration() {
    let variables = variables("secret");
    let without_database: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| *name != "DATABASE_URL")
        .collect();
    let file = repository(CONFIG);
    let arguments = ["--config", file.to_str().unwrap()];
    assert_succeeds(&validate(&arguments, &without_database));
}

#[test]
fn the_daemon_of_compose_uses_its_database() {
    let variables = variables("secret");
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let file = repository(CONFIG);
    let service = service("pulse-collector");
    let command = service["command"].as_array().unwrap();
    let mut arguments = vec!["--config", file.to_str().unwrap()];
    assert_eq!(command[0], "serve");
    arguments.extend(command[1..].iter().map(|word| word.as_str().unwrap()));
    assert_succeeds(&validate(&arguments, &variables));
}

#[test]
fn nothing_of_compose_is_open_to_other_machines() {
    let daemon = service("pulse-collector");
    let expected = default_ports().map(|port| format!("127.0.0.1:{port}:{port}"));
    assert_eq!(daemon["ports"], serde_json::json!(expected));
    assert!(service("postgres").get("ports").is_none());
    // No password is written down, and without one nothing starts.
    for name in ["POSTGRES_PASSWORD", "DATABASE_URL"] {
        let line = text(FILE)
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{name}: ")))
            .unwrap()
            .to_owned();
        assert!(line.contains("${POSTGRES_PASSWORD:?"), "{line}");
    }
    assert!(text(".gitignore").lines().any(|line| line == "deploy/.env"));
}

#[test]
fn the_daemon_of_compose_is_confined() {
    let daemon = service("pulse-collector");
    assert_eq!(daemon["user"], image::user());
    assert_eq!(daemon["read_only"], true);
    assert_eq!(daemon["cap_drop"], serde_json::json!(["ALL"]));
    let options = daemon["security_opt"].as_array().unwrap();
    assert!(options.contains(&Value::from("no-new-privileges:true")));
    let volumes = daemon["volumes"].as_array().unwrap();
    assert_eq!(volumes[0], format!("log:{}", image::data_dir()));

    let limits = &daemon["environment"]["PULSE_MEMORY_LIMIT_MIB"];
    let [ingest, read] = image::CONSENT;
    let limit = ("PULSE_MEMORY_LIMIT_MIB", limits.as_str().unwrap());
    let config = load(CONFIG, [ingest, read, limit, ("HOME", "/")]);
    assert_fits_memory(&config, bytes(daemon["mem_limit"].as_str().unwrap()));
    assert!(daemon["ulimits"]["nofile"].as_u64().unwrap() > connections(&config));
}

#[test]
fn compose_starts_and_stops_in_order() {
    let daemon = service("pulse-collector");
    let waits_for = &daemon["depends_on"]["postgres"]["condition"];
    assert_eq!(waits_for, "service_healthy");
    assert!(service("postgres")["healthcheck"]["test"].is_array());
    let mut expected = image::health_check();
    expected
        .as_array_mut()
        .unwrap()
        .insert(0, Value::from("CMD"));
    assert_eq!(daemon["healthcheck"]["test"], expected);
    let stop = seconds(daemon["stop_grace_period"].as_str().unwrap());
    assert!(stop > Config::default().service.drain_timeout.0);

    // Every volume that a service mounts is declared, so that it outlives its container.
    let file = yaml(FILE);
    for name in ["pulse-collector", "postgres"] {
        for volume in service(name)["volumes"].as_array().unwrap() {
            let (volume, _) = volume.as_str().unwrap().split_once(':').unwrap();
            assert!(file["volumes"].get(volume).is_some(), "{volume}");
        }
    }
}
