//! Spans of calls that only a log record tells of.
//!
//! The span has the record's attributes, so that it is mapped, searched and mapped anew as any other
//! is, and an attribute that says what it was made of. Its ids follow from the record alone: a resend
//! and a replay of the log give the same span, and the record is what is durable: it is released when
//! both span and event are stored, and read again if only one of them was. A record that names a span makes none: that span is
//! the call's, or something within it.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::attributes::take_attributes;
use super::{Building, Envelope, Place};
use crate::model::span::{Kind, Status, TimeMarks};
use crate::model::{SpanId, TraceId};
use crate::otlp::protobuf::{AnyValue, Derived, LogRecord, Status as SentStatus};
use crate::processors::limits;
use crate::queue::Record;
use crate::semconv::event::{RecordedCall, recorded_call};
use crate::semconv::{self, DERIVED_FROM, SpanFacts};
use crate::storage::SpanRow;

/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

impl<'a, E> Building<'a, '_, E> {
    /// Adds the row of a span.
    pub(super) fn place_span(
        &mut self,
        mut row: SpanRow<'a>,
        envelope: &Envelope<'_, 'a>,
        place: &mut Place,
    ) -> Result<(), E> {
        (row.resource, row.scope) = self.make_room(envelope, place)?;
        row.scope_digest = envelope.scope_digest;
        self.batch.spans.push(row);
        Ok(())
    }

    /// The row of the call that a log record tells of, if it tells of one that no span does; not
    /// placed, and not sampled yet. The scope is the one that columns are taken for.
    pub(super) fn call_row(
        &mut self,
        record: &Record,
        scope: &str,
        log: &LogRecord<'a>,
        digest: [u8; 16],
    ) -> Option<SpanRow<'a>> {
        let (of_trace, None) = log.link() else {
            return None;
        };
        let call = recorded_call(log, scope)?;
        let end = log.effective_unix_nano();
        let start = end.saturating_sub(call.duration_ns);
        let derived = Derived {
            trace_id: match of_trace {
                Some(sent) => sent,
                None => trace_of(&call, digest)?,
            },
            span_id: span_of(&call, digest)?,
            name: call.name,
            start_unix_nano: start,
            end_unix_nano: end,
            status: SentStatus {
                code: if call.failed { ERROR } else { 0 },
                message: call.message,
            },
            marker: (DERIVED_FROM, call.name),
        };
        let columns = self.columns.of(record.project);
        let over = take_attributes(&log.attributes, self.limits, columns)
            || log.attributes.len() >= self.limits.attributes_per_span as usize;
        columns.attribute(DERIVED_FROM.as_bytes(), || AnyValue::Str(call.name));
        let basics = columns.finish(SpanFacts {
            name: call.name,
            failed: call.failed,
            status_message: call.message,
            start_unix_nano: start,
        });
        let message = derived.encode(log);
        Some(SpanRow {
            project: record.project,
            trace_id: derived.trace_id,
            span_id: derived.span_id,
            parent_span_id: None,
            name: Cow::Borrowed(call.name),
            kind: Kind::Client,
            status: Status::from_wire(derived.status.code),
            status_message: Cow::Borrowed(semconv::cut(call.message)),
            start_unix_nano: start,
            end_unix_nano: end,
            time_marks: TimeMarks::judge(start, end, record.received_unix_nano),
            resource: 0,
            scope: 0,
            received_unix_nano: record.received_unix_nano,
            basics,
            // Checked when it came in; better kept whole than lost.
            message: Cow::Owned(if over {
                limits::truncate(&message, self.limits).unwrap_or(message)
            } else {
                message
            }),
            scope_digest: 0,
            is_derived: true,
            is_recorded: of_trace.is_none(),
            sampled_out: None,
        })
    }
}

/// The trace of a call: one for all calls that one prompt of a session led to, else its own.
fn trace_of(call: &RecordedCall<'_>, digest: [u8; 16]) -> Option<TraceId> {
    let hash = match call.prompt {
        Some(prompt) => hash(call, "prompt", prompt.as_bytes()),
        None => of_call(call, digest),
    };
    TraceId::from_bytes(hash.first_chunk::<16>()?)
}

fn span_of(call: &RecordedCall<'_>, digest: [u8; 16]) -> Option<SpanId> {
    SpanId::from_bytes(of_call(call, digest).last_chunk::<8>()?)
}

/// What a call is known by: the id that the provider gave it, else all that its record says.
fn of_call(call: &RecordedCall<'_>, digest: [u8; 16]) -> [u8; 32] {
    match call.request {
        Some(request) => hash(call, call.name, request.as_bytes()),
        None => hash(call, "record", &digest),
    }
}

fn hash(call: &RecordedCall<'_>, sort: &str, what: &[u8]) -> [u8; 32] {
    let agent = call.name.split('.').next().unwrap_or_default();
    let session = call.session.unwrap_or_default();
    let mut hasher = Sha256::new();
    for part in [agent.as_bytes(), session.as_bytes(), sort.as_bytes(), what] {
        super::events::add(&mut hasher, part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
