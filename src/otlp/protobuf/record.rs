//! Log records, read in place.

use std::borrow::Cow;

use super::error::DecodeError;
use super::ids::RawIds;
use super::view::{KeyValues, Repeated};
use super::wire::fields;
use crate::model::{SpanId, TraceId};

/// A log record.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogRecord<'a> {
    /// When it happened, ns since the Unix epoch; zero when unknown.
    pub time_unix_nano: u64,
    /// When it was collected, ns since the Unix epoch; zero when unknown.
    pub observed_unix_nano: u64,
    /// Severity as sent, known or not.
    pub severity_number: i32,
    /// What the source calls the severity.
    pub severity_text: &'a str,
    /// Name of the event; empty for a plain log line.
    pub event_name: &'a str,
    /// Attributes.
    pub attributes: KeyValues<'a>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Flags, all 32 bits.
    pub flags: u32,
    /// Trace id as sent; [`LogRecord::link`] checks it.
    pub trace_id: &'a [u8],
    /// Span id as sent.
    pub span_id: &'a [u8],
    body: Repeated<'a>,
}

impl<'a> LogRecord<'a> {
    /// Reads an encoded `LogRecord` in one pass over its fields.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read: attributes and body are not
    /// looked into.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut record = Self::default();
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => record.time_unix_nano = field.fixed64("time_unix_nano")?,
                2 => record.severity_number = field.int32("severity_number")?,
                3 => record.severity_text = field.text("severity_text")?,
                5 => record.body.add(&field, before, reader.rest()),
                6 => record.attributes.add(&field, before, reader.rest()),
                7 => record.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                8 => record.flags = field.fixed32("flags")?,
                9 => record.trace_id = field.bytes("trace_id")?,
                10 => record.span_id = field.bytes("span_id")?,
                11 => record.observed_unix_nano = field.fixed64("observed_time_unix_nano")?,
                12 => record.event_name = field.text("event_name")?,
                _ => {}
            }
            before = reader.rest();
        }
        Ok(record)
    }

    /// What it says: an encoded `AnyValue`, empty when it says nothing. Borrowed unless it came in
    /// parts, which in a row are the encoding of the merged value.
    #[must_use]
    pub fn body(&self) -> Cow<'a, [u8]> {
        match self.body.count {
            0 | 1 => Cow::Borrowed(self.body.encoded().next().unwrap_or_default()),
            _ => Cow::Owned(self.body.encoded().flatten().copied().collect()),
        }
    }

    /// The trace and the span that it belongs to; none where an id is absent, all zero or invalid.
    #[must_use]
    pub fn link(&self) -> (Option<TraceId>, Option<SpanId>) {
        let ids = RawIds {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_span_id: &[],
        };
        ids.link().unwrap_or_default()
    }

    /// When it happened, or else was collected, ns since the Unix epoch; zero when neither is known.
    #[must_use]
    pub fn effective_unix_nano(&self) -> u64 {
        if self.time_unix_nano == 0 {
            self.observed_unix_nano
        } else {
            self.time_unix_nano
        }
    }
}
