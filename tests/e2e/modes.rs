//! Taking requests and storing them in separate processes: whichever of them ends, in whatever
//! way, everything acknowledged is stored exactly once.

use std::time::Duration;

use crate::cluster::{BACK_WITHIN, Cluster};
use crate::daemon::{Daemon, eventually};
use crate::load::Load;
use crate::random::Random;

/// Small batches and segments, so that the end of a process meets many different moments.
const SETTINGS: &[(&str, &str)] = &[
    ("processors.batch.timeout", "20ms"),
    ("processors.batch.send_batch_size", "200"),
    ("queue.segment_size", "256KiB"),
    ("queue.partitions", "4"),
];

// Scenario: one process takes requests, two store them; each is killed in turn and started again
// while clients send.
// Guarantees: everything acknowledged is stored exactly once.
#[test]
fn kills_of_each_process_lose_and_double_nothing() {
    let mut random = Random::from_environment("modes_kills");
    let cluster = Cluster::new(SETTINGS);
    let mut processes = ["api", "listener", "listener"].map(|mode| cluster.start(mode));
    let load = Load::start_paced(processes[0].addresses().grpc, 4, random.next());
    for _ in 0..2 {
        for daemon in &mut processes {
            load.await_more(10);
            std::thread::sleep(Duration::from_millis(random.below(300)));
            daemon.process.kill9();
            daemon.restart();
        }
    }
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&processes[0]);
}

// Scenario: of two listeners that both store, one is killed and not started again.
// Guarantees: the other takes over what it leaves behind; everything acknowledged is stored
// exactly once.
#[test]
fn a_killed_listener_is_replaced_by_the_others() {
    let mut random = Random::from_environment("modes_takeover");
    let cluster = Cluster::new(SETTINGS);
    let api = cluster.start("api");
    let mut first = cluster.start("listener");
    let second = cluster.start("listener");
    let load = Load::start_paced(api.addresses().grpc, 4, random.next());
    first.await_storing();
    second.await_storing();
    first.process.kill9();
    load.await_more(50);
    second.await_storing();
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&api);
}

// Scenario: a partition of the log can't be used as it is, until somebody sees to it.
// Guarantees: a listener stores the others meanwhile, says which one and why, and then stores it
// too.
#[test]
fn a_partition_that_can_not_be_used_holds_up_no_other() {
    let mut random = Random::from_environment("modes_unusable");
    let cluster = Cluster::new(SETTINGS);
    let api = cluster.start("api");
    let in_the_way = api.setup.data_dir.join("wal/p1/writer.lock");
    std::fs::create_dir(&in_the_way).unwrap();
    let mut listener = Daemon::launch_with(cluster.setup("listener"));
    listener.await_failing("queue", "wal/p1: ");
    let load = Load::start_paced(api.addresses().grpc, 4, random.next());
    load.await_more(20);
    let output = listener.process.output();
    for partition in [0, 2, 3] {
        let taken = format!("storing a partition of the log partition={partition} ");
        assert!(output.contains(&taken), "{output}");
    }
    assert_eq!(output.matches("ERROR").count(), 1, "{output}");
    std::fs::remove_dir(&in_the_way).unwrap();
    listener.await_ready();
    let ledger = load.stop();
    ledger.assert_stored(&api);
}

// Scenario: requests are taken while no listener runs, then the process that takes them is killed;
// listeners start without it.
// Guarantees: they store what is in the log; the next start of the killed process finds nothing
// lost and nothing doubled.
#[test]
fn listeners_store_a_log_that_nobody_appends_to() {
    let mut random = Random::from_environment("modes_drain");
    let cluster = Cluster::new(SETTINGS);
    let mut api = cluster.start("api");
    let load = Load::start_paced(api.addresses().grpc, 4, random.next());
    load.await_more(100);
    api.process.kill9();
    let ledger = load.stop();
    let _listeners = ["listener", "listener"].map(|mode| cluster.start(mode));
    let elsewhere = cluster.start_apart("api");
    ledger.await_shown(&elsewhere);
    api.restart();
    ledger.assert_stored(&api);
    ledger.assert_shown(&elsewhere);
}

// Scenario: a data directory goes from one process that does everything to separate ones and back,
// while clients send, once gracefully and once by kills.
// Guarantees: everything acknowledged is stored exactly once.
#[test]
fn a_change_of_mode_loses_and_doubles_nothing() {
    let mut random = Random::from_environment("modes_change");
    let cluster = Cluster::new(SETTINGS);
    let setup = cluster.setup("all");
    let mut all = Daemon::spawn_with(setup.clone());
    let load = Load::start_paced(setup.addresses.grpc, 4, random.next());
    for end in [Daemon::stop, |daemon: &mut Daemon| daemon.process.kill9()] {
        load.await_more(20);
        end(&mut all);
        let mut listener = cluster.start("listener");
        let receiver = setup.clone().environment("PULSE_RUNTIME_MODE", "api");
        let mut api = Daemon::spawn_with(receiver);
        load.await_more(20);
        end(&mut api);
        end(&mut listener);
        all.restart();
    }
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&all);
}

// Scenario: a log of four partitions is left with requests that are not stored, by a process that
// does everything and by one that only takes requests; the next start has one partition.
// Guarantees: what is in all of them is stored exactly once.
#[test]
fn fewer_partitions_lose_and_double_nothing() {
    let mut random = Random::from_environment("modes_partitions");
    for modes in [&["all"][..], &["api", "listener"]] {
        let cluster = Cluster::new(SETTINGS);
        let setup = cluster.setup(modes[0]).set("queue.partitions", "4");
        // So long a batch that nothing is stored before the kill.
        let slow = setup.clone().set("processors.batch.timeout", "10m");
        let mut before = Daemon::spawn_with(slow.set("processors.batch.send_batch_size", "32768"));
        let load = Load::start_paced(setup.addresses.grpc, 4, random.next());
        load.await_more(60);
        eventually("a log that is not stored", BACK_WITHIN, || {
            (before.metric("pulse_queue_unstored_records") >= 50.0).then_some(())
        });
        before.process.kill9();
        let one = setup.clone().set("queue.partitions", "1");
        let receiver = Daemon::spawn_with(one);
        let others = modes[1..].iter().map(|mode| cluster.start(mode));
        let _others: Vec<Daemon> = others.collect();
        load.await_more(20);
        let ledger = load.stop();
        ledger.assert_refusals_retryable();
        receiver.await_empty_log();
        ledger.assert_stored(&receiver);
    }
}
