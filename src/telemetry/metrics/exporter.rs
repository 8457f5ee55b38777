//! What is counted of the way to another backend.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusRecorder;

use super::register::{counter, gauge};
use super::{Counter, Gauge, Metrics, names};
use crate::otlp::Signal;

/// What another backend does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExporterBacklog {
    /// Requests in the log.
    pub requests: u64,
    /// Bytes of the log, about.
    pub bytes: u64,
    /// Age of the oldest request on its way.
    pub age: Duration,
}

/// The counters of one signal.
struct SignalHandles {
    sent: Counter,
    rejected: Counter,
    failed: Counter,
}

pub(super) struct ExporterHandles {
    spans: SignalHandles,
    log_records: SignalHandles,
    metric_points: SignalHandles,
    retries: Counter,
    given_up: Counter,
    queue_size: Gauge,
    queue_capacity: Gauge,
    backlog_requests: Gauge,
    backlog_bytes: Gauge,
    backlog_age: Gauge,
    up: Gauge,
}

impl ExporterHandles {
    pub(super) fn register(recorder: &PrometheusRecorder) -> Self {
        let counter = |info| counter(recorder, info, Vec::new());
        let gauge = |info| gauge(recorder, info, Vec::new());
        let handles = Self {
            spans: SignalHandles {
                sent: counter(names::EXPORTER_SENT_SPANS),
                rejected: counter(names::EXPORTER_REJECTED_SPANS),
                failed: counter(names::EXPORTER_SEND_FAILED_SPANS),
            },
            log_records: SignalHandles {
                sent: counter(names::EXPORTER_SENT_LOG_RECORDS),
                rejected: counter(names::EXPORTER_REJECTED_LOG_RECORDS),
                failed: counter(names::EXPORTER_SEND_FAILED_LOG_RECORDS),
            },
            metric_points: SignalHandles {
                sent: counter(names::EXPORTER_SENT_METRIC_POINTS),
                rejected: counter(names::EXPORTER_REJECTED_METRIC_POINTS),
                failed: counter(names::EXPORTER_SEND_FAILED_METRIC_POINTS),
            },
            retries: counter(names::EXPORTER_RETRIES),
            given_up: counter(names::EXPORTER_GIVEN_UP_REQUESTS),
            queue_size: gauge(names::EXPORTER_QUEUE_SIZE_BYTES),
            queue_capacity: gauge(names::EXPORTER_QUEUE_CAPACITY_BYTES),
            backlog_requests: gauge(names::EXPORTER_BACKLOG_REQUESTS),
            backlog_bytes: gauge(names::EXPORTER_BACKLOG_BYTES),
            backlog_age: gauge(names::EXPORTER_BACKLOG_AGE_SECONDS),
            up: gauge(names::EXPORTER_UP),
        };
        // Until something is known to be wrong; also where nothing is sent.
        handles.up.set(1.0);
        handles
    }

    fn of(&self, signal: Signal) -> &SignalHandles {
        match signal {
            Signal::Traces => &self.spans,
            Signal::Logs => &self.log_records,
            Signal::Metrics => &self.metric_points,
        }
    }
}

impl Metrics {
    /// Another backend took items.
    pub fn exporter_sent(&self, signal: Signal, items: u64) {
        self.shared.exporter.of(signal).sent.increment(items);
    }

    /// Another backend rejected items of a request that it took.
    pub fn exporter_rejected(&self, signal: Signal, items: u64) {
        self.shared.exporter.of(signal).rejected.increment(items);
    }

    /// Items were dropped, since another backend refuses them.
    pub fn exporter_send_failed(&self, signal: Signal, items: u64) {
        self.shared.exporter.of(signal).failed.increment(items);
    }

    /// A request has to be sent again.
    pub fn exporter_retry(&self) {
        self.shared.exporter.retries.increment(1);
    }

    /// Whether another backend takes requests.
    pub fn exporter_up(&self, up: bool) {
        self.shared.exporter.up.set(f64::from(u8::from(up)));
    }

    /// What another backend does not have yet.
    pub fn exporter_backlog(&self, backlog: ExporterBacklog) {
        let handles = &self.shared.exporter;
        handles.backlog_requests.set(backlog.requests as f64);
        handles.backlog_bytes.set(backlog.bytes as f64);
        handles.backlog_age.set(backlog.age.as_secs_f64());
    }

    /// Bytes kept only to be sent, those that may be, and requests given up since the start.
    pub fn exporter_queue(&self, bytes: u64, capacity_bytes: u64, given_up: u64) {
        let handles = &self.shared.exporter;
        handles.queue_size.set(bytes as f64);
        handles.queue_capacity.set(capacity_bytes as f64);
        handles.given_up.absolute(given_up);
    }
}
