//! A graceful stop loses nothing, keeps its deadline and can be cut short.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use prost::Message as _;

use crate::daemon::{Daemon, Setup, Store, eventually, on_both_stores};
use crate::http;
use crate::load::Load;
use crate::otlp::{PROTOBUF, request, span};
use crate::random::Random;

/// `service.drain_timeout` as it is by default, and some.
const DRAIN_WITHIN: Duration = Duration::from_secs(35);

// Scenario: SIGTERM while clients send without a pause and retry what is not acknowledged; then a
// new start on the same directory, three times over.
// Guarantees: exit code 0 within the drain deadline, nothing lost, nothing doubled, and no answer
// that would make a client throw its spans away.
fn a_stop_under_load_loses_and_doubles_nothing(store: Store) {
    let mut random = Random::from_environment("shutdown");
    let mut daemon = Daemon::spawn_on(store, &[]);
    let load = Load::start(daemon.addresses().grpc, 4, random.next());
    for _ in 0..3 {
        let before = load.acknowledged();
        eventually("load", Duration::from_secs(20), || {
            (load.acknowledged() > before + 50).then_some(())
        });
        daemon.process.sigterm();
        let status = daemon.process.wait_exit(DRAIN_WITHIN);
        assert!(
            status.success(),
            "{status}: {}",
            daemon.process.end_of_output()
        );
        daemon.restart();
    }
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&daemon);
}

/// A request of which the daemon has got all but the last byte.
fn start_request(daemon: &Daemon, trace_id: &[u8]) -> (TcpStream, Vec<u8>) {
    let address = daemon.addresses().http;
    let body = request("slow", vec![span(trace_id, &[1; 8], "in flight")]).encode_to_vec();
    let (most, rest) = body.split_at(body.len() - 1);
    let mut stream = http::connect(address).unwrap();
    stream
        .write_all(&http::post_head(
            address,
            "/v1/traces",
            &[PROTOBUF],
            body.len(),
        ))
        .unwrap();
    stream.write_all(most).unwrap();
    eventually("the request in flight", Duration::from_secs(10), || {
        (daemon.metric("pulse_receiver_in_flight_requests") >= 1.0).then_some(())
    });
    (stream, rest.to_vec())
}

fn await_not_ready(daemon: &Daemon) {
    let address = daemon.addresses().metrics;
    eventually("readiness to end", Duration::from_secs(10), || {
        let answer = http::get(address, "/readyz").expect("probes are answered until the end");
        (answer.status == 503).then_some(())
    });
}

// Scenario: SIGTERM while a request is half sent; its client sends the rest a moment later.
// Guarantees: readiness ends while the listener still serves, the request is answered and stored,
// and the daemon ends with exit code 0.
#[test]
fn a_stop_waits_for_requests_in_flight_and_says_that_it_is_not_ready() {
    let mut daemon = Daemon::spawn(&[]);
    let trace_id = [7; 16];
    let (mut stream, rest) = start_request(&daemon, &trace_id);
    daemon.process.sigterm();
    await_not_ready(&daemon);
    let live = http::get(daemon.addresses().metrics, "/livez").unwrap();
    assert_eq!(live.status, 200, "a daemon that drains is alive");
    stream.write_all(&rest).unwrap();
    let answer = http::read_response(&mut stream).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = daemon.process.wait_exit(DRAIN_WITHIN);
    assert!(status.success(), "{status}");
    daemon.restart();
    daemon.await_trace(&trace_id, 1);
}

// Scenario: a second SIGTERM while the first one waits for a request that never ends.
// Guarantees: the daemon ends at once.
#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let mut daemon = Daemon::spawn(&[]);
    let (_stream, _rest) = start_request(&daemon, &[8; 16]);
    daemon.process.sigterm();
    await_not_ready(&daemon);
    let signalled = Instant::now();
    daemon.process.sigterm();
    daemon.process.wait_exit(Duration::from_secs(5));
    assert!(
        signalled.elapsed() < Duration::from_secs(2),
        "{:?}",
        signalled.elapsed()
    );
}

// Scenario: SIGTERM while a client holds a request open for ever, with a short drain deadline.
// Guarantees: the daemon ends by its deadline, whatever clients do.
#[test]
fn a_client_that_never_ends_does_not_hold_up_the_stop() {
    let mut daemon = Daemon::spawn(&[("service.drain_timeout", "1s")]);
    let (_stream, _rest) = start_request(&daemon, &[9; 16]);
    daemon.process.sigterm();
    daemon.process.wait_exit(Duration::from_secs(6));
}

// Scenario: the database has never been there, and nothing has been sent.
// Guarantees: the stop waits for neither.
#[test]
fn a_stop_with_nothing_to_store_waits_for_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(&directory.path().join("data"))
        .set("storage.kind", "postgres")
        .set("storage.postgres.url", "postgres://nobody@127.0.0.1:1/none")
        .set("service.drain_timeout", "10m");
    let mut daemon = Daemon::launch_with(setup);
    daemon.await_failing("store", "");
    daemon.process.sigterm();
    let status = daemon.process.wait_exit(Duration::from_secs(60));
    let output = daemon.process.output();
    assert!(status.success(), "{status}: {output}");
    assert!(!output.contains("the writer ended"), "{output}");
}

on_both_stores! {
    a_stop_under_load_loses_and_doubles_nothing,
}
