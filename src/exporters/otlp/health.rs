//! Whether the backend takes what is sent, by the account of all partitions together: in metrics,
//! and in lines of the log that do not repeat themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::otlp::Signal;
use crate::queue::Backlog;
use crate::telemetry::metrics::{ExporterBacklog, Metrics};

/// How often it is said that the backend is still away, and that requests are dropped.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known of the backend. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    /// The backend's URL.
    target: Arc<str>,
    metrics: Metrics,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    failing_since: Option<Instant>,
    /// When it was said last that the backend is away.
    told: Option<Instant>,
    /// Whether that was the last that was said.
    is_said: bool,
    refusals: BTreeMap<&'static str, Refusals>,
    partitions: BTreeMap<u32, Behind>,
}

/// Requests dropped of one signal, for one kind of reason.
#[derive(Debug, Default)]
struct Refusals {
    told: Option<Instant>,
    untold: u64,
}

/// How far behind a partition is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behind {
    pub(super) backlog: Backlog,
    /// When the oldest request was received that is known not to be sent, ns since the Unix epoch.
    pub(super) oldest_unix_nano: Option<u64>,
}

impl Health {
    /// Nothing has been sent yet.
    #[must_use]
    pub fn new(target: &str, metrics: Metrics) -> Self {
        Self {
            target: target.into(),
            metrics,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered in a way that ends it.
    pub(super) fn works(&self) {
        let mut state = self.state();
        let Some(since) = state.failing_since.take() else {
            return;
        };
        // Held while it is told, so that the last word is the last to be heard.
        self.metrics.exporter_up(true);
        let was_said = std::mem::take(&mut state.is_said);
        drop(state);
        if was_said {
            let away = since.elapsed();
            tracing::info!(endpoint = %self.target, ?away, "the backend of exporters.otlp answers again");
        }
    }

    /// A request has to be sent again.
    pub(super) fn fails(&self, reason: &str) {
        self.metrics.exporter_retry();
        let mut state = self.state();
        let since = *state.failing_since.get_or_insert_with(Instant::now);
        let tell = state.told.is_none_or(|told| told.elapsed() >= AGAIN_AFTER);
        if tell {
            state.told = Some(Instant::now());
            state.is_said = true;
        }
        self.metrics.exporter_up(false);
        let backlog: u64 = state.partitions.values().map(|it| it.backlog.records).sum();
        drop(state);
        if tell {
            let away = since.elapsed();
            tracing::warn!(
                endpoint = %self.target, %reason, ?away, backlog,
                "can't send to the backend of exporters.otlp, will try again; the log keeps everything"
            );
        }
    }

    /// Items were sent; the backend rejected some of them.
    pub(super) fn sent(&self, signal: Signal, items: u64, rejected: u64, message: &str) {
        let rejected = rejected.min(items);
        self.metrics.exporter_sent(signal, items - rejected);
        if rejected > 0 {
            self.metrics.exporter_rejected(signal, rejected);
        }
        if rejected > 0 || !message.is_empty() {
            self.tell("partial", |untold| {
                tracing::warn!(
                    endpoint = %self.target, signal = signal.as_str(), rejected, said = %message, untold,
                    "the backend of exporters.otlp took a request in part, or warns"
                );
            });
        }
    }

    /// A request is dropped.
    pub(super) fn dropped(&self, signal: Signal, items: u64, reason: &str) {
        self.metrics.exporter_send_failed(signal, items);
        self.tell(signal.as_str(), |untold| {
            tracing::error!(
                endpoint = %self.target, signal = signal.as_str(), items, %reason, untold,
                "a request is dropped: the backend of exporters.otlp refuses it for good"
            );
        });
    }

    /// Says something of a kind now and then; what was not said since is counted.
    fn tell(&self, kind: &'static str, line: impl FnOnce(u64)) {
        let mut state = self.state();
        let refusals = state.refusals.entry(kind).or_default();
        let quiet = refusals
            .told
            .is_some_and(|told| told.elapsed() < AGAIN_AFTER);
        if quiet {
            refusals.untold += 1;
            return;
        }
        refusals.told = Some(Instant::now());
        let untold = std::mem::take(&mut refusals.untold);
        drop(state);
        line(untold);
    }

    /// How far behind a partition is; `None` when it is no longer ours.
    pub(super) fn behind(&self, partition: u32, behind: Option<Behind>, now_unix_nano: u64) {
        let mut state = self.state();
        match behind {
            Some(behind) => drop(state.partitions.insert(partition, behind)),
            None => drop(state.partitions.remove(&partition)),
        }
        let all = state.partitions.values();
        let oldest = all.clone().filter_map(|it| it.oldest_unix_nano).min();
        let age = oldest.map_or(0, |oldest| now_unix_nano.saturating_sub(oldest));
        // Held while it is told, so that the last word is the last to be heard.
        self.metrics.exporter_backlog(ExporterBacklog {
            requests: all.clone().map(|it| it.backlog.records).sum(),
            bytes: all.map(|it| it.backlog.bytes).sum(),
            age: Duration::from_nanos(age),
        });
    }
}
