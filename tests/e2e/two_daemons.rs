//! Daemons with logs of their own share one database as if they were one.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::duplicates::{SPANS_PER_TRACE, answers, assert_equal, once, requests};
use crate::load::Load;
use crate::otlp::{grpc_client, now, runtime};
use crate::random::Random;

/// Small batches, so that many transactions meet.
const SETTINGS: &[(&str, &str)] = &[
    ("processors.batch.timeout", "20ms"),
    ("processors.batch.send_batch_size", "50"),
];

const CONNECTIONS: usize = 16;
/// Sets of four traces.
const SETS: u64 = 5;

/// Every sum there is, by everything it can be told apart by.
fn sums(daemon: &Daemon, start: u64) -> Value {
    const MINUTE: u64 = 60_000_000_000;
    let (from, until) = (start - start % MINUTE - MINUTE, start + 5 * MINUTE);
    let by = "group_by=service,operation,provider,model&step=1m";
    let answer = daemon.api(&format!("/api/v1/analytics?start={from}&end={until}&{by}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sums = answer.json()["rows"].clone();
    assert!(!sums.as_array().unwrap().is_empty());
    sums
}

// Scenario: two daemons start at once on an empty database; sixteen connections send the same
// requests to both at the same time, each in another order, on both protocols.
// Guarantees: rows, tokens, summaries and sums over time are as if each request had been sent once
// to one daemon.
#[test]
fn the_same_requests_to_both_are_stored_as_if_sent_once() {
    let start = now();
    let (mut traces, mut all) = (Vec::new(), Vec::new());
    for seed in 1..=SETS {
        // No two traces start alike: lists are in order of start.
        let (ids, requests) = requests(seed, start + seed * 100_000_000);
        traces.extend(ids);
        all.extend(requests);
    }
    let alone = Cluster::new(SETTINGS);
    let alone = alone.start("all");
    once(alone.addresses().http, all.clone());
    let expected = answers(&alone, &traces);
    let expected_sums = sums(&alone, start);

    let cluster = Cluster::new(SETTINGS);
    let mut setups = [cluster.setup("all"), cluster.setup("all")];
    setups[1].data_dir = cluster.directory().join("second");
    let mut daemons = setups.map(Daemon::launch_with);
    daemons.iter_mut().for_each(Daemon::await_ready);
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let addresses = daemons[connection % 2].addresses();
            let mut mine = all.clone();
            mine.rotate_left(connection * 3);
            scope.spawn(move || {
                if connection % 4 < 2 {
                    return once(addresses.http, mine);
                }
                runtime().block_on(async {
                    let mut grpc = grpc_client(addresses.grpc);
                    for request in mine {
                        grpc.export(request).await.expect("accepted");
                    }
                });
            });
        }
    });
    daemons.iter().for_each(Daemon::await_counted);
    for daemon in &daemons {
        assert_equal(&answers(daemon, &traces), &expected);
        assert_eq!(sums(daemon, start), expected_sums);
    }
    let spans = (traces.len() * SPANS_PER_TRACE) as f64;
    let [stored, duplicate] = ["stored", "duplicate"].map(|outcome| {
        let name = format!("pulse_writer_spans_{outcome}_total");
        daemons.each_ref().map(|daemon| daemon.metric(&name))
    });
    // Either may have been first with every span, but each of them wrote all it was sent.
    for (stored, duplicate) in stored.iter().zip(duplicate) {
        assert!(stored + duplicate >= spans, "{stored} + {duplicate}");
    }
    assert_eq!(stored.iter().sum::<f64>(), spans);
}

// Scenario: two daemons are restarted one after the other, gracefully and by kills, behind clients
// that send to the other one what one does not accept.
// Guarantees: everything acknowledged is stored exactly once.
#[test]
fn a_rolling_restart_loses_and_doubles_nothing() {
    let mut random = Random::from_environment("rolling_restart");
    let cluster = Cluster::new(SETTINGS);
    let mut daemons = [cluster.start("all"), cluster.start_apart("all")];
    let addresses = daemons.each_ref().map(|daemon| daemon.addresses().grpc);
    let load = Load::start_balanced(&addresses, 4, random.next());
    for end in [Daemon::stop, |daemon: &mut Daemon| daemon.process.kill9()] {
        for daemon in &mut daemons {
            load.await_more(10);
            end(daemon);
            load.await_more(10);
            daemon.restart();
        }
    }
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    let [first, second] = &daemons;
    first.await_stored();
    ledger.assert_stored(second);
}
