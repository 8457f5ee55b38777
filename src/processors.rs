//! What happens to spans between socket and store, in the order they run: the memory limiter
//! (before the body is read), limits and prices (per span, after the log), the batch.

pub mod batch;
pub mod limits;
pub mod memory_limiter;
pub mod pricing;

use serde::{Deserialize, Serialize};

/// `processors`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Refuses requests before they are decoded when memory runs short.
    pub memory_limiter: memory_limiter::Config,
    /// Truncates spans that carry too much.
    pub limits: limits::Config,
    /// What model calls cost.
    pub pricing: pricing::Config,
    /// How spans are grouped into store transactions.
    pub batch: batch::Config,
}
