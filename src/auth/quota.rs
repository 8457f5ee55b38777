//! What projects may send: a number of items a second, and of bytes a day.
//!
//! A request is refused by its head while its project is over a limit, so that a project that
//! sends too much costs next to nothing ([`Quotas::check`]). What a request holds is known once it
//! is read, and is charged then ([`Quotas::charge`]): one that begins within the limits is taken
//! whole, and the next wait until it is made up for. So any batch gets through, and the rate is
//! kept over time.
//!
//! Items a second are counted by this process alone, bytes a day by all together, through the
//! store, to the last few seconds. While the store is away, what was last known counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::resolver::Now;
use crate::model::ProjectId;
use crate::model::quota::{Day, Quota};
use crate::storage::quota::{QuotaStore, Usage};
use crate::telemetry::Metrics;

/// What was not used in this time may be sent at once.
const BURST: Duration = Duration::from_secs(5);
/// Clients come back spread over this long.
const SPREAD_SECONDS: u64 = 3;
/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two lines about one project.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// The limit that a project is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// It will pass.
    #[error("the project may send {limit} items a second, and has sent more")]
    Rate {
        /// Items a second.
        limit: u32,
        /// When to come back.
        retry_after: Duration,
    },
    /// Nothing is taken before the day is over.
    #[error("the project may send {limit} bytes a day, and has; the next begins at 00:00 UTC")]
    Day {
        /// Bytes a day.
        limit: u64,
    },
}

impl Exceeded {
    /// When to come back, where that is soon.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Rate { retry_after, .. } => Some(retry_after),
            Self::Day { .. } => None,
        }
    }
}

/// Tells the time since some moment; never goes back.
pub type Uptime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Keeps projects within what they may send. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quotas {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn QuotaStore>,
    now: Now,
    uptime: Uptime,
    /// Of projects that have none of their own.
    default: Quota,
    /// Number of the change after which limits were last looked up, and one.
    looked_up: AtomicU64,
    metrics: Metrics,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    own: HashMap<ProjectId, Quota>,
    projects: HashMap<ProjectId, State>,
    /// Items and bytes that the store has not counted yet.
    pending: BTreeMap<(ProjectId, Day, &'static str), (u64, u64)>,
}

/// What a project has sent.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// When all that was sent would have been sent at the rate that is allowed, since the start.
    paid_until: Duration,
    day: Day,
    /// On that day, by all collectors, as far as is known.
    bytes: u64,
    /// Of these, what requests hold that are not taken yet.
    open_bytes: u64,
    said: Option<Duration>,
}

/// A request that was charged for. Unless it is kept, dropping it takes the charge back.
#[derive(Debug)]
#[must_use = "dropped at once, nothing is charged"]
pub struct Charge<'q> {
    quotas: &'q Quotas,
    project: ProjectId,
    day: Day,
    signal: &'static str,
    items: u64,
    bytes: u64,
    /// Time at the allowed rate.
    worth: Duration,
    kept: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Quotas {
    /// Knows no limits but those that all have, until [`Quotas::refresh`].
    #[must_use]
    pub fn new(
        store: Arc<dyn QuotaStore>,
        (now, uptime): (Now, Uptime),
        default: Quota,
        metrics: Metrics,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                now,
                uptime,
                default,
                looked_up: AtomicU64::new(0),
                metrics,
                counts: Mutex::default(),
            }),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        let counts = self.shared.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits of projects that have none of their own.
    #[must_use]
    pub fn default_quota(&self) -> Quota {
        self.shared.default
    }

    /// Whether a request of a project may come in.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn check(&self, project: ProjectId) -> Result<(), Exceeded> {
        let mut counts = self.counts();
        let quota = counts.quota(project, &self.shared.default);
        self.within(&mut counts, project, quota)
    }

    /// Charges a project for what it sent. Looks again at the limits, which other requests may
    /// have used up since the check.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn charge(
        &self,
        project: ProjectId,
        signal: &'static str,
        items: u64,
        bytes: u64,
    ) -> Result<Charge<'_>, Exceeded> {
        let day = Day::of((self.shared.now)());
        let mut counts = self.counts();
        let quota = counts.quota(project, &self.shared.default);
        self.within(&mut counts, project, quota)?;
        let worth = quota.items_per_second.map_or(Duration::ZERO, |rate| {
            let ns = u128::from(items) * 1_000_000_000 / u128::from(rate.max(1));
            Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
        });
        let state = counts.state(project, day);
        let now = (self.shared.uptime)();
        state.paid_until = state.paid_until.max(now).saturating_add(worth);
        state.bytes = state.bytes.saturating_add(bytes);
        state.open_bytes = state.open_bytes.saturating_add(bytes);
        Ok(Charge {
            quotas: self,
            project,
            day,
            signal,
            items,
            bytes,
            worth,
            kept: false,
        })
    }

    fn within(
        &self,
        counts: &mut Counts,
        project: ProjectId,
        quota: Quota,
    ) -> Result<(), Exceeded> {
        if quota.is_none() {
            return Ok(());
        }
        let unix_nano = (self.shared.now)();
        let state = counts.state(project, Day::of(unix_nano));
        let used_up = quota.bytes_per_day.filter(|limit| state.bytes >= *limit);
        let now = (self.shared.uptime)();
        let ahead = state.paid_until.saturating_sub(now);
        let exceeded = match (used_up, quota.items_per_second) {
            (Some(limit), _) => Exceeded::Day { limit },
            (None, Some(limit)) if ahead > BURST => {
                let spread = Duration::from_secs(unix_nano % SPREAD_SECONDS);
                let retry_after = (ahead - BURST).saturating_add(spread);
                Exceeded::Rate { limit, retry_after }
            }
            _ => return Ok(()),
        };
        let is_of_day = matches!(exceeded, Exceeded::Day { .. });
        self.shared.metrics.over_quota(is_of_day);
        if state
            .said
            .is_none_or(|said| now.saturating_sub(said) >= SAID_EVERY)
        {
            state.said = Some(now);
            tracing::warn!(%project, "requests are refused: {exceeded}");
        }
        Err(exceeded)
    }

    /// Looks up the limits of projects, if anything was changed since they were last.
    pub async fn refresh(&self, generation: u64) {
        let latest = generation.saturating_add(1);
        if self.shared.looked_up.load(Ordering::SeqCst) == latest {
            return;
        }
        match timeout(PATIENCE, self.shared.store.quotas()).await {
            Ok(Ok(quotas)) => {
                self.counts().own = quotas.into_iter().collect();
                self.shared.looked_up.store(latest, Ordering::SeqCst);
            }
            Ok(Err(error)) => tracing::debug!(%error, "can't look up quotas"),
            Err(_) => tracing::debug!("the store did not say what projects may send"),
        }
    }

    /// Writes what was sent since the last time, and looks up what other collectors took.
    pub async fn write_usage(&self) {
        let pending = std::mem::take(&mut self.counts().pending);
        if !pending.is_empty() {
            let usage = pending.iter().map(|((project, day, signal), sent)| Usage {
                project: *project,
                day: *day,
                signal: (*signal).to_owned(),
                items: sent.0,
                bytes: sent.1,
            });
            // Waited for as long as it takes: who gives up does not know whether it was added.
            if let Err(error) = self.shared.store.add_usage(usage.collect()).await {
                tracing::debug!(%error, "can't write what projects sent, will try again");
                self.counts().put_back(pending);
            }
        }
        let today = Day::of((self.shared.now)());
        if self.counts().limits_bytes(&self.shared.default) {
            let bytes = timeout(PATIENCE, self.shared.store.bytes_of(today)).await;
            if let Ok(Ok(bytes)) = bytes {
                self.counts().learn(today, bytes);
            }
        }
        self.forget(today);
    }

    /// Forgets projects that sent nothing lately.
    fn forget(&self, today: Day) {
        let now = (self.shared.uptime)();
        self.counts()
            .projects
            .retain(|_, state| state.day == today || state.paid_until > now);
    }
}

impl Counts {
    fn quota(&self, project: ProjectId, default: &Quota) -> Quota {
        *self.own.get(&project).unwrap_or(default)
    }

    fn limits_bytes(&self, default: &Quota) -> bool {
        let mut quotas = self.own.values().chain([default]);
        quotas.any(|quota| quota.bytes_per_day.is_some())
    }

    /// What a project has sent, as of a day.
    fn state(&mut self, project: ProjectId, day: Day) -> &mut State {
        let state = self.projects.entry(project).or_default();
        // A clock that was ahead is put right.
        if state.day != day {
            state.day = day;
            state.bytes = 0;
            state.open_bytes = 0;
        }
        state
    }

    fn put_back(&mut self, pending: BTreeMap<(ProjectId, Day, &'static str), (u64, u64)>) {
        for (key, sent) in pending {
            let now = self.pending.entry(key).or_default();
            now.0 = now.0.saturating_add(sent.0);
            now.1 = now.1.saturating_add(sent.1);
        }
    }

    /// Takes over what the store has counted; the rest is ours.
    fn learn(&mut self, today: Day, stored: Vec<(ProjectId, u64)>) {
        let mut bytes: HashMap<_, u64> = stored.into_iter().collect();
        for ((project, day, _), (_, sent)) in &self.pending {
            if *day == today {
                let total = bytes.entry(*project).or_default();
                *total = total.saturating_add(*sent);
            }
        }
        for (project, bytes) in bytes {
            let state = self.state(project, today);
            state.bytes = bytes.saturating_add(state.open_bytes);
        }
    }
}

impl Charge<'_> {
    /// The request was taken.
    pub fn keep(mut self) {
        self.kept = true;
        let mut counts = self.quotas.counts();
        let key = (self.project, self.day, self.signal);
        let pending = counts.pending.entry(key).or_default();
        pending.0 = pending.0.saturating_add(self.items);
        pending.1 = pending.1.saturating_add(self.bytes);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let mut counts = self.quotas.counts();
        let Some(state) = counts.projects.get_mut(&self.project) else {
            return;
        };
        let is_of_today = state.day == self.day;
        if is_of_today {
            state.open_bytes = state.open_bytes.saturating_sub(self.bytes);
        }
        if self.kept {
            return;
        }
        state.paid_until = state.paid_until.saturating_sub(self.worth);
        if is_of_today {
            state.bytes = state.bytes.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
