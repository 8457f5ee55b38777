//! Who may send and read: credentials, and the one place that turns them into a project.
//!
//! A key ([`ApiKey`]) is random, shown once and stored as its SHA-256 only: enough for a random
//! text of 178 bits, and cheap enough for every request. Passwords ([`password`]) are stored as
//! argon2id. Nothing here prints either: their types show `[REDACTED]`.

mod cache;
pub mod credential;
pub mod denied;
pub mod gate;
pub mod issue;
pub mod key;
pub mod names;
pub mod password;
pub mod principal;
pub mod quota;
pub mod random;
pub mod resolver;
#[cfg(test)]
pub(crate) mod testing;

use serde::{Deserialize, Serialize};

use crate::config::ByteSize;
use crate::model::quota::Quota;

pub use denied::Denied;
pub use gate::{Gate, Gates, Purpose};
pub use key::{ApiKey, KeyHash};
pub use principal::{Principal, Who};
pub use quota::Quotas;
pub use resolver::Resolver;

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
