//! Refuses requests before they are decoded when memory runs short.
//!
//! Two bounds: the resident size of the process, measured from outside, and the bytes of request
//! bodies held at once, counted exactly. Both refuse with a retryable failure, before the bytes in
//! question are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration as StdDuration;

use serde::{Deserialize, Serialize};

use crate::config::Duration;
use crate::otlp::Failure;

/// `processors.memory_limiter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often the resident size of the process is measured.
    pub check_interval: Duration,
    /// Resident size the process should stay below, in MiB.
    pub limit_mib: u32,
    /// Every request is refused above the limit less this margin, in MiB.
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

/// What a refused client is told to wait. Memory is given back within a batch or two.
const RETRY_AFTER: StdDuration = StdDuration::from_secs(1);

/// The state all requests share.
#[derive(Debug)]
pub struct MemoryLimiter {
    refuse_above_bytes: u64,
    in_flight_bytes_max: u64,
    in_flight_bytes: AtomicU64,
    under_pressure: AtomicBool,
}

impl MemoryLimiter {
    /// Makes a limiter that lets everything in until [`MemoryLimiter::measured`] says otherwise.
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        let mib = |count: u32| u64::from(count) << 20;
        Arc::new(Self {
            refuse_above_bytes: mib(config.limit_mib.saturating_sub(config.spike_limit_mib)),
            in_flight_bytes_max: mib(config.in_flight_limit_mib),
            in_flight_bytes: AtomicU64::new(0),
            under_pressure: AtomicBool::new(false),
        })
    }

    /// Takes the resident size of the process, in bytes; answers whether requests are refused.
    pub fn measured(&self, resident_bytes: u64) -> bool {
        let under_pressure = resident_bytes > self.refuse_above_bytes;
        self.under_pressure.store(under_pressure, Ordering::Relaxed);
        under_pressure
    }

    /// Bytes of request bodies held now.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes.load(Ordering::Relaxed)
    }

    /// Lets a request in, holding nothing yet.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] under memory pressure.
    pub fn admit(self: &Arc<Self>) -> Result<Reservation, Failure> {
        if self.under_pressure.load(Ordering::Relaxed) {
            return Err(overloaded("the memory limit is reached"));
        }
        Ok(Reservation {
            limiter: Arc::clone(self),
            held_bytes: 0,
        })
    }
}

fn overloaded(message: &str) -> Failure {
    Failure::Overloaded {
        message: message.to_owned(),
        retry_after: RETRY_AFTER,
    }
}

/// Bytes held for one request; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    limiter: Arc<MemoryLimiter>,
    held_bytes: u64,
}

impl Reservation {
    /// Accounts for bytes about to be held.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when all requests together would hold too much. A request that
    /// holds nothing yet is then refused, so a single one within its own limit always fits.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), Failure> {
        let bytes = bytes as u64;
        let before = self
            .limiter
            .in_flight_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limiter.in_flight_bytes_max {
            self.limiter
                .in_flight_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
            return Err(overloaded("too many bytes of requests are in flight"));
        }
        self.held_bytes += bytes;
        Ok(())
    }

    /// A reservation that holds nothing yet, for work on the same request that may outlive this one.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            limiter: Arc::clone(&self.limiter),
            held_bytes: 0,
        }
    }

    /// Holds what another held.
    pub fn take_over(&mut self, mut other: Self) {
        self.held_bytes += std::mem::take(&mut other.held_bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.limiter
            .in_flight_bytes
            .fetch_sub(self.held_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Arc<MemoryLimiter> {
        MemoryLimiter::new(&Config {
            in_flight_limit_mib: 1,
            ..Config::default()
        })
    }

    #[test]
    fn pressure_refuses_and_its_end_admits() {
        let limiter = limiter();
        assert!(!limiter.measured(800 << 20));
        assert!(limiter.admit().is_ok());
        assert!(limiter.measured(900 << 20));
        assert!(matches!(limiter.admit(), Err(Failure::Overloaded { .. })));
        limiter.measured(100 << 20);
        assert!(limiter.admit().is_ok());
    }

    #[test]
    fn bytes_are_given_back_when_the_request_ends() {
        let limiter = limiter();
        let mut first = limiter.admit().unwrap();
        first.reserve(700_000).unwrap();
        let mut second = limiter.admit().unwrap();
        assert!(matches!(
            second.reserve(700_000),
            Err(Failure::Overloaded { .. })
        ));
        second.reserve(100_000).unwrap();
        assert_eq!(limiter.in_flight_bytes(), 800_000);
        drop(first);
        second.reserve(700_000).unwrap();
        let mut work = second.another();
        work.reserve(100_000).unwrap();
        assert_eq!(limiter.in_flight_bytes(), 900_000);
        second.take_over(work);
        assert_eq!(limiter.in_flight_bytes(), 900_000);
        drop(second);
        assert_eq!(limiter.in_flight_bytes(), 0);
    }
}
