//! What clients do differently and mean the same.

use std::io::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};
use prost::Message as _;
use serde_json::json;

use crate::daemon::Daemon;
use crate::http;
use crate::otlp::{JSON, PROTOBUF, key_value, post_accepted, request, span, text};
use crate::otlp_json;
use crate::raw_grpc::{self, EXPORT, frame};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A request of which only the trace id differs from others.
fn sample(trace: u8) -> ExportTraceServiceRequest {
    let mut sampled = span(&[trace; 16], &[1; 8], "encoded");
    (sampled.start_time_unix_nano, sampled.end_time_unix_nano) = (1 << 60, (1 << 60) + 5);
    sampled.attributes = vec![text("text", &"é ".repeat(500)), text("empty", "")];
    request("encoded", vec![sampled])
}

// Scenario: one request in every encoding over every transport: not compressed, gzip, gzip of two
// members, zstd and deflate; gRPC, protobuf and JSON over HTTP.
// Guarantees: each is accepted, and what is stored is the same.
#[test]
fn encodings_and_transports_make_no_difference() {
    let daemon = Daemon::spawn(&[]);
    let (grpc, http) = (daemon.addresses().grpc, daemon.addresses().http);
    type Pack = fn(&[u8]) -> Vec<u8>;
    let two_members: Pack = |bytes| {
        let (one, other) = bytes.split_at(bytes.len() / 2);
        [gzip(one), gzip(other)].concat()
    };
    let encodings: [(&str, Pack); 5] = [
        ("identity", |bytes| bytes.to_vec()),
        ("gzip", gzip),
        ("gzip", two_members),
        ("zstd", zstd),
        ("deflate", deflate),
    ];
    let mut trace = 0;
    for (name, pack) in encodings {
        trace += 1;
        let message = pack(&sample(trace).encode_to_vec());
        let headers = [
            ("content-type", "application/grpc"),
            ("grpc-encoding", name),
        ];
        let body = frame(name != "identity", &message);
        let answer = raw_grpc::send(grpc, EXPORT, &headers, body);
        assert_eq!(answer.status, Some(0), "{name}: {answer:?}");
        trace += 1;
        let body = pack(&sample(trace).encode_to_vec());
        let headers = [PROTOBUF, ("content-encoding", name)];
        let answer = http::post(http, "/v1/traces", &headers, &body).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{name}");
        trace += 1;
        let body = pack(otlp_json::encode(&sample(trace)).to_string().as_bytes());
        let headers = [JSON, ("content-encoding", name)];
        let answer = http::post(http, "/v1/traces", &headers, &body).unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "{}"),
            "{name}"
        );
    }
    daemon.await_stored();
    for number in 1..=trace {
        let stored = daemon.trace_otlp(&[number; 16]).expect("it is stored");
        assert_eq!(stored, sample(number), "trace {number}");
    }
}

// Scenario: numbers of kinds and statuses that no version has, resources and scopes without spans,
// no resource and no scope at all, references into a table of strings that traces don't have.
// Guarantees: nothing of it is an error; the spans are stored, as unspecified, in full.
#[test]
fn what_is_unknown_or_missing_is_no_error() {
    let daemon = Daemon::spawn(&[]);
    let mut unknown = span(&[1; 16], &[1; 8], "unknown");
    unknown.kind = 99;
    unknown.status = Some(Status {
        code: 7,
        ..Status::default()
    });
    let mut missing = span(&[1; 16], &[2; 8], "missing");
    missing.kind = 0;
    let mut table = key_value("value", Value::StringValueStrindex(3));
    table.key_strindex = 5;
    missing.attributes = vec![table, text("kept", "x")];
    let mut sent = request("lenient", vec![unknown]);
    sent.resource_spans.push(ResourceSpans::default());
    sent.resource_spans[0]
        .scope_spans
        .push(ScopeSpans::default());
    sent.resource_spans.push(ResourceSpans {
        scope_spans: vec![ScopeSpans {
            spans: vec![missing],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    });
    post_accepted(daemon.addresses().http, &sent);
    post_accepted(
        daemon.addresses().http,
        &ExportTraceServiceRequest::default(),
    );
    let empty = raw_grpc::send(
        daemon.addresses().grpc,
        EXPORT,
        &[("content-type", "application/grpc")],
        frame(false, b""),
    );
    assert_eq!(empty.status, Some(0));
    let trace = daemon.await_trace(&[1; 16], 2);
    let spans = trace["spans"].as_array().unwrap();
    let unknown = crate::api::item(spans, "name", "unknown");
    assert_eq!(unknown["status"]["code"], "unset");
    let missing = crate::api::item(spans, "name", "missing");
    assert_eq!(missing["kind"], "internal");
    assert_eq!(missing["service_name"], "unknown_service");
    assert_eq!(missing["attributes"], json!({"value": null, "kept": "x"}));
    assert_eq!(daemon.metric("pulse_receiver_received_spans_total"), 2.0);
    let output = daemon.process.output();
    assert_eq!(output.matches("string table").count(), 1, "{output}");
}

// Scenario: the path of the trace endpoint is configured.
// Guarantees: it is served there and nowhere else.
#[test]
fn the_path_of_traces_can_be_set() {
    let daemon = Daemon::spawn(&[(
        "receivers.otlp.protocols.http.traces_url_path",
        "/otel/v1/traces",
    )]);
    let post = |path: &str| {
        let body = sample(1).encode_to_vec();
        http::post(daemon.addresses().http, path, &[PROTOBUF], &body).unwrap()
    };
    assert_eq!(post("/otel/v1/traces").status, 200);
    let elsewhere = post("/v1/traces");
    assert_eq!(elsewhere.status, 404);
    let status = tonic_types::Status::decode(elsewhere.body.as_slice()).unwrap();
    assert!(status.message.contains("/v1/traces"), "{status:?}");
    daemon.await_trace(&[1; 16], 1);
}
