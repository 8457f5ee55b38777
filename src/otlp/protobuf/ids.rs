//! Which span identifiers are valid, and how a rejected span is named to its sender.

use std::fmt;

use crate::model::{SpanId, TraceId};

/// Bytes of a wrong identifier that are shown.
const SHOWN_ID_BYTES: usize = 24;

/// Identifiers of a span as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RawIds<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) parent_span_id: &'a [u8],
}

/// Identifiers of a span that may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Parent; absent for a root.
    pub parent_span_id: Option<SpanId>,
}

/// The trace, and the span of it, that a log record belongs to.
pub(super) type Link = (Option<TraceId>, Option<SpanId>);

/// Why a span is rejected (trace.proto: an identifier of another length, or all zero, is invalid).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The trace id does not have 16 bytes.
    #[error("trace_id has {0} bytes instead of 16")]
    TraceIdLength(usize),
    /// The trace id is all zero.
    #[error("trace_id is all zero")]
    TraceIdZero,
    /// The span id does not have 8 bytes.
    #[error("span_id has {0} bytes instead of 8")]
    SpanIdLength(usize),
    /// The span id is all zero.
    #[error("span_id is all zero")]
    SpanIdZero,
    /// The parent's id is neither empty nor of 8 bytes.
    #[error("parent_span_id has {0} bytes instead of 8")]
    ParentSpanIdLength(usize),
}

/// The first span or log record with invalid ids of a request, for the partial success message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The trace id as it came: hex, or the text in quotes when it was not hex. Shortened.
    pub trace_id: String,
    /// The span id as it came, likewise.
    pub span_id: String,
    /// Why.
    pub reason: InvalidId,
}

impl RawIds<'_> {
    /// Accepts the span, or says why not. An all-zero parent means a root.
    pub(super) fn check(&self) -> Result<SpanIds, InvalidId> {
        let trace_id: [u8; TraceId::LENGTH] = self
            .trace_id
            .try_into()
            .map_err(|_| InvalidId::TraceIdLength(self.trace_id.len()))?;
        let span_id: [u8; SpanId::LENGTH] = self
            .span_id
            .try_into()
            .map_err(|_| InvalidId::SpanIdLength(self.span_id.len()))?;
        if !matches!(self.parent_span_id.len(), 0 | SpanId::LENGTH) {
            return Err(InvalidId::ParentSpanIdLength(self.parent_span_id.len()));
        }
        Ok(SpanIds {
            trace_id: TraceId::from_bytes(&trace_id).ok_or(InvalidId::TraceIdZero)?,
            span_id: SpanId::from_bytes(&span_id).ok_or(InvalidId::SpanIdZero)?,
            parent_span_id: SpanId::from_bytes(self.parent_span_id),
        })
    }

    /// The trace and the span that a log record belongs to. What is absent, or all zero, names none;
    /// a span without a trace is none either.
    pub(super) fn link(&self) -> Result<Link, InvalidId> {
        if !matches!(self.trace_id.len(), 0 | TraceId::LENGTH) {
            return Err(InvalidId::TraceIdLength(self.trace_id.len()));
        }
        if !matches!(self.span_id.len(), 0 | SpanId::LENGTH) {
            return Err(InvalidId::SpanIdLength(self.span_id.len()));
        }
        let trace_id = TraceId::from_bytes(self.trace_id);
        let span_id = SpanId::from_bytes(self.span_id).filter(|_| trace_id.is_some());
        Ok((trace_id, span_id))
    }

    #[cold]
    pub(super) fn rejection(&self, reason: InvalidId) -> Rejection {
        Rejection {
            trace_id: shown(self.trace_id, TraceId::LENGTH),
            span_id: shown(self.span_id, SpanId::LENGTH),
            reason,
        }
    }
}

/// Hex, except that text in place of an id (as the JSON decoder passes it on) stays readable.
fn shown(id: &[u8], expected_length: usize) -> String {
    let start = id.get(..SHOWN_ID_BYTES).unwrap_or(id);
    let more = if start.len() < id.len() { "…" } else { "" };
    let is_text = id.len() != expected_length
        && !start.is_empty()
        && start.iter().all(|byte| (b' '..=b'~').contains(byte));
    if is_text {
        return format!("{:?}{more}", String::from_utf8_lossy(start));
    }
    let mut hex = String::with_capacity(start.len() * 2);
    for byte in start {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex + more
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "span {} of trace {}: {}",
            or_empty(&self.span_id),
            or_empty(&self.trace_id),
            self.reason
        )
    }
}

fn or_empty(id: &str) -> &str {
    if id.is_empty() { "(empty)" } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<'a>(trace_id: &'a [u8], span_id: &'a [u8], parent_span_id: &'a [u8]) -> RawIds<'a> {
        RawIds {
            trace_id,
            span_id,
            parent_span_id,
        }
    }

    #[test]
    fn ids_of_a_wrong_length_or_all_zero_are_invalid_and_a_zero_parent_is_a_root() {
        let accepted = ids(&[1; 16], &[2; 8], &[0; 8]).check().unwrap();
        assert_eq!(accepted.parent_span_id, None);
        let accepted = ids(&[1; 16], &[2; 8], &[3; 8]).check().unwrap();
        assert_eq!(accepted.parent_span_id, Some(SpanId([3; 8])));
        assert_eq!(
            ids(&[1; 16], &[2; 8], &[]).check().unwrap().parent_span_id,
            None
        );

        for (wrong, reason) in [
            (ids(&[1; 15], &[2; 8], &[]), InvalidId::TraceIdLength(15)),
            (ids(&[], &[2; 8], &[]), InvalidId::TraceIdLength(0)),
            (ids(&[0; 16], &[2; 8], &[]), InvalidId::TraceIdZero),
            (ids(&[1; 16], &[2; 16], &[]), InvalidId::SpanIdLength(16)),
            (ids(&[1; 16], &[0; 8], &[]), InvalidId::SpanIdZero),
            (
                ids(&[1; 16], &[2; 8], &[3; 7]),
                InvalidId::ParentSpanIdLength(7),
            ),
        ] {
            assert_eq!(wrong.check(), Err(reason));
        }
    }

    #[test]
    fn a_rejection_names_the_span_and_stays_short() {
        let wrong = ids(b"W47/95gDgQPSabYzgT/GDA==", &[0xab; 8], &[]);
        let reason = wrong.check().unwrap_err();
        assert_eq!(
            wrong.rejection(reason).to_string(),
            "span abababababababab of trace \"W47/95gDgQPSabYzgT/GDA==\": \
             trace_id has 24 bytes instead of 16"
        );
        let long = ids(&[7; 5000], &[], &[]);
        let text = long.rejection(long.check().unwrap_err()).to_string();
        assert!(text.len() < 200, "{text}");
        assert!(text.starts_with("span (empty) of trace 0707"), "{text}");
    }
}
