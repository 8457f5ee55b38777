//! What takes telemetry out of the pipeline: the store, and, where it is wanted, another backend.

pub mod otlp;
pub mod storage;

use serde::{Deserialize, Serialize};

/// `exporters`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Another OTLP backend that everything accepted is sent to as well; off unless given.
    pub otlp: Option<otlp::Config>,
}
