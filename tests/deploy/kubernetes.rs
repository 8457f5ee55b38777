//! `deploy/kubernetes`: the embedded variant, and the one with PostgreSQL made from it.

use std::collections::BTreeSet;
use std::process::Command;

use pulse_collector::config::Config;
use serde_json::{Value, json};

use crate::{
    assert_fits_memory, assert_reachable, assert_succeeds, bytes, default_ports, files, image,
    load, mib, parse_yaml, repository, run_if_installed, validate, yaml,
};

const EMBEDDED: &str = "deploy/kubernetes/embedded";
const POSTGRES: &str = "deploy/kubernetes/postgres";

fn embedded(file: &str) -> Value {
    yaml(&format!("{EMBEDDED}/{file}"))
}

fn config() -> Config {
    load(&format!("{EMBEDDED}/config.yaml"), [("HOME", "/")])
}

fn pod() -> Value {
    embedded("statefulset.yaml")["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    let containers = pod()["containers"].clone();
    assert_eq!(containers.as_array().unwrap().len(), 1);
    containers[0].clone()
}

/// Port number by name.
fn container_port(name: &str) -> Option<u64> {
    let container = container();
    let ports = container["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == name)?;
    port["containerPort"].as_u64()
}

fn volume_claim(set: &Value) -> u64 {
    let claim = &set["spec"]["volumeClaimTemplates"][0]["spec"];
    bytes(claim["resources"]["requests"]["storage"].as_str().unwrap())
}

/// Every document of a stream.
fn documents(stream: &str) -> Vec<Value> {
    let texts = stream.split("\n---\n");
    texts
        .map(|text| parse_yaml("kustomize's output", text))
        .collect()
}

/// What `kubectl kustomize` makes of a directory; `None` without kubectl.
fn rendered(directory: &str) -> Option<Vec<Value>> {
    let mut command = Command::new("kubectl");
    command.arg("kustomize").arg(repository(directory));
    let output = run_if_installed(&mut command)?;
    Some(documents(&assert_succeeds(&output)))
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = documents.iter().filter(|it| it["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

#[test]
fn every_manifest_is_a_resource() {
    let kustomization = embedded("kustomization.yaml");
    let resources = kustomization["resources"].as_array().unwrap();
    let listed: BTreeSet<_> = resources
        .iter()
        .map(|it| it.as_str().unwrap().to_owned())
        .collect();
    let present: BTreeSet<_> = files(EMBEDDED)
        .iter()
        .filter_map(|path| path.rsplit('/').next().map(str::to_owned))
        .filter(|name| !["config.yaml", "kustomization.yaml"].contains(&name.as_str()))
        .collect();
    assert_eq!(listed, present);
}

#[test]
fn the_embedded_daemon_has_a_valid_configuration() {
    let file = repository(&format!("{EMBEDDED}/config.yaml"));
    assert_succeeds(&validate(&["--config", file.to_str().unwrap()], &[]));
    let config = config();
    assert_reachable(&config);
    let limit = &container()["resources"]["limits"]["memory"];
    assert_fits_memory(&config, bytes(limit.as_str().unwrap()));
    let limiter = &config.processors.memory_limiter;
    assert!(mib(limiter.in_flight_limit_mib) < mib(limiter.limit_mib - limiter.spike_limit_mib));
}

#[test]
fn the_daemons_with_postgres_have_a_valid_configuration() {
    let file = repository(&format!("{POSTGRES}/config.yaml"));
    let database = (
        "DATABASE_URL",
        "postgres://pulse:secret@db.example.com:5432/pulse?sslmode=verify-full",
    );
    assert_succeeds(&validate(
        &["--config", file.to_str().unwrap()],
        &[database],
    ));
}

// Scenario: the two configurations are compared as documents.
// Guarantees: the one with PostgreSQL is the embedded one but for what is said about the store, the
// age of connections and nothing else.
#[test]
fn the_variants_differ_in_the_store_only() {
    let mut embedded = embedded("config.yaml");
    let mut postgres = yaml(&format!("{POSTGRES}/config.yaml"));
    assert_eq!(postgres["storage"]["kind"], "postgres");
    let grpc = &mut postgres["receivers"]["otlp"]["protocols"]["grpc"];
    let keepalive = grpc.as_object_mut().unwrap().remove("keepalive").unwrap();
    assert_eq!(
        keepalive,
        json!({"server_parameters": {"max_connection_age": "5m"}})
    );
    for config in [&mut embedded, &mut postgres] {
        config.as_object_mut().unwrap().remove("storage").unwrap();
    }
    assert_eq!(embedded, postgres);
}

#[test]
fn probes_ask_where_the_daemon_answers() {
    let container = container();
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        let expected = json!({"path": path, "port": "metrics"});
        assert_eq!(container[probe]["httpGet"], expected, "{probe}");
    }
    // A long log is read, or a database migrated, before the first answer.
    let startup = &container["startupProbe"];
    let patience =
        startup["periodSeconds"].as_u64().unwrap() * startup["failureThreshold"].as_u64().unwrap();
    assert!(patience >= 300, "{patience} s");
}

#[test]
fn the_pod_is_given_time_to_drain() {
    let grace = pod()["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > config().service.drain_timeout.0.as_secs());
    let postgres = yaml(&format!("{POSTGRES}/config.yaml"));
    assert_eq!(
        postgres["service"]["drain_timeout"],
        embedded("config.yaml")["service"]["drain_timeout"]
    );
}

#[test]
fn the_pod_is_confined() {
    let (user, group) = {
        let user = image::user();
        let (user, group) = user.split_once(':').unwrap();
        (user.parse::<u64>().unwrap(), group.parse::<u64>().unwrap())
    };
    let pod = pod();
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["runAsUser"], user);
    assert_eq!(context["runAsGroup"], group);
    assert_eq!(context["fsGroup"], group);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = container();
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
}

#[test]
fn data_and_configuration_are_mounted_where_the_daemon_looks() {
    let container = container();
    let mounts = container["volumeMounts"].as_array().unwrap();
    let place = |name: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == name).unwrap();
        mount["mountPath"].as_str().unwrap().to_owned()
    };
    assert_eq!(Some(place("data").as_str()), config().data_dir().to_str());
    let default_file = pulse_collector::config::load::DEFAULT_FILE;
    assert_eq!(format!("{}/config.yaml", place("config")), default_file);
    let set = embedded("statefulset.yaml");
    let claim = &set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
    assert_eq!(claim, "data");
}

// Scenario: the sizes of log and store are compared with the volume they are on.
// Guarantees: at both limits a tenth of the volume is free.
#[test]
fn the_volume_holds_log_and_store() {
    let config = config();
    let needed = config.queue.max_size.0 + config.storage.retention.max_size.0;
    assert!(config.storage.retention.max_size.0 > 0);
    assert!(needed * 10 <= volume_claim(&embedded("statefulset.yaml")) * 9);
    let patch = yaml(&format!("{POSTGRES}/statefulset.patch.yaml"));
    assert!(config.queue.max_size.0 * 10 <= volume_claim(&patch) * 9);
}

#[test]
fn services_and_policies_find_the_pods_and_their_ports() {
    let set = embedded("statefulset.yaml");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    let names = ["otlp-grpc", "otlp-http", "api", "metrics"];
    for (name, port) in names.into_iter().zip(default_ports()) {
        assert_eq!(container_port(name), Some(port), "{name}");
    }
    let mut served = BTreeSet::new();
    for file in [
        "service-otlp.yaml",
        "service-api.yaml",
        "service-nodes.yaml",
    ] {
        let service = embedded(file);
        assert_eq!(&service["spec"]["selector"], labels, "{file}");
        for port in service["spec"]["ports"].as_array().unwrap() {
            let name = port["targetPort"].as_str().unwrap();
            assert_eq!(port["port"].as_u64(), container_port(name), "{file}");
            served.insert(name.to_owned());
        }
    }
    assert_eq!(served.len(), names.len());
    let nodes = embedded("service-nodes.yaml");
    assert_eq!(set["spec"]["serviceName"], nodes["metadata"]["name"]);
    let budget = embedded("poddisruptionbudget.yaml");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);

    let policy = embedded("networkpolicy.yaml");
    assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let mut admitted = BTreeSet::new();
    for rule in policy["spec"]["ingress"].as_array().unwrap() {
        // A rule without `from` lets everybody in.
        assert!(!rule["from"].as_array().unwrap().is_empty());
        for port in rule["ports"].as_array().unwrap() {
            admitted.insert(port["port"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(admitted, served);
}

// Scenario: kubectl renders both variants.
// Guarantees: they render, and the second has its own configuration, more than one daemon, the
// database's URL from a secret and a way out to it.
#[test]
fn both_variants_render() {
    let Some(embedded) = rendered(EMBEDDED) else {
        return;
    };
    let postgres = rendered(POSTGRES).unwrap();
    assert_eq!(embedded.len(), postgres.len());
    for (documents, directory) in [(&embedded, EMBEDDED), (&postgres, POSTGRES)] {
        let config = of_kind(documents, "ConfigMap");
        let expected = crate::text(&format!("{directory}/config.yaml"));
        assert_eq!(config["data"]["config.yaml"], expected);
        let set = of_kind(documents, "StatefulSet");
        let pod = &set["spec"]["template"]["spec"];
        let name = &pod["volumes"][0]["configMap"]["name"];
        assert_eq!(name, &config["metadata"]["name"]);
        let image = format!("pulse-collector:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(pod["containers"][0]["image"], image);
        let budget = of_kind(documents, "PodDisruptionBudget");
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
    }
    let set = of_kind(&embedded, "StatefulSet");
    assert_eq!(set["spec"]["replicas"], 1);
    assert!(
        set["spec"]["template"]["spec"]["containers"][0]
            .get("env")
            .is_none()
    );
    let set = of_kind(&postgres, "StatefulSet");
    assert!(set["spec"]["replicas"].as_u64() > Some(1));
    let claims = set["spec"]["volumeClaimTemplates"].as_array().unwrap();
    assert_eq!(claims.len(), 1);
    let variable = &set["spec"]["template"]["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["name"], "DATABASE_URL");
    assert!(variable["valueFrom"]["secretKeyRef"]["name"].is_string());
    let policy = of_kind(&postgres, "NetworkPolicy");
    let ways_out = policy["spec"]["egress"].to_string();
    assert!(ways_out.contains("5432"), "{ways_out}");
    let policy = of_kind(&embedded, "NetworkPolicy");
    assert_eq!(policy["spec"]["egress"], json!([]));
}
