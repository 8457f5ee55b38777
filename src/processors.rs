//! What happens to spans between socket and store, in the order they run: the memory limiter
//! (before the body is read), redaction (before the log), limits, prices and sampling (per span, after the log), the batch.

pub mod batch;
pub mod limits;
pub mod memory_limiter;
pub mod pricing;
pub mod redaction;
pub mod sampling;

use serde::{Deserialize, Serialize};

/// `processors`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Refuses requests before they are decoded when memory runs short.
    pub memory_limiter: memory_limiter::Config,
    /// Leaves out, masks or hashes what must not be kept.
    pub redaction: redaction::Config,
    /// Truncates spans that carry too much.
    pub limits: limits::Config,
    /// What model calls cost.
    pub pricing: pricing::Config,
    /// Which traces are stored, where not all are.
    pub sampling: sampling::Config,
    /// How spans are grouped into store transactions.
    pub batch: batch::Config,
}
