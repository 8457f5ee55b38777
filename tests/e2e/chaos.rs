//! Everything that can go wrong with the modes and their database, in random order and at once.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{BACK_WITHIN, Cluster};
use crate::daemon::Daemon;
use crate::load::Load;
use crate::postgres::Server;
use crate::postgres_faults::SETTINGS;
use crate::random::Random;

/// Faults without `$PULSE_TEST_FAULTS`.
const FAULTS: u64 = 12;

fn faults() -> u64 {
    let asked = std::env::var("PULSE_TEST_FAULTS").ok();
    asked.map_or(FAULTS, |text| {
        text.parse().expect("PULSE_TEST_FAULTS is a number")
    })
}

/// What has been done to the database and is to be undone.
type Undo = fn(&Server);

fn strike_database(server: &Server, random: &mut Random) -> Undo {
    let read_only = |server: &Server, value: &str| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        server.execute(&set);
        server.execute("SELECT pg_reload_conf()");
    };
    match random.below(4) {
        0 => {
            server.crash();
            Server::restart
        }
        1 => {
            server.freeze();
            Server::thaw
        }
        2 => {
            read_only(server, "on");
            |server| {
                server.execute("ALTER SYSTEM RESET default_transaction_read_only");
                server.execute("SELECT pg_reload_conf()");
            }
        }
        _ => {
            let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'pulse-collector'";
            server.execute(sessions);
            |_| {}
        }
    }
}

fn strike_process(daemon: &mut Daemon, random: &mut Random) {
    if random.below(3) == 0 {
        // One that has hardly begun ends as it likes.
        daemon.process.sigterm();
        daemon.process.wait_exit(BACK_WITHIN);
    } else {
        daemon.process.kill9();
    }
    std::thread::sleep(Duration::from_millis(random.below(500)));
    // Its database may be away: it is not waited for.
    daemon.process = daemon.setup.launch();
    // Now and then it does not live long.
    std::thread::sleep(Duration::from_millis(random.below(500)));
    if random.below(3) == 0 {
        daemon.process.kill9();
        daemon.process = daemon.setup.launch();
    }
}

// Scenario: one process takes requests, two store them; processes are stopped and killed, also
// while they start, and the database crashes, freezes, turns read-only and ends sessions, one
// during the other, while clients send.
// Guarantees: everything acknowledged is stored exactly once, and everything works again by itself.
#[test]
fn faults_at_once_lose_and_double_nothing() {
    let mut random = Random::from_environment("chaos");
    let server = Arc::new(Server::start(&[]));
    let settings = [
        SETTINGS,
        &[
            ("queue.segment_size", "256KiB"),
            ("service.drain_timeout", "1s"),
        ],
    ]
    .concat();
    let cluster = Cluster::on_database(server.database(), &settings);
    let mut processes = ["api", "listener", "listener"].map(|mode| cluster.start(mode));
    let load = Load::start_paced(processes[0].addresses().grpc, 4, random.next());
    let mut undo: Option<Undo> = None;
    for _ in 0..faults() {
        load.await_more(random.below(20));
        match undo.take_if(|_| random.below(2) == 0) {
            Some(undo) => undo(&server),
            None if undo.is_none() && random.below(2) == 0 => {
                undo = Some(strike_database(&server, &mut random));
            }
            None => {
                let victim = random.below(3) as usize;
                strike_process(&mut processes[victim], &mut random);
            }
        }
        assert!(
            processes
                .iter_mut()
                .all(|daemon| daemon.process.is_running())
        );
    }
    if let Some(undo) = undo {
        undo(&server);
    }
    processes.iter_mut().for_each(Daemon::await_ready);
    load.await_more(20);
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&processes[0]);
    for daemon in &processes {
        let output = daemon.process.output();
        assert!(!output.contains("panicked"), "{output}");
    }
}
