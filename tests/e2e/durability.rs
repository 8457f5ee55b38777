//! Acknowledged means durable, whenever the process is killed.

use std::time::Duration;

use crate::daemon::{Daemon, Process};
use crate::load::Load;
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
#[test]
fn nothing_acknowledged_is_lost_or_doubled_over_kills() {
    let mut random = Random::from_environment("durability");
    let mut daemon = Daemon::spawn(BUSY);
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
