//! The root configuration: what can be set, and where each part lives.
//!
//! Every component owns its `Config` beside its code; `Default` is the only place where a default
//! is written. Precedence: flag, environment, file, default.

pub mod units;

pub use units::{ByteSize, Duration};

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
    /// The HTTP query API.
    pub gateway: crate::gateway::Config,
    /// The daemon itself: logs, metrics, shutdown.
    pub service: crate::service::Config,
}
