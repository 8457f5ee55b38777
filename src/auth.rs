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
    /// Whether ingest without an API key is accepted, into the project `default`. Otherwise it is on
    /// loopback listeners only, and only until the first key is made.
    pub anonymous_ingest: bool,
    /// Whether queries without an API key are answered, from the project `default`. Otherwise they
    /// are on loopback listeners only, and only until the first key is made.
    pub anonymous_read: bool,
}
