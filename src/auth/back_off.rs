//! Who guesses passwords waits longer and longer. Pure but for a lock.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cache::Cache;
use super::key::KeyHash;

/// Attempts before one has to wait.
const FREE: u32 = 5;
/// The first wait; each is twice the one before it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait. After as long without an attempt all is forgotten.
const LONGEST: Duration = Duration::from_mins(15);
/// The same of one address, whatever the accounts: people behind one router are many.
const FREE_OF_ADDRESS: u32 = 50;
/// Sign-ups from one address before one has to wait: each costs a hash, and makes somebody.
const FREE_SIGN_UPS: u32 = 20;
/// Pairs of an account and an address remembered.
const REMEMBERED_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    last: u64,
    /// No attempt counts before this.
    until: u64,
}

/// Counts attempts that failed, by account and address, and by address alone.
#[derive(Debug)]
pub(super) struct BackOff {
    of_pairs: Failures,
    of_addresses: Failures,
    /// Sign-ups, those that succeed too.
    sign_ups: Failures,
}

/// Attempts that failed, by whatever tells who tries.
#[derive(Debug)]
struct Failures {
    free: u32,
    failed: Mutex<Cache<KeyHash, Failed>>,
}

/// An attempt that was begun.
#[derive(Debug)]
#[must_use = "counts as failed otherwise"]
pub(super) struct Attempt {
    pair: KeyHash,
    network: KeyHash,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long to wait after so many failures, of which some are free.
fn wait(times: u32, free: u32) -> Duration {
    match times.checked_sub(free) {
        None => Duration::ZERO,
        Some(more) => FIRST
            .saturating_mul(2_u32.saturating_pow(more))
            .min(LONGEST),
    }
}

impl BackOff {
    pub(super) fn new() -> Self {
        Self {
            of_pairs: Failures::new(FREE),
            of_addresses: Failures::new(FREE_OF_ADDRESS),
            sign_ups: Failures::new(FREE_SIGN_UPS),
        }
    }

    /// Begins an attempt, which counts as failed until something else is said: many at once are no
    /// way around.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn begin(
        &self,
        account: &str,
        address: &str,
        now: u64,
    ) -> Result<Attempt, Duration> {
        let attempt = Attempt {
            pair: KeyHash::of(&format!("{account}\n{address}")),
            network: KeyHash::of(&network(address)),
        };
        self.of_addresses.begin(attempt.network, now)?;
        if let Err(wait) = self.of_pairs.begin(attempt.pair, now) {
            self.of_addresses.undo(&attempt.network);
            return Err(wait);
        }
        Ok(attempt)
    }

    /// Begins a sign-up.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn sign_up(&self, address: &str, now: u64) -> Result<(), Duration> {
        self.sign_ups.begin(KeyHash::of(&network(address)), now)
    }

    /// The attempt succeeded: the failures before it are forgotten, those with other accounts are
    /// not.
    pub(super) fn succeeded(&self, attempt: &Attempt) {
        self.of_pairs.forget(&attempt.pair);
        self.of_addresses.undo(&attempt.network);
    }

    /// The attempt came to nothing: nobody knows whether the password was right.
    pub(super) fn undone(&self, attempt: &Attempt) {
        self.of_pairs.undo(&attempt.pair);
        self.of_addresses.undo(&attempt.network);
    }
}

/// What one household or machine has of an address: all of one of four bytes, half of one of
/// sixteen.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Ok(IpAddr::V4(_)) | Err(_) => address.to_owned(),
    }
}

impl Failures {
    fn new(free: u32) -> Self {
        Self {
            free,
            failed: Mutex::new(Cache::new(REMEMBERED_MAX)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache<KeyHash, Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, key: KeyHash, now: u64) -> Result<(), Duration> {
        let mut failed = self.lock();
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
            until: now.saturating_add(nanos(wait(times, self.free))),
        };
        failed.insert(key, entry);
        Ok(())
    }

    /// As if the latest attempt had not been.
    fn undo(&self, key: &KeyHash) {
        let mut failed = self.lock();
        if let Some(entry) = failed.get(key) {
            let entry = Failed {
                times: entry.times.saturating_sub(1),
                until: 0,
                ..entry
            };
            failed.insert(*key, entry);
        }
    }

    fn forget(&self, key: &KeyHash) {
        self.lock().remove(key);
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
        let begin = |account: &str, address: &str, now| back_off.begin(account, address, now);
        for _ in 0..5 {
            assert!(begin("a", "1", now).is_ok());
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900] {
            let told = begin("a", "1", now).unwrap_err();
            assert_eq!(told, Duration::from_secs(wait));
            for (account, address) in [("b", "1"), ("a", "2")] {
                let attempt = begin(account, address, now).unwrap();
                back_off.succeeded(&attempt);
            }
            now += wait * SECOND;
            // The last wait is as long as it takes to forget.
            assert!(begin("a", "1", now).is_ok());
        }
        for _ in 0..3 {
            assert!(begin("a", "1", now).is_ok());
        }
        let attempt = begin("a", "1", now).unwrap();
        assert!(begin("a", "1", now).is_err());
        back_off.succeeded(&attempt);
        assert!(begin("a", "1", now).is_ok());
    }

    // Scenario: one password is tried on many accounts, from addresses of one network; other attempts
    // come to nothing.
    // Guarantees: the network has to wait in the end, and nobody else; what came to nothing counts for
    // nothing.
    #[test]
    fn an_address_that_tries_many_accounts_has_to_wait() {
        let back_off = BackOff::new();
        for number in 0..1000 {
            let attempt = back_off.begin("x", "2001:db8::1", number).unwrap();
            back_off.undone(&attempt);
        }
        for number in 0..50 {
            let account = format!("a{number}");
            let address = format!("2001:db8::{number:x}");
            assert!(back_off.begin(&account, &address, SECOND).is_ok());
        }
        let told = back_off.begin("fresh", "2001:db8::ffff", SECOND);
        assert_eq!(told.unwrap_err(), Duration::from_secs(1));
        for other in ["2001:db8:0:1::1", "192.0.2.1", ""] {
            assert!(back_off.begin("fresh", other, SECOND).is_ok(), "{other}");
        }
    }

    // Scenario: a program signs up one person after the other from one network.
    // Guarantees: it has to wait in the end; nobody of another network, and nobody who signs in, has.
    #[test]
    fn an_address_that_signs_many_up_has_to_wait() {
        let back_off = BackOff::new();
        for number in 0..20 {
            let address = format!("2001:db8::{number:x}");
            assert!(back_off.sign_up(&address, SECOND).is_ok());
        }
        let told = back_off.sign_up("2001:db8::ffff", SECOND);
        assert_eq!(told.unwrap_err(), Duration::from_secs(1));
        assert!(back_off.sign_up("192.0.2.1", SECOND).is_ok());
        assert!(back_off.begin("a", "2001:db8::1", SECOND).is_ok());
        assert!(back_off.sign_up("2001:db8::1", 2 * SECOND).is_ok());
    }
}
