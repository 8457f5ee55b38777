//! Logs: what SDKs send is served as it was sent, and what was acknowledged is stored once, whenever
//! the process is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::kills::send_over_kills;
use crate::otlp::{hex, now, post_accepted, request, runtime, span, text};
use crate::random::Random;
use crate::sdk;

fn python(protocol: &str, endpoint: &str, compression: &str) -> Command {
    let mut command = Command::new(sdk::tool("python/bin/python"));
    let script = sdk::root().join("tests/support/python/logs.py");
    command.arg("-B").arg(script);
    command.args([protocol, endpoint, compression]);
    command
}

fn node(protocol: &str, endpoint: &str, compression: &str) -> Command {
    let modules = sdk::tool("node/node_modules");
    let mut command = Command::new("node");
    command.env("EXPORTER_MODULES", modules.parent().unwrap());
    command.arg(sdk::root().join("tests/support/node/logs.js"));
    command.args([protocol, endpoint, compression]);
    command
}

/// The events of a service, as soon as there are so many.
fn await_events(daemon: &Daemon, service: &str, count: usize) -> Vec<Value> {
    eventually("events to be shown", Duration::from_secs(30), || {
        let found = daemon.list(&format!("/api/v1/events?service={service}"));
        assert!(found.len() <= count, "{found:#?}");
        (found.len() == count).then_some(found)
    })
}

/// Runs a script, and compares what it says with what is served.
fn assert_served(daemon: &Daemon, service: &str, command: &mut Command) {
    let sent = sdk::run(command);
    let found = await_events(daemon, service, sent.len());
    for sent in &sent {
        let same = |event: &&Value| event["body"] == sent["body"];
        let event = found
            .iter()
            .find(same)
            .unwrap_or_else(|| panic!("{sent:#} of {found:#?}"));
        for member in [
            "time_unix_nano",
            "observed_time_unix_nano",
            "severity_number",
            "severity_text",
            "name",
            "body",
            "attributes",
            "trace_id",
            "span_id",
        ] {
            assert_eq!(event[member], sent[member], "{member} of {event:#}");
        }
        assert_eq!(event["scope"]["name"], sent["scope"]);
        assert_eq!(event["environment"], "test");
        let one = daemon.api(&format!(
            "/api/v1/events/{}",
            event["event_id"].as_str().unwrap()
        ));
        assert_eq!(&one.json(), event);
    }
}

// Scenario: a Python application sends its log records over gRPC and HTTP, packed or not.
// Guarantees: every field of every record is served as the SDK holds it; what `logging` wrote of an
// exception has a fingerprint.
fn python_logs_are_served_as_sent(store: Store) {
    for (protocol, compression) in [("grpc", "none"), ("http", "gzip")] {
        let daemon = Daemon::spawn_on(store, &[]);
        let addresses = daemon.addresses();
        let address = if protocol == "grpc" {
            addresses.grpc
        } else {
            addresses.http
        };
        let mut command = python(protocol, &format!("http://{address}"), compression);
        assert_served(&daemon, "python-logs", &mut command);
        let failed = daemon.list("/api/v1/events?min_severity=error");
        assert_eq!(failed.len(), 1);
        assert!(failed[0]["fingerprint"].is_string(), "{:#}", failed[0]);
        assert_eq!(failed[0]["body"], "it failed after 3 tries");
        let of_session = daemon.list("/api/v1/events?session_id=s");
        assert_eq!(of_session.len(), 1);
        let of_attribute = daemon.list("/api/v1/events?attr.user.id=u&name=app.warned");
        assert_eq!(of_attribute.len(), 1);
    }
}

// Scenario: a Node application sends its log records as protobuf and as JSON, packed or not.
// Guarantees: every field of every record is served as the SDK holds it.
fn node_logs_are_served_as_sent(store: Store) {
    for (protocol, compression) in [("proto", "gzip"), ("json", "none")] {
        let daemon = Daemon::spawn_on(store, &[]);
        let endpoint = format!("http://{}", daemon.addresses().http);
        let mut command = node(protocol, &endpoint, compression);
        assert_served(&daemon, "node-logs", &mut command);
    }
}

const CLIENTS: u64 = 3;
const TRACE: [u8; 16] = [0x5a; 16];

/// The records of one request of a client; each names the request and its place there, and every
/// second one is in it twice.
fn logs(client: u64, number: u64, start: u64) -> ExportLogsServiceRequest {
    let mut random = Random::new(client << 32 | number);
    let count = 1 + random.below(8);
    let records = (0..count).flat_map(|place| {
        let record = LogRecord {
            time_unix_nano: start + number,
            severity_number: 9,
            body: Some(AnyValue {
                value: Some(Any::StringValue(format!(
                    "{number}.{place} {}",
                    "x".repeat(200)
                ))),
            }),
            trace_id: TRACE.to_vec(),
            ..LogRecord::default()
        };
        let times = 1 + usize::from(place % 2 == 1);
        std::iter::repeat_n(record, times)
    });
    let resource = Resource {
        attributes: vec![text("service.name", &format!("logger-{client}"))],
        ..Resource::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs {
                log_records: records.collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

/// Sends one request after the other, each until it is acknowledged; answers how many that were.
fn send(client: u64, address: std::net::SocketAddr, start: u64, stop: &AtomicBool) -> u64 {
    runtime().block_on(async {
        let endpoint = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap();
        let mut service = LogsServiceClient::new(endpoint.connect_lazy());
        let mut acknowledged = 0;
        loop {
            let request = logs(client, acknowledged, start);
            while service.export(request.clone()).await.is_err() {
                // The last one may be stored or not: it is sent until it is known.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            acknowledged += 1;
            if stop.load(Ordering::Relaxed) {
                return acknowledged;
            }
        }
    })
}

/// Everything that was acknowledged is there, once.
fn assert_stored(daemon: &Daemon, acknowledged: &[u64], start: u64) {
    for (client, requests) in (0..).zip(acknowledged) {
        let mut expected: BTreeMap<String, usize> = BTreeMap::new();
        for number in 0..*requests {
            let request = logs(client, number, start);
            for record in &request.resource_logs[0].scope_logs[0].log_records {
                if let Some(Any::StringValue(body)) = &record.body.as_ref().unwrap().value {
                    *expected.entry(body.clone()).or_default() += 1;
                }
            }
        }
        let all: usize = expected.values().sum();
        let uri = format!("/api/v1/events?service=logger-{client}&limit=500");
        let found = eventually("events to be shown", Duration::from_secs(60), || {
            let found = daemon.list(&uri);
            assert!(found.len() <= all, "{} of {all}", found.len());
            (found.len() == all).then_some(found)
        });
        let mut stored: BTreeMap<String, usize> = BTreeMap::new();
        for event in &found {
            let body = event["body"].as_str().unwrap().to_owned();
            *stored.entry(body).or_default() += 1;
        }
        assert!(stored == expected, "other events than were sent");
        let ids: BTreeSet<_> = found
            .iter()
            .map(|event| event["event_id"].to_string())
            .collect();
        assert_eq!(ids.len(), all);
    }
}

// Scenario: clients send logs without a pause, each request again and again until it is acknowledged,
// while the daemon is killed with SIGKILL at random moments.
// Guarantees: what was acknowledged is stored once and as sent, equal records of one request as often
// as they were in it.
fn no_acknowledged_log_is_lost_or_doubled_over_kills(store: Store) {
    let settings = [
        ("queue.segment_size", "1MiB"),
        ("queue.memory_size", "1MiB"),
        ("processors.batch.timeout", "50ms"),
        ("processors.batch.send_batch_size", "100"),
    ];
    let mut random = Random::from_environment("logs");
    let mut daemon = Daemon::spawn_on(store, &settings);
    let start = now();
    let acknowledged = send_over_kills(
        &mut daemon,
        &mut random,
        CLIENTS,
        |client, address, stop| send(client, address, start, stop),
    );
    assert_stored(&daemon, &acknowledged, start);
    daemon.process.kill9();
    daemon.restart();
    assert_stored(&daemon, &acknowledged, start);
}

// Scenario: a trace with more events than are answered at once.
// Guarantees: the first of them come with the trace, and it says that there are more.
fn a_trace_comes_with_its_events(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let address = daemon.addresses().http;
    post_accepted(
        address,
        &request("api", vec![span(&TRACE, &[1; 8], "work")]),
    );
    let records = (0..1001).map(|number| LogRecord {
        time_unix_nano: now() + number,
        body: Some(AnyValue {
            value: Some(Any::StringValue(number.to_string())),
        }),
        trace_id: TRACE.to_vec(),
        span_id: vec![1; 8],
        ..LogRecord::default()
    });
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: records.collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    let sent = runtime().block_on(async {
        let client = LogsServiceClient::connect(format!("http://{}", daemon.addresses().grpc));
        client.await.unwrap().export(logs).await.unwrap()
    });
    assert_eq!(sent.into_inner().partial_success, None);
    daemon.await_stored();
    let trace = daemon.await_trace(&TRACE, 1);
    let events = trace["events"].as_array().unwrap();
    assert_eq!((events.len(), &trace["events_cut"]), (1000, &json!(true)));
    assert_eq!(events[0]["body"], "0");
    let counted = daemon.metric("pulse_receiver_accepted_log_records_total{transport=\"grpc\"}");
    assert!((counted - 1001.0).abs() < 0.5, "{counted}");
    let of_span = format!("/api/v1/events?trace_id={}&limit=500", hex(&TRACE));
    assert_eq!(daemon.list(&of_span).len(), 1001);
}

on_both_stores! {
    python_logs_are_served_as_sent,
    node_logs_are_served_as_sent,
    no_acknowledged_log_is_lost_or_doubled_over_kills,
    a_trace_comes_with_its_events,
}
