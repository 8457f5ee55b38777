//! Who may send and read. Credentials come with projects; until then the only question is whether
//! listeners that other machines can reach may be used without any.

use serde::{Deserialize, Serialize};

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
