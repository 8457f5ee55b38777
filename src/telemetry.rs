//! Our own logs, metrics and health.

pub mod faults;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod process;

pub use metrics::Metrics;

use serde::{Deserialize, Serialize};

/// `service.telemetry`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Structured logs on standard error.
    pub logs: LogsConfig,
    /// Prometheus metrics and health probes.
    pub metrics: MetricsConfig,
}

/// `service.telemetry.logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per-module directives as in
    /// `info,pulse_collector::queue=debug`.
    pub level: String,
    /// How lines are written.
    pub encoding: LogEncoding,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEncoding {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            encoding: LogEncoding::Text,
        }
    }
}

/// `service.telemetry.metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// `host:port` for `/metrics`, `/livez` and `/readyz`; empty switches them off.
    pub endpoint: String,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:9464".to_owned(),
        }
    }
}
