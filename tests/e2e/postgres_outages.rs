//! The database is there and does not do its work, in each way that servers have, while clients
//! send: clients are served, readiness tells why, writing goes on by itself, nothing is lost or
//! doubled.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::BACK_WITHIN;
use crate::daemon::{Daemon, eventually};
use crate::fault_proxy::FaultProxy;
use crate::load::Load;
use crate::postgres::{Database, Server, run_sql};
use crate::postgres_faults::SETTINGS;
use crate::random::Random;

/// How often each fault comes.
const ROUNDS: usize = 2;

/// A daemon under load.
struct Loaded {
    daemon: Daemon,
    load: Load,
}

impl Loaded {
    /// On a database, reached by this URL.
    fn start(test: &str, database: Database, url: &str) -> Self {
        let mut random = Random::from_environment(test);
        let daemon = Daemon::spawn_as(|setup| setup.on_database(database, url), SETTINGS);
        let load = Load::start_paced(daemon.addresses().grpc, 4, random.next());
        Self { daemon, load }
    }

    /// Writing stops, for a reason that readiness names, and goes on by itself.
    fn endure(&mut self, reason: &str, strike: impl Fn(), heal: impl Fn()) {
        for _ in 0..ROUNDS {
            self.daemon.await_storing();
            strike();
            self.daemon.await_failing("store", reason);
            self.load.await_more(20);
            heal();
            self.daemon.await_ready();
            self.daemon.await_storing();
        }
    }

    fn assert_nothing_lost(self) {
        let Self { mut daemon, load } = self;
        let ledger = load.stop();
        ledger.assert_refusals_retryable();
        ledger.assert_stored(&daemon);
        daemon.stop();
        let output = daemon.process.output();
        assert!(!output.contains("panicked"), "{output}");
    }
}

// Scenario: an administrator stops the server and starts it again.
#[test]
fn a_server_that_is_stopped_for_a_while() {
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url().to_owned();
    let mut loaded = Loaded::start("outage_stop", database, &url);
    loaded.endure("connect", || server.stop(), || server.restart());
    loaded.assert_nothing_lost();
}

// Scenario: the server is restarted again and again without giving it time to finish anything.
#[test]
fn a_server_that_is_restarted_immediately() {
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url().to_owned();
    let mut loaded = Loaded::start("outage_restart", database, &url);
    for _ in 0..3 {
        loaded.daemon.await_storing();
        server.crash();
        server.restart();
        loaded.load.await_more(5);
    }
    loaded.daemon.await_ready();
    loaded.assert_nothing_lost();
}

// Scenario: the server takes no writes, as after a failover the former primary does not.
// Guarantees: queries are answered meanwhile.
#[test]
fn a_server_that_is_read_only_for_a_while() {
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url().to_owned();
    let mut loaded = Loaded::start("outage_read_only", database, &url);
    let set = |value: &str| {
        server.execute(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {value}"
        ));
        server.execute("SELECT pg_reload_conf()");
    };
    let gateway = loaded.daemon.addresses().gateway;
    let heal = || {
        let answer = crate::http::get(gateway, "/api/v1/services").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        set("off");
    };
    loaded.endure("does not allow writes", || set("on"), heal);
    loaded.assert_nothing_lost();
}

// Scenario: every process of the server stands still, as on a host that is paused.
#[test]
fn a_server_that_is_frozen_for_a_while() {
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url().to_owned();
    let mut loaded = Loaded::start("outage_frozen", database, &url);
    loaded.endure("", || server.freeze(), || server.thaw());
    loaded.assert_nothing_lost();
}

// Scenario: the connection is lost right before a commit is delivered, and right before its answer
// is.
// Guarantees: a commit that took place is known for one.
#[test]
fn connections_that_are_lost_around_a_commit() {
    let database = Database::create();
    let proxy = FaultProxy::start(database.address());
    let url = database.url_through(proxy.address());
    let mut loaded = Loaded::start("outage_commit", database, &url);
    for _ in 0..5 {
        loaded.daemon.await_storing();
        proxy.cut_before("COMMIT");
        eventually("the cut", BACK_WITHIN, || proxy.has_cut().then_some(()));
        loaded.daemon.await_storing();
        proxy.swallow_answer_to("COMMIT");
        eventually("the cut", BACK_WITHIN, || {
            proxy.has_swallowed().then_some(())
        });
    }
    loaded.daemon.await_ready();
    let output = loaded.daemon.process.output();
    let known = "a commit whose answer was lost took place";
    assert!(output.contains(known), "{output}");
    loaded.assert_nothing_lost();
}

// Scenario: the collector's password is changed and its sessions are ended, then the password is
// changed back; its connections are limited to none, and the limit is lifted.
#[test]
fn a_user_that_may_not_connect_for_a_while() {
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url_of_owner("collector", "old");
    server.ask_for_password_of("collector");
    let mut loaded = Loaded::start("outage_password", database, &url);
    let alter = |what: &str| {
        server.execute(&format!("ALTER ROLE collector {what}"));
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'collector'",
        );
    };
    let password = "password authentication failed";
    let heal = || alter("PASSWORD 'old'");
    loaded.endure(password, || alter("PASSWORD 'new'"), heal);
    let heal = || alter("CONNECTION LIMIT -1");
    loaded.endure("too many connections", || alter("CONNECTION LIMIT 0"), heal);
    loaded.assert_nothing_lost();
}

// Scenario: somebody locks a table for longer than a writer waits.
#[test]
fn a_table_that_is_locked_for_a_while() {
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let url = database.url().to_owned();
    let mut loaded = Loaded::start("outage_lock", database, &url);
    loaded.daemon.await_storing();
    let holder = std::thread::spawn(move || {
        run_sql(
            &url,
            "BEGIN; LOCK TABLE trace IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3); COMMIT",
        );
    });
    loaded.daemon.await_failing("store", "lock timeout");
    holder.join().unwrap();
    loaded.daemon.await_ready();
    loaded.daemon.await_storing();
    loaded.assert_nothing_lost();
}

// Scenario: the disk that the database is on is full, and has room again later.
#[test]
fn a_server_whose_disk_is_full_for_a_while() {
    let Some(server) = Server::start_with_small_disk("96m") else {
        eprintln!("skipped: neither root nor a user namespace may mount a file system here");
        return;
    };
    let server = Arc::new(server);
    let database = server.database_in("small");
    let url = database.url().to_owned();
    let mut loaded = Loaded::start("outage_disk", database, &url);
    let strike = || {
        server.fill_disk();
        std::thread::sleep(Duration::from_millis(100));
    };
    loaded.endure("No space left on device", strike, || server.empty_disk());
    loaded.assert_nothing_lost();
}
