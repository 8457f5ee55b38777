//! Builds everything from the configuration and owns start, health and drain order.

pub mod tasks;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Duration;

/// `service`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the daemon keeps its files; empty means `$PULSE_DATA_DIR`, else `$PULSE_HOME`,
    /// else `~/.pulse`.
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
