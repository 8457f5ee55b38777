//! `auth`.

use serde::{Deserialize, Serialize};

use crate::config::Secret;

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
    /// Who may sign up.
    pub sign_up: SignUps,
    /// What cookies are signed with; empty means a secret that the store keeps.
    pub session_secret: Secret,
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
