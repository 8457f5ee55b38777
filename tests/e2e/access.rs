//! Keys name the project: made by the command line beside a running daemon, sent by real SDKs,
//! revoked within seconds, and kept over kills and outages.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::daemon::{Daemon, Setup, Store, eventually, on_both_stores};
use crate::fault_proxy::FaultProxy;
use crate::http::{self, Response};
use crate::otlp::{grpc_client, hex, now, request, runtime, span};
use crate::postgres::Database;
use crate::postgres_faults::SETTINGS;
use crate::random::Random;
use crate::sdk;

/// How long a change of keys may take to be in effect everywhere.
const IN_EFFECT_WITHIN: Duration = Duration::from_secs(5);
/// How long anything else may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a command of the command line beside the daemon; answers what it printed.
pub(crate) fn command(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A key as its maker sees it.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) text: String,
}

pub(crate) fn create_key(setup: &Setup, project: &str, scopes: &str) -> Key {
    let arguments = [
        "key",
        "create",
        "--json",
        "--project",
        project,
        "--scope",
        scopes,
    ];
    let made: Value = serde_json::from_str(&command(setup, &arguments)).unwrap();
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    Key {
        id: text("id"),
        text: text("key"),
    }
}

pub(crate) fn get(daemon: &Daemon, path: &str, key: &str) -> Response {
    let header = format!("authorization: Bearer {key}");
    http::get_with(daemon.addresses().gateway, path, &header).unwrap()
}

/// Trace ids that a key can see.
pub(crate) fn traces(daemon: &Daemon, key: &str) -> Vec<String> {
    let answer = get(daemon, "/api/v1/traces?limit=1000", key);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    let ids = items
        .iter()
        .map(|item| item["trace_id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Sends one span with a key; answers the status and the trace.
fn send(daemon: &Daemon, random: &mut Random, key: &str) -> (u16, String) {
    let trace = random.id::<16>();
    let sent = request("keys", vec![span(&trace, &[1; 8], "op")]);
    let body = prost::Message::encode_to_vec(&sent);
    let mut headers = vec![("content-type", "application/x-protobuf")];
    if !key.is_empty() {
        headers.push(("x-api-key", key));
    }
    let answer = http::post(daemon.addresses().http, "/v1/traces", &headers, &body);
    (answer.unwrap().status, hex(&trace))
}

fn assert_no_secret(daemon: &Daemon, keys: &[&Key]) {
    use sha2::Digest as _;
    let output = daemon.process.output();
    for key in keys {
        let hash = hex(&sha2::Sha256::digest(&key.text));
        assert!(
            !output.contains(&key.text) && !output.contains(&hash),
            "{output}"
        );
    }
}

/// An SDK's exporter in each language and protocol, with a key in its environment.
fn exporters(daemon: &Daemon, key: &str) -> Vec<Command> {
    let addresses = daemon.addresses();
    let python = ["grpc", "http"].map(|protocol| {
        let mut command = Command::new(sdk::tool("python/bin/python"));
        let script = sdk::root().join("tests/support/python/export.py");
        command.arg("-B").arg(script).arg(protocol);
        (protocol, command)
    });
    let node = ["grpc", "proto", "json"].map(|protocol| {
        let modules = sdk::tool("node/node_modules");
        let mut command = Command::new("node");
        command.env("EXPORTER_MODULES", modules.parent().unwrap());
        command
            .arg(sdk::root().join("tests/support/node/export.js"))
            .arg(protocol);
        (protocol, command)
    });
    let all = python.into_iter().chain(node);
    let all = all.map(|(protocol, mut command)| {
        let address = if protocol == "grpc" {
            addresses.grpc
        } else {
            addresses.http
        };
        command.args([format!("http://{address}"), "none".to_owned()]);
        // As the documentation of SDKs writes it: values are percent-encoded.
        let headers = format!("Authorization=Bearer%20{key}");
        command.env("OTEL_EXPORTER_OTLP_HEADERS", headers);
        command
    });
    all.collect()
}

// Scenario: keys are made beside a running daemon; the Python and Node SDKs send with one of a
// project, over every protocol, and then with a wrong one.
// Guarantees: what the key sends is its project's, whole, and no other's; what a wrong key sends is
// nobody's; neither keys nor their hashes are in the daemon's log.
fn sdks_send_into_the_project_of_their_key(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("service.telemetry.logs.level", "debug")]);
    let setup = &daemon.setup;
    command(setup, &["project", "create", "team"]);
    let team = create_key(setup, "team", "ingest,read");
    let own = create_key(setup, "default", "ingest,read");
    for (run, mut exporter) in exporters(&daemon, &team.text).into_iter().enumerate() {
        let sent = sdk::run(&mut exporter);
        let trace = sent[0]["traceId"].as_str().unwrap();
        eventually(&format!("the spans of run {run}"), PATIENCE, || {
            traces(&daemon, &team.text)
                .contains(&trace.to_owned())
                .then_some(())
        });
    }
    let visible = traces(&daemon, &team.text);
    assert_eq!(traces(&daemon, &own.text), [""; 0]);

    let wrong = "pulse_sk_00000000-0000-4000-8000-000000000000";
    for mut exporter in exporters(&daemon, wrong) {
        let output = exporter.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).to_lowercase();
        let why = ["unauthenticated", "401", "unauthorized"];
        assert!(
            why.iter().any(|why| told.contains(why)),
            "{exporter:?}: {told}"
        );
    }
    let mut random = Random::new(now());
    let (status, last) = send(&daemon, &mut random, &team.text);
    assert_eq!(status, 200);
    eventually("the last span", PATIENCE, || {
        traces(&daemon, &team.text).contains(&last).then_some(())
    });
    assert_eq!(traces(&daemon, &team.text).len(), visible.len() + 1);
    assert_eq!(traces(&daemon, &own.text), [""; 0]);
    assert_no_secret(&daemon, &[&team, &own]);
}

// Scenario: a daemon without keys takes and answers everything; a key is made, then one that may
// read; the daemon is killed and started again.
// Guarantees: with the first key, requests without one end; keys and when they were used are kept
// over the kill.
fn keys_survive_a_kill(store: Store) {
    let mut random = Random::new(now());
    let mut daemon = Daemon::spawn_on(store, &[]);
    assert_eq!(send(&daemon, &mut random, "").0, 200);
    assert_eq!(daemon.api("/api/v1/traces").status, 200);
    let sends = create_key(&daemon.setup, "default", "ingest");
    let reads = create_key(&daemon.setup, "default", "read");
    eventually("requests without a key to end", IN_EFFECT_WITHIN, || {
        (send(&daemon, &mut random, "").0 == 401).then_some(())
    });
    let refused = daemon.api("/api/v1/traces");
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    let (status, trace) = send(&daemon, &mut random, &sends.text);
    assert_eq!(status, 200);
    daemon.process.kill9();
    daemon.restart();
    assert_eq!(send(&daemon, &mut random, "").0, 401);
    assert_eq!(send(&daemon, &mut random, &sends.text).0, 200);
    assert_eq!(send(&daemon, &mut random, &reads.text).0, 403);
    assert_eq!(get(&daemon, "/api/v1/traces", &sends.text).status, 403);
    eventually("the spans", PATIENCE, || {
        traces(&daemon, &reads.text).contains(&trace).then_some(())
    });
    eventually("the use of the key to be noted", PATIENCE, || {
        let listed = command(&daemon.setup, &["key", "list", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let keys = listed.as_array().unwrap();
        let used = |id: &str| {
            let key = keys.iter().find(|key| key["id"] == id).unwrap();
            key["last_used_unix_nano"].is_string()
        };
        (used(&sends.id) && used(&reads.id)).then_some(())
    });
}

// Scenario: the log of requests is switched on; routes of all kinds are asked with keys in headers, in the
// query and in a body, and without one.
// Guarantees: each is a line with route, status, request id and who asked; no key, no query and no body is
// in it.
#[test]
fn the_access_log_tells_who_asked_and_no_secret() {
    let settings = [("gateway.access_log", "true")];
    let daemon = Daemon::spawn(&settings);
    let key = create_key(&daemon.setup, "default", "read,ingest");
    let gateway = daemon.addresses().gateway;
    let id = eventually("the key to be known", IN_EFFECT_WITHIN, || {
        let answer = get(&daemon, "/api/v1/traces?service=hidden-word", &key.text);
        (answer.status == 200).then(|| answer.header("x-request-id").unwrap_or_default().to_owned())
    });
    let of_family = format!("/events?apiKey={}", key.text);
    assert_eq!(http::get(gateway, &of_family).unwrap().status, 200);
    let body = format!(
        r#"{{"apiKey":"{}","type":"event","name":"hidden-word","payload":{{}}}}"#,
        key.text
    );
    let json = [("content-type", "application/json")];
    let answer = http::post(gateway, "/ingest", &json, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let refused = get(&daemon, "/api/v1/spans", "pulse_sk_nonsense");
    assert_eq!(refused.status, 401);
    let line_of = |route: &str, status: &str| {
        eventually(route, PATIENCE, || {
            let output = daemon.process.output();
            let mut lines = output.lines();
            let found = lines
                .find(|line| line.contains(&format!("route=\"{route}\"")) && line.contains(status));
            found.map(str::to_owned)
        })
    };
    let line = line_of("/api/v1/traces", "status=200");
    for part in [
        "method=GET",
        &id,
        "project=1",
        &format!("by=key {}", key.id),
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    line_of("/events", "status=200");
    line_of("/ingest", "status=201");
    line_of("/api/v1/spans", "status=401");
    assert!(!daemon.process.output().contains("hidden-word"));
    assert_no_secret(&daemon, &[&key]);
}

on_both_stores! {
    sdks_send_into_the_project_of_their_key,
    keys_survive_a_kill,
}

// Scenario: two daemons on one database; a key is made, used at both, and revoked; its project is
// another one's than the one of a second key, which is deleted.
// Guarantees: both changes are in effect at both daemons within 5 s.
#[test]
fn a_revoked_key_is_refused_everywhere() {
    let mut random = Random::new(now());
    let cluster = Cluster::new(&[]);
    let daemons = [cluster.start("all"), cluster.start_apart("all")];
    let setup = &daemons[0].setup;
    command(setup, &["project", "create", "gone"]);
    let revoked = create_key(setup, "default", "ingest,read");
    let deleted = create_key(setup, "gone", "ingest,read");
    for (daemon, key) in daemons
        .iter()
        .flat_map(|daemon| [(daemon, &revoked), (daemon, &deleted)])
    {
        assert_eq!(send(daemon, &mut random, &key.text).0, 200);
        assert_eq!(get(daemon, "/api/v1/services", &key.text).status, 200);
    }
    command(setup, &["key", "revoke", &revoked.id]);
    command(setup, &["project", "delete", "gone", "--yes"]);
    for (daemon, key) in daemons
        .iter()
        .flat_map(|daemon| [(daemon, &revoked), (daemon, &deleted)])
    {
        eventually("the key to be refused", IN_EFFECT_WITHIN, || {
            let read = get(daemon, "/api/v1/services", &key.text).status;
            let sent = send(daemon, &mut random, &key.text).0;
            ((read, sent) == (401, 401)).then_some(())
        });
    }
}

// Scenario: the network to the database breaks while a key that was used before, and one that was
// not, are sent.
// Guarantees: the first goes on, into the log, and all it sent is stored afterwards; the other is
// told to come back, never that it is wrong, and is good afterwards.
#[test]
fn known_keys_go_on_while_the_database_is_away() {
    let mut random = Random::new(now());
    let database = Database::create();
    let proxy = FaultProxy::start(database.address());
    let url = database.url_through(proxy.address());
    let daemon = Daemon::spawn_as(|setup| setup.on_database(database, &url), SETTINGS);
    let known = create_key(&daemon.setup, "default", "ingest,read");
    let fresh = create_key(&daemon.setup, "default", "ingest");
    let mut sent = Vec::new();
    let (status, trace) = send(&daemon, &mut random, &known.text);
    assert_eq!(status, 200);
    sent.push(trace);
    proxy.refuse();
    proxy.cut();
    for _ in 0..20 {
        let (status, trace) = send(&daemon, &mut random, &known.text);
        assert_eq!(status, 200);
        sent.push(trace);
        assert_eq!(send(&daemon, &mut random, &fresh.text).0, 503);
    }
    let outcome = runtime().block_on(async {
        let mut request = tonic::Request::new(request("keys", Vec::new()));
        let key = fresh.text.parse().unwrap();
        request.metadata_mut().insert("x-api-key", key);
        grpc_client(daemon.addresses().grpc).export(request).await
    });
    assert_eq!(outcome.unwrap_err().code(), tonic::Code::Unavailable);
    proxy.heal();
    eventually("the other key to be taken", PATIENCE, || {
        let (status, trace) = send(&daemon, &mut random, &fresh.text);
        assert!([200, 503].contains(&status), "{status}");
        sent.extend((status == 200).then_some(trace));
        (status == 200).then_some(())
    });
    eventually("everything to be stored", PATIENCE, || {
        let answer = get(&daemon, "/api/v1/traces?limit=1000", &known.text);
        let stored = answer.text();
        sent.iter()
            .all(|trace| stored.contains(trace))
            .then_some(())
    });
}

// Scenario: a daemon listens on every interface, without any key.
// Guarantees: it starts, tells how to make the first key, and answers nobody until there is one.
#[test]
fn a_reachable_daemon_tells_how_to_make_the_first_key() {
    let mut random = Random::new(now());
    let reachable = |setup: Setup| {
        let addresses = setup.addresses;
        let any = |port: u16| format!("0.0.0.0:{port}");
        setup
            .set(
                "receivers.otlp.protocols.grpc.endpoint",
                &any(addresses.grpc.port()),
            )
            .set(
                "receivers.otlp.protocols.http.endpoint",
                &any(addresses.http.port()),
            )
            .set("gateway.endpoint", &any(addresses.gateway.port()))
    };
    let daemon = Daemon::spawn_as(reachable, &[]);
    eventually("the way to make a key", PATIENCE, || {
        let told = "pulse-collector key create --name first --scope ingest,read,admin";
        daemon.process.output().contains(told).then_some(())
    });
    assert_eq!(send(&daemon, &mut random, "").0, 401);
    assert_eq!(daemon.api("/api/v1/traces").status, 401);
    assert_eq!(daemon.api("/health").status, 200);
    let key = create_key(&daemon.setup, "default", "ingest,read");
    eventually("the key to be taken", IN_EFFECT_WITHIN, || {
        (send(&daemon, &mut random, &key.text).0 == 200).then_some(())
    });
    assert_eq!(get(&daemon, "/api/v1/traces", &key.text).status, 200);
    assert_eq!(send(&daemon, &mut random, "").0, 401);
}
