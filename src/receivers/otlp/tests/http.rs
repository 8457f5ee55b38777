//! Requests and answers of OTLP/HTTP.

use super::support::*;
use crate::net::cors;
use crate::otlp::Failure;

/// Request line, content type, status, content type of the answer.
const ROUTES: [(&str, &str, u16, &str); 14] = [
    (
        "POST /v1/traces",
        "application/x-protobuf",
        200,
        "application/x-protobuf",
    ),
    (
        "POST /v1/traces",
        "application/protobuf",
        200,
        "application/x-protobuf",
    ),
    (
        "POST /v1/traces",
        "Application/JSON; charset=utf-8",
        200,
        "application/json",
    ),
    (
        "POST /v1/traces?x=1",
        "application/json",
        200,
        "application/json",
    ),
    ("POST /v1/traces", "text/plain", 415, "application/json"),
    (
        "POST /v1/traces",
        "application/grpc",
        415,
        "application/json",
    ),
    ("POST /v1/traces", "", 415, "application/json"),
    (
        "GET /v1/traces",
        "application/x-protobuf",
        405,
        "application/x-protobuf",
    ),
    (
        "PUT /v1/traces",
        "application/json",
        405,
        "application/json",
    ),
    ("OPTIONS /v1/traces", "", 405, "application/json"),
    (
        "POST /v1/traces/",
        "application/json",
        404,
        "application/json",
    ),
    (
        "POST /v1/metric",
        "application/x-protobuf",
        404,
        "application/x-protobuf",
    ),
    (
        "POST /v1development/profiles",
        "application/json",
        404,
        "application/json",
    ),
    ("GET /", "", 404, "application/json"),
];

// Scenario: every combination of path, method and type that clients get wrong, and right.
// Guarantees: each has one status, and the answer is in the request's type.
#[tokio::test]
async fn methods_paths_and_types_have_one_answer_each() {
    let server = Server::start();
    for (line, content_type, status, answer_type) in ROUTES {
        let body = if content_type.contains("JSON") || content_type.contains("json") {
            "{}"
        } else {
            ""
        };
        let request = format!(
            "{line} HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(server.http, request).await;
        assert_eq!(answer.status, status, "{line} {content_type}");
        assert_eq!(
            answer.header("content-type"),
            answer_type,
            "{line} {content_type}"
        );
        if status != 200 {
            answer.assert_status_body();
        }
        let allow = if status == 405 { "POST" } else { "" };
        assert_eq!(answer.header("allow"), allow, "{line}");
    }
}

// Scenario: requests without data, and one of which a part is rejected.
// Guarantees: full success is zero bytes or `{}`; a partial one counts in the type of the request.
#[tokio::test]
async fn success_says_nothing_and_partial_success_counts() {
    let server = Server::start();
    let empty = exchange(server.http, post(&[PROTOBUF], b"")).await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    let empty = exchange(server.http, post(&[JSON], br#"{"resourceSpans":[]}"#)).await;
    assert_eq!((empty.status, empty.text().as_str()), (200, "{}"));
    server.double.behave(Behaviour::Reject(3, "bad id"));
    let partial = exchange(server.http, post(&[JSON], b"{}")).await;
    assert_eq!(partial.status, 200);
    let body: serde_json::Value = serde_json::from_slice(&partial.body).unwrap();
    assert_eq!(body["partialSuccess"]["rejectedSpans"], "3");
    assert_eq!(body["partialSuccess"]["errorMessage"], "bad id");
}

// Scenario: a partial success as long as one gets, and a short answer, to clients that read gzip and
// to one that does not.
// Guarantees: only the long one is compressed, only for who asks, in both types.
#[tokio::test]
async fn long_answers_are_compressed_for_who_asks() {
    let server = Server::start();
    let reason: &'static str = Box::leak("reason ".repeat(1000).into_boxed_str());
    server.double.behave(Behaviour::Reject(3, reason));
    for content_type in [PROTOBUF, JSON] {
        let plain = exchange(server.http, post(&[content_type], b"{}")).await;
        assert_eq!(plain.header("content-encoding"), "");
        assert!(
            (1024..2048).contains(&plain.body.len()),
            "{}",
            plain.body.len()
        );
        let asks = [content_type, "Accept-Encoding: deflate, gzip;q=0.9"];
        let packed = exchange(server.http, post(&asks, b"{}")).await;
        assert_eq!(packed.status, 200);
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert_eq!(packed.header("vary"), "accept-encoding");
        assert!(packed.body.len() < 200, "{}", packed.body.len());
        assert_eq!(gunzip(&packed.body), plain.body);
    }
    server.double.behave(Behaviour::Reject(3, "short"));
    let short = exchange(server.http, post(&[JSON, "Accept-Encoding: gzip"], b"{}")).await;
    assert_eq!(short.header("content-encoding"), "");
    assert!(short.text().contains("short"));
}

// Scenario: the pipeline refuses or fails a request, for each reason there is.
// Guarantees: the status says whether to retry, and the body is a Status in the request's type.
#[tokio::test]
async fn failures_are_answered_with_their_code_in_the_type_of_the_request() {
    let server = Server::start();
    let overloaded = || Failure::Overloaded {
        message: "full".to_owned(),
        retry_after: std::time::Duration::from_millis(1500),
    };
    let malformed = Failure::Malformed {
        message: "bad".to_owned(),
        field: Some("resource_spans[0]".to_owned()),
    };
    for (behaviour, status, retry, connection) in [
        (Behaviour::Refuse(overloaded()), 503, true, ""),
        (Behaviour::Fail(overloaded()), 503, true, ""),
        (Behaviour::Refuse(Failure::ShuttingDown), 503, true, "close"),
        (Behaviour::Fail(malformed), 400, false, ""),
        (
            Behaviour::Fail(Failure::Unauthenticated {
                message: "no key".to_owned(),
            }),
            401,
            false,
            "",
        ),
        (Behaviour::Fail(Failure::Internal), 500, false, ""),
        (Behaviour::Panic, 500, false, ""),
    ] {
        server.double.behave(behaviour.clone());
        for content_type in [PROTOBUF, JSON] {
            let answer = exchange(server.http, post(&[content_type], b"{}")).await;
            assert_eq!(answer.status, status, "{behaviour:?}");
            assert!(content_type.ends_with(answer.header("content-type")));
            answer.assert_status_body();
            assert_eq!(
                !answer.header("retry-after").is_empty(),
                retry,
                "{behaviour:?}"
            );
            if retry {
                let seconds: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=30).contains(&seconds));
            }
            assert_eq!(answer.header("connection"), connection, "{behaviour:?}");
        }
    }
    assert_eq!(server.double.admissions(), 0);
}

// Scenario: a handler panics in the middle of a kept-alive connection.
// Guarantees: that request is answered, and the connection goes on.
#[tokio::test]
async fn a_panic_costs_one_request_only() {
    let server = Server::start();
    let mut raw = Raw::connect(server.http).await;
    server.double.behave(Behaviour::Panic);
    raw.send(post(&[JSON], b"{}")).await;
    assert_eq!(raw.answer().await.unwrap().status, 500);
    server.double.behave(Behaviour::Accept);
    raw.send(post(&[JSON], b"{}")).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}

// Scenario: bodies that are compressed, compressed twice, cut short, or not what they say.
// Guarantees: what the pipeline gets is the plain bytes; the rest is refused without a retry.
#[tokio::test]
async fn encodings_are_undone_or_refused() {
    let server = Server::start();
    let mut members = gzip(b"\x0a\x00");
    members.extend_from_slice(&gzip(b"\x0a\x00"));
    let encoded = |name: &str| format!("Content-Encoding: {name}");
    let answer = exchange(server.http, post(&[PROTOBUF, &encoded("GZIP")], &members)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.double.payloads(), [&b"\x0a\x00\x0a\x00"[..]]);
    let identity = post(&[PROTOBUF, &encoded("identity")], b"\x0a\x00");
    assert_eq!(exchange(server.http, identity).await.status, 200);
    for name in ["br", "gzip, gzip", "snappy"] {
        let answer = exchange(server.http, post(&[PROTOBUF, &encoded(name)], b"x")).await;
        assert_eq!(answer.status, 415, "{name}");
        assert_eq!(
            answer.header("accept-encoding"),
            "identity, gzip, zstd, deflate"
        );
        answer.assert_status_body();
    }
    let twice = [PROTOBUF, "Content-Encoding: gzip", "Content-Encoding: gzip"];
    let answer = exchange(server.http, post(&twice, &gzip(b""))).await;
    assert_eq!(answer.status, 415);
    let whole = gzip(&[0x0a, 0]);
    for body in [&b"{}"[..], &whole[..whole.len() - 3]] {
        let answer = exchange(server.http, post(&[JSON, &encoded("gzip")], body)).await;
        assert_eq!(answer.status, 400);
        answer.assert_status_body();
    }
}

// Scenario: bodies without a length, after an expectation, and two requests sent at once.
// Guarantees: all are read whole and answered in order.
#[tokio::test]
async fn chunked_expected_and_pipelined_requests_are_served() {
    let server = Server::start();
    let mut raw = Raw::connect(server.http).await;
    let chunked = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n\
         1;x=y\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n"
    );
    raw.send(&chunked).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);

    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{JSON}\r\nexpect: 100-continue\r\n\
         content-length: 2\r\n\r\n"
    );
    raw.send(head).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send("{}").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);

    let mut both = chunked.into_bytes();
    both.extend_from_slice(b"POST /elsewhere HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    both.extend_from_slice(&post(&[JSON], b"{}"));
    raw.send(both).await;
    for status in [200, 404, 200] {
        assert_eq!(raw.answer().await.unwrap().status, status);
    }
}

// Scenario: a client that knows HTTP/2 beforehand exports on the HTTP port.
// Guarantees: the port serves both versions.
#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_http_port() {
    let server = Server::start();
    let mut client = http2(server.http).await;
    let request = http::Request::post("http://test/v1/traces")
        .header("content-type", "application/json")
        .body(full("{}"))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

// Scenario: a browser asks before it sends, with the rules on.
// Guarantees: allowed origins are told so on the preflight and on every answer, errors included.
#[tokio::test]
async fn browsers_of_allowed_origins_are_let_through() {
    let server = Server::with(|config| {
        config.protocols.http.as_mut().unwrap().cors = Some(cors::Config {
            allowed_origins: vec!["https://*.example".to_owned()],
            ..cors::Config::default()
        });
    });
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /v1/traces HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\r\n"
        )
    };
    let allowed = exchange(server.http, preflight("https://a.example")).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://a.example"
    );
    let refused = exchange(server.http, preflight("https://evil.test")).await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    let origin = "Origin: https://a.example";
    let answer = exchange(
        server.http,
        post(&[origin, "Content-Type: text/plain"], b""),
    )
    .await;
    assert_eq!(answer.status, 415);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://a.example"
    );
}
