//! Nothing that a client sends stops the daemon, costs a neighbour's spans or keeps memory.

use std::io::Write as _;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use prost::Message as _;
use serde_json::json;
use tonic::Code;

use crate::daemon::{Daemon, eventually};
use crate::http::{self, Response};
use crate::otlp::{
    JSON, PROTOBUF, hex, key_value, now, partial_success, post, post_accepted, request, span,
};
use crate::otlp_json;
use crate::random::Random;
use crate::raw_grpc::{self, EXPORT, frame};

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const LIMIT_MIB: usize = 1;
const SMALL_BODIES: &[(&str, &str)] = &[
    (
        "receivers.otlp.protocols.http.max_request_body_size",
        "1MiB",
    ),
    ("receivers.otlp.protocols.grpc.max_recv_msg_size_mib", "1"),
];

/// The daemon serves as if nothing had happened, and holds nothing of what came before.
fn assert_unharmed(daemon: &mut Daemon) {
    eventually("requests in flight to end", Duration::from_secs(10), || {
        let requests = daemon.metric("pulse_receiver_in_flight_requests");
        let bytes = daemon.metric("pulse_receiver_in_flight_bytes");
        (requests == 0.0 && bytes == 0.0).then_some(())
    });
    let trace_id = Random::new(now()).id::<16>();
    post_accepted(
        daemon.addresses().http,
        &request("after", vec![span(&trace_id, &[1; 8], "fine")]),
    );
    daemon.await_trace(&trace_id, 1);
    assert!(daemon.is_alive_and_ready());
    let output = daemon.process.output();
    assert!(!output.contains("panicked"), "{output}");
}

fn post_body(daemon: &Daemon, headers: &[(&str, &str)], body: &[u8]) -> Response {
    http::post(daemon.addresses().http, "/v1/traces", headers, body).expect("an answer")
}

/// An error with this status and a `Status` body in the type of the request.
fn assert_error(answer: &Response, status: u16, content_type: (&str, &str)) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let answered = answer.header("content-type").unwrap_or_default();
    assert!(answered.starts_with(content_type.1), "{answered}");
    let message = if content_type == JSON {
        answer.json()["message"]
            .as_str()
            .expect("a Status")
            .to_owned()
    } else {
        tonic_types::Status::decode(answer.body.as_slice())
            .expect("a Status")
            .message
    };
    assert!((1..1024).contains(&message.len()), "{message}");
}

fn refused_by_grpc(daemon: &Daemon, body: Vec<u8>) -> raw_grpc::Answer {
    raw_grpc::send(daemon.addresses().grpc, EXPORT, &[GRPC], body)
}

fn assert_grpc(answer: &raw_grpc::Answer, code: Code) {
    assert_eq!(answer.status.map(Code::from_i32), Some(code), "{answer:?}");
    assert!(answer.message.len() < 1024, "{answer:?}");
}

// Scenario: noise, truncated messages, bad varints and broken UTF-8 as protobuf on both protocols;
// truncated, trailing and wrongly typed JSON.
// Guarantees: each is refused for good (400, INVALID_ARGUMENT) with a short reason, nothing of it
// is stored, and the daemon goes on.
#[test]
fn malformed_bodies_are_refused_for_good() {
    let mut daemon = Daemon::spawn(&[]);
    let good = request("bad", vec![span(&[1; 16], &[1; 8], "name")]).encode_to_vec();
    let name_at = good
        .windows(4)
        .position(|window| window == b"name")
        .unwrap();
    let mut not_utf8 = good.clone();
    not_utf8[name_at] = 0xff;
    let mut random = Random::from_environment("malformed");
    let noise: Vec<u8> = (0..2_000).map(|_| random.next() as u8 | 0x80).collect();
    let bodies: [&[u8]; 6] = [
        &noise,
        &good[..good.len() - 1],
        &good[..7],
        &not_utf8,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"{\"resourceSpans\":[]}",
    ];
    for body in bodies {
        assert_error(&post_body(&daemon, &[PROTOBUF], body), 400, PROTOBUF);
        assert_grpc(
            &refused_by_grpc(&daemon, frame(false, body)),
            Code::InvalidArgument,
        );
    }
    let json =
        otlp_json::encode(&request("bad", vec![span(&[1; 16], &[1; 8], "name")])).to_string();
    let bodies = [
        json[..json.len() - 1].to_owned(),
        format!("{json}x"),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "{\"resourceSpans\":{}}".to_owned(),
        json.replace("\"kind\":1", "\"kind\":[1]"),
        json.replace("\"name\":\"name\"", "\"name\":5"),
        String::from_utf8_lossy(&good).into_owned(),
        String::new(),
    ];
    for body in bodies {
        assert_error(&post_body(&daemon, &[JSON], body.as_bytes()), 400, JSON);
    }
    assert_error(
        &post_body(&daemon, &[JSON], b"{\"resourceSpans\":[\"\xff\"]}"),
        400,
        JSON,
    );
    assert_unharmed(&mut daemon);
    assert!(
        daemon.trace(&[1; 16]).is_none(),
        "a part of a malformed request is stored"
    );
}

// Scenario: requests in which some spans have ids of the wrong length or all zero, as protobuf and
// as JSON, and one in which all have.
// Guarantees: exactly those spans are rejected, with their number and the first reason; the others
// are stored.
#[test]
fn a_bad_id_costs_its_span_only() {
    let mut daemon = Daemon::spawn(&[]);
    let bad_spans = |trace_id: &[u8]| {
        vec![
            span(&[], &[9; 8], "no trace id"),
            span(&[0; 16], &[9; 8], "zero trace id"),
            span(&trace_id[..15], &[9; 8], "short trace id"),
            span(trace_id, &[], "no span id"),
            span(trace_id, &[0; 8], "zero span id"),
            span(trace_id, &[9; 9], "long span id"),
        ]
    };
    let mixed = |trace_id: &[u8]| {
        let mut spans = bad_spans(trace_id);
        spans.insert(3, span(trace_id, &[1; 8], "good"));
        spans.push(span(trace_id, &[2; 8], "good"));
        request("ids", spans)
    };
    let partial = partial_success(&post(daemon.addresses().http, &mixed(&[1; 16]))).unwrap();
    assert_eq!(partial.rejected_spans, 6);
    assert!(
        partial.error_message.contains("trace"),
        "{}",
        partial.error_message
    );
    daemon.await_trace(&[1; 16], 2);

    let body = otlp_json::encode(&mixed(&[2; 16])).to_string();
    let answer = post_body(&daemon, &[JSON], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["partialSuccess"]["rejectedSpans"],
        "6",
        "{}",
        answer.text()
    );
    daemon.await_trace(&[2; 16], 2);

    let all_bad = post(
        daemon.addresses().http,
        &request("ids", bad_spans(&[3; 16])),
    );
    assert_eq!(partial_success(&all_bad).unwrap().rejected_spans, 6);
    assert_unharmed(&mut daemon);
    assert!(daemon.trace(&[3; 16]).is_none());
}

// Scenario: bodies one byte over the limit, announced and real, and compressed ones that are
// within it until they are unpacked, on both protocols.
// Guarantees: they are refused for good (413, RESOURCE_EXHAUSTED without RetryInfo); a body that is
// exactly as large as the limit is accepted.
#[test]
fn bodies_over_the_limit_are_refused_for_good() {
    let mut daemon = Daemon::spawn(SMALL_BODIES);
    let exact = |length: usize, trace: u8| {
        let mut sized = request("size", vec![span(&[trace; 16], &[1; 8], "sized")]);
        let span = &mut sized.resource_spans[0].scope_spans[0].spans[0];
        // The name grows the message; headroom for the lengths of the messages around it.
        span.trace_state = "x".repeat(length - 400);
        let missing = length - sized.encoded_len();
        sized.resource_spans[0].scope_spans[0].spans[0]
            .trace_state
            .push_str(&"x".repeat(missing));
        assert_eq!(sized.encoded_len(), length);
        sized
    };
    let limit = LIMIT_MIB << 20;
    post_accepted(daemon.addresses().http, &exact(limit, 1));
    let answer = refused_by_grpc(&daemon, frame(false, &exact(limit, 2).encode_to_vec()));
    assert_grpc(&answer, Code::Ok);

    let over = exact(limit + 1, 3).encode_to_vec();
    assert_error(&post_body(&daemon, &[PROTOBUF], &over), 413, PROTOBUF);
    let answer = refused_by_grpc(&daemon, frame(false, &over));
    assert_grpc(&answer, Code::ResourceExhausted);
    assert_eq!(answer.details, None, "a client would send it again");

    let head = http::post_head(daemon.addresses().http, "/v1/traces", &[JSON], 1 << 40);
    assert_error(
        &http::exchange(daemon.addresses().http, &head).unwrap(),
        413,
        JSON,
    );

    let zipped = gzip(&over);
    assert!(zipped.len() < limit / 100);
    let gzipped = [PROTOBUF, ("content-encoding", "gzip")];
    assert_error(&post_body(&daemon, &gzipped, &zipped), 413, PROTOBUF);
    let answer = raw_grpc::send(
        daemon.addresses().grpc,
        EXPORT,
        &[GRPC, ("grpc-encoding", "gzip")],
        frame(true, &zipped),
    );
    assert_grpc(&answer, Code::ResourceExhausted);
    assert_eq!(answer.details, None, "a client would send it again");
    assert_unharmed(&mut daemon);
    daemon.await_trace(&[1; 16], 1);
    daemon.await_trace(&[2; 16], 1);
    assert!(daemon.trace(&[3; 16]).is_none());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

// Scenario: 256 MiB of zeros, packed by gzip, deflate and zstd into little, ten times at once, and
// gRPC frames that announce 4 GiB and send nothing.
// Guarantees: all are refused for good while memory grows by no more than the limit times the
// requests in flight, and it is given back.
#[test]
fn bombs_cost_no_memory() {
    let mut daemon = Daemon::spawn(SMALL_BODIES);
    assert_unharmed(&mut daemon);
    let zeros = vec![0; 256 << 20];
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(&zeros).unwrap();
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", deflate.finish().unwrap()),
        ("zstd", zstd::encode_all(zeros.as_slice(), 1).unwrap()),
    ];
    drop(zeros);
    let before = daemon.process.memory_kib("VmRSS");
    for (encoding, bomb) in &bombs {
        // A bomb that is packed above the limit is refused for that.
        assert!(bomb.len() < 4 << 20, "{encoding}: {}", bomb.len());
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let headers = [PROTOBUF, ("content-encoding", encoding)];
                    assert_error(&post_body(&daemon, &headers, bomb), 413, PROTOBUF);
                });
            }
        });
        let headers = [GRPC, ("grpc-encoding", *encoding)];
        let answer = raw_grpc::send(daemon.addresses().grpc, EXPORT, &headers, frame(true, bomb));
        assert_grpc(&answer, Code::ResourceExhausted);
    }
    let mut lying = frame(false, b"");
    lying[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    for _ in 0..20 {
        assert_grpc(
            &refused_by_grpc(&daemon, lying.clone()),
            Code::ResourceExhausted,
        );
    }
    // Ten requests at twice the limit, and what the allocator keeps.
    let grown = daemon.process.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 48 << 10, "memory grew by {grown} KiB");
    assert_unharmed(&mut daemon);
}

// Scenario: encodings and content types that are not served, bodies that are not what their
// encoding says, other methods and paths, on both protocols.
// Guarantees: the code that tells each client not to send the same again, and a `Status` with it.
#[test]
fn what_is_not_served_is_refused_by_its_own_code() {
    let mut daemon = Daemon::spawn(&[]);
    let good = request("x", vec![span(&[1; 16], &[1; 8], "x")]).encode_to_vec();
    let encoded = |encoding, body: &[u8]| {
        post_body(&daemon, &[PROTOBUF, ("content-encoding", encoding)], body)
    };
    assert_error(&encoded("br", &good), 415, PROTOBUF);
    assert_error(&encoded("gzip", &good), 400, PROTOBUF);
    let zipped = gzip(&good);
    assert_error(&encoded("gzip", &zipped[..zipped.len() - 9]), 400, PROTOBUF);
    assert_error(&encoded("zstd", &zipped), 400, PROTOBUF);
    for headers in [&[("content-type", "text/plain")][..], &[]] {
        let answer = post_body(&daemon, headers, &good);
        assert_eq!(answer.status, 415, "{}", answer.text());
    }
    let address = daemon.addresses().http;
    let get = http::get(address, "/v1/traces").unwrap();
    assert_eq!(
        (get.status, get.header("allow").is_some()),
        (405, true),
        "{}",
        get.text()
    );
    for path in ["/", "/v1development/profiles", "/v1/traces/x"] {
        let answer = http::post(address, path, &[JSON], b"{}").unwrap();
        assert_error(&answer, 404, JSON);
    }

    let grpc = daemon.addresses().grpc;
    let answer = raw_grpc::send(
        grpc,
        EXPORT,
        &[GRPC, ("grpc-encoding", "snappy")],
        frame(true, &good),
    );
    assert_grpc(&answer, Code::Unimplemented);
    assert!(
        answer.headers.contains_key("grpc-accept-encoding"),
        "{answer:?}"
    );
    let answer = raw_grpc::send(
        grpc,
        EXPORT,
        &[GRPC, ("grpc-encoding", "gzip")],
        frame(true, &good),
    );
    assert_grpc(&answer, Code::InvalidArgument);
    let answer = raw_grpc::send(
        grpc,
        "/no.such.Service/Export",
        &[GRPC],
        frame(false, &good),
    );
    assert_grpc(&answer, Code::Unimplemented);
    let answer = raw_grpc::send(grpc, EXPORT, &[JSON], b"{}".to_vec());
    assert_eq!(answer.http_status, 415, "{answer:?}");
    assert_unharmed(&mut daemon);
    assert!(daemon.trace(&[1; 16]).is_none());
}

// Scenario: a hundred clients announce a body, send half of it and go away, or wait.
// Guarantees: nothing of it is stored, what was held is given back, others are served meanwhile.
#[test]
fn half_sent_bodies_are_forgotten() {
    let mut daemon = Daemon::spawn(&[]);
    let address = daemon.addresses().http;
    let body = request("half", vec![span(&[1; 16], &[1; 8], "half")]).encode_to_vec();
    let start = || {
        let mut stream = http::connect(address).unwrap();
        stream
            .write_all(&http::post_head(
                address,
                "/v1/traces",
                &[PROTOBUF],
                body.len(),
            ))
            .unwrap();
        stream.write_all(&body[..body.len() / 2]).unwrap();
        stream
    };
    let waiting: Vec<_> = (0..100).map(|_| start()).collect();
    post_accepted(
        address,
        &request("whole", vec![span(&[2; 16], &[1; 8], "whole")]),
    );
    daemon.await_trace(&[2; 16], 1);
    drop(waiting);
    assert_unharmed(&mut daemon);
    assert!(daemon.trace(&[1; 16]).is_none());
}

/// A request with an attribute of this many arrays around a number.
fn nested(levels: usize) -> Vec<u8> {
    let mut value = AnyValue {
        value: Some(Value::IntValue(1)),
    }
    .encode_to_vec();
    // Field 5 of AnyValue around field 1 of ArrayValue.
    for _ in 0..levels {
        for tag in [0x0a, 0x2a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.extend(value);
            value = outer;
        }
    }
    wrap(value)
}

/// Bytes of an `AnyValue` as an attribute of the only span of a request.
fn wrap(value: Vec<u8>) -> Vec<u8> {
    // Built from the inside, because building it as messages would need as deep a stack.
    let mut bytes = value;
    let mut around = |tag: u8, before: Vec<u8>| {
        let mut outer = before;
        outer.push(tag);
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.append(&mut bytes);
        bytes = outer;
    };
    around(0x12, b"\x0a\x06nested".to_vec());
    around(0x4a, span(&[1; 16], &[1; 8], "nested").encode_to_vec());
    around(0x12, Vec::new());
    around(0x12, Vec::new());
    around(0x0a, Vec::new());
    bytes
}

// Scenario: values nested 20, 101 and 10,000 levels deep, as protobuf on both protocols and as JSON.
// Guarantees: reasonable depth is stored, the rest is refused for good with a short reason, and no
// stack overflows.
#[test]
fn deeply_nested_values_are_refused() {
    let mut daemon = Daemon::spawn(&[]);
    let check = ExportTraceServiceRequest::decode(nested(2).as_slice()).unwrap();
    let inner = ArrayValue {
        values: vec![AnyValue {
            value: Some(Value::IntValue(1)),
        }],
    };
    let inner = AnyValue {
        value: Some(Value::ArrayValue(inner)),
    };
    let expected = key_value(
        "nested",
        Value::ArrayValue(ArrayValue {
            values: vec![inner],
        }),
    );
    assert_eq!(
        check.resource_spans[0].scope_spans[0].spans[0].attributes,
        [expected]
    );

    let answer = post_body(&daemon, &[PROTOBUF], &nested(20));
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, 0),
        "{}",
        answer.text()
    );
    daemon.await_trace(&[1; 16], 1);
    for levels in [101, 10_000] {
        assert_error(
            &post_body(&daemon, &[PROTOBUF], &nested(levels)),
            400,
            PROTOBUF,
        );
        let answer = refused_by_grpc(&daemon, frame(false, &nested(levels)));
        assert_grpc(&answer, Code::InvalidArgument);
        let (open, close) = (
            r#"{"arrayValue":{"values":["#.repeat(levels),
            "]}}".repeat(levels),
        );
        let ids = format!(
            r#""traceId":"{}","spanId":"{}""#,
            hex(&[2; 16]),
            hex(&[1; 8])
        );
        let json = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{ids},"attributes":[{{"key":"k","value":{open}{close}}}]}}]}}]}}]}}"#
        );
        assert_error(&post_body(&daemon, &[JSON], json.as_bytes()), 400, JSON);
        let unknown = format!(
            r#"{{"future":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        );
        let answer = post_body(&daemon, &[JSON], unknown.as_bytes());
        assert!([200, 400].contains(&answer.status), "{}", answer.text());
    }
    assert_unharmed(&mut daemon);
    assert!(daemon.trace(&[2; 16]).is_none());
}

// Scenario: NUL characters in every text of a span, and lone surrogates in JSON.
// Guarantees: the batch is accepted; NUL is stored as it is, half a character as U+FFFD, in names,
// keys, values and events; the spans beside it are stored.
#[test]
fn strange_characters_do_not_fail_a_batch() {
    let mut daemon = Daemon::spawn(&[]);
    let mut strange = span(&[1; 16], &[1; 8], "a\u{0}b");
    strange.trace_state = "\u{0}".to_owned();
    strange.attributes = vec![
        crate::otlp::text("k\u{0}", "v\u{0}"),
        crate::otlp::text("session.id", "s\u{0}"),
        crate::otlp::text("gen_ai.operation.name", "\u{0}"),
    ];
    post_accepted(
        daemon.addresses().http,
        &request("n\u{0}", vec![strange, span(&[1; 16], &[2; 8], "x")]),
    );
    let trace = daemon.await_trace(&[1; 16], 2);
    let stored = crate::api::item(
        trace["spans"].as_array().unwrap(),
        "span_id",
        "0101010101010101",
    );
    assert_eq!(stored["name"], "a\u{0}b");
    assert_eq!(stored["attributes"]["k\u{0}"], "v\u{0}");
    assert_eq!(stored["service_name"], "n\u{0}");

    let mut half = span(&[2; 16], &[1; 8], "name HALF");
    half.attributes = vec![crate::otlp::text("key HALF", "value HALF")];
    half.events = vec![Event {
        name: "event HALF".to_owned(),
        ..Event::default()
    }];
    let spans = vec![half, span(&[2; 16], &[2; 8], "neighbour")];
    let body = otlp_json::encode(&request("json HALF", spans)).to_string();
    let body = body.replace("HALF", r"\ud83d \udfff.");
    let answer = post_body(&daemon, &[JSON], body.as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let trace = daemon.await_trace(&[2; 16], 2);
    let spans = trace["spans"].as_array().unwrap();
    let stored = crate::api::item(spans, "span_id", "0101010101010101");
    assert_eq!(stored["name"], "name \u{fffd} \u{fffd}.");
    let attributes = json!({"key \u{fffd} \u{fffd}.": "value \u{fffd} \u{fffd}."});
    assert_eq!(stored["attributes"], attributes);
    assert_eq!(stored["events"][0]["name"], "event \u{fffd} \u{fffd}.");
    assert_eq!(stored["service_name"], "json \u{fffd} \u{fffd}.");
    assert_eq!(spans.len(), 2);
    assert_unharmed(&mut daemon);
}

// Scenario: spans whose times are zero, the largest there is, in the wrong order, far in the past
// and far in the future.
// Guarantees: all are stored as sent and marked, and lists still work.
#[test]
fn implausible_times_are_stored_and_marked() {
    let mut daemon = Daemon::spawn(&[("storage.retention.max_age", "0s")]);
    let now = now();
    let year = 365 * 24 * 3_600 * 1_000_000_000_u64;
    let cases: [(u64, u64, &[&str]); 8] = [
        (now, now + 1, &[]),
        (0, 0, &["start_missing"]),
        (0, now, &["start_missing"]),
        (now, now - 1, &["end_before_start"]),
        (u64::MAX, u64::MAX, &["start_in_future"]),
        (u64::MAX, 0, &["end_before_start", "start_in_future"]),
        (now + year, now + year, &["start_in_future"]),
        (now - 11 * year, now - 11 * year, &["start_in_distant_past"]),
    ];
    for (number, (start, end, _)) in (1_u8..).zip(&cases) {
        let mut span = span(&[number; 16], &[number; 8], "times");
        (span.start_time_unix_nano, span.end_time_unix_nano) = (*start, *end);
        post_accepted(daemon.addresses().http, &request("times", vec![span]));
    }
    for (number, (start, end, marks)) in (1_u8..).zip(&cases) {
        let trace = daemon.await_trace(&[number; 16], 1);
        let span = &trace["spans"][0];
        assert_eq!(span["time_marks"], json!(marks), "{span}");
        assert_eq!(span["start_time_unix_nano"], start.to_string());
        assert_eq!(span["end_time_unix_nano"], end.to_string());
    }
    assert_eq!(daemon.list("/api/v1/traces?limit=3").len(), cases.len());
    assert_eq!(daemon.list("/api/v1/spans?limit=3").len(), cases.len());
    assert_unharmed(&mut daemon);
}
