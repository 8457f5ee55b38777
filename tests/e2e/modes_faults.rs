//! Each mode when something else is away, full, in the way, or when it is asked to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::{BACK_WITHIN, Cluster};
use crate::daemon::{Daemon, eventually};
use crate::load::Load;
use crate::otlp::{post, post_accepted, request, span};
use crate::postgres::Server;
use crate::random::Random;
use crate::startup::assert_refuses;

/// Small batches, and short waits for what does not answer.
const SETTINGS: &[(&str, &str)] = &[
    ("processors.batch.timeout", "20ms"),
    ("storage.postgres.connect_timeout", "1s"),
    ("storage.postgres.acquire_timeout", "1s"),
    ("storage.postgres.statement_timeout", "2s"),
    ("gateway.query_timeout", "10s"),
];

// Scenario: the database server is down while processes of all modes start, clients send, and
// comes up later.
// Guarantees: the processes start, requests are taken, readiness says that the store is away and
// queries fail retryably; writing begins by itself and everything acknowledged is stored.
#[test]
fn a_store_that_comes_late_is_found_by_each_mode() {
    let mut random = Random::from_environment("modes_late_store");
    let server = Arc::new(Server::start(&[]));
    // Nobody can tell yet whether there are keys.
    let settings = [SETTINGS, &[("auth.anonymous_ingest", "true")]].concat();
    let whole = Cluster::on_database(server.database(), &settings);
    let parts = Cluster::on_database(server.database(), &settings);
    server.stop();
    let setups = [
        whole.setup("all"),
        parts.setup("api"),
        parts.setup("listener"),
    ];
    let mut daemons = setups.map(Daemon::launch_with);
    for daemon in &daemons {
        daemon.await_failing("store", "connect");
    }
    let receivers = [&daemons[0], &daemons[1]];
    let loads =
        receivers.map(|daemon| Load::start_paced(daemon.addresses().grpc, 2, random.next()));
    for (daemon, load) in receivers.iter().zip(&loads) {
        load.await_more(20);
        assert_eq!(daemon.api("/api/v1/services").status, 503);
    }
    server.restart();
    daemons.iter_mut().for_each(Daemon::await_ready);
    for (daemon, load) in daemons.iter().zip(loads) {
        load.await_more(5);
        let ledger = load.stop();
        ledger.assert_refusals_retryable();
        ledger.assert_stored(daemon);
    }
    assert!(daemons[2].metric("pulse_writer_spans_stored_total") > 0.0);
    for mut daemon in daemons {
        daemon.stop();
    }
}

// Scenario: the database server goes away and comes back while nobody sends and nobody asks.
// Guarantees: readiness of each mode tells of both.
#[test]
fn readiness_tells_of_the_store_without_any_load() {
    let server = Arc::new(Server::start(&[]));
    let whole = Cluster::on_database(server.database(), SETTINGS);
    let parts = Cluster::on_database(server.database(), SETTINGS);
    let mut daemons = [
        whole.start("all"),
        parts.start("api"),
        parts.start("listener"),
    ];
    server.stop();
    for daemon in &daemons {
        daemon.await_failing("store", "connect");
        assert_eq!(daemon.metric("pulse_storage_up"), 0.0);
    }
    server.restart();
    daemons.iter_mut().for_each(Daemon::await_ready);
}

// Scenario: SIGTERM to each process in turn while clients send, and new starts.
// Guarantees: exit code 0 each time; nothing is lost or doubled.
#[test]
fn a_stop_of_each_mode_loses_and_doubles_nothing() {
    let mut random = Random::from_environment("modes_stop");
    let cluster = Cluster::new(SETTINGS);
    let mut api = cluster.start("api");
    let mut listener = cluster.start("listener");
    let load = Load::start_paced(api.addresses().grpc, 4, random.next());
    for _ in 0..2 {
        for daemon in [&mut api, &mut listener] {
            load.await_more(10);
            daemon.stop();
            daemon.restart();
        }
    }
    load.await_more(10);
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&api);
}

// Scenario: SIGTERM to a process that does everything, right after the last request.
// Guarantees: exit code 0, and the log holds nothing that is not stored.
#[test]
fn a_stop_stores_what_is_in_the_log() {
    let mut random = Random::from_environment("modes_flush");
    let slow = [("processors.batch.timeout", "10m")];
    let cluster = Cluster::new(&slow);
    let mut all = cluster.start("all");
    let load = Load::start_paced(all.addresses().grpc, 4, random.next());
    load.await_more(50);
    let ledger = load.stop();
    all.stop();
    let elsewhere = cluster.start_apart("api");
    ledger.assert_shown(&elsewhere);
}

// Scenario: SIGTERM to a listener that gathers a batch for a long time yet.
// Guarantees: it stores what it has gathered, and ends long before the batch is due.
#[test]
fn a_listener_that_gathers_a_batch_stores_it_and_stops() {
    let cluster = Cluster::new(&[
        ("processors.batch.timeout", "10m"),
        ("service.drain_timeout", "10m"),
        ("queue.partitions", "1"),
    ]);
    let api = cluster.start("api");
    let mut listener = cluster.start("listener");
    let trace_id = [5; 16];
    let sent = request("gathered", vec![span(&trace_id, &[1; 8], "gathered")]);
    post_accepted(api.addresses().http, &sent);
    // It has the partition, and reads the request soon.
    eventually("the lease", BACK_WITHIN, || {
        let output = listener.process.output();
        output.contains("storing a partition").then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    listener.stop();
    api.await_trace(&trace_id, 1);
}

// Scenario: SIGTERM while the database is away, and while it takes connections and does not
// answer, with a short drain deadline.
// Guarantees: every mode ends by its deadline with exit code 0 and without a panic; everything
// acknowledged is stored after the next start.
#[test]
fn a_stop_without_a_store_keeps_its_deadline_and_everything_else() {
    let mut random = Random::from_environment("modes_stop_away");
    let server = Arc::new(Server::start(&[]));
    let settings = [SETTINGS, &[("service.drain_timeout", "1s")]].concat();
    let whole = Cluster::on_database(server.database(), &settings);
    let parts = Cluster::on_database(server.database(), &settings);
    let mut daemons = [
        whole.start("all"),
        parts.start("api"),
        parts.start("listener"),
    ];
    let loads = [0, 1].map(|receiver: usize| {
        let address = daemons[receiver].addresses().grpc;
        Load::start_paced(address, 2, random.next())
    });
    type Fault = fn(&Server);
    let faults: [(Fault, Fault); 2] = [
        (Server::freeze, Server::thaw),
        (Server::stop, Server::restart),
    ];
    for (strike, heal) in faults {
        daemons[0].await_storing();
        daemons[2].await_storing();
        strike(&server);
        loads.iter().for_each(|load| load.await_more(20));
        for daemon in &mut daemons {
            daemon.stop();
            let output = daemon.process.output();
            assert!(!output.contains("panicked"), "{output}");
        }
        heal(&server);
        daemons.iter_mut().for_each(Daemon::restart);
    }
    for (daemon, load) in daemons.iter().zip(loads) {
        let ledger = load.stop();
        ledger.assert_refusals_retryable();
        ledger.assert_stored(daemon);
    }
}

// Scenario: processes of every mode are started beside those of others on one data directory; a
// process whose port for probes is in use.
// Guarantees: exit code 1 and one line that says what is in the way; the others are not disturbed.
#[test]
fn modes_that_do_not_go_together_are_refused_in_one_line() {
    let cluster = Cluster::new(SETTINGS);
    let refused = |mode: &str, signs: &[&str]| assert_refuses(cluster.setup(mode).launch(), signs);
    let taken = "is in use by another pulse-collector";

    let mut all = cluster.start("all");
    refused("api", &[taken]);
    refused("all", &[taken]);
    refused("listener", &["stores its log itself", "service.mode=api"]);
    all.await_ready();
    all.stop();

    let mut listener = cluster.start("listener");
    refused("all", &["is in use by listeners", "service.mode=api"]);
    let mut api = cluster.start("api");
    refused("api", &[taken]);
    refused("all", &[taken]);
    for mode in ["all", "api", "listener"] {
        let mut setup = cluster.setup(mode);
        setup.addresses.metrics = api.addresses().metrics;
        // Not stopped by the data directory.
        setup.data_dir = cluster.directory().join(mode);
        let busy = setup.addresses.metrics.to_string();
        let setting = "service.telemetry.metrics.endpoint";
        assert_refuses(setup.launch(), &[&busy, setting, "in use"]);
    }
    api.await_ready();
    listener.await_ready();
}

// Scenario: clients send until the log is full, because no listener runs; then one starts.
// Guarantees: clients are told to come back and readiness says why; the listener stores what is in
// the log, requests are taken again, and everything acknowledged is stored.
#[test]
fn a_log_that_no_listener_empties_refuses_until_one_does() {
    let mut random = Random::from_environment("modes_full_log");
    let cluster = Cluster::new(&[
        ("queue.max_size", "512KiB"),
        ("queue.segment_size", "64KiB"),
        ("processors.batch.timeout", "20ms"),
    ]);
    let mut api = cluster.start("api");
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    let deadline = Instant::now() + BACK_WITHIN;
    while refused < 5 {
        assert!(Instant::now() < deadline, "the log never fills");
        let trace_id = random.id::<16>();
        let mut large = span(&trace_id, &[1; 8], "full log");
        large.name = "x".repeat(if refused == 0 { 10_000 } else { 1 });
        let answer = post(api.addresses().http, &request("full", vec![large]));
        match answer.status {
            200 => acknowledged.push(trace_id),
            503 => {
                assert!(answer.header("retry-after").is_some());
                refused += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    api.await_failing("queue", "the log is full");

    let load = Load::start_paced(api.addresses().grpc, 2, random.next());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(load.acknowledged(), 0, "taken with a full log");
    let _listener = cluster.start("listener");
    load.await_more(50);
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&api);
    for trace_id in &acknowledged {
        assert!(api.trace(trace_id).is_some(), "acknowledged and not stored");
    }
    api.await_ready();
}
