//! The database goes away in every way it can, while clients send: nothing is lost or doubled.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::BACK_WITHIN;
use crate::daemon::{Daemon, eventually};
use crate::fault_proxy::{Direction, FaultProxy};
use crate::load::Load;
use crate::postgres::{Database, Server};
use crate::random::Random;

/// Small batches, so that faults meet many of them, and short waits for what does not answer.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("processors.batch.timeout", "20ms"),
    ("processors.batch.send_batch_size", "200"),
    ("storage.postgres.connect_timeout", "1s"),
    ("storage.postgres.acquire_timeout", "1s"),
    ("storage.postgres.statement_timeout", "2s"),
    ("storage.postgres.lock_timeout", "1s"),
    ("gateway.query_timeout", "2s"),
];

/// A question fails in the way that tells a client to come back, within the time it may take.
fn assert_queries_fail_retryably(daemon: &Daemon) {
    let answer = daemon.api("/api/v1/traces");
    assert!(
        [503, 504].contains(&answer.status),
        "{}: {}",
        answer.status,
        answer.text()
    );
}

// Scenario: the database server crashes again and again while clients send, and is back after a
// while each time.
// Guarantees: clients are served all the time; queries say that the store is away; afterwards
// everything acknowledged is stored exactly once.
#[test]
fn a_crashing_server_loses_and_doubles_nothing() {
    let mut random = Random::from_environment("postgres_faults");
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url().to_owned();
    let daemon = Daemon::spawn_as(|setup| setup.on_database(database, &url), SETTINGS);
    let load = Load::start_paced(daemon.addresses().grpc, 4, random.next());
    for _ in 0..4 {
        load.await_more(20);
        std::thread::sleep(Duration::from_millis(random.below(300)));
        server.crash();
        load.await_more(20);
        assert_queries_fail_retryably(&daemon);
        server.restart();
        eventually("queries being answered", BACK_WITHIN, || {
            (daemon.api("/api/v1/services").status == 200).then_some(())
        });
    }
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&daemon);
}

// Scenario: the network between daemon and database refuses, cuts after any number of bytes,
// freezes and delays, while clients send.
// Guarantees: clients are served all the time; afterwards everything acknowledged is stored exactly
// once.
#[test]
fn a_broken_network_loses_and_doubles_nothing() {
    let mut random = Random::from_environment("postgres_network");
    let database = Database::create();
    let proxy = FaultProxy::start(database.address());
    let url = database.url_through(proxy.address());
    let daemon = Daemon::spawn_as(|setup| setup.on_database(database, &url), SETTINGS);
    let load = Load::start_paced(daemon.addresses().grpc, 4, random.next());
    for round in 0..16 {
        load.await_more(5);
        match round % 8 {
            0 => proxy.cut(),
            1 | 2 => proxy.cut_after(Direction::ToServer, random.below(200_000)),
            3 | 4 => proxy.cut_after(Direction::ToClient, random.below(5_000)),
            5 => proxy.swallow_answer_to("COMMIT"),
            6 => {
                proxy.refuse();
                proxy.cut();
                load.await_more(5);
                assert_queries_fail_retryably(&daemon);
            }
            _ => {
                proxy.freeze();
                load.await_more(5);
                assert_queries_fail_retryably(&daemon);
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(300)));
        // What has not struck yet may strike still.
        if round % 8 >= 6 {
            proxy.heal();
        }
    }
    proxy.heal();
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&daemon);
}
