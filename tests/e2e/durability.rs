//! Acknowledged means durable, whenever the process is killed.

use std::time::Duration;

use crate::daemon::{Daemon, Process, Store, eventually, on_both_stores};
use crate::load::Load;
use crate::otlp::{post_accepted, request, span};
use crate::random::Random;

/// Kills without `$PULSE_TEST_KILLS`.
const KILLS: u64 = 20;

/// How often the daemon is killed.
fn kills() -> u64 {
    let asked = std::env::var("PULSE_TEST_KILLS").ok();
    asked.map_or(KILLS, |text| {
        text.parse().expect("PULSE_TEST_KILLS is a number")
    })
}

/// Small segments and short batches, so that kills meet many different moments.
const BUSY: &[(&str, &str)] = &[
    ("queue.segment_size", "1MiB"),
    ("queue.memory_size", "1MiB"),
    ("processors.batch.timeout", "50ms"),
    ("processors.batch.send_batch_size", "200"),
];

/// A start after a kill finds nothing that an operator would have to look at.
fn assert_clean_start(process: &Process) {
    let output = process.output();
    for sign in ["ERROR", "panicked", "corrupt", "damaged"] {
        assert!(!output.contains(sign), "{sign} after a kill:\n{output}");
    }
}

// Scenario: clients send without a pause, each request again and again until it is acknowledged,
// while the daemon is killed with SIGKILL at random moments, some of them during recovery.
// Guarantees: what was acknowledged is stored exactly once and as sent, in spans, trace summaries,
// services and sessions; every start is clean.
fn nothing_acknowledged_is_lost_or_doubled_over_kills(store: Store) {
    let mut random = Random::from_environment("durability");
    let mut daemon = Daemon::spawn_on(store, BUSY);
    let load = Load::start(daemon.addresses().grpc, 4, random.next());
    let kills = kills();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(20 + random.below(400)));
        daemon.process.kill9();
        if random.below(3) == 0 {
            // Once more while it reads its log back.
            let mut starting = daemon.setup.launch();
            std::thread::sleep(Duration::from_millis(random.below(150)));
            starting.kill9();
        }
        daemon.restart();
        assert_clean_start(&daemon.process);
    }
    let ledger = load.stop();
    eprintln!(
        "{} requests acknowledged over {kills} kills",
        ledger.acknowledged()
    );
    assert!(
        ledger.acknowledged() > 10 * kills,
        "the daemon was hardly ever up"
    );
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&daemon);
    daemon.process.kill9();
    daemon.restart();
    ledger.assert_stored(&daemon);
    assert_clean_start(&daemon.process);
}

// Scenario: one request with twenty times the spans that may go into one transaction, and a kill
// while it is being stored.
// Guarantees: no transaction is larger, and every span is stored exactly once.
#[test]
fn a_request_larger_than_a_transaction_is_stored_whole_and_once() {
    const TRACES: u8 = 20;
    const SPANS: u64 = 1000;
    let mut daemon = Daemon::spawn(&[
        ("processors.batch.send_batch_size", "1024"),
        ("processors.batch.send_batch_max_size", "1024"),
    ]);
    let ids = (1..=SPANS).flat_map(|id| (1..=TRACES).map(move |trace| (trace, id)));
    let spans = ids.map(|(trace, id)| span(&[trace; 16], &id.to_be_bytes(), "tiny"));
    post_accepted(daemon.addresses().http, &request("large", spans.collect()));
    eventually("a part to be stored", Duration::from_secs(60), || {
        let stored = daemon.metric("pulse_writer_spans_stored_total");
        (stored > 0.0).then_some(())
    });
    daemon.process.kill9();
    daemon.restart();
    assert_clean_start(&daemon.process);
    for trace in 1..=TRACES {
        daemon.await_trace(&[trace; 16], SPANS);
    }
    daemon.await_stored();
    let largest = daemon.metric("pulse_writer_batch_rows_bucket{le=\"1024\"}");
    let all = daemon.metric("pulse_writer_batch_rows_bucket{le=\"+Inf\"}");
    assert_eq!(largest, all, "transactions of at most 1024 spans");
}

on_both_stores! {
    nothing_acknowledged_is_lost_or_doubled_over_kills,
}
