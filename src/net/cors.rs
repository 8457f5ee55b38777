//! Cross-origin resource sharing for the HTTP listeners. Off unless configured.

use serde::{Deserialize, Serialize};

use crate::config::Duration;

/// `cors` of an HTTP listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Origins allowed, `*` matching any run of characters: `https://*.example.com`.
    pub allowed_origins: Vec<String>,
    /// Request headers allowed beside the safe-listed ones and `content-type`.
    pub allowed_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub exposed_headers: Vec<String>,
    /// How long a browser may keep a preflight answer.
    pub max_age: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            allowed_headers: Vec::new(),
            exposed_headers: Vec::new(),
            max_age: Duration::seconds(7200),
        }
    }
}
