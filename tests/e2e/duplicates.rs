//! Neither sending again nor another order changes what is stored.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Status;
use serde_json::Value;

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::otlp::{grpc_client, key_value, now, post_accepted, request, runtime, span, text};
use crate::random::Random;

const TRACES: usize = 4;
pub(crate) const SPANS_PER_TRACE: usize = 9;
const SEED: u64 = 11;

/// Four traces in three sessions over two services, cut into requests of three spans, children
/// before their parents. Each seed gives other ids.
pub(crate) fn requests(seed: u64, start: u64) -> (Vec<Vec<u8>>, Vec<ExportTraceServiceRequest>) {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    let mut random = Random::new(seed);
    let mut requests = Vec::new();
    let traces: Vec<_> = (0..TRACES).map(|_| random.id::<16>()).collect();
    for (number, trace_id) in traces.iter().enumerate() {
        // No two traces start alike: lists are in order of start, and equals in any order.
        let start = start + number as u64 * 10_000_000;
        let ids: Vec<_> = (0..SPANS_PER_TRACE).map(|_| random.id::<8>()).collect();
        let spans = ids.iter().enumerate().map(|(index, id)| {
            let mut span = span(trace_id, id, &format!("step {index}"));
            span.parent_span_id = if index == 0 {
                Vec::new()
            } else {
                ids[(index - 1) / 2].clone()
            };
            span.start_time_unix_nano = start + index as u64 * 1_000;
            span.end_time_unix_nano = start + 1_000_000 - index as u64 * 1_000;
            span.attributes = vec![
                text("session.id", &format!("session-{}", number % 3)),
                text("user.id", "user"),
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.request.model", &format!("model-{}", index % 2)),
                key_value("gen_ai.usage.input_tokens", Value::IntValue(index as i64)),
            ];
            let failed = index % 4 == 3;
            span.status = failed.then(|| Status {
                code: 2,
                message: format!("failed at {index}"),
            });
            span
        });
        let mut spans: Vec<_> = spans.collect();
        spans.reverse();
        requests.extend(spans.chunks(3).enumerate().map(|(chunk, spans)| {
            request(
                if chunk == 0 { "frontend" } else { "backend" },
                spans.to_vec(),
            )
        }));
    }
    (traces, requests)
}

/// Everything the API answers, without the times of receipt.
pub(crate) fn answers(daemon: &Daemon, traces: &[Vec<u8>]) -> Vec<Value> {
    for trace in traces {
        daemon.await_trace(trace, SPANS_PER_TRACE as u64);
    }
    daemon.await_counted();
    let mut answers: Vec<Value> = traces
        .iter()
        .map(|trace| daemon.trace(trace).unwrap())
        .collect();
    for path in [
        "/api/v1/traces",
        "/api/v1/spans",
        "/api/v1/services",
        "/api/v1/sessions",
    ] {
        answers.push(daemon.list(path).into());
    }
    answers.iter_mut().for_each(forget_receipt);
    answers
}

fn forget_receipt(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("received_time");
            members.remove("received_time_unix_nano");
            members.values_mut().for_each(forget_receipt);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_receipt),
        _ => {}
    }
}

pub(crate) fn once(
    address: SocketAddr,
    requests: impl IntoIterator<Item = ExportTraceServiceRequest>,
) {
    for request in requests {
        post_accepted(address, &request);
    }
}

fn answers_in_order(store: Store, start: u64, seed: Option<u64>) -> Vec<Value> {
    let (traces, mut requests) = requests(SEED, start);
    if let Some(seed) = seed {
        let mut random = Random::new(seed);
        for last in (1..requests.len()).rev() {
            requests.swap(last, random.below(last as u64 + 1) as usize);
        }
    }
    // Each request in a transaction of its own.
    let daemon = Daemon::spawn_on(store, &[("processors.batch.send_batch_size", "1")]);
    once(daemon.addresses().http, requests);
    answers(&daemon, &traces)
}

pub(crate) fn assert_equal(one: &[Value], other: &[Value]) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other, "\n{one:#}\n---\n{other:#}");
    }
    assert_eq!(one.len(), other.len());
}

// Scenario: every request is sent from eight connections at once, on both protocols, and all of
// them once more afterwards.
// Guarantees: spans, trace summaries, services and sessions are as if each had been sent once.
fn a_request_sent_again_changes_nothing(store: Store) {
    let start = now();
    let expected = answers_in_order(store, start, None);
    let (traces, requests) = requests(SEED, start);
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    let addresses = daemon.addresses();
    std::thread::scope(|scope| {
        for connection in 0..8 {
            let requests = &requests;
            scope.spawn(move || {
                let mut mine = requests.clone();
                mine.rotate_left(connection);
                if connection % 2 == 0 {
                    return once(addresses.http, mine);
                }
                runtime().block_on(async {
                    let mut grpc = grpc_client(addresses.grpc);
                    for request in mine {
                        grpc.export(request).await.expect("accepted");
                    }
                });
            });
        }
    });
    assert_equal(&answers(&daemon, &traces), &expected);
    once(addresses.http, requests);
    assert_equal(&answers(&daemon, &traces), &expected);
    assert_eq!(
        daemon.metric("pulse_writer_spans_stored_total"),
        (TRACES * SPANS_PER_TRACE) as f64
    );
}

// Scenario: the parts of traces arrive in several random orders, children before parents too.
// Guarantees: the order of arrival changes nothing that the API answers.
fn the_order_of_arrival_changes_nothing(store: Store) {
    let start = now();
    let expected = answers_in_order(store, start, None);
    for seed in 1..=3 {
        assert_equal(&answers_in_order(store, start, Some(seed)), &expected);
    }
}

// Scenario: two spans with one identity and different content, one after the other.
// Guarantees: the first one stays, whole.
fn the_first_span_with_an_identity_wins(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let trace_id = [3; 16];
    post_accepted(
        daemon.addresses().http,
        &request("one", vec![span(&trace_id, &[1; 8], "first")]),
    );
    daemon.await_trace(&trace_id, 1);
    post_accepted(
        daemon.addresses().http,
        &request("two", vec![span(&trace_id, &[1; 8], "second")]),
    );
    daemon.await_stored();
    let trace = daemon.await_trace(&trace_id, 1);
    assert_eq!(trace["spans"][0]["name"], "first");
    assert_eq!(trace["spans"][0]["service_name"], "one");
    let services = daemon.list("/api/v1/services");
    let counted = services.iter().any(|service| service["name"] == "two");
    assert!(!counted, "the second one counts nowhere: {services:?}");
}

on_both_stores! {
    a_request_sent_again_changes_nothing,
    the_order_of_arrival_changes_nothing,
    the_first_span_with_an_identity_wins,
}
