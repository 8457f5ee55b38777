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

    /// The name of the event that it is; empty for a plain log line. An attribute has it where there was
    /// no field for it yet, and beside a name that is only a place in a program's source.
    #[must_use]
    pub fn name(&self) -> &'a str {
        if !self.event_name.is_empty() && !is_place(self.event_name) {
            return self.event_name;
        }
        let mut attributes = self.attributes.iter();
        attributes
            .find(|attribute| attribute.key == "event.name")
            .and_then(|attribute| attribute.value.as_str())
            .unwrap_or(self.event_name)
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

/// Whether a name is what Rust's `tracing` calls an event without one: `event src/main.rs:12`.
fn is_place(name: &str) -> bool {
    let place = name.strip_prefix("event ");
    place
        .and_then(|place| place.rsplit_once(".rs:"))
        .is_some_and(|(_, line)| line.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1;
    use prost::Message as _;

    use super::*;

    // Scenario: records with a name in the field, in the attribute, in both, and with a place in a program's
    // source for a name.
    // Guarantees: the field's name goes first, but for places.
    #[test]
    fn a_place_in_a_source_is_no_name() {
        for (field, attribute, expected) in [
            ("gen_ai.choice", "other", "gen_ai.choice"),
            ("", "codex.user_prompt", "codex.user_prompt"),
            (
                "event otel/src/a.rs:1153",
                "codex.user_prompt",
                "codex.user_prompt",
            ),
            ("event src/main.rs:12", "", "event src/main.rs:12"),
            ("event of the day", "other", "event of the day"),
            ("event a.rs:12th", "other", "event a.rs:12th"),
            ("", "", ""),
        ] {
            let named = KeyValue {
                key: "event.name".to_owned(),
                value: Some(AnyValue {
                    value: Some(Value::StringValue(attribute.to_owned())),
                }),
                ..KeyValue::default()
            };
            let record = v1::LogRecord {
                event_name: field.to_owned(),
                attributes: if attribute.is_empty() {
                    Vec::new()
                } else {
                    vec![named]
                },
                ..v1::LogRecord::default()
            };
            let bytes = record.encode_to_vec();
            assert_eq!(
                LogRecord::parse(&bytes).unwrap().name(),
                expected,
                "{field}"
            );
        }
    }
}
