//! The life of connections: how many, how long, and how they end.

use std::time::Duration;

use tokio::net::TcpStream;

use super::support::*;
use crate::receivers::otlp::Receiver;
use crate::telemetry::health;

// Scenario: two requests are open when the daemon drains, and clients keep coming.
// Guarantees: both are answered, the connections end, nobody new is served, all tasks end.
#[tokio::test]
async fn draining_answers_what_is_in_flight() {
    let server = Server::start();
    server.double.behave(Behaviour::Stall);
    let mut raw = Raw::connect(server.http).await;
    raw.send(post(&[JSON], b"{}")).await;
    let mut client = http2(server.grpc).await;
    let call = spawn(client.send_request(grpc_request(EXPORT, &[], full(frame(0, b"")))));
    let mut idle = Raw::connect(server.http).await;
    idle.send(post(&["Content-Type: x"], b"")).await;
    assert_eq!(idle.answer().await.unwrap().status, 415);
    let double = &server.double;
    eventually("in flight", || double.admissions() == 2).await;
    server.tasks.start_shutdown();
    assert!(idle.is_closed().await);
    eventually("released", || {
        double.release();
        double.admissions() == 0
    })
    .await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(outcome(call.await.unwrap().unwrap()).await.code, 0);
    assert!(raw.is_closed().await);
    let drained = tokio::time::timeout(PATIENCE, server.tasks.wait());
    drained.await.expect("drained");
    assert!(TcpStream::connect(server.http).await.is_err());
    assert!(TcpStream::connect(server.grpc).await.is_err());
}

// Scenario: more clients connect than are allowed at once.
// Guarantees: the surplus waits, and is served when a place is free.
#[tokio::test]
async fn surplus_connections_wait_for_a_place() {
    let server = Server::with(|config| {
        config.protocols.http.as_mut().unwrap().max_connections = 1;
    });
    let mut first = Raw::connect(server.http).await;
    first.send(post(&[JSON], b"{}")).await;
    assert_eq!(first.answer().await.unwrap().status, 200);
    let mut second = Raw::connect(server.http).await;
    second.send(post(&[JSON], b"{}")).await;
    let answered = tokio::time::timeout(Duration::from_millis(200), second.stream.readable());
    assert!(answered.await.is_err(), "served over the limit");
    drop(first);
    assert_eq!(second.answer().await.unwrap().status, 200);
}

// Scenario: many exports on one connection, then silence.
// Guarantees: the connection is kept while used, and closed after the idle time, not before.
#[tokio::test]
async fn connections_are_kept_alive_until_idle() {
    let server = Server::with(|config| {
        let http = config.protocols.http.as_mut().unwrap();
        http.read_header_timeout = millis(100);
        http.idle_timeout = millis(600);
    });
    let mut raw = Raw::connect(server.http).await;
    for _ in 0..200 {
        raw.send(post(&[JSON], b"{}")).await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
    }
    let idle_from = tokio::time::Instant::now();
    assert!(raw.is_closed().await);
    let idle = idle_from.elapsed();
    assert!(idle >= Duration::from_millis(500), "closed after {idle:?}");
}

// Scenario: an export takes longer than the idle time.
// Guarantees: a busy connection is not idle.
#[tokio::test]
async fn a_slow_export_is_not_idle() {
    let server = Server::with(|config| {
        let http = config.protocols.http.as_mut().unwrap();
        http.idle_timeout = millis(100);
        let grpc = config.protocols.grpc.as_mut().unwrap();
        grpc.keepalive.server_parameters.max_connection_idle = millis(100);
    });
    server.double.behave(Behaviour::Stall);
    let mut raw = Raw::connect(server.http).await;
    raw.send(post(&[JSON], b"{}")).await;
    let mut client = http2(server.grpc).await;
    let call = spawn(client.send_request(grpc_request(EXPORT, &[], full(frame(0, b"")))));
    let answered = tokio::time::timeout(Duration::from_millis(400), raw.stream.readable());
    assert!(answered.await.is_err(), "cut while busy");
    let double = &server.double;
    eventually("released", || {
        double.release();
        double.admissions() == 0
    })
    .await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    assert_eq!(outcome(call.await.unwrap().unwrap()).await.code, 0);
    // And now it is idle.
    eventually("closed", || client.is_closed()).await;
}

// Scenario: a connection passes its age while exports run on it, one of them slow.
// Guarantees: it is told to go away, and no export on it fails.
#[tokio::test]
async fn an_old_connection_ends_without_failing_an_export() {
    let server = Server::with(|config| {
        let grpc = config.protocols.grpc.as_mut().unwrap();
        grpc.keepalive.server_parameters.max_connection_age = millis(300);
    });
    server.double.behave(Behaviour::Stall);
    let mut client = http2(server.grpc).await;
    let slow = spawn(client.send_request(grpc_request(EXPORT, &[], full(frame(0, b"")))));
    let double = &server.double;
    eventually("slow one in flight", || double.admissions() == 1).await;
    server.double.behave(Behaviour::Accept);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut served = 0;
    // Until the client has heard the GOAWAY, every call succeeds.
    while let Ok(()) = client.ready().await {
        let request = grpc_request(EXPORT, &[], full(frame(0, b"")));
        match client.send_request(request).await {
            Ok(response) => assert_eq!(outcome(response).await.code, 0),
            // Refused by the client itself, or by the GOAWAY: never processed.
            Err(_) => break,
        }
        served += 1;
        assert!(
            tokio::time::Instant::now() < deadline,
            "never told to go away"
        );
    }
    assert!(served > 0);
    eventually("released", || {
        double.release();
        double.admissions() == 0
    })
    .await;
    assert_eq!(outcome(slow.await.unwrap().unwrap()).await.code, 0);
}

// Scenario: the HTTP port is taken when the receiver binds.
// Guarantees: one clear line, and the gRPC port is not left open.
#[tokio::test]
async fn a_taken_port_is_named_and_nothing_stays_open() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free_address = free.local_addr().unwrap();
    drop(free);
    let mut config = config();
    config.protocols.grpc.as_mut().unwrap().endpoint = free_address.to_string();
    let address = taken.local_addr().unwrap().to_string();
    config.protocols.http.as_mut().unwrap().endpoint = address.clone();
    let error = Receiver::bind(&config).unwrap_err().to_string();
    let expected =
        format!("receivers.otlp.protocols.http: listen on {address}: address already in use");
    assert_eq!(error, expected);
    assert!(TcpStream::connect(free_address).await.is_err());
    config.protocols.http.as_mut().unwrap().endpoint = "no-port".to_owned();
    let error = Receiver::bind(&config).unwrap_err().to_string();
    assert!(
        error.starts_with("receivers.otlp.protocols.http: resolve no-port: "),
        "{error}"
    );
}

// Scenario: the operations listener is asked over a socket.
// Guarantees: probes and metrics answer, and follow the checks.
#[tokio::test]
async fn the_operations_listener_answers_probes() {
    let bound = crate::net::listener::bind("service.telemetry.metrics", "127.0.0.1:0").unwrap();
    let address = bound.address();
    let (tasks, _panics) = crate::service::tasks::Tasks::new();
    let readiness = health::Readiness::new();
    let check = readiness.register("store");
    let render: health::RenderMetrics = std::sync::Arc::new(|| "up 1\n".to_owned());
    health::serve(bound, readiness, render, &tasks).unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(exchange(address, get("/livez")).await.status, 200);
    assert_eq!(exchange(address, get("/metrics")).await.text(), "up 1\n");
    let unready = exchange(address, get("/readyz")).await;
    assert_eq!(unready.status, 503);
    assert!(
        unready.text().contains(r#""name":"store""#),
        "{}",
        unready.text()
    );
    check.set(true, "open");
    assert_eq!(exchange(address, get("/readyz")).await.status, 200);
}
