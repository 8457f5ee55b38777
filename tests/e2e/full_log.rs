//! A log that is full because the store is behind refuses unread, and is forgotten once the store
//! has caught up.

use std::io::Write as _;
use std::time::{Duration, Instant};

use prost::Message as _;

use crate::daemon::{Daemon, eventually};
use crate::http;
use crate::otlp::{JSON, PROTOBUF, post, request, span};
use crate::random::Random;

// Scenario: the store can't be written for a while, and clients go on sending until the log is
// full; then they announce requests of which they never send a byte.
// Guarantees: those are refused at once and retryably, readiness says so, and with the store both
// come back by themselves; everything acknowledged is stored.
#[test]
fn a_full_log_refuses_unread_and_recovers_by_itself() {
    let mut random = Random::from_environment("full_log");
    let mut daemon = Daemon::spawn(&[
        ("queue.max_size", "512KiB"),
        ("queue.segment_size", "64KiB"),
        ("processors.batch.timeout", "20ms"),
    ]);
    let path = daemon.setup.data_dir.join("pulse.db");
    let store = rusqlite::Connection::open(path).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();

    let mut acknowledged = Vec::new();
    let mut refused = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while refused < 5 {
        assert!(Instant::now() < deadline, "the log never fills");
        let trace_id = random.id::<16>();
        let mut large = span(&trace_id, &[1; 8], "full log");
        large.name = "x".repeat(if refused == 0 { 20_000 } else { 1 });
        let answer = post(daemon.addresses().http, &request("full", vec![large]));
        match answer.status {
            200 => acknowledged.push(trace_id),
            503 => refused += 1,
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    for content_type in [PROTOBUF, JSON] {
        let http = daemon.addresses().http;
        let mut stream = http::connect(http).unwrap();
        let head = http::post_head(http, "/v1/traces", &[content_type], 30_000);
        stream.write_all(&head).unwrap();
        let answer = http::read_response(&mut stream).unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
        assert!(
            answer.text().contains("the log is full"),
            "{}",
            answer.text()
        );
    }
    let ready = || {
        http::get(daemon.addresses().metrics, "/readyz")
            .unwrap()
            .status
    };
    eventually("not to be ready", Duration::from_secs(10), || {
        (ready() == 503).then_some(())
    });

    store.execute_batch("ROLLBACK").unwrap();
    let trace_id = random.id::<16>();
    let last = request("full", vec![span(&trace_id, &[1; 8], "after")]).encode_to_vec();
    eventually("requests to be accepted", Duration::from_secs(30), || {
        let http = daemon.addresses().http;
        let answer = http::post(http, "/v1/traces", &[PROTOBUF], &last).unwrap();
        (answer.status == 200).then_some(())
    });
    acknowledged.push(trace_id);
    daemon.await_stored();
    for trace_id in &acknowledged {
        assert!(
            daemon.trace(trace_id).is_some(),
            "acknowledged and not stored"
        );
    }
    eventually("readiness", Duration::from_secs(10), || {
        daemon.is_alive_and_ready().then_some(())
    });
}
