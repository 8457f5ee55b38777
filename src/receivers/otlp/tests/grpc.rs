//! Unary calls of OTLP/gRPC.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;

use super::support::*;
use crate::otlp::Failure;

// Scenario: the generated client exports.
// Guarantees: success without a field; partial success as counted by the pipeline.
#[tokio::test]
async fn the_generated_client_exports() {
    let server = Server::start();
    let address = format!("http://{}", server.grpc);
    let mut client = TraceServiceClient::connect(address).await.unwrap();
    let request = ExportTraceServiceRequest {
        resource_spans: vec![Default::default(), Default::default()],
    };
    let response = client.export(request.clone()).await.unwrap();
    assert_eq!(response.into_inner(), ExportTraceServiceResponse::default());
    assert_eq!(server.double.payloads(), [request.encode_to_vec()]);
    server.double.behave(Behaviour::Reject(7, "bad id"));
    let partial = client.export(request).await.unwrap().into_inner();
    let partial = partial.partial_success.unwrap();
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (7, "bad id")
    );
}

// Scenario: a partial success as long as one gets, for clients that read gzip and for others.
// Guarantees: it is compressed for the first, and says so in the form of gRPC.
#[tokio::test]
async fn long_answers_are_compressed_for_who_reads_them() {
    let server = Server::start();
    let reason: &'static str = Box::leak("reason ".repeat(1000).into_boxed_str());
    server.double.behave(Behaviour::Reject(7, reason));
    let mut client = http2(server.grpc).await;
    let others = [("grpc-accept-encoding", "identity,deflate")];
    let plain = export(&mut client, &others, frame(0, b"")).await;
    assert_eq!((plain.code, plain.body[0]), (0, 0));
    assert!(!plain.headers.contains_key("grpc-encoding"));
    let reads = [("grpc-accept-encoding", "identity, deflate, gzip")];
    let packed = export(&mut client, &reads, frame(0, b"")).await;
    assert_eq!((packed.code, packed.body[0]), (0, 1));
    assert_eq!(packed.headers["grpc-encoding"], "gzip");
    let length = u32::try_from(packed.body.len() - 5).unwrap();
    assert_eq!(packed.body[1..5], length.to_be_bytes());
    assert_eq!(gunzip(&packed.body[5..]), plain.body[5..]);
    server.double.behave(Behaviour::Accept);
    let short = export(&mut client, &reads, frame(0, b"")).await;
    assert_eq!(short.body[..], [0; 5]);
    let address = format!("http://{}", server.grpc);
    server.double.behave(Behaviour::Reject(7, reason));
    let generated = TraceServiceClient::connect(address).await.unwrap();
    let mut generated = generated.accept_compressed(tonic::codec::CompressionEncoding::Gzip);
    let answer = generated
        .export(ExportTraceServiceRequest::default())
        .await
        .unwrap();
    let partial = answer.into_inner().partial_success.unwrap();
    assert!(partial.error_message.starts_with("reason reason "));
}

// Scenario: every malformed way to send a message, on one connection.
// Guarantees: each has one non-retryable code, and the connection goes on.
#[tokio::test]
async fn messages_that_are_not_exactly_one_are_refused() {
    let server = Server::start();
    let mut client = http2(server.grpc).await;
    let whole = frame(0, b"\x0a\x00");
    let gzipped = [("grpc-encoding", "gzip")];
    for (what, headers, body, code) in [
        ("zero length", &[][..], frame(0, b""), 0),
        ("one", &[], whole.clone(), 0),
        ("gzip", &gzipped, frame(1, &gzip(b"\x0a\x00")), 0),
        ("gzip offered, not used", &gzipped, whole.clone(), 0),
        (
            "identity",
            &[("grpc-encoding", "identity")],
            whole.clone(),
            0,
        ),
        ("nothing", &[], Vec::new(), 3),
        ("half a prefix", &[], vec![0, 0, 0], 3),
        ("cut short", &[], whole[..6].to_vec(), 3),
        ("trailing bytes", &[], [&whole[..], b"x"].concat(), 3),
        ("two", &[], [&whole[..], &whole[..]].concat(), 3),
        ("flag 2", &[], frame(2, b""), 3),
        ("compressed without encoding", &[], frame(1, &gzip(b"")), 3),
        ("not gzip", &gzipped, frame(1, b"\x0a\x00"), 3),
        ("snappy", &[("grpc-encoding", "snappy")], whole.clone(), 12),
        (
            "type with parameters",
            &[("content-type", "application/grpc+proto; a=b")],
            whole.clone(),
            0,
        ),
    ] {
        let outcome = export(&mut client, headers, body).await;
        assert_eq!(outcome.code, code, "{what}: {outcome:?}");
        let accepted = outcome.headers.get("grpc-accept-encoding").unwrap();
        assert_eq!(accepted, "identity, gzip, zstd, deflate");
        if code == 0 {
            assert_eq!(&outcome.body[..], [0; 5], "{what}");
        }
    }
    assert_eq!(server.double.admissions(), 0);
    assert_eq!(server.double.reserved(), 0);
}

// Scenario: services and methods that are not there, and requests that are not gRPC.
// Guarantees: UNIMPLEMENTED for the first, HTTP statuses for the second.
#[tokio::test]
async fn what_is_not_served_says_so() {
    let server = Server::start();
    let mut client = http2(server.grpc).await;
    for path in [
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Import",
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        "/",
    ] {
        let request = grpc_request(path, &[], full(frame(0, b"")));
        let response = client.send_request(request).await.unwrap();
        assert_eq!(outcome(response).await.code, 12, "{path}");
    }
    for content_type in [
        "application/json",
        "application/grpc-web",
        "application/x-protobuf",
    ] {
        let headers = [("content-type", content_type)];
        let request = grpc_request(EXPORT, &headers, full("{}"));
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 415, "{content_type}");
    }
    let answer = exchange(server.grpc, post(&[JSON], b"{}")).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("OTLP/HTTP has a port of its own"));
}

// Scenario: the pipeline refuses or fails a call, for each reason there is.
// Guarantees: codes by which clients retry what will pass, and only that.
#[tokio::test]
async fn failures_have_the_codes_of_the_table() {
    let server = Server::start();
    let mut client = http2(server.grpc).await;
    let overloaded = Failure::Overloaded {
        message: "full".to_owned(),
        retry_after: Duration::from_secs(2),
    };
    for (behaviour, code, details) in [
        (Behaviour::Refuse(overloaded.clone()), 14, true),
        (Behaviour::Fail(overloaded), 14, true),
        (Behaviour::Refuse(Failure::ShuttingDown), 14, true),
        (
            Behaviour::Fail(Failure::Unauthenticated {
                message: "no key".to_owned(),
            }),
            16,
            false,
        ),
        (Behaviour::Fail(Failure::Internal), 13, false),
        (Behaviour::Panic, 13, false),
        (Behaviour::Accept, 0, false),
    ] {
        server.double.behave(behaviour.clone());
        let outcome = export(&mut client, &[], frame(0, b"")).await;
        assert_eq!(outcome.code, code, "{behaviour:?}");
        assert_eq!(outcome.has_details, details, "{behaviour:?}");
    }
    assert_eq!(server.double.admissions(), 0);
}

// Scenario: one of a hundred exports on a connection stalls.
// Guarantees: the others are answered meanwhile.
#[tokio::test]
async fn a_stalled_export_holds_up_no_other() {
    let server = Server::start();
    let mut client = http2(server.grpc).await;
    server.double.behave(Behaviour::Stall);
    let stalled = client.send_request(grpc_request(EXPORT, &[], full(frame(0, b""))));
    let stalled = spawn(stalled);
    let double = &server.double;
    eventually("stalled", || double.admissions() == 1).await;
    server.double.behave(Behaviour::Accept);
    for _ in 0..99 {
        assert_eq!(export(&mut client, &[], frame(0, b"")).await.code, 0);
    }
    // The double registers for the release a moment after it is admitted.
    eventually("released", || {
        server.double.release();
        double.admissions() == 0
    })
    .await;
    assert_eq!(outcome(stalled.await.unwrap().unwrap()).await.code, 0);
}
