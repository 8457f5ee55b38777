//! What holds for every service: routers, panics, floods.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn refuse(failure: &Failure, _: Option<&HeaderValue>) -> Response<axum::body::Body> {
    let mut response = Response::new(failure.to_string().into());
    *response.status_mut() = failure.http_status();
    response
}

async fn panics() -> &'static str {
    panic!("as the test asked")
}

/// A router on a free port.
fn serve_router() -> (SocketAddr, Tasks, crate::service::tasks::Panics) {
    let router = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/panic", get(panics));
    let bound = bind("test", "127.0.0.1:0").unwrap();
    let address = bound.address();
    let (tasks, panics) = Tasks::new();
    serve(bound, Limits::default(), None, router, refuse, &tasks).unwrap();
    (address, tasks, panics)
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.expect("an answer in time").unwrap();
    answer
}

// Scenario: an axum router is served, and one of its handlers panics.
// Guarantees: it is served as it is; the panic is answered and ends no task.
#[tokio::test]
async fn a_router_is_served_and_its_panics_are_answered() {
    let (address, _tasks, mut panics) = serve_router();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let hello = exchange(address, &get("/hello")).await;
    assert!(
        hello.starts_with("HTTP/1.1 200 ") && hello.ends_with("hello"),
        "{hello}"
    );
    let panicked = exchange(address, &get("/panic")).await;
    assert!(panicked.starts_with("HTTP/1.1 500 "), "{panicked}");
    let ambiguous = "GET /hello HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx";
    let refused = exchange(address, ambiguous).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(panics.try_recv().is_err());
}

fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

// Scenario: a client opens streams and resets them at once, by the thousand.
// Guarantees: it is disconnected; a client beside it is served.
#[tokio::test]
async fn a_reset_flood_costs_the_flooder_its_connection() {
    let (address, _tasks, _panics) = serve_router();
    let mut flooder = TcpStream::connect(address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&http2_frame(4, 0, 0, &[]));
    for index in 0..20_000 {
        let stream = 2 * index + 1;
        // :method GET, :scheme http, :path / from the static table; END_STREAM and END_HEADERS.
        bytes.extend_from_slice(&http2_frame(1, 5, stream, &[0x82, 0x86, 0x84]));
        bytes.extend_from_slice(&http2_frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let (mut read, mut write) = flooder.split();
    let mut answers = Vec::new();
    let flood = async { write.write_all(&bytes).await };
    let disconnected = async { read.read_to_end(&mut answers).await };
    let both = timeout(PATIENCE, async { tokio::join!(flood, disconnected) });
    // Whether it ends by a close or a reset depends on what was still under way.
    both.await.expect("disconnected").0.ok();
    let get = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(exchange(address, get).await.ends_with("hello"));
}

// Scenario: the endpoint names a host, an IPv6 address, a port that is taken.
// Guarantees: the first two listen; the third is refused in plain words.
#[tokio::test]
async fn endpoints_are_bound_or_named() {
    assert!(
        bind("test", "localhost:0")
            .unwrap()
            .address()
            .ip()
            .is_loopback()
    );
    let taken = bind("test", "127.0.0.1:0").unwrap();
    let error = bind("a.b", &taken.address().to_string()).unwrap_err();
    let expected = format!("a.b: listen on {}: address already in use", taken.address());
    assert_eq!(error.to_string(), expected);
    drop(taken);
    let error = bind("a.b", "127.0.0.1").unwrap_err();
    assert!(
        error.to_string().starts_with("a.b: resolve 127.0.0.1: "),
        "{error}"
    );
}
