//! What was counted while the load ran.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies from 1 µs to 10 minutes, with three digits.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Option<Histogram<u64>>);

const LONGEST_US: u64 = 600_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).ok())
    }
}

/// Percentiles of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.0 {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            histogram.saturating_record(micros.clamp(1, LONGEST_US));
        }
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Percentiles::default();
        };
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: histogram.max() as f64 / 1000.0,
        }
    }
}

/// Counts of one phase of the run.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Requests acknowledged.
    pub(super) requests: u64,
    /// Spans acknowledged.
    pub(super) spans: u64,
    /// Spans rejected in partial successes.
    pub(super) rejected_spans: u64,
    /// Requests given up, by reason.
    pub(super) failed_requests: u64,
    /// Bytes of request bodies sent, retries included.
    pub(super) bytes: u64,
    /// Requests sent again.
    pub(super) retries: u64,
    /// Answers other than an acknowledgement, by code.
    pub(super) errors: BTreeMap<String, u64>,
    /// Text of the first failure, for the report.
    pub(super) first_failure: Option<String>,
    /// From the first send, or the intended time, to the acknowledgement.
    pub(super) latencies: Latencies,
}

/// Counts shared by the workers, with a second's worth beside them for the progress line.
#[derive(Debug, Default)]
pub(super) struct Stats {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: Counts,
    interval: Latencies,
}

impl Stats {
    /// Changes the counts.
    pub(super) fn update(&self, change: impl FnOnce(&mut Counts)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.total);
    }

    /// A request was acknowledged.
    pub(super) fn acknowledged(&self, spans: u64, rejected: u64, latency: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.total.requests += 1;
        state.total.spans += spans.saturating_sub(rejected);
        state.total.rejected_spans += rejected;
        state.total.latencies.record(latency);
        state.interval.record(latency);
    }

    /// The counts so far, and the latencies since the last call.
    pub(super) fn lap(&self) -> (Counts, Latencies) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = std::mem::take(&mut state.interval);
        (state.total.clone(), interval)
    }
}
