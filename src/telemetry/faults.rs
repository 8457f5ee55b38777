//! Counts of what goes wrong where no handle to the metrics reaches. Kept for the whole process; the
//! metrics show them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Rollups whose durations could not be read and were begun anew.
pub static DAMAGED_ROLLUPS: Fault = Fault::new();

/// Lists of a trace's model calls that could not be read.
pub static DAMAGED_CALL_LISTS: Fault = Fault::new();

/// Something that goes wrong now and then.
#[derive(Debug)]
pub struct Fault(AtomicU64);

impl Fault {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// It happened.
    pub fn happened(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has happened since the process started.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
