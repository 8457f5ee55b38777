//! A PostgreSQL server for tests: thrown away afterwards, whatever becomes of the test process.
//!
//! One server a test process, made when a test first asks for a database, and one database a test.
//! The server comes from the newest installed binaries (`/usr/lib/postgresql/*/bin`, else `PATH`);
//! with `PULSE_TEST_DATABASE_URL` the databases are made on that server instead.
//!
//! `postgres.sh` looks after the server. Statics are never dropped, and a killed process drops
//! nothing at all, so the script goes by the one thing that always happens: its input ends.

#![allow(
    dead_code,
    reason = "shared by several test binaries, each of which needs a part of it"
)]

#[path = "postgres_host.rs"]
mod postgres_host;
#[path = "postgres_sql.rs"]
mod postgres_sql;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use postgres_host::{binaries, free_port, namespace, sweep_directories};
pub(crate) use postgres_sql::run_sql;
use postgres_sql::{try_sql, with_database};

/// A server that somebody else looks after.
const URL_VARIABLE: &str = "PULSE_TEST_DATABASE_URL";
const DIRECTORY_PREFIX: &str = "pulse-test-postgres-";
const DATABASE_PREFIX: &str = "pulse_test_";
/// A database this old on a shared server was left behind by a test process that was killed.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Ports are taken by others now and then between our look and the server's start.
const START_TRIES: u32 = 5;

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Ours, and ended with this; absent for somebody else's.
    own: Option<Mutex<Supervisor>>,
    /// Of its maintenance database.
    url: String,
}

/// The script that looks after a server of ours.
#[derive(Debug)]
struct Supervisor {
    directory: PathBuf,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// The server that all tests of this process share.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
        let server = SHARED.get_or_init(|| match std::env::var(URL_VARIABLE) {
            Ok(url) if !url.is_empty() => {
                let server = Self { own: None, url };
                server.sweep_databases();
                Arc::new(server)
            }
            _ => Arc::new(Self::start(&[])),
        });
        Arc::clone(server)
    }

    /// A server of one's own, with these settings beside the usual ones: for tests that stop it.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_as(&[], settings)
    }

    /// One with a tablespace `small` on a file system of this size, that can be filled. `None` where
    /// nothing may be mounted.
    pub(crate) fn start_with_small_disk(size: &str) -> Option<Self> {
        let server = Self::start_as(namespace()?, &[]);
        server.command(&format!("disk {size}"));
        let space = server.directory().join("disk/space");
        let sql = format!("CREATE TABLESPACE small LOCATION '{}'", space.display());
        server.execute(&sql);
        Some(server)
    }

    fn start_as(wrapper: &[&str], settings: &[(&str, &str)]) -> Self {
        sweep_directories();
        let directory = tempfile::Builder::new()
            .prefix(DIRECTORY_PREFIX)
            .tempdir()
            .expect("make a directory")
            .keep();
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name} = '{value}'\n"));
        let settings: String = settings.collect();
        std::fs::write(directory.join("settings"), settings).expect("write the settings");
        let mut supervisor = Supervisor::spawn(wrapper, directory);
        supervisor.command("init");
        for _ in 0..START_TRIES {
            let port = free_port();
            if supervisor.try_command(&format!("start {port}")) {
                return Self {
                    own: Some(Mutex::new(supervisor)),
                    url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
                };
            }
        }
        supervisor.give_up("start");
    }

    /// Starts it again after it was stopped, on the same port.
    pub(crate) fn restart(&self) {
        let port = self.address().port();
        self.command(&format!("start {port}"));
    }

    /// Ends it as an administrator does: connections are cut, everything is written.
    pub(crate) fn stop(&self) {
        self.command("stop fast");
    }

    /// Ends it as a crash does; it recovers from its log at the next start.
    pub(crate) fn crash(&self) {
        self.command("stop immediate");
    }

    /// Stops all its processes where they are: connections stay open and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.command("freeze");
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(&self) {
        self.command("thaw");
    }

    /// Leaves no room where the tablespace `small` is.
    pub(crate) fn fill_disk(&self) {
        self.command("fill");
    }

    /// Makes room there again.
    pub(crate) fn empty_disk(&self) {
        self.command("empty");
    }

    /// Runs statements as its administrator.
    pub(crate) fn execute(&self, sql: &str) {
        run_sql(&self.url, sql);
    }

    /// Asks for this user's password, which it otherwise never does.
    pub(crate) fn ask_for_password_of(&self, user: &str) {
        let path = self.directory().join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&path).expect("read the rules");
        let rules = format!("host all {user} all scram-sha-256\n{rules}");
        std::fs::write(&path, rules).expect("write the rules");
        self.execute("SELECT pg_reload_conf()");
    }

    fn command(&self, command: &str) {
        let own = self
            .own
            .as_ref()
            .expect("only a server of ours takes commands");
        let mut supervisor = own.lock().unwrap_or_else(PoisonError::into_inner);
        supervisor.command(command);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let config: tokio_postgres::Config = self.url.parse().expect("a database URL");
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            other => panic!("the tests need a host to connect to by TCP, not {other:?}"),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let mut addresses = (host, port).to_socket_addrs().expect("resolve the host");
        addresses.next().expect("the host has an address")
    }

    /// A directory of the server's, for files that it has to read.
    pub(crate) fn directory(&self) -> PathBuf {
        let own = self
            .own
            .as_ref()
            .expect("only a server of ours has a directory");
        own.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .directory
            .clone()
    }

    /// A new, empty database on it.
    pub(crate) fn database(self: &Arc<Self>) -> Database {
        self.database_in("pg_default")
    }

    /// The same in a tablespace.
    pub(crate) fn database_in(self: &Arc<Self>, tablespace: &str) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "{DATABASE_PREFIX}{}_{}_{number}",
            unix_seconds(),
            std::process::id()
        );
        run_sql(
            &self.url,
            &format!("CREATE DATABASE {name} TEMPLATE template0 TABLESPACE {tablespace}"),
        );
        Database {
            url: with_database(&self.url, &name),
            name,
            server: Arc::clone(self),
        }
    }

    /// Drops what killed test processes left on a server that is not ours.
    fn sweep_databases(&self) {
        let rows = run_sql(&self.url, "SELECT datname FROM pg_database");
        let names = rows.into_iter().flatten().flatten();
        for name in names {
            let made = name
                .strip_prefix(DATABASE_PREFIX)
                .and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
            if made.is_some_and(|made| made + LEFT_BEHIND_AFTER.as_secs() < unix_seconds()) {
                run_sql(
                    &self.url,
                    &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
                );
            }
        }
    }
}

impl Supervisor {
    fn spawn(wrapper: &[&str], directory: PathBuf) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/postgres.sh");
        let mut command = wrapper.iter().chain(&["/bin/sh"]);
        let mut child = Command::new(command.next().expect("a program"))
            .args(command)
            .arg(script)
            .arg(&directory)
            .arg(binaries())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Not ended by what ends the tests from the keyboard.
            .process_group(0)
            .spawn()
            .expect("run /bin/sh");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            directory,
            child,
            commands,
            answers,
        }
    }

    fn try_command(&mut self, command: &str) -> bool {
        let commands = self.commands.as_mut().expect("open until the drop");
        writeln!(commands, "{command}").expect("the supervisor runs");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the supervisor answers");
        answer.trim() == "ok"
    }

    fn command(&mut self, command: &str) {
        if !self.try_command(command) {
            self.give_up(command);
        }
    }

    fn give_up(&mut self, command: &str) -> ! {
        let log = |name| std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        panic!(
            "PostgreSQL: {command} failed\n{}\n{}",
            log("supervisor.log"),
            log("server.log")
        );
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.commands = None;
        self.child.wait().ok();
    }
}

/// An empty database, dropped with this.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    url: String,
    server: Arc<Server>,
}

impl Database {
    /// One on the server that all tests of this process share.
    pub(crate) fn create() -> Self {
        Server::shared().database()
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Makes a user that owns it, and answers where it is for that user.
    pub(crate) fn url_of_owner(&self, user: &str, password: &str) -> String {
        let name = &self.name;
        self.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"));
        self.execute(&format!("ALTER DATABASE {name} OWNER TO {user}"));
        format!("postgres://{user}:{password}@{}/{name}", self.address())
    }

    /// Where it is by way of a proxy.
    pub(crate) fn url_through(&self, proxy: SocketAddr) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a URL with a database");
        match authority.rsplit_once('@') {
            Some((user, _)) => format!("{scheme}://{user}@{proxy}/{path}"),
            None => format!("{scheme}://{proxy}/{path}"),
        }
    }

    /// Where its server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its server.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Runs statements, on a connection of their own, and answers all rows as text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        run_sql(&self.url, sql)
    }

    /// The only value of the only row, as text; empty for NULL.
    pub(crate) fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row.iter().flatten().next().cloned().unwrap_or_default(),
            _ => panic!("not one value: {sql}: {rows:?}"),
        }
    }

    /// The only value of the only row as a number.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let value = self.value(sql);
        value
            .parse()
            .unwrap_or_else(|_| panic!("not a number: {sql}: {value}"))
    }

    /// Runs statements.
    pub(crate) fn execute(&self, sql: &str) {
        run_sql(&self.url, sql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A failure here must not hide the failure that may be unwinding.
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let url = self.server.url.clone();
        let work = move || {
            try_sql(&url, &drop).ok();
        };
        if self.server.own.is_some() {
            // To drop one takes a checkpoint, which nobody need wait for: a server of ours takes
            // what is left with it.
            std::thread::spawn(work);
        } else {
            work();
        }
    }
}

fn unix_seconds() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    elapsed.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_apart_and_gone_when_dropped() {
        let (one, other) = (Database::create(), Database::create());
        one.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (NULL)");
        assert_eq!(one.number("SELECT sum(n) FROM t"), 3);
        assert_eq!(
            one.rows("SELECT n FROM t ORDER BY n").last(),
            Some(&vec![None])
        );
        assert_eq!(
            other.number("SELECT count(*) FROM pg_class WHERE relname = 't'"),
            0
        );
        let name = one.name.clone();
        drop(one);
        let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while other.number(&left) > 0 {
            assert!(std::time::Instant::now() < deadline, "it is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_server_of_ones_own_survives_a_crash_and_leaves_nothing() {
        let server = Arc::new(Server::start(&[("max_connections", "20")]));
        let directory = server.directory();
        let database = server.database();
        assert_eq!(database.value("SHOW max_connections"), "20");
        assert_eq!(database.value("SHOW fsync"), "on");
        database.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
        server.crash();
        assert!(try_sql(database.url(), "SELECT 1").is_err());
        server.restart();
        assert_eq!(database.number("SELECT n FROM t"), 7);
        server.freeze();
        let frozen = std::net::TcpStream::connect(server.address()).is_ok();
        server.thaw();
        assert!(frozen, "the kernel accepts for a frozen server");
        assert_eq!(database.number("SELECT n FROM t"), 7);
        drop(database);
        drop(server);
        assert!(!directory.exists());
    }
}
