//! Processes of several modes over one data directory, on a database of their own.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Daemon, Setup, eventually};
use crate::http;
use crate::postgres::Database;

/// How long a process may take to be back to work on a loaded machine.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(60);

/// What the processes share.
#[derive(Debug)]
pub(crate) struct Cluster {
    setup: Setup,
    /// Removed last.
    directory: TempDir,
}

impl Cluster {
    /// On a new database of the server that all tests share.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        Self::on_database(Database::create(), settings)
    }

    /// On this database.
    pub(crate) fn on_database(database: Database, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let url = database.url().to_owned();
        let setup = Setup::new(&directory.path().join("data")).on_database(database, &url);
        let setup = settings
            .iter()
            .fold(setup, |setup, (key, value)| setup.set(key, value));
        Self { setup, directory }
    }

    /// A process of this mode on ports of its own. The mode is said as deployments say it.
    pub(crate) fn setup(&self, mode: &str) -> Setup {
        self.setup.beside().environment("PULSE_RUNTIME_MODE", mode)
    }

    /// A ready process of this mode.
    pub(crate) fn start(&self, mode: &str) -> Daemon {
        Daemon::spawn_with(self.setup(mode))
    }

    /// Where directories for further processes may be made.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The same with a data directory of its own, on the same database.
    pub(crate) fn start_apart(&self, mode: &str) -> Daemon {
        let mut setup = self.setup(mode);
        setup.data_dir = self.directory.path().join("apart");
        Daemon::spawn_with(setup)
    }
}

impl Daemon {
    /// One that is not waited for, in a directory that someone else looks after.
    pub(crate) fn launch_with(setup: Setup) -> Self {
        Self {
            process: setup.launch(),
            setup,
            _directory: None,
        }
    }

    /// What `/readyz` says of one part: whether it works, and why not.
    pub(crate) fn check(&self, name: &str) -> (bool, String) {
        // A process that starts answers probes before it knows all of its parts.
        eventually(&format!("readiness of {name}"), BACK_WITHIN, || {
            let answer = http::get(self.addresses().metrics, "/readyz").ok()?;
            let report = answer.json();
            assert_eq!(report["ready"], answer.status == 200, "{report}");
            let mut checks = report["checks"].as_array().expect("checks").iter();
            let check = checks.find(|check| check["name"] == name)?;
            assert!(answer.status == 503 || check["ok"] == true, "{report}");
            let detail = check["detail"].as_str().expect("a text").to_owned();
            Some((check["ok"] == Value::Bool(true), detail))
        })
    }

    /// Waits until a part says that it does not work, for this reason among others.
    pub(crate) fn await_failing(&self, name: &str, reason: &str) {
        let mut told = String::new();
        let deadline = Instant::now() + BACK_WITHIN;
        while !told.contains(reason) || told.is_empty() {
            assert!(Instant::now() < deadline, "{name}: not {reason}: {told}");
            std::thread::sleep(Duration::from_millis(10));
            let (works, detail) = self.check(name);
            told = if works { String::new() } else { detail };
        }
    }

    /// Waits until every part works.
    pub(crate) fn await_ready(&mut self) {
        eventually("readiness", BACK_WITHIN, || {
            self.is_alive_and_ready().then_some(())
        });
    }

    /// Waits until this process has stored something, again.
    pub(crate) fn await_storing(&self) {
        let before = self.metric("pulse_writer_spans_stored_total");
        eventually("spans to be stored", BACK_WITHIN, || {
            (self.metric("pulse_writer_spans_stored_total") > before).then_some(())
        });
    }

    /// Waits until the store has everything that is in this process's log.
    pub(crate) fn await_empty_log(&self) {
        eventually("the log to be stored", BACK_WITHIN, || {
            (self.metric("pulse_queue_unstored_records") == 0.0).then_some(())
        });
    }

    /// SIGTERM; the process ends by itself, successfully, in bounded time.
    pub(crate) fn stop(&mut self) {
        self.process.sigterm();
        let status = self.process.wait_exit(BACK_WITHIN);
        let output = self.process.end_of_output();
        assert!(status.success(), "{status}: {output}");
    }
}
