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
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Resource | Self::KvList, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Span, 9)
            | (Self::LogRecord, 6) => Self::KeyValue,
            (Self::KeyValue, 2) | (Self::Array, 1) | (Self::LogRecord, 5) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::Array,
            (Self::AnyValue, 6) => Self::KvList,
            _ => return None,
        })
    }
}
