//! `auth`.

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Secret};
use crate::model::quota::Quota;

/// Fewest characters of a secret that is configured.
pub const SECRET_CHARS_MIN: usize = 32;

/// `auth`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether ingest without an API key is accepted, into the project `default`. Otherwise it is on
    /// loopback listeners only, and only until the first key is made.
    pub anonymous_ingest: bool,
    /// Whether queries without an API key are answered, from the project `default`. Otherwise they
    /// are on loopback listeners only, and only until the first key is made.
    pub anonymous_read: bool,
    /// `quota`: what every project may send that has no limits of its own.
    pub quota: QuotaConfig,
    /// Who may sign up.
    pub sign_up: SignUps,
    /// What cookies are signed with; empty means a secret that the store keeps.
    pub session_secret: Secret,
}

/// `auth.quota`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// Spans, log records and data points a second, of each collector; 0 is no limit.
    pub items_per_second: u32,
    /// Uncompressed bytes a day (UTC), of all collectors together; 0 is no limit.
    pub bytes_per_day: ByteSize,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        Self {
            items_per_second: 0,
            bytes_per_day: ByteSize(0),
        }
    }
}

impl QuotaConfig {
    /// The limits.
    #[must_use]
    pub fn quota(&self) -> Quota {
        Quota {
            items_per_second: Some(self.items_per_second).filter(|items| *items > 0),
            bytes_per_day: Some(self.bytes_per_day.0).filter(|bytes| *bytes > 0),
        }
    }
}

/// `auth.sign_up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUps {
    /// Who reaches a gateway on loopback, from this machine and not through a proxy.
    #[default]
    Local,
    /// Everybody.
    Open,
    /// Nobody; people are added by admins and on the command line.
    Closed,
    /// Who comes before there is anybody.
    First,
}
