//! What becomes of the items of requests.

use metrics_exporter_prometheus::PrometheusRecorder;

use super::register::counter;
use super::{Counter, Label, Metrics, Transport, names, transport_label};
use crate::otlp::Signal;

/// What became of the items of one request. Their sum is what was received, so that
/// received = accepted + rejected + refused holds by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Durable and acknowledged.
    pub accepted: u64,
    /// Never stored; the client was told.
    pub rejected: u64,
    /// Not taken now; the client may come back.
    pub refused: u64,
}

/// The counters of one signal and transport.
pub(super) struct ItemHandles {
    received: Counter,
    accepted: Counter,
    rejected: Counter,
    refused: Counter,
}

impl ItemHandles {
    pub(super) fn register(
        recorder: &PrometheusRecorder,
        signal: Signal,
        transport: Transport,
    ) -> Self {
        let [received, accepted, rejected, refused] = match signal {
            Signal::Traces => [
                names::RECEIVED_SPANS,
                names::ACCEPTED_SPANS,
                names::REJECTED_SPANS,
                names::REFUSED_SPANS,
            ],
            Signal::Logs => [
                names::RECEIVED_LOG_RECORDS,
                names::ACCEPTED_LOG_RECORDS,
                names::REJECTED_LOG_RECORDS,
                names::REFUSED_LOG_RECORDS,
            ],
            Signal::Metrics => [
                names::RECEIVED_METRIC_POINTS,
                names::ACCEPTED_METRIC_POINTS,
                names::REJECTED_METRIC_POINTS,
                names::REFUSED_METRIC_POINTS,
            ],
        };
        let counter = |info| {
            let labels = vec![Label::new("transport", transport_label(transport))];
            counter(recorder, info, labels)
        };
        Self {
            received: counter(received),
            accepted: counter(accepted),
            rejected: counter(rejected),
            refused: counter(refused),
        }
    }
}

impl Metrics {
    /// A request's items and what became of them.
    pub fn receiver_items(&self, signal: Signal, transport: Transport, outcomes: Outcomes) {
        let Outcomes {
            accepted,
            rejected,
            refused,
        } = outcomes;
        let handles = self.receiver(transport);
        let handles = match signal {
            Signal::Traces => &handles.spans,
            Signal::Logs => &handles.log_records,
            Signal::Metrics => &handles.metric_points,
        };
        handles.received.increment(accepted + rejected + refused);
        handles.accepted.increment(accepted);
        handles.rejected.increment(rejected);
        handles.refused.increment(refused);
    }
}
