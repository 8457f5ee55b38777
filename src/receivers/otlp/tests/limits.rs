//! Sizes and times.

use super::support::*;
use crate::config::ByteSize;
use crate::otlp::Failure;

fn small() -> Server {
    Server::with(|config| {
        let http = config.protocols.http.as_mut().unwrap();
        http.max_request_body_size = ByteSize(1000);
        config
            .protocols
            .grpc
            .as_mut()
            .unwrap()
            .max_recv_msg_size_mib = 1;
    })
}

// Scenario: bodies of exactly the limit and one byte more, plain and compressed.
// Guarantees: the first is accepted, the second refused with 413 in the request's type.
#[tokio::test]
async fn http_bodies_are_limited_before_and_after_decompression() {
    let server = small();
    let gzipped = "Content-Encoding: gzip";
    for (headers, body, status) in [
        (vec![PROTOBUF], vec![0; 1000], 200),
        (vec![PROTOBUF], vec![0; 1001], 413),
        (vec![PROTOBUF, gzipped], gzip(&[0; 1000]), 200),
        (vec![PROTOBUF, gzipped], gzip(&[0; 1001]), 413),
        (vec![JSON, gzipped], gzip(&[b' '; 500_000]), 413),
    ] {
        let answer = exchange(server.http, post(&headers, &body)).await;
        assert_eq!(answer.status, status, "{headers:?} {}", body.len());
        if status == 413 {
            answer.assert_status_body();
            assert_eq!(answer.header("connection"), "close");
        }
    }
    assert!(server.double.reserved_peak() < 4000);
    assert_eq!(server.double.reserved(), 0);
}

// Scenario: requests of which the size is announced, and of which it is not.
// Guarantees: the pipeline hears of it before the body is read, where it says anything about the
// size of the payload.
#[tokio::test]
async fn the_pipeline_hears_how_large_a_request_will_be() {
    let server = Server::start();
    assert_eq!(
        exchange(server.http, post(&[PROTOBUF], &[0; 500]))
            .await
            .status,
        200
    );
    let chunked = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n\
                   transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(exchange(server.http, chunked).await.status, 200);
    assert_eq!(
        exchange(server.http, post(&[JSON], b"{}")).await.status,
        200
    );
    let mut client = http2(server.grpc).await;
    let sized = [("content-length", "7")];
    assert_eq!(
        export(&mut client, &sized, frame(0, b"\x0a\x00"))
            .await
            .code,
        0
    );
    assert_eq!(server.double.announced(), [500, 0, 0, 2]);
}

// Scenario: only the head of a body over the limit is sent, with and without an expectation.
// Guarantees: 413 arrives before any byte of the body, no 100, nothing admitted, connection ended.
#[tokio::test]
async fn an_announced_oversize_body_is_refused_unread() {
    let server = small();
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut raw = Raw::connect(server.http).await;
        raw.send(format!(
            "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{PROTOBUF}\r\n{expect}content-length: 1001\r\n\r\n"
        ))
        .await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 413);
        answer.assert_status_body();
        assert!(raw.is_closed().await);
    }
}

// Scenario: a chunked body that grows past the limit, and is still being sent.
// Guarantees: 413 as soon as the limit is passed; the client gets to read it.
#[tokio::test]
async fn a_chunked_body_is_refused_when_it_passes_the_limit() {
    let server = small();
    let mut raw = Raw::connect(server.http).await;
    raw.send(format!(
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{PROTOBUF}\r\ntransfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    let chunk = format!("1F4\r\n{}\r\n", "\0".repeat(500));
    for _ in 0..40 {
        raw.send(&chunk).await;
    }
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 413);
    answer.assert_status_body();
}

// Scenario: gRPC messages of the limit and one byte more, plain, compressed, and only announced.
// Guarantees: RESOURCE_EXHAUSTED without details, so that no client sends it again.
#[tokio::test]
async fn grpc_messages_are_limited_before_and_after_decompression() {
    let server = small();
    let mut client = http2(server.grpc).await;
    let limit = 1 << 20;
    let gzipped = [("grpc-encoding", "gzip")];
    for (headers, body, code) in [
        (&[][..], frame(0, &vec![0; limit]), 0),
        (&[], frame(0, &vec![0; limit + 1]), 8),
        (&gzipped, frame(1, &gzip(&vec![0; limit])), 0),
        (&gzipped, frame(1, &gzip(&vec![0; limit + 1])), 8),
        (&[], vec![0, 0xff, 0xff, 0xff, 0xff], 8),
    ] {
        let outcome = export(&mut client, headers, body).await;
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(!outcome.has_details);
    }
    assert_eq!(server.double.reserved(), 0);
}

// Scenario: two hundred streams announce 64 MiB each and send nothing.
// Guarantees: no memory is accounted for, and none taken, before bytes arrive.
#[tokio::test]
async fn announced_lengths_reserve_nothing() {
    let server = Server::start();
    let mut client = http2(server.grpc).await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        let (sender, body) = channel();
        let prefix = bytes::Bytes::from_static(&[0, 4, 0, 0, 0]);
        sender.send(prefix).await.unwrap();
        calls.push((sender, client.send_request(grpc_request(EXPORT, &[], body))));
    }
    let double = &server.double;
    eventually("all admitted", || double.admissions() == 200).await;
    assert_eq!(double.reserved_peak(), 0);
    drop(calls);
    eventually("all given back", || double.admissions() == 0).await;
}

// Scenario: half-sent exports are cancelled.
// Guarantees: what they held is given back at once.
#[tokio::test]
async fn cancelled_exports_give_back_their_memory() {
    let server = Server::start();
    let mut client = http2(server.grpc).await;
    let mut calls = Vec::new();
    for _ in 0..100 {
        let (sender, body) = channel();
        let mut half = vec![0, 0, 0, 0x20, 0];
        half.resize(4096, 0);
        sender.send(half.into()).await.unwrap();
        calls.push((sender, client.send_request(grpc_request(EXPORT, &[], body))));
    }
    let double = &server.double;
    eventually("held", || {
        double.admissions() == 100 && double.reserved() > 100 * 4000
    })
    .await;
    drop(calls);
    eventually("given back", || double.admissions() == 0).await;
    assert_eq!(double.reserved(), 0);
}

// Scenario: the client's deadline, and the server's, pass while the store stalls.
// Guarantees: a retryable code on both transports, and nothing stays held.
#[tokio::test]
async fn deadlines_are_kept() {
    let server = Server::with(|config| {
        config.protocols.http.as_mut().unwrap().request_timeout = millis(200);
    });
    server.double.behave(Behaviour::Stall);
    let mut client = http2(server.grpc).await;
    let timeout = [("grpc-timeout", "50m")];
    let outcome = export(&mut client, &timeout, frame(0, b"")).await;
    assert_eq!(outcome.code, 4, "{outcome:?}");
    let bad = [("grpc-timeout", "soon")];
    assert_eq!(export(&mut client, &bad, frame(0, b"")).await.code, 3);
    let answer = exchange(server.http, post(&[JSON], b"{}")).await;
    assert_eq!(answer.status, 504);
    answer.assert_status_body();
    assert_eq!(server.double.admissions(), 0);
    assert!(server.double.payloads().is_empty());
}

// Scenario: a body that stops arriving.
// Guarantees: 408 with a Status within the configured time, and the connection ends.
#[tokio::test]
async fn a_stalled_body_is_given_up() {
    let server = Server::with(|config| {
        config.protocols.http.as_mut().unwrap().request_timeout = millis(200);
    });
    let mut raw = Raw::connect(server.http).await;
    raw.send(format!(
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{JSON}\r\ncontent-length: 10\r\n\r\n{{"
    ))
    .await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 408);
    answer.assert_status_body();
    assert!(raw.is_closed().await);
    assert_eq!(server.double.admissions(), 0);
}

// Scenario: error text of several kilobytes.
// Guarantees: the gRPC message stays under 1 KiB and is percent-encoded.
#[tokio::test]
async fn long_error_texts_are_shortened() {
    let server = Server::start();
    server.double.behave(Behaviour::Fail(Failure::Malformed {
        message: "ü%".repeat(5000),
        field: None,
    }));
    let mut client = http2(server.grpc).await;
    let outcome = export(&mut client, &[], frame(0, b"")).await;
    assert_eq!(outcome.code, 3);
    assert!(outcome.message.contains("%C3%BC%25"), "{}", outcome.message);
    assert!(outcome.message.len() < 4096, "{}", outcome.message.len());
}

/// A body that lasts until the sender is dropped.
fn channel() -> (tokio::sync::mpsc::Sender<bytes::Bytes>, BoxBody) {
    use http_body_util::BodyExt as _;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    let frames = futures_util::stream::poll_fn(move |context| {
        let data = receiver.poll_recv(context);
        data.map(|data| data.map(|data| Ok(http_body::Frame::data(data))))
    });
    (sender, http_body_util::StreamBody::new(frames).boxed())
}
