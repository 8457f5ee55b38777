//! A store of credentials that does as a test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::Config;
use super::gate::Gates;
use super::key::ApiKey;
use super::quota::Quotas;
use super::resolver::{Openness, Resolver};
use crate::model::ProjectId;
use crate::model::access::Scopes;
use crate::model::quota::{Day, Quota};
use crate::storage::Error;
use crate::storage::access::{Change, CredentialStore, Done, Found, Hash, KeyGrant, State};
use crate::storage::quota::{QuotaStore, Usage};
use crate::telemetry::Metrics;

/// Ways in by this configuration, and the store that knows who may come; there is no key yet.
pub(crate) fn gates(config: &Config) -> (Arc<Keys>, Gates) {
    let keys = Arc::new(Keys::default());
    let open = Openness {
        no_keys: true,
        no_users: true,
    };
    let quotas = keys.quotas(config.quota.quota());
    let gates = Gates::new(keys.resolver(Some(open)), quotas, config.clone());
    (keys, gates)
}

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    Away,
    Silent,
}

/// The store and what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) mood: Mutex<Mood>,
    generation: AtomicU64,
    keys: Mutex<BTreeMap<Hash, KeyGrant>>,
    pub(crate) has_users: Mutex<bool>,
    pub(crate) lookups: AtomicU64,
    pub(crate) used: Mutex<Vec<Vec<(String, u64)>>>,
    /// Now, ns.
    pub(crate) now: AtomicU64,
    pub(crate) uptime_seconds: AtomicU64,
    pub(crate) own: Mutex<BTreeMap<ProjectId, Quota>>,
    pub(crate) usage: Mutex<Vec<Usage>>,
}

impl Keys {
    /// Stores a key of a project, or changes what it allows.
    pub(crate) fn put(&self, text: &str, project: u32, scopes: Scopes) -> ApiKey {
        let key = ApiKey::parse(text).unwrap();
        self.change(&key, |grant| {
            grant.project = ProjectId(project);
            grant.scopes = scopes;
        });
        key
    }

    /// Changes a key, which is stored first if it is not.
    pub(crate) fn change(&self, key: &ApiKey, change: impl FnOnce(&mut KeyGrant)) {
        let hash = key.hash().0;
        let mut keys = self.keys.lock().unwrap();
        let grant = keys.entry(hash).or_insert_with(|| KeyGrant {
            id: format!("id of {}", key.reveal()),
            project: ProjectId::DEFAULT,
            scopes: Scopes::ALL,
            expires_unix_nano: None,
            revoked: false,
            hash,
        });
        change(grant);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::SeqCst)
    }

    /// A resolver of this store that knows nothing yet.
    pub(crate) fn resolver(self: &Arc<Self>, openness: Option<Openness>) -> Resolver {
        let clock = Arc::clone(self);
        let now = Arc::new(move || clock.now.load(Ordering::SeqCst));
        let store: Arc<dyn CredentialStore> = Arc::<Self>::clone(self);
        Resolver::new(store, now, openness)
    }

    /// What projects may send, by this store.
    pub(crate) fn quotas(self: &Arc<Self>, default: Quota) -> Quotas {
        let clock = Arc::clone(self);
        let now = Arc::new(move || clock.now.load(Ordering::SeqCst));
        let store: Arc<dyn QuotaStore> = Arc::<Self>::clone(self);
        let clock = Arc::clone(self);
        let uptime =
            Arc::new(move || Duration::from_secs(clock.uptime_seconds.load(Ordering::SeqCst)));
        Quotas::new(store, (now, uptime), default, Metrics::new().unwrap())
    }

    fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, Result<T, Error>> {
        match *self.mood.lock().unwrap() {
            Mood::Well => ready(Ok(answer)).boxed(),
            Mood::Away => ready(Err(Error::Unavailable {
                context: "ask",
                source: "away".into(),
            }))
            .boxed(),
            Mood::Silent => std::future::pending().boxed(),
        }
    }
}

impl CredentialStore for Keys {
    fn state(&self) -> BoxFuture<'_, Result<State, Error>> {
        self.answer(State {
            generation: self.generation.load(Ordering::SeqCst),
            has_keys: !self.keys.lock().unwrap().is_empty(),
            has_users: *self.has_users.lock().unwrap(),
        })
    }

    fn key(&self, hash: Hash) -> BoxFuture<'_, Result<Found<KeyGrant>, Error>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.answer(Found {
            generation: self.generation.load(Ordering::SeqCst),
            item: self.keys.lock().unwrap().get(&hash).cloned(),
        })
    }

    fn note_used(&self, used: Vec<(String, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        if *self.mood.lock().unwrap() == Mood::Well {
            self.used.lock().unwrap().push(used);
        }
        self.answer(())
    }
}

impl QuotaStore for Keys {
    fn quotas(&self) -> BoxFuture<'_, Result<Vec<(ProjectId, Quota)>, Error>> {
        let own = self.own.lock().unwrap();
        self.answer(
            own.iter()
                .map(|(project, quota)| (*project, *quota))
                .collect(),
        )
    }

    fn set_quota(
        &self,
        project: ProjectId,
        quota: Option<Quota>,
        _change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        let mut own = self.own.lock().unwrap();
        match quota {
            Some(quota) => own.insert(project, quota),
            None => own.remove(&project),
        };
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.answer(Ok(()))
    }

    fn add_usage(&self, usage: Vec<Usage>) -> BoxFuture<'_, Result<(), Error>> {
        if *self.mood.lock().unwrap() == Mood::Well {
            self.usage.lock().unwrap().extend(usage);
        }
        self.answer(())
    }

    fn bytes_of(&self, day: Day) -> BoxFuture<'_, Result<Vec<(ProjectId, u64)>, Error>> {
        let usage = self.usage.lock().unwrap();
        let mut bytes = BTreeMap::new();
        for usage in usage.iter().filter(|usage| usage.day == day) {
            *bytes.entry(usage.project).or_default() += usage.bytes;
        }
        self.answer(bytes.into_iter().collect())
    }

    fn usage(&self, project: ProjectId, from: Day) -> BoxFuture<'_, Result<Vec<Usage>, Error>> {
        let usage = self.usage.lock().unwrap();
        let of_it = |usage: &&Usage| usage.project == project && usage.day >= from;
        self.answer(usage.iter().filter(of_it).cloned().collect())
    }
}
