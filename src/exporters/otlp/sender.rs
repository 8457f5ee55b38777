//! Sends one request until that is decided.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::backoff::{Backoff, chance};
use super::client::{Client, ConnectError};
use super::config::{Compression, Config, Protocol, Retry};
use super::filter::Filter;
use super::health::Health;
use super::prepare::{Prepared, prepare};
use crate::queue::Record;

/// What sends; one for all partitions.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    filter: Filter,
    form: (Protocol, Compression),
    retry: Retry,
    /// Requests of a partition on their way at once.
    pub(super) consumers: usize,
    pub(super) health: Health,
    /// The backend wants no request before.
    not_before: Mutex<Option<Instant>>,
    /// Requests that were taken.
    taken: AtomicU64,
}

/// A request that fails for so long while others are taken is what is wrong, not the backend: it would hold
/// up all behind it for ever.
const STUCK_AFTER: Duration = Duration::from_mins(10);

/// Whether a request is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// It is the backend's, or dropped.
    Done,
    /// It stays in the log: there is no time to try again.
    Left,
}

/// What ends the tries.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// No more retries.
    pub(super) stop: CancellationToken,
    /// Nothing more.
    pub(super) abandon: CancellationToken,
}

impl Sender {
    /// For a configuration that was checked. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ConnectError`], when files for TLS can't be used.
    pub fn new(config: &Config, health: Health) -> Result<Self, ConnectError> {
        Ok(Self {
            client: Client::new(config)?,
            filter: Filter::new(config),
            form: (config.protocol, config.compression),
            retry: config.retry_on_failure.clone(),
            consumers: usize::try_from(config.sending_queue.num_consumers)
                .unwrap_or(1)
                .max(1),
            health,
            not_before: Mutex::new(None),
            taken: AtomicU64::new(0),
        })
    }

    /// The request for a record; `None` when nothing of it is to be sent.
    pub(super) fn prepare(&self, record: &Record) -> Option<Prepared> {
        prepare(record, &self.filter, self.form)
    }

    /// Sends a request, again where that is allowed.
    pub(super) async fn deliver(&self, prepared: Prepared, ends: &Ends) -> Delivered {
        tokio::select! {
            delivered = self.try_until_done(prepared, &ends.stop) => delivered,
            () = ends.abandon.cancelled() => Delivered::Left,
        }
    }

    async fn try_until_done(&self, prepared: Prepared, stop: &CancellationToken) -> Delivered {
        let (signal, items) = (prepared.signal, prepared.items);
        let started = Instant::now();
        let mut backoff = Backoff::new(&self.retry);
        let mut first_failed = None;
        loop {
            if !self.wait_for_turn(stop).await {
                return Delivered::Left;
            }
            match self.client.send(&prepared).await {
                Answer::Taken { rejected, message } => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    self.health.works();
                    self.health.sent(signal, items, rejected, &message);
                    return Delivered::Done;
                }
                Answer::Refused(reason) => {
                    self.health.works();
                    self.health.dropped(signal, items, &reason);
                    return Delivered::Done;
                }
                Answer::Later { reason, after } => {
                    self.health.fails(&reason);
                    let taken = self.taken.load(Ordering::Relaxed);
                    let (since, taken_then) = *first_failed.get_or_insert((Instant::now(), taken));
                    if is_stuck(since.elapsed(), taken - taken_then) {
                        let reason = format!("given up, others are taken: {reason}");
                        self.health.dropped(signal, items, &reason);
                        return Delivered::Done;
                    }
                    let pause = backoff.pause(after, started.elapsed(), chance());
                    let Some(pause) = pause else {
                        let reason = format!("given up after max_elapsed_time: {reason}");
                        self.health.dropped(signal, items, &reason);
                        return Delivered::Done;
                    };
                    if after.is_some() {
                        self.hold_back(pause);
                    }
                    if stopped_within(pause, stop).await {
                        return Delivered::Left;
                    }
                }
            }
        }
    }

    /// Lets all requests wait, since the backend asked for it.
    fn hold_back(&self, pause: Duration) {
        let mut not_before = self
            .not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *not_before = (*not_before).max(Some(Instant::now() + pause));
    }

    /// Waits until the backend wants requests; false when there is no time for that.
    async fn wait_for_turn(&self, stop: &CancellationToken) -> bool {
        let not_before = *self
            .not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pause = not_before.map(|it| it.saturating_duration_since(Instant::now()));
        match pause.filter(|pause| !pause.is_zero()) {
            Some(pause) => !stopped_within(pause, stop).await,
            None => true,
        }
    }
}

/// Whether a request is beyond hope that has failed for so long, while so many others were taken.
fn is_stuck(failing_for: Duration, taken_meanwhile: u64) -> bool {
    failing_for >= STUCK_AFTER && taken_meanwhile > 0
}

async fn stopped_within(pause: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(pause) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_given_up_for_others_only() {
        assert!(!is_stuck(STUCK_AFTER, 0), "the backend is away");
        assert!(!is_stuck(Duration::from_mins(9), 1000));
        assert!(is_stuck(STUCK_AFTER, 1));
    }
}
