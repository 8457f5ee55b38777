//! What listens for telemetry.

pub mod family;
pub mod native;
pub mod otlp;
pub mod pulse;

use serde::{Deserialize, Serialize};

/// The configured receivers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// OTLP over gRPC and HTTP.
    pub otlp: otlp::Config,
}
