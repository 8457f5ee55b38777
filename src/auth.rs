//! Who may send and read: credentials, and the one place that turns them into a project.
//!
//! A key ([`ApiKey`]) is random, shown once and stored as its SHA-256 only: enough for a random
//! text of 178 bits, and cheap enough for every request. Passwords ([`password`]) are stored as
//! argon2id. Nothing here prints either: their types show `[REDACTED]`.

mod cache;
pub mod credential;
pub mod denied;
pub mod gate;
pub mod key;
pub mod names;
pub mod password;
pub mod principal;
pub mod random;
pub mod resolver;
#[cfg(test)]
pub(crate) mod testing;

use serde::{Deserialize, Serialize};

pub use denied::Denied;
pub use gate::{Gate, Gates, Purpose};
pub use key::{ApiKey, KeyHash};
pub use principal::{Principal, Who};
pub use resolver::Resolver;

/// `auth`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether ingest without credentials is accepted on listeners that are not on loopback. Keys
    /// come with projects; until then this must be set to listen elsewhere.
    pub anonymous_ingest: bool,
    /// Whether queries without credentials are answered on listeners that are not on loopback.
    /// Keys come with projects; until then this must be set to listen elsewhere.
    pub anonymous_read: bool,
}
