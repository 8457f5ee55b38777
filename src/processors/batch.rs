//! How spans are grouped into store transactions: by rows, bytes and age.

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Duration};

/// `processors.batch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Spans after which a batch is written.
    pub send_batch_size: u32,
    /// Most spans in one transaction: a larger request is written in several.
    pub send_batch_max_size: u32,
    /// Bytes of span payload after which a batch is written.
    pub send_batch_bytes: ByteSize,
    /// Age of the oldest span after which a batch is written.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            send_batch_size: 16_384,
            send_batch_max_size: 32_768,
            send_batch_bytes: ByteSize::mib(16),
            timeout: Duration::millis(200),
        }
    }
}
