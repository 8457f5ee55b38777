//! What the writer counts.

use std::time::Duration;

use super::Metrics;

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
