//! HTTP/2 connections of clients that send too much of what costs them nothing.

use std::time::Duration;

use http_body_util::BodyExt as _;

use super::support::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;

fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Reads to the end; the frames that came, kind and payload.
async fn frames_to_the_end(raw: &mut Raw) -> Vec<(u8, Vec<u8>)> {
    let bytes = raw.rest().await;
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        frames.push((*kind, rest[9..9 + length].to_vec()));
        rest = &rest[9 + length..];
    }
    frames
}

fn goaway(frames: &[(u8, Vec<u8>)]) -> (u8, String) {
    let (kind, payload) = frames.last().unwrap();
    assert_eq!(*kind, GOAWAY, "{frames:?}");
    (
        payload[7],
        String::from_utf8(payload[8..].to_vec()).unwrap(),
    )
}

// Scenario: a client pings without a pause and without a request.
// Guarantees: the pings in turn are answered; then it is told why, by the word that gRPC clients
// look for, and disconnected; a client beside it is served.
#[tokio::test]
async fn too_many_pings_cost_a_client_its_connection() {
    let server = Server::start();
    let mut raw = Raw::connect(server.grpc).await;
    raw.send(PREFACE).await;
    raw.send(http2_frame(SETTINGS, 0, 0, &[])).await;
    for number in 0..4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        raw.send(http2_frame(PING, 0, 0, &[number; 8])).await;
    }
    let frames = frames_to_the_end(&mut raw).await;
    let reason = (ENHANCE_YOUR_CALM, "too_many_pings".to_owned());
    assert_eq!(goaway(&frames), reason);
    let answered = frames.iter().filter(|(kind, _)| *kind == PING).count();
    assert_eq!(answered, 3, "{frames:?}");
    let mut other = http2(server.grpc).await;
    assert_eq!(export(&mut other, &[], frame(0, b"")).await.code, 0);
}

// Scenario: clients ping every few milliseconds: one where that is allowed, one while its requests
// are answered, one on a port without the rule.
// Guarantees: none is disconnected.
#[tokio::test]
async fn pings_in_turn_are_answered() {
    let server = Server::with(|config| {
        let grpc = config.protocols.grpc.as_mut().unwrap();
        grpc.keepalive.enforcement_policy.min_time = millis(1);
        grpc.keepalive.enforcement_policy.permit_without_stream = true;
    });
    for address in [server.grpc, server.http] {
        let mut raw = Raw::connect(address).await;
        raw.send(PREFACE).await;
        raw.send(http2_frame(SETTINGS, 0, 0, &[])).await;
        for number in 0..10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            raw.send(http2_frame(PING, 0, 0, &[number; 8])).await;
        }
        let mut answered = 0;
        while answered < 10 {
            let (kind, _) = raw.frame().await;
            answered += usize::from(kind == PING);
        }
    }
    let strict = Server::start();
    let mut raw = Raw::connect(strict.grpc).await;
    raw.send(PREFACE).await;
    raw.send(http2_frame(SETTINGS, 0, 0, &[])).await;
    let mut answered = 0;
    for number in 0..10_u8 {
        // :method GET, :scheme http, :path / from the static table: answered with 415.
        let stream = 2 * u32::from(number) + 1;
        raw.send(http2_frame(1, 5, stream, &[0x82, 0x86, 0x84]))
            .await;
        while raw.frame().await.0 != 1 {}
        raw.send(http2_frame(PING, 0, 0, &[number; 8])).await;
        while raw.frame().await.0 != PING {}
        answered += 1;
    }
    assert_eq!(answered, 10);
}

// Scenario: header lists over the limit, of HTTP in both types, of gRPC, and up to several times it.
// Guarantees: each is answered in its own form, and the connection goes on.
#[tokio::test]
async fn header_lists_over_the_limit_are_refused_with_a_body() {
    let server = Server::start();
    for size in [16 << 10, 60 << 10] {
        let large = "a".repeat(size);
        let mut client = http2(server.http).await;
        for content_type in ["application/json", "application/x-protobuf"] {
            let request = http::Request::post("http://test/v1/traces")
                .header("content-type", content_type)
                .header("x-large", &large)
                .body(full("{}"))
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let answer = Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: body.collect().await.unwrap().to_bytes().to_vec(),
            };
            assert_eq!(answer.status, 431);
            assert_eq!(answer.header("content-type"), content_type);
            answer.assert_status_body();
        }
        let mut client = http2(server.grpc).await;
        let outcome = export(&mut client, &[("x-large", &large)], frame(0, b"")).await;
        assert_eq!(outcome.code, 8, "{outcome:?}");
        assert!(!outcome.has_details, "not to be sent again");
        assert_eq!(export(&mut client, &[], frame(0, b"")).await.code, 0);
    }
    let just_below = "a".repeat(15 << 10);
    let mut client = http2(server.grpc).await;
    let outcome = export(&mut client, &[("x-large", &just_below)], frame(0, b"")).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(server.double.payloads().len(), 3);
}

// Scenario: a header list many times the limit.
// Guarantees: the connection ends by GOAWAY, with the reason in it.
#[tokio::test]
async fn an_enormous_header_list_costs_the_connection() {
    let server = Server::start();
    let mut raw = Raw::connect(server.http).await;
    raw.send(PREFACE).await;
    raw.send(http2_frame(SETTINGS, 0, 0, &[])).await;
    let block = vec![0; 16 << 10];
    raw.send(http2_frame(1, 0, 1, &block)).await;
    // The server may end it before all is sent.
    for _ in 0..4 {
        let more = http2_frame(9, 0, 1, &block);
        if tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &more)
            .await
            .is_err()
        {
            break;
        }
    }
    let frames = frames_to_the_end(&mut raw).await;
    assert_eq!(goaway(&frames).0, ENHANCE_YOUR_CALM);
}
