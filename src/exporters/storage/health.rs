//! Whether the store takes what is written, by the account of all writers together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::health::Check;
use crate::telemetry::metrics::Metrics;

/// What the writers of the partitions say of the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreHealth {
    check: Check,
    metrics: Metrics,
    /// What each partition's writer has to complain about.
    failing: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl StoreHealth {
    /// Nobody has complained; the check is as it was.
    #[must_use]
    pub fn new(check: Check, metrics: Metrics) -> Self {
        Self {
            check,
            metrics,
            failing: Arc::default(),
        }
    }

    /// The store works for a partition, or the partition is no longer ours.
    pub fn works(&self, partition: u32) {
        self.change(|failing| {
            failing.remove(&partition);
        });
    }

    /// The store does not work for a partition.
    pub fn fails(&self, partition: u32, reason: String) {
        self.change(|failing| {
            failing.insert(partition, reason);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, String>)) {
        // Held while it is told, so that the last word is the last to be heard.
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut failing);
        let first = failing.values().next();
        self.metrics.storage_up(first.is_none());
        self.check
            .set(first.is_none(), first.cloned().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::health::Readiness;

    #[test]
    fn one_writer_that_fails_is_enough() {
        let readiness = Readiness::new();
        let health = StoreHealth::new(readiness.register("store"), Metrics::new().unwrap());
        assert!(!readiness.is_ready());
        health.works(0);
        assert!(readiness.is_ready());
        health.fails(1, "down".to_owned());
        health.works(0);
        assert!(!readiness.is_ready());
        health.works(1);
        assert!(readiness.is_ready());
    }
}
