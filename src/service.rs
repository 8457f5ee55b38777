//! Builds everything from the configuration and owns start, health and drain order.
//!
//! Start: lock the data directory, open store and log, bind every listener, and only then serve,
//! so that a start that fails leaves nothing open. Stop: not ready, no new connections, answer
//! what is in flight, close the log, let the writer drain it, exit.

pub mod banner;
mod build;
pub mod lock;
mod sample;
mod signals;
mod systemd;
pub mod tasks;

use std::path::PathBuf;
use std::time::Duration as StdDuration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::Duration;
use build::Daemon;
use signals::StopSignals;

/// `service`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
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
            data_dir: PathBuf::new(),
            drain_timeout: Duration::seconds(30),
            telemetry: crate::telemetry::Config::default(),
        }
    }
}

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Logging could not be set up.
    #[error(transparent)]
    Logs(#[from] crate::telemetry::logs::Error),
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
    daemon.log.close();
    if tokio::time::timeout_at(deadline, daemon.writer_ended())
        .await
        .is_err()
    {
        tracing::warn!("the store is behind at the drain deadline; the log keeps the rest");
        daemon.abandon.cancel();
    }
    tracing::info!("stopped");
}
