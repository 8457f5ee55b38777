//! The root configuration: what can be set, and where each part lives.
//!
//! Every component owns its `Config` beside its code; `Default` is the only place where a default
//! is written. Precedence: flag, environment, file, default. [`load()`] builds a [`Config`] and
//! answers every problem with it, not only the first.

mod decode;
mod emit;
mod env;
pub mod load;
pub mod problem;
pub(crate) mod secret;
mod tree;
pub mod units;
pub mod validate;
mod yaml;

use std::path::PathBuf;

pub use emit::to_yaml;
pub use env::Environment;
pub use load::{Sources, load};
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use units::{ByteSize, Duration};
pub use validate::CheckFiles;

use serde::{Deserialize, Serialize};

/// The whole configuration of the daemon, in the OpenTelemetry Collector's manner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What listens for telemetry.
    pub receivers: crate::receivers::Config,
    /// What happens to spans between socket and store.
    pub processors: crate::processors::Config,
    /// The durable log between receivers and store.
    pub queue: crate::queue::Config,
    /// Where spans are stored and for how long.
    pub storage: crate::storage::Config,
    /// Where else everything goes that was accepted.
    pub exporters: crate::exporters::Config,
    /// The HTTP query API.
    pub gateway: crate::gateway::Config,
    /// Who may send and read.
    pub auth: crate::auth::Config,
    /// The daemon itself: logs, metrics, shutdown.
    pub service: crate::service::Config,
}

impl Config {
    /// Where the daemon keeps its files. Never empty in a loaded configuration.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.service.data_dir.clone()
    }

    /// The directory of the log.
    #[must_use]
    pub fn log_directory(&self) -> PathBuf {
        if self.queue.directory.as_os_str().is_empty() {
            self.service.data_dir.join("wal")
        } else {
            self.queue.directory.clone()
        }
    }

    /// How many partitions of the log are appended to.
    #[must_use]
    pub fn log_partitions(&self) -> u32 {
        match self.queue.partitions {
            0 => self.storage.kind.log_partitions(),
            partitions => partitions,
        }
    }

    /// The file of the embedded store.
    #[must_use]
    pub fn sqlite_path(&self) -> PathBuf {
        crate::storage::sqlite_path(&self.storage.sqlite, &self.service.data_dir)
    }
}
