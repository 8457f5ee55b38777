//! Which message lies in which field.

use crate::otlp::Signal;

/// The messages that have attributes somewhere in them, and a span's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request(Signal),
    OfResource(Signal),
    Resource,
    OfScope(Signal),
    Scope,
    Span,
    LogRecord,
    Metric,
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
    NumberPoint,
    HistogramPoint,
    ExponentialPoint,
    Exemplar,
    Event,
    Link,
    KeyValue,
    AnyValue,
    Array,
    KvList,
    Status,
}

impl Kind {
    /// The message in a field; a status has no attributes, so it is left out.
    pub(super) fn child(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Request(signal), 1) => Self::OfResource(signal),
            (Self::OfResource(_), 1) => Self::Resource,
            (Self::OfResource(signal), 2) => Self::OfScope(signal),
            (Self::OfScope(_), 1) => Self::Scope,
            (Self::OfScope(Signal::Traces), 2) => Self::Span,
            (Self::OfScope(Signal::Logs), 2) => Self::LogRecord,
            (Self::OfScope(Signal::Metrics), 2) => Self::Metric,
            (Self::Metric, 5) => Self::Gauge,
            (Self::Metric, 7) => Self::Sum,
            (Self::Metric, 9) => Self::Histogram,
            (Self::Metric, 10) => Self::Exponential,
            (Self::Metric, 11) => Self::Summary,
            // A point of a summary has its attributes where one of a gauge has them, and a number, which
            // is no message, where that has its exemplars.
            (Self::Gauge | Self::Sum | Self::Summary, 1) => Self::NumberPoint,
            (Self::Histogram, 1) => Self::HistogramPoint,
            (Self::Exponential, 1) => Self::ExponentialPoint,
            (Self::NumberPoint, 5) | (Self::HistogramPoint, 8) | (Self::ExponentialPoint, 11) => {
                Self::Exemplar
            }
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Resource | Self::KvList, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Span, 9)
            | (Self::LogRecord, 6)
            | (Self::Metric, 12)
            | (Self::NumberPoint | Self::Exemplar, 7)
            | (Self::HistogramPoint, 9)
            | (Self::ExponentialPoint, 1) => Self::KeyValue,
            (Self::KeyValue, 2) | (Self::Array, 1) | (Self::LogRecord, 5) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::Array,
            (Self::AnyValue, 6) => Self::KvList,
            _ => return None,
        })
    }
}
