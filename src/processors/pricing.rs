//! What model calls cost.

use serde::{Deserialize, Serialize};

use crate::pricing::{Error, Override, Table};

/// `processors.pricing`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the cost of calls that report none is computed.
    pub enabled: bool,
    /// Prices before those of the built-in table.
    pub overrides: Vec<Override>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            overrides: Vec::new(),
        }
    }
}

impl Config {
    /// The prices configured.
    ///
    /// # Errors
    /// An override is not usable.
    pub fn table(&self) -> Result<Table, Error> {
        if self.enabled {
            Table::new(&self.overrides)
        } else {
            Ok(Table::disabled())
        }
    }
}
