//! Every span ends in exactly one counted outcome.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use pulse_collector::telemetry::metrics::ALL;

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http;
use crate::otlp::{
    JSON, PROTOBUF, grpc_client, key_value, partial_success, post, request, runtime, span,
};
use crate::otlp_json;

const RECEIVED: &str = "pulse_receiver_received_spans_total";
const ACCEPTED: &str = "pulse_receiver_accepted_spans_total";
const REJECTED: &str = "pulse_receiver_rejected_spans_total";
const REFUSED: &str = "pulse_receiver_refused_spans_total";

// Scenario: good spans, bad spans, spans that don't fit into a small log (which is known of some by
// their length alone, so that they never arrive), and bodies that are no request, over gRPC, protobuf over HTTP and JSON over HTTP.
// Guarantees: received = accepted + rejected + refused, each as large as what was sent, and what
// was accepted is what the store then holds.
fn outcomes_add_up_to_what_was_sent(store: Store) {
    let daemon = Daemon::spawn_on(
        store,
        &[
            ("queue.segment_size", "64KiB"),
            ("queue.max_size", "256KiB"),
            ("queue.partitions", "1"),
            ("processors.batch.timeout", "20ms"),
        ],
    );
    let addresses = daemon.addresses();
    let good = |trace: u8, count: u8| {
        (1..=count)
            .map(|id| span(&[trace; 16], &[id; 8], "good"))
            .collect::<Vec<_>>()
    };

    assert_eq!(post(addresses.http, &request("a", good(1, 10))).status, 200);
    let mut mixed = good(2, 4);
    mixed.push(span(&[0; 16], &[1; 8], "zero trace id"));
    mixed.push(span(&[2; 16], &[1; 7], "short span id"));
    mixed.push(span(&[2; 16], &[], "no span id"));
    let partial = partial_success(&post(addresses.http, &request("a", mixed))).unwrap();
    assert_eq!(partial.rejected_spans, 3);
    let json = otlp_json::encode(&request("a", good(3, 5))).to_string();
    let answer = http::post(addresses.http, "/v1/traces", &[JSON], json.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    runtime().block_on(async {
        let mut grpc = grpc_client(addresses.grpc);
        grpc.export(request("a", good(4, 6))).await.unwrap();
    });
    let answer = http::post(addresses.http, "/v1/traces", &[PROTOBUF], b"\xff\xff\xff").unwrap();
    assert_eq!(answer.status, 400);
    let mut large = span(&[5; 16], &[1; 8], "larger than the log");
    large
        .attributes
        .push(key_value("bytes", Value::BytesValue(vec![7; 600 << 10])));
    let large = request("a", vec![large.clone(), large]);
    let unread = post(addresses.http, &large);
    assert_eq!(unread.status, 413, "it does not fit into the log");
    // The length of JSON says nothing, so that this one is read and counted.
    let json = otlp_json::encode(&large).to_string();
    let read = http::post(addresses.http, "/v1/traces", &[JSON], json.as_bytes()).unwrap();
    assert_eq!(read.status, 413, "nor does this one");

    assert_eq!(daemon.metric(ACCEPTED), 25.0);
    assert_eq!(daemon.metric(REJECTED), 3.0);
    assert_eq!(daemon.metric(REFUSED), 2.0);
    assert_eq!(daemon.metric(RECEIVED), 30.0);
    daemon.await_counted();
    assert_eq!(daemon.metric("pulse_writer_spans_stored_total"), 25.0);
    let services = daemon.list("/api/v1/services");
    assert_eq!(services[0]["span_count"], 25);
}

// Scenario: a daemon that has served every kind of request once is scraped.
// Guarantees: it exposes exactly the metrics that are documented, with their help and type.
#[test]
fn every_documented_metric_is_exposed_and_no_other() {
    let daemon = Daemon::spawn(&[]);
    assert_eq!(
        post(
            daemon.addresses().http,
            &request("a", vec![span(&[1; 16], &[1; 8], "x")])
        )
        .status,
        200
    );
    daemon.await_trace(&[1; 16], 1);
    let text = http::get(daemon.addresses().metrics, "/metrics")
        .unwrap()
        .text();
    let exposed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut exposed: Vec<&str> = exposed.filter_map(|rest| rest.split(' ').next()).collect();
    exposed.sort_unstable();
    let mut documented: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
    documented.sort_unstable();
    let unknown: Vec<_> = exposed
        .iter()
        .filter(|name| !documented.contains(name))
        .collect();
    assert!(unknown.is_empty(), "not documented: {unknown:?}");
    // A series with labels appears when it first counts something; the rest is there from the start.
    let unlabelled = ALL.iter().filter(|metric| metric.labels.is_empty());
    let missing: Vec<_> = unlabelled
        .map(|metric| metric.name)
        .filter(|name| !exposed.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "documented and not exposed: {missing:?}"
    );
}

on_both_stores! {
    outcomes_add_up_to_what_was_sent,
}
