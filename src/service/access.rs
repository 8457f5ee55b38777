//! Keeps what is known of keys up to date, and remembers over restarts whether there are any: a
//! daemon that starts while its database is away must know who needs one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use super::store::Store;
use super::tasks::Tasks;
use crate::auth::quota::Uptime;
use crate::auth::resolver::{Now, Openness, REFRESH_INTERVAL};
use crate::auth::{Quotas, Resolver};
use crate::config::Config;
use crate::pipeline::clock::Clock;
use crate::storage::access::{AccessStore, CredentialStore};
use crate::storage::quota::QuotaStore;
use crate::telemetry::Metrics;
use crate::telemetry::health::Check;

/// File in the data directory that tells whether there were keys and people.
const NOTE: &str = "access";
const NO_KEYS: &str = "no-keys";
const NO_USERS: &str = "no-users";

/// Between two writes of which keys were used.
const WRITE_USES_EVERY: Duration = Duration::from_secs(10);

/// Keys, as this process knows them.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) resolver: Resolver,
    pub(super) quotas: Quotas,
    pub(super) store: Arc<dyn AccessStore>,
    note: PathBuf,
}

impl Access {
    /// Asks the store once; a store that is away is asked again by [`Access::keep`].
    ///
    /// # Errors
    /// [`Error::Store`], when the settings of the store can't be used.
    pub(super) async fn open(
        store: &dyn Store,
        clock: &Arc<dyn Clock>,
        config: &Config,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let access = store.access().map_err(|source| Error::Store {
            store: store.describe(),
            source,
        })?;
        let note = config.data_dir().join(NOTE);
        let clock = Arc::clone(clock);
        let started = Instant::now();
        let uptime: Uptime = Arc::new(move || started.elapsed());
        let now: Now = Arc::new(move || clock.unix_nano());
        let credentials: Arc<dyn CredentialStore> = Arc::<dyn AccessStore>::clone(&access);
        let before = read(&note).await;
        let resolver = Resolver::new(credentials, Arc::clone(&now), before);
        let known = resolver.refresh().await;
        let limits: Arc<dyn QuotaStore> = Arc::<dyn AccessStore>::clone(&access);
        let quotas = Quotas::new(
            limits,
            (now, uptime),
            config.auth.quota.quota(),
            metrics.clone(),
        );
        quotas.refresh(resolver.generation()).await;
        let access = Self {
            resolver,
            quotas,
            store: access,
            note,
        };
        access.remember(before, known).await;
        Ok(access)
    }

    /// Looks up changes, and writes which keys were used and what was sent, until the daemon drains. `check` says
    /// whether it is known who needs a key: before that, requests without one are put off.
    pub(super) fn keep(&self, check: Check, tasks: &Tasks) {
        let (access, shutdown) = (self.clone(), tasks.shutdown_token());
        let tell = move |known: Option<Openness>| check.set(known.is_some(), "not looked up yet");
        tell(self.resolver.openness());
        tasks.spawn("access", async move {
            let mut refresh = interval(REFRESH_INTERVAL);
            refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut known = access.resolver.openness();
            loop {
                tokio::select! {
                    _ = refresh.tick() => {
                        let before = known;
                        known = access.resolver.refresh().await;
                        access.quotas.refresh(access.resolver.generation()).await;
                        access.remember(before, known).await;
                        tell(known);
                    }
                    () = shutdown.cancelled() => break,
                }
            }
        });
        // Apart, so that a store slow to write does not put off the look at what was revoked.
        let (uses, shutdown) = (self.clone(), tasks.shutdown_token());
        tasks.spawn("uses", async move {
            let mut write = interval(WRITE_USES_EVERY);
            write.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = write.tick() => uses.write().await,
                    () = shutdown.cancelled() => break,
                }
            }
            uses.write().await;
        });
    }

    /// Writes which keys were used, and what was sent.
    async fn write(&self) {
        self.resolver.write_uses().await;
        self.quotas.write_usage().await;
    }

    /// Notes what has changed. A note that can't be written is missed only by a start without the
    /// store, which then waits for it.
    async fn remember(&self, before: Option<Openness>, known: Option<Openness>) {
        let Some(known) = known.filter(|_| known != before) else {
            return;
        };
        let words = [(known.no_keys, NO_KEYS), (known.no_users, NO_USERS)];
        let words = words.into_iter().filter(|(holds, _)| *holds);
        let words: Vec<_> = words.map(|(_, word)| word).collect();
        let text = format!("known {}\n", words.join(" "));
        if let Err(error) = tokio::fs::write(&self.note, text).await {
            tracing::warn!(%error, path = %self.note.display(), "can't note whether there are keys");
        }
    }
}

/// What was noted. Anything else than a whole note is none.
async fn read(note: &Path) -> Option<Openness> {
    let text = tokio::fs::read_to_string(note).await.ok()?;
    let words = text.strip_suffix('\n')?.strip_prefix("known")?;
    let has = |wanted| words.split(' ').any(|word| word == wanted);
    Some(Openness {
        no_keys: has(NO_KEYS),
        no_users: has(NO_USERS),
    })
}
