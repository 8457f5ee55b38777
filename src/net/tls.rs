//! TLS for listeners: load, check, reload without a restart.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Duration;

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// PEM file with the certificate chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
    /// PEM file with the authorities that client certificates must chain to (mutual TLS).
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Lowest protocol version: `1.2` or `1.3`.
    #[serde(default)]
    pub min_version: MinVersion,
    /// How often the files are checked for a change.
    #[serde(default = "default_reload_interval")]
    pub reload_interval: Duration,
}

/// Lowest TLS version a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

fn default_reload_interval() -> Duration {
    Duration::seconds(10)
}
