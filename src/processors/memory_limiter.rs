//! Refuses requests before they are decoded when memory runs short.

use serde::{Deserialize, Serialize};

use crate::config::Duration;

/// `processors.memory_limiter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often the resident size of the process is measured.
    pub check_interval: Duration,
    /// Resident size of the process above which every request is refused, in MiB.
    pub limit_mib: u32,
    /// Margin below the limit at which refusals begin, in MiB.
    pub spike_limit_mib: u32,
    /// Bytes of request bodies held at once, compressed and decompressed together, in MiB.
    pub in_flight_limit_mib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            check_interval: Duration::millis(100),
            limit_mib: 1024,
            spike_limit_mib: 200,
            in_flight_limit_mib: 256,
        }
    }
}
