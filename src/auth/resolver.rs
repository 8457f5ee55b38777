//! From a key to what it is good for, without asking the store for every request.
//!
//! What the store answered is remembered with the number of the latest change it was of. That
//! number is looked up every two seconds ([`Resolver::refresh`]); when it is another one, what is
//! remembered is asked for again. So a change is in effect everywhere within the time of a refresh
//! (5 s at the most), and a store that is asked nothing new is asked one question per refresh,
//! however many keys there are.
//!
//! While the store is away, keys that are remembered stay good; others can't be told from wrong
//! ones and are answered with [`Denied::Unavailable`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::cache::Cache;
use super::denied::Denied;
use super::key::{ApiKey, KeyHash};
use super::principal::{Principal, Who};
use crate::model::ProjectId;
use crate::model::access::Scopes;
use crate::storage::access::{CredentialStore, Found, KeyGrant, State};
use crate::telemetry::logs::chain;

/// Between two looks at the number of the latest change.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(2);
/// How long the store may take for an answer before it counts as away. With the interval less
/// than the 5 s that a change may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a store that did not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// Good keys remembered, and wrong ones.
const KEYS_MAX: usize = 20_000;
const WRONG_MAX: usize = 20_000;
/// Questions to the store at once: more would wait for its connections.
const LOOKUPS_AT_ONCE: usize = 2;
/// Uses that are not written yet.
const USES_MAX: usize = 20_000;
/// A key's use is noted once in this time, ns.
const USE_NS: u64 = 60_000_000_000;

/// Tells the time, ns since the Unix epoch.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Turns keys into principals. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn CredentialStore>,
    now: Now,
    /// Of the latest change that is known.
    generation: AtomicU64,
    /// What is known of the store, as bits of [`Openness`].
    openness: AtomicU8,
    keys: Mutex<Cache<KeyHash, Arc<Entry>>>,
    /// Keys that the store did not know at a generation.
    wrong: Mutex<Cache<KeyHash, u64>>,
    lookups: Semaphore,
    /// Until when the store is left alone.
    away_until: Mutex<Option<Instant>>,
    /// Latest uses that are not written yet.
    uses: Mutex<HashMap<Arc<str>, u64>>,
}

/// A key that the store knows.
#[derive(Debug)]
struct Entry {
    generation: u64,
    id: Arc<str>,
    project: ProjectId,
    scopes: Scopes,
    expires_unix_nano: Option<u64>,
    revoked: bool,
    /// When its use was last noted.
    noted: AtomicU64,
}

/// Whether anybody may need a credential at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Openness {
    /// There has never been a key.
    pub no_keys: bool,
    /// There are no people with passwords.
    pub no_users: bool,
}

const KNOWN: u8 = 1;
const NO_KEYS: u8 = 2;
const NO_USERS: u8 = 4;

/// What is remembered of a key.
enum Remembered {
    Nothing,
    /// As of the latest change that is known.
    Fresh(Option<Arc<Entry>>),
    /// As of an earlier one.
    Stale(Arc<Entry>),
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver {
    /// Remembers nothing yet; `openness` is what was known when the process ended last.
    #[must_use]
    pub fn new(store: Arc<dyn CredentialStore>, now: Now, openness: Option<Openness>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                now,
                generation: AtomicU64::new(0),
                openness: AtomicU8::new(openness.map_or(0, Openness::bits)),
                keys: Mutex::new(Cache::new(KEYS_MAX)),
                wrong: Mutex::new(Cache::new(WRONG_MAX)),
                lookups: Semaphore::new(LOOKUPS_AT_ONCE),
                away_until: Mutex::new(None),
                uses: Mutex::default(),
            }),
        }
    }

    /// Looks up the number of the latest change; answers what is known then.
    pub async fn refresh(&self) -> Option<Openness> {
        match timeout(PATIENCE, self.shared.store.state()).await {
            Ok(Ok(state)) => {
                self.shared
                    .generation
                    .store(state.generation, Ordering::SeqCst);
                let openness = Openness::of(state).bits();
                self.shared.openness.store(openness, Ordering::SeqCst);
                *lock(&self.shared.away_until) = None;
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %chain(&error), "can't look up changes of keys");
                self.leave_alone();
            }
            Err(_) => self.leave_alone(),
        }
        self.openness()
    }

    /// Number of the latest change that is known.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// What tells the time.
    pub(super) fn clock(&self) -> Now {
        Arc::clone(&self.shared.now)
    }

    /// Whether there are keys and people; `None` while that was never known.
    #[must_use]
    pub fn openness(&self) -> Option<Openness> {
        let bits = self.shared.openness.load(Ordering::SeqCst);
        (bits & KNOWN != 0).then_some(Openness {
            no_keys: bits & NO_KEYS != 0,
            no_users: bits & NO_USERS != 0,
        })
    }

    /// Who holds a key.
    ///
    /// # Errors
    /// [`Denied::Unknown`], [`Denied::Revoked`], [`Denied::Expired`], [`Denied::Unavailable`].
    pub async fn resolve(&self, key: &ApiKey) -> Result<Principal, Denied> {
        let hash = key.hash();
        let entry = match self.remembered(&hash) {
            Remembered::Fresh(entry) => entry,
            Remembered::Stale(entry) if self.is_away() => Some(entry),
            Remembered::Nothing if self.is_away() => return Err(Denied::Unavailable),
            Remembered::Stale(entry) => match self.look_up(hash).await {
                Ok(found) => found,
                // A queue of ours is no reason to go by what may have changed.
                Err(_) if self.is_away() => Some(entry),
                Err(denied) => return Err(denied),
            },
            Remembered::Nothing => self.look_up(hash).await?,
        };
        let entry = entry.ok_or(Denied::Unknown)?;
        let now = (self.shared.now)();
        if entry.revoked {
            return Err(Denied::Revoked);
        }
        if entry.expires_unix_nano.is_some_and(|end| end <= now) {
            return Err(Denied::Expired);
        }
        self.note_use(&entry, now);
        Ok(Principal {
            project: entry.project,
            scopes: entry.scopes,
            who: Who::Key(Arc::clone(&entry.id)),
        })
    }

    fn remembered(&self, hash: &KeyHash) -> Remembered {
        let generation = self.shared.generation.load(Ordering::SeqCst);
        if let Some(entry) = lock(&self.shared.keys).get(hash) {
            return if entry.generation == generation {
                Remembered::Fresh(Some(entry))
            } else {
                Remembered::Stale(entry)
            };
        }
        match lock(&self.shared.wrong).get(hash) {
            Some(of) if of == generation => Remembered::Fresh(None),
            _ => Remembered::Nothing,
        }
    }

    fn is_away(&self) -> bool {
        let until = *lock(&self.shared.away_until);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn leave_alone(&self) {
        *lock(&self.shared.away_until) = Some(Instant::now() + LEFT_ALONE);
    }

    /// Asks the store, a bounded number of requests at once.
    async fn look_up(&self, hash: KeyHash) -> Result<Option<Arc<Entry>>, Denied> {
        let Ok(Ok(_permit)) = timeout(PATIENCE, self.shared.lookups.acquire()).await else {
            // So many ask that some must come back; that says nothing about the store.
            return Err(Denied::Unavailable);
        };
        // Another request may have asked the same meanwhile.
        if let Remembered::Fresh(entry) = self.remembered(&hash) {
            return Ok(entry);
        }
        if self.is_away() {
            return Err(Denied::Unavailable);
        }
        match timeout(PATIENCE, self.shared.store.key(hash.0)).await {
            Ok(Ok(found)) => return Ok(self.remember(hash, found)),
            Ok(Err(error)) => {
                tracing::debug!(error = %chain(&error), "can't look up a key");
            }
            Err(_) => tracing::debug!("the store did not say whose key it is"),
        }
        self.leave_alone();
        Err(Denied::Unavailable)
    }

    fn remember(&self, hash: KeyHash, found: Found<KeyGrant>) -> Option<Arc<Entry>> {
        let generation = found.generation;
        self.shared
            .generation
            .fetch_max(generation, Ordering::SeqCst);
        let Some(grant) = found.item.filter(|grant| hash.is(&grant.hash)) else {
            lock(&self.shared.wrong).insert(hash, generation);
            return None;
        };
        let mut keys = lock(&self.shared.keys);
        let before = keys.get(&hash);
        let noted = before.map_or(0, |before| before.noted.load(Ordering::Relaxed));
        let entry = Arc::new(Entry {
            generation,
            id: grant.id.into(),
            project: grant.project,
            scopes: grant.scopes,
            expires_unix_nano: grant.expires_unix_nano,
            revoked: grant.revoked,
            noted: AtomicU64::new(noted),
        });
        keys.insert(hash, Arc::clone(&entry));
        Some(entry)
    }

    /// Notes a use once a minute.
    fn note_use(&self, entry: &Entry, now: u64) {
        let noted = entry.noted.load(Ordering::Relaxed);
        if now.saturating_sub(noted) < USE_NS {
            return;
        }
        let is_first =
            entry
                .noted
                .compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed);
        let mut uses = lock(&self.shared.uses);
        if is_first.is_ok() && uses.len() < USES_MAX {
            uses.insert(Arc::clone(&entry.id), now);
        }
    }

    /// Writes the uses noted since the last time, in one batch. Those that can't be written are
    /// tried again the next time.
    pub async fn write_uses(&self) {
        let uses = std::mem::take(&mut *lock(&self.shared.uses));
        if uses.is_empty() {
            return;
        }
        let batch = uses.iter().map(|(id, at)| (id.to_string(), *at)).collect();
        let written = timeout(PATIENCE, self.shared.store.note_used(batch)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::debug!("can't note which keys were used, will try again");
            let mut now = lock(&self.shared.uses);
            for (id, at) in uses {
                now.entry(id).or_insert(at);
            }
        }
    }
}

impl Openness {
    const fn of(state: State) -> Self {
        Self {
            no_keys: !state.has_keys,
            no_users: !state.has_users,
        }
    }

    const fn bits(self) -> u8 {
        let keys = if self.no_keys { NO_KEYS } else { 0 };
        let users = if self.no_users { NO_USERS } else { 0 };
        KNOWN | keys | users
    }
}

#[cfg(test)]
mod tests;
