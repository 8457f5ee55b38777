//! Who guesses passwords waits longer and longer. Pure but for a lock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::cache::Cache;
use super::key::KeyHash;

/// Attempts before one has to wait.
const FREE: u32 = 5;
/// The first wait; each is twice the one before it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait. After as long without an attempt all is forgotten.
const LONGEST: Duration = Duration::from_mins(15);
/// Pairs of an account and an address remembered.
const REMEMBERED_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    last: u64,
    /// No attempt counts before this.
    until: u64,
}

/// Counts attempts that failed, by account and address.
#[derive(Debug)]
pub(super) struct BackOff {
    failed: Mutex<Cache<KeyHash, Failed>>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long to wait after so many failures.
fn wait(times: u32) -> Duration {
    match times.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => FIRST
            .saturating_mul(2_u32.saturating_pow(more))
            .min(LONGEST),
    }
}

impl BackOff {
    pub(super) fn new() -> Self {
        Self {
            failed: Mutex::new(Cache::new(REMEMBERED_MAX)),
        }
    }

    fn key(account: &str, address: &str) -> KeyHash {
        KeyHash::of(&format!("{account}\n{address}"))
    }

    /// Begins an attempt, which counts as failed until it succeeds: many at once are no way around.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn begin(&self, account: &str, address: &str, now: u64) -> Result<(), Duration> {
        let key = Self::key(account, address);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failed
            .get(&key)
            .filter(|before| now.saturating_sub(before.last) < nanos(LONGEST));
        if let Some(before) = before.filter(|before| before.until > now) {
            return Err(Duration::from_nanos(before.until - now));
        }
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        let entry = Failed {
            times,
            last: now,
            until: now.saturating_add(nanos(wait(times))),
        };
        failed.insert(key, entry);
        Ok(())
    }

    /// Forgets failures: the attempt succeeded.
    pub(super) fn succeeded(&self, account: &str, address: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.remove(&Self::key(account, address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    // Scenario: attempts one after the other, each as soon as it may be made.
    // Guarantees: the first five wait for nothing, then each waits twice as long, up to the longest;
    // other accounts and addresses wait for nothing; success and time forget.
    #[test]
    fn waits_grow_for_one_account_from_one_address() {
        let back_off = BackOff::new();
        let mut now = 7 * SECOND;
        for _ in 0..5 {
            assert_eq!(back_off.begin("a", "1", now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900] {
            let told = back_off.begin("a", "1", now);
            assert_eq!(told, Err(Duration::from_secs(wait)));
            assert_eq!(back_off.begin("b", "1", now), Ok(()));
            assert_eq!(back_off.begin("a", "2", now), Ok(()));
            back_off.succeeded("b", "1");
            back_off.succeeded("a", "2");
            now += wait * SECOND;
            if wait < 900 {
                assert_eq!(back_off.begin("a", "1", now), Ok(()));
            } else {
                // As long as it takes to forget.
                assert_eq!(back_off.begin("a", "1", now), Ok(()));
                break;
            }
        }
        for _ in 0..4 {
            assert_eq!(back_off.begin("a", "1", now), Ok(()));
        }
        assert!(back_off.begin("a", "1", now).is_err());
        back_off.succeeded("a", "1");
        assert_eq!(back_off.begin("a", "1", now), Ok(()));
    }
}
