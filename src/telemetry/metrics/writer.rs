//! What the writer counts.

use std::time::Duration;

use super::Metrics;
use crate::model::sampling::{Reason, SampledOut};
use crate::processors::sampling::tail::Policy;

impl Metrics {
    /// A batch was committed: spans, events and data points, of each those newly stored and those that
    /// were there already; time taken.
    pub fn writer_batch(
        &self,
        spans: (u64, u64),
        events: (u64, u64),
        points: (u64, u64),
        commit: Duration,
    ) {
        let handles = &self.shared.handles;
        let rows = spans.0 + spans.1 + events.0 + events.1 + points.0 + points.1;
        handles.batch_rows.record(rows as f64);
        handles.commit_seconds.record(commit);
        handles.stored.increment(spans.0);
        handles.duplicate.increment(spans.1);
        handles.events_stored.increment(events.0);
        handles.events_duplicate.increment(events.1);
        handles.points_stored.increment(points.0);
        handles.points_duplicate.increment(points.1);
    }

    /// Spans were counted but not stored.
    pub fn writer_sampled_out(&self, spans: SampledOut) {
        let counters = self.shared.handles.sampled_out.iter();
        for (counter, reason) in counters.zip(Reason::ALL) {
            counter.increment(spans.of(reason));
        }
    }

    /// The tail keeps a trace.
    pub fn sampling_kept(&self, policy: Policy) {
        let counters = self.shared.handles.kept_traces.iter();
        for (counter, of) in counters.zip(Policy::ALL) {
            counter.increment(u64::from(of == policy));
        }
    }

    /// A request is handed on before its time, because too many wait.
    pub fn sampling_early(&self) {
        self.shared.handles.early_records.increment(1);
    }

    /// Requests that wait now, and the memory they take.
    pub fn sampling_waiting(&self, records: u64, bytes: u64) {
        let handles = &self.shared.handles;
        handles.waiting_records.set(records as f64);
        handles.waiting_bytes.set(bytes as f64);
    }

    /// Data points were stored under the series of what is over the limit of series.
    pub fn writer_points_overflow(&self, points: u64) {
        self.shared.handles.points_overflow.increment(points);
    }

    /// A store transaction is tried again.
    pub fn writer_retry(&self) {
        self.shared.handles.retries.increment(1);
    }

    /// Spans were set aside because the store refused them.
    pub fn writer_dead_letters(&self, spans: u64) {
        self.shared.handles.dead_letters.increment(spans);
    }
}
