//! Requests whose end is ambiguous, and heads without end.

use std::time::Duration;

use super::support::*;
use crate::config::ByteSize;

// Scenario: requests that two servers could read differently, each with a second request hidden
// where the other reading would find it.
// Guarantees: 400 with a Status, the connection ends, nothing reaches the pipeline.
#[tokio::test]
async fn ambiguous_requests_are_refused_and_their_connection_closed() {
    let server = Server::start();
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 2",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Content-Length: 2\r\nX-Folded: a\r\n b",
        "Content-Length: 2\r\nX-Return: a\rb",
        "Content-Length : 2",
    ] {
        let mut raw = Raw::connect(server.http).await;
        let hidden = String::from_utf8(post(&[JSON], b"{}")).unwrap();
        raw.send(format!(
            "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{JSON}\r\n{headers}\r\n\r\n{hidden}"
        ))
        .await;
        let answer = raw.answer().await.expect(headers);
        assert_eq!(answer.status, 400, "{headers}");
        assert_eq!(answer.header("connection"), "close", "{headers}");
        answer.assert_status_body();
        assert!(answer.text().contains("ambiguous"), "{}", answer.text());
        assert!(raw.is_closed().await, "{headers}");
    }
    assert!(server.double.payloads().is_empty());
    assert_eq!(server.double.admissions(), 0);
}

// Scenario: heads that are framed clearly and are no HTTP/1.1 all the same.
// Guarantees: each is answered with a Status in the type it names, not with the empty answer of the
// library; the connection ends.
#[tokio::test]
async fn what_is_no_http_is_refused_in_the_type_it_names() {
    let server = Server::start();
    for (line, header) in [
        ("GET / HTTP/2.0", "a: b"),
        ("GET / HTTP/1.2", "a: b"),
        ("GET /", "a: b"),
        ("G@T / HTTP/1.1", "a: b"),
        ("POST /v1/traces\x01 HTTP/1.1", "a: b"),
        ("POST http://a:b:c/ HTTP/1.1", "a: b"),
        ("POST /v1/traces HTTP/1.1", "a\x01: b"),
        ("POST /v1/traces HTTP/1.1", "a b: c"),
        ("POST /v1/traces HTTP/1.1", "a: b\x01"),
        (
            "POST /v1/traces HTTP/1.1",
            "content-length: 18446744073709551615",
        ),
    ] {
        for content_type in [PROTOBUF, JSON] {
            let mut raw = Raw::connect(server.http).await;
            raw.send(format!("{line}\r\n{content_type}\r\n{header}\r\n\r\n"))
                .await;
            let answer = raw.answer().await.expect(line);
            assert_eq!(answer.status, 400, "{line} {header}");
            assert_eq!(answer.header("connection"), "close");
            assert!(
                content_type.ends_with(answer.header("content-type")),
                "{line} {header}"
            );
            answer.assert_status_body();
            assert!(raw.is_closed().await, "{line} {header}");
        }
    }
    let answer = exchange(server.http, "GET / HTTP/2.0\r\na: b\r\n\r\n").await;
    let expected = "not a valid HTTP/1.1 request: unsupported version";
    assert!(answer.text().contains(expected), "{}", answer.text());
    assert_eq!(server.double.admissions(), 0);
}

// Scenario: the configured limit of a head is beyond what the library buffers by itself.
// Guarantees: the limit holds as it is configured; what the parsers can't take is refused by it.
#[tokio::test]
async fn large_heads_are_read_where_they_are_allowed() {
    let server = Server::with(|config| {
        let http = config.protocols.http.as_mut().unwrap();
        http.max_header_list_size = ByteSize::kib(256);
    });
    let large = format!("x: {}", "a".repeat(200 << 10));
    assert_eq!(
        exchange(server.http, post(&[JSON, &large], b"{}"))
            .await
            .status,
        200
    );
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let answer = exchange(server.http, long).await;
    assert_eq!(answer.status, 431);
    answer.assert_status_body();
}

// Scenario: an ambiguous request arrives behind a good one, byte by byte and all at once.
// Guarantees: the good one is answered, the ambiguous one refused, whatever the reads.
#[tokio::test]
async fn refusals_do_not_depend_on_how_the_bytes_arrive() {
    let server = Server::start();
    let mut bytes = post(&[JSON], b"{}");
    let bad = "POST /v1/traces HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    bytes.extend_from_slice(bad.as_bytes());
    for step in [1, 7, bytes.len()] {
        let mut raw = Raw::connect(server.http).await;
        for piece in bytes.chunks(step) {
            raw.send(piece).await;
        }
        assert_eq!(raw.answer().await.unwrap().status, 200, "step {step}");
        assert_eq!(raw.answer().await.unwrap().status, 400, "step {step}");
        assert!(raw.is_closed().await);
    }
}

// Scenario: chunks that are not chunks.
// Guarantees: 400 or an ended connection, never a second request read from the middle.
#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let server = Server::start();
    for body in ["x\r\n", "2\r\n{}0\r\n\r\n", "2\n{}\n0\n\n"] {
        let mut raw = Raw::connect(server.http).await;
        raw.send(format!(
            "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n\
             {body}GET /hidden HTTP/1.1\r\n\r\n"
        ))
        .await;
        if let Some(answer) = raw.answer().await {
            assert_eq!(answer.status, 400, "{body:?}");
        }
        assert!(raw.is_closed().await, "{body:?}");
    }
    assert!(server.double.payloads().is_empty());
}

// Scenario: a header of a megabyte, a URI of 100 kB, a thousand headers.
// Guarantees: refused with a Status, the connection ends.
#[tokio::test]
async fn heads_over_the_limit_are_refused() {
    let server = Server::start();
    let many: String = (0..1000).map(|index| format!("h{index}: v\r\n")).collect();
    for head in [
        format!(
            "POST /v1/traces HTTP/1.1\r\nx: {}\r\n\r\n",
            "a".repeat(1 << 20)
        ),
        format!("POST /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
        format!("POST /v1/traces HTTP/1.1\r\n{many}\r\n"),
    ] {
        let mut raw = Raw::connect(server.http).await;
        // The server may close before all of it is sent.
        let sent = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, head.as_bytes()).await;
        let answer = raw.answer().await;
        if let Some(answer) = answer {
            assert_eq!(answer.status, 431);
            assert_eq!(answer.header("connection"), "close");
            answer.assert_status_body();
        } else {
            assert!(sent.is_err(), "no answer although all was taken");
        }
    }
}

// Scenario: one client never sends a byte, one stops within a head, one drips it.
// Guarantees: each is refused or closed within the configured time.
#[tokio::test]
async fn slow_heads_end_in_time() {
    let server = Server::with(|config| {
        let http = config.protocols.http.as_mut().unwrap();
        http.read_header_timeout = millis(300);
        http.max_header_list_size = ByteSize::kib(8);
    });
    let mut silent = Raw::connect(server.http).await;
    let mut stuck = Raw::connect(server.http).await;
    stuck.send("POST /v1/traces HTTP/1.1\r\nhost:").await;
    let mut second = Raw::connect(server.http).await;
    second.send(post(&[JSON], b"{}")).await;
    assert_eq!(second.answer().await.unwrap().status, 200);
    second.send("POST /v1").await;
    assert!(silent.is_closed().await);
    for mut raw in [stuck, second] {
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 408);
        answer.assert_status_body();
        assert!(raw.is_closed().await);
    }
    let mut dripping = Raw::connect(server.http).await;
    let started = tokio::time::Instant::now();
    for byte in post(&[JSON], b"{}").chunks(1).cycle() {
        if tokio::io::AsyncWriteExt::write_all(&mut dripping.stream, byte)
            .await
            .is_err()
        {
            break;
        }
        let readable = dripping.stream.readable();
        if tokio::time::timeout(Duration::from_millis(50), readable)
            .await
            .is_ok()
        {
            break;
        }
        assert!(started.elapsed() < PATIENCE);
    }
    assert_eq!(dripping.answer().await.unwrap().status, 408);
}
