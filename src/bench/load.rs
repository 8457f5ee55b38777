//! Runs the load: workers that each keep one request in flight, in a closed loop (the next is
//! sent when the last is answered) or an open one (each has its intended time, and its latency
//! counts from then, so that a stalled server can't hide the requests that were due meanwhile).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::layout::{Rng, mix};
use super::ledger::Ledger;
use super::payload::Payloads;
use super::stats::Stats;
use super::target::{Answer, Target};
use super::watch::Clock;
use crate::service::tasks::Tasks;

/// What a run is made of; shared by its workers.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) target: Target,
    pub(super) payloads: Payloads,
    pub(super) ledger: Ledger,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) spans_per_request: u32,
    /// Whether retryable answers are tried again, and for how long.
    pub(super) retry: Option<Duration>,
    /// Number of the next request; goes on over phases.
    pub(super) next: AtomicU64,
    /// Ends the run early.
    pub(super) stop: CancellationToken,
    /// Wants to know when requests are acknowledged.
    pub(super) clock: Arc<Clock>,
}

/// One phase of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    /// Requests are started until then.
    pub(super) duration: Option<Duration>,
    /// Requests sent at most.
    pub(super) requests: Option<u64>,
    /// Spans a second; `None` is the closed loop.
    pub(super) rate: Option<f64>,
}

/// A phase under way.
#[derive(Debug, Clone, Copy)]
struct Plan {
    started: Instant,
    deadline: Option<Instant>,
    first: u64,
    end: u64,
    /// Time between the intended starts of two requests.
    interval: Option<Duration>,
}

/// First wait before a retry; half as much again each time, up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_secs(5);

/// Runs a phase to its end, the answers to the last requests included; answers how long it took.
pub(super) async fn run(load: &Arc<Load>, phase: Phase, stats: &Arc<Stats>) -> Duration {
    let started = Instant::now();
    let first = load.next.load(Ordering::Relaxed);
    let plan = Plan {
        started,
        deadline: phase
            .duration
            .and_then(|duration| started.checked_add(duration)),
        first,
        end: phase
            .requests
            .map_or(u64::MAX, |requests| first.saturating_add(requests)),
        interval: phase.rate.map(|spans_per_second| {
            Duration::try_from_secs_f64(f64::from(load.spans_per_request) / spans_per_second)
                .unwrap_or(Duration::MAX)
        }),
    };
    let (tasks, mut panics) = Tasks::new();
    for worker in 0..load.connections * load.in_flight {
        let (load, stats) = (Arc::clone(load), Arc::clone(stats));
        tasks.spawn("bench worker", async move {
            work(&load, plan, &stats, worker % load.connections).await;
        });
    }
    tasks.start_shutdown();
    tokio::select! {
        () = tasks.wait() => {}
        _ = panics.recv() => load.stop.cancel(),
    }
    // Numbers beyond the end were drawn by workers that then stopped.
    let drawn = load.next.load(Ordering::Relaxed);
    load.next.store(drawn.min(plan.end), Ordering::Relaxed);
    started.elapsed()
}

async fn work(load: &Load, plan: Plan, stats: &Stats, connection: usize) {
    loop {
        let past = plan
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if past || load.stop.is_cancelled() {
            return;
        }
        let request = load.next.fetch_add(1, Ordering::Relaxed);
        if request >= plan.end {
            return;
        }
        let Some(intended) = wait_for_turn(load, plan, request).await else {
            return;
        };
        let body = match load.payloads.body(request).await {
            Ok(body) => body,
            Err(error) => {
                stats.update(|counts| {
                    counts.failed_requests += 1;
                    counts
                        .first_failure
                        .get_or_insert_with(|| error.to_string());
                });
                continue;
            }
        };
        // The closed loop measures the server, not the making of the request.
        let from = intended.unwrap_or_else(Instant::now);
        deliver(load, stats, connection, request, body.clone(), from).await;
        load.payloads.release(request, body);
    }
}

/// Waits for the intended time of a request in the open loop: `None` when the phase ends first,
/// `Some(None)` in the closed loop. A worker that was early starts when its timer fires; one that
/// is late, because the server held it up, counts from the intended time.
async fn wait_for_turn(load: &Load, plan: Plan, request: u64) -> Option<Option<Instant>> {
    let Some(interval) = plan.interval else {
        return Some(None);
    };
    let turns = f64::from(u32::try_from(request - plan.first).unwrap_or(u32::MAX));
    let offset = Duration::try_from_secs_f64(interval.as_secs_f64() * turns).ok()?;
    let intended = plan.started.checked_add(offset)?;
    if plan.deadline.is_some_and(|deadline| intended >= deadline) {
        return None;
    }
    if intended <= Instant::now() {
        return Some(Some(intended));
    }
    tokio::select! {
        () = tokio::time::sleep_until(intended) => Some(Some(Instant::now())),
        () = load.stop.cancelled() => None,
    }
}

/// Sends a request until it is acknowledged, refused for good, or given up.
async fn deliver(
    load: &Load,
    stats: &Stats,
    connection: usize,
    request: u64,
    body: Bytes,
    from: Instant,
) {
    let give_up = load
        .retry
        .and_then(|patience| Instant::now().checked_add(patience));
    let mut backoff = BACKOFF_FIRST;
    let mut rng = Rng::new(mix(request));
    let spans = u64::from(load.spans_per_request);
    loop {
        let bytes = body.len() as u64;
        let answer = load.target.send(connection, body.clone()).await;
        stats.update(|counts| counts.bytes += bytes);
        match answer {
            Answer::Acknowledged { rejected } => {
                stats.acknowledged(spans, rejected, from.elapsed());
                load.clock.acknowledged(request);
                // Which spans were rejected is not known, so such a request can't be verified.
                if rejected == 0 {
                    load.ledger.insert(request).await;
                }
                return;
            }
            Answer::Retryable { code, after } => {
                stats.update(|counts| *counts.errors.entry(code.clone()).or_default() += 1);
                // Jitter spreads the clients that were refused together.
                let jitter = Duration::from_millis(rng.below(25));
                let wait = after.unwrap_or_default().max(backoff) + jitter;
                backoff = backoff.mul_f64(1.5).min(BACKOFF_LONGEST);
                let again = Instant::now() + wait;
                let too_late = give_up.is_none_or(|give_up| again > give_up);
                if too_late || !wait_until(load, again).await {
                    fail(stats, format!("gave up after {code}"));
                    return;
                }
                stats.update(|counts| counts.retries += 1);
            }
            Answer::Failed { code, message } => {
                stats.update(|counts| *counts.errors.entry(code.clone()).or_default() += 1);
                fail(stats, format!("{code}: {message}"));
                return;
            }
        }
    }
}

/// Whether the time came before the run was stopped.
async fn wait_until(load: &Load, instant: Instant) -> bool {
    tokio::select! {
        () = tokio::time::sleep_until(instant) => true,
        () = load.stop.cancelled() => false,
    }
}

fn fail(stats: &Stats, reason: String) {
    stats.update(|counts| {
        counts.failed_requests += 1;
        counts.first_failure.get_or_insert(reason);
    });
}
