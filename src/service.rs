//! Builds everything from the configuration and owns start, health and drain order.
//!
//! Start: lock the data directory, bind every listener, open store and log, and only then serve,
//! so that a start that fails leaves nothing open. Stop: not ready, no new connections, answer
//! what is in flight, close the log, let the writers drain it, exit.
//!
//! Taking requests and storing them may be two kinds of process over one data directory
//! ([`Mode`]). What they need of each other goes through the log's directory (`queue`): each works
//! on while the other is away.

mod access;
pub mod banner;
mod build;
mod late_reader;
mod leases;
pub mod lock;
mod log;
mod sample;
mod signals;
mod slots;
mod store;
mod systemd;
pub mod tasks;
mod tees;
#[cfg(test)]
mod tests;
mod writers;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration as StdDuration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::Duration;
use build::Daemon;
use signals::StopSignals;

/// How long writers may take to give up after the drain deadline.
const GIVE_UP_WITHIN: StdDuration = StdDuration::from_secs(1);

/// `service`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What this process does.
    pub mode: Mode,
    /// Where the daemon keeps its files; empty means `$PULSE_HOME`, else `~/.pulse`.
    pub data_dir: PathBuf,
    /// Longest time a graceful stop may take.
    pub drain_timeout: Duration,
    /// Our own logs and metrics.
    pub telemetry: crate::telemetry::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::All,
            data_dir: PathBuf::new(),
            drain_timeout: Duration::seconds(30),
            telemetry: crate::telemetry::Config::default(),
        }
    }
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Takes requests, stores them and answers queries.
    #[default]
    All,
    /// Takes requests into the log and answers queries. Listeners on the same data directory store
    /// what is in the log.
    Api,
    /// Stores what is in the log of a process with mode `api`. Several share its partitions.
    Listener,
}

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Logging could not be set up.
    #[error(transparent)]
    Logs(#[from] crate::telemetry::logs::Error),
    /// A configured price can't be used.
    #[error("processors.pricing")]
    Prices(#[from] crate::pricing::Error),
    /// Metrics could not be set up.
    #[error("set up metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] lock::Error),
    /// The store can't be opened.
    #[error("open the store {store}")]
    Store {
        /// What it is called, without secrets.
        store: String,
        /// Why.
        #[source]
        source: crate::storage::Error,
    },
    /// The log can't be opened.
    #[error("open the log {}", path.display())]
    Log {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: crate::queue::Error,
    },
    /// The log has more partitions than the store can be written from.
    #[error(
        "the log {} has requests that are not stored, and {store} takes one partition: \
         start with the store that it was written for until it is empty", path.display()
    )]
    FormerPartitions {
        /// Directory of the partition.
        path: PathBuf,
        /// What the store is called.
        store: String,
    },
    /// What must not be kept can't be told.
    #[error(transparent)]
    Redaction(#[from] crate::processors::redaction::Problem),
    /// The backend can't be talked to as it is configured.
    #[error("exporters.otlp")]
    Exporter(#[from] crate::exporters::otlp::ConnectError),
    /// A listener can't be opened.
    #[error(transparent)]
    Listener(#[from] crate::net::listener::Error),
    /// The OTLP receiver can't be started.
    #[error(transparent)]
    Receiver(#[from] crate::receivers::otlp::StartError),
    /// A thread or a signal handler can't be set up.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// A second signal came while the daemon was draining.
    #[error("ended by a second {0} before the drain was done; the log keeps what is not stored")]
    EndedAtOnce(&'static str),
    /// A part of the daemon ended that must not.
    #[error("{0} failed; see the log lines above")]
    PartFailed(&'static str),
}

/// Runs the daemon until it is asked to stop.
///
/// # Errors
/// A start that fails, and a part that fails later. The log keeps everything acknowledged.
pub async fn run(config: crate::config::Config) -> Result<(), Error> {
    crate::telemetry::logs::init(&config.service.telemetry.logs)?;
    let mut stop = StopSignals::listen().map_err(|source| Error::System {
        what: "listen for signals",
        source,
    })?;
    let drain_timeout = config.service.drain_timeout.0;
    let mut daemon = Box::pin(build::start(config)).await?;
    announce(&daemon.banner);
    if daemon.banner.lacks_a_key {
        tracing::warn!("{}", banner::NO_KEY.replace('\n', " "));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    systemd::ready();
    let failed = tokio::select! {
        signal = stop.next() => {
            tracing::info!(signal, "stopping; a second signal ends at once");
            None
        }
        part = daemon.part_failed() => Some(part),
    };
    systemd::stopping();
    tokio::select! {
        () = drain(&mut daemon, drain_timeout) => {}
        signal = stop.next() => return Err(Error::EndedAtOnce(signal)),
    }
    match failed {
        Some(part) => Err(Error::PartFailed(part)),
        None => Ok(()),
    }
}

/// Prints the banner; nobody reading it is no reason to stop.
fn announce(banner: &banner::Banner) {
    std::io::stdout()
        .lock()
        .write_all(banner.to_string().as_bytes())
        .ok();
}

async fn drain(daemon: &mut Daemon, timeout: StdDuration) {
    let deadline = Instant::now() + timeout;
    daemon.not_ready();
    daemon.tasks.start_shutdown();
    if tokio::time::timeout_at(deadline, daemon.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("requests are still open at the drain deadline");
    }
    daemon.close_log();
    if tokio::time::timeout_at(deadline, daemon.drained())
        .await
        .is_err()
    {
        tracing::warn!("the store is behind at the drain deadline; the log keeps the rest");
        daemon.abandon();
        // The writers must not outlive what they run on. None takes longer but for a disk that hangs.
        tokio::time::timeout(GIVE_UP_WITHIN, daemon.drained())
            .await
            .ok();
    }
    tracing::info!("stopped");
}
