//! Runs the real binary on ports and a data directory of its own, and ends it with the test.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::addresses::Addresses;
use crate::http;
use crate::postgres::Database;

/// How long a healthy daemon may take to be ready. Far more than it needs, for loaded machines.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Which store a daemon under test has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// Makes a test of each function that takes a [`Store`], for every store.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $case() {
                super::$case(crate::daemon::Store::Sqlite);
            })*
        }

        mod on_postgres {
            $(#[test]
            fn $case() {
                super::$case(crate::daemon::Store::Postgres);
            })*
        }
    };
}
pub(crate) use on_both_stores;

/// How a daemon is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) addresses: Addresses,
    pub(crate) data_dir: PathBuf,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// Of its own, dropped with the last copy of this.
    database: Option<Arc<Database>>,
    /// A command that runs the daemon's command, as `nsenter` does.
    wrapper: Vec<String>,
}

impl Setup {
    /// Free ports, the given data directory, everything else as it is by default.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            addresses: Addresses::free(),
            data_dir: data_dir.to_owned(),
            settings: Vec::new(),
            environment: Vec::new(),
            database: None,
            wrapper: Vec::new(),
        }
    }

    /// Sets a configuration key.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same for another process beside this one: free ports, everything else alike.
    pub(crate) fn beside(&self) -> Self {
        Self {
            addresses: Addresses::free(),
            ..self.clone()
        }
    }

    /// With this kind of store, and nothing in it.
    pub(crate) fn on(self, store: Store) -> Self {
        match store {
            Store::Sqlite => self,
            Store::Postgres => {
                let database = Database::create();
                let url = database.url().to_owned();
                self.on_database(database, &url)
            }
        }
    }

    /// With a database, reached by this URL.
    pub(crate) fn on_database(mut self, database: Database, url: &str) -> Self {
        self.database = Some(Arc::new(database));
        self.set("storage.kind", "postgres")
            .set("storage.postgres.url", url)
    }

    /// The database, where there is one.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_deref()
    }

    pub(crate) fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_pulse-collector");
        let mut command = match self.wrapper.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        // Nothing of the developer's environment may configure the daemon under test.
        command
            .env_clear()
            .envs(std::env::var("PATH").map(|path| ("PATH", path)));
        command
            .env("HOME", &self.data_dir)
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let addresses = self.addresses;
        let own = [
            (
                "receivers.otlp.protocols.grpc.endpoint",
                addresses.grpc.to_string(),
            ),
            (
                "receivers.otlp.protocols.http.endpoint",
                addresses.http.to_string(),
            ),
            ("gateway.endpoint", addresses.gateway.to_string()),
            (
                "service.telemetry.metrics.endpoint",
                addresses.metrics.to_string(),
            ),
            ("service.data_dir", self.data_dir.display().to_string()),
        ];
        for (key, value) in own {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
    }

    /// Runs another command with the same settings to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        command
            .output()
            .unwrap_or_else(|error| panic!("run {command:?}: {error}"))
    }

    /// Starts a daemon without waiting for anything.
    pub(crate) fn launch(&self) -> Process {
        self.launch_with(&[])
    }

    /// Starts another command with the same settings.
    pub(crate) fn launch_with(&self, arguments: &[&str]) -> Process {
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("run {command:?}: {error}"));
        let output = Arc::new(Mutex::new(String::new()));
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        let readers = pipes.into_iter().flatten().map(|pipe| {
            let output = Arc::clone(&output);
            std::thread::spawn(move || collect(pipe, &output))
        });
        Process {
            readers: readers.collect(),
            child,
            output,
        }
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) fn start(&self) -> Process {
        let mut process = self.launch();
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = process.child.try_wait().expect("wait for the daemon") {
                panic!(
                    "the daemon ended with {status} while starting:\n{}",
                    process.end_of_output()
                );
            }
            if http::get(self.addresses.metrics, "/readyz").is_ok_and(|answer| answer.status == 200)
            {
                return process;
            }
            assert!(
                Instant::now() < deadline,
                "not ready in time:\n{}",
                process.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn collect(mut pipe: Box<dyn Read + Send>, output: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..read]);
        output.lock().expect("no reader panics").push_str(&text);
    }
}

/// A running daemon. Killed when dropped; what it wrote is shown when the test fails.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    /// What the daemon has written to both of its outputs so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    /// What an ended daemon wrote, to the last byte.
    pub(crate) fn end_of_output(&mut self) -> String {
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader does not panic");
        }
        self.output()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// SIGKILL, and wait until it is gone.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().expect("kill the daemon");
        self.child.wait().expect("wait for the daemon");
    }

    pub(crate) fn sigterm(&self) {
        kill_process(self.pid(), Signal::TERM).expect("signal the daemon");
    }

    /// Waits for the daemon's own end.
    pub(crate) fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the daemon") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("wait for the daemon")
            .is_none()
    }

    /// A figure in KiB from `/proc/PID/status`, such as `VmRSS` and `VmHWM`.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the daemon runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the field exists");
        line.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the daemon wrote:\n{}---", self.output());
        }
    }
}

/// A daemon and everything it needs, for tests that start it once or restart it.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) setup: Setup,
    /// Removed last.
    pub(crate) _directory: Option<TempDir>,
}

impl Daemon {
    /// A ready daemon in a new directory, with these settings.
    pub(crate) fn spawn(settings: &[(&str, &str)]) -> Self {
        Self::spawn_on(Store::Sqlite, settings)
    }

    /// The same with this kind of store.
    pub(crate) fn spawn_on(store: Store, settings: &[(&str, &str)]) -> Self {
        Self::spawn_as(|setup| setup.on(store), settings)
    }

    /// The same, set up further.
    pub(crate) fn spawn_as(set_up: impl FnOnce(Setup) -> Setup, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let mut setup = set_up(Setup::new(&directory.path().join("data")));
        for (key, value) in settings {
            setup = setup.set(key, value);
        }
        Self {
            process: setup.start(),
            setup,
            _directory: Some(directory),
        }
    }

    /// A ready daemon in a directory that someone else looks after.
    pub(crate) fn spawn_with(setup: Setup) -> Self {
        Self {
            process: setup.start(),
            setup,
            _directory: None,
        }
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.setup.addresses
    }

    /// Starts it again, on the same ports and data directory, after it ended.
    pub(crate) fn restart(&mut self) {
        assert!(!self.process.is_running(), "restarted while running");
        self.process = self.setup.start();
    }

    pub(crate) fn is_alive_and_ready(&mut self) -> bool {
        let answers = |path| {
            http::get(self.setup.addresses.metrics, path).is_ok_and(|answer| answer.status == 200)
        };
        answers("/livez") && answers("/readyz") && self.process.is_running()
    }
}

/// Polls until the closure answers something, or fails the test after the deadline.
pub(crate) fn eventually<T>(
    what: &str,
    within: Duration,
    mut poll: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
