//! One pass over a request that finds everything the generated decoder would refuse.

mod metric;
mod names;
mod record;

use super::error::DecodeError;
use super::ids::{InvalidId, RawIds, Rejection, SpanIds};
use super::metric::RejectedPoint;
use super::wire::{Reader, fields};
use crate::otlp::Signal;
use names::{
    ANY_VALUE_FIELDS, ARRAY_FIELDS, ENTITY_REF_FIELDS, EVENT_FIELDS, KEY_VALUE_FIELDS, LINK_FIELDS,
    LIST_FIELDS, Layout, RESOURCE_FIELDS, SCOPE_FIELDS, SPAN_FIELDS, STATUS_FIELDS,
};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Spans, log records or data points in the request.
    pub items: u64,
    /// Spans among them whose identifiers are invalid, and data points that can't be what they should
    /// be. A log record is never rejected.
    pub rejected: u64,
    /// Log records that name a trace or a span that can't be one; they belong to none then
    /// (logs.proto). An id of zeros is what some senders write for none.
    pub unlinked: u64,
    /// The first span or log record whose identifiers are invalid.
    pub first_rejection: Option<Rejection>,
    /// The first data point that is rejected.
    pub first_point: Option<RejectedPoint>,
    /// Attributes, at any level, and pairs of key-value lists without a key; see
    /// [`super::without_empty_keys`].
    pub empty_keys: u64,
    /// A value or key refers to the string table that only profiles have; it reads as empty.
    pub uses_string_table: bool,
}

/// Checks the whole structure of an `ExportTraceServiceRequest`.
///
/// # Errors
/// The bytes are not such a message; exactly when the generated decoder fails.
pub fn validate(bytes: &[u8]) -> Result<(), DecodeError> {
    check_spans(bytes, |_| {}).map(drop)
}

/// Checks the whole structure of an `ExportTraceServiceRequest` and the identifiers of each of its
/// spans, in order; `each_span` hears the outcome of every span. Identifiers of links are not
/// checked, since a bad link is no reason to lose a span.
///
/// # Errors
/// The bytes are not such a message; exactly when the generated decoder fails.
pub fn check_spans(
    bytes: &[u8],
    each_span: impl FnMut(Result<SpanIds, InvalidId>),
) -> Result<Checked, DecodeError> {
    walk(Signal::Traces, bytes, each_span)
}

/// Checks the whole structure of an export request of a signal, and the identifiers in it.
///
/// # Errors
/// The bytes are not such a message; exactly when the generated decoder fails.
pub fn check(signal: Signal, bytes: &[u8]) -> Result<Checked, DecodeError> {
    walk(signal, bytes, |_| {})
}

fn walk(
    signal: Signal,
    bytes: &[u8],
    each_span: impl FnMut(Result<SpanIds, InvalidId>),
) -> Result<Checked, DecodeError> {
    let mut walk = Walk {
        each_span,
        signal,
        layout: Layout::of(signal),
        checked: Checked::default(),
    };
    walk.request(fields(bytes))?;
    Ok(walk.checked)
}

// Keys of fields: wire type and number.
const VARINT_2: u32 = 2 << 3;
const VARINT_3: u32 = 3 << 3;
const VARINT_4: u32 = 4 << 3;
const VARINT_5: u32 = 5 << 3;
const VARINT_6: u32 = 6 << 3;
const VARINT_8: u32 = 8 << 3;
const VARINT_10: u32 = 10 << 3;
const VARINT_12: u32 = 12 << 3;
const VARINT_14: u32 = 14 << 3;
const FIXED64_1: u32 = 1 << 3 | 1;
const FIXED64_4: u32 = 4 << 3 | 1;
const FIXED64_7: u32 = 7 << 3 | 1;
const FIXED64_8: u32 = 8 << 3 | 1;
const LEN_1: u32 = 1 << 3 | 2;
const LEN_2: u32 = 2 << 3 | 2;
const LEN_3: u32 = 3 << 3 | 2;
const LEN_4: u32 = 4 << 3 | 2;
const LEN_5: u32 = 5 << 3 | 2;
const LEN_6: u32 = 6 << 3 | 2;
const LEN_7: u32 = 7 << 3 | 2;
const LEN_9: u32 = 9 << 3 | 2;
const LEN_11: u32 = 11 << 3 | 2;
const LEN_13: u32 = 13 << 3 | 2;
const LEN_15: u32 = 15 << 3 | 2;
const FIXED32_6: u32 = 6 << 3 | 5;
const FIXED32_16: u32 = 16 << 3 | 5;

struct Walk<F> {
    each_span: F,
    signal: Signal,
    layout: &'static Layout,
    checked: Checked,
}

impl<F: FnMut(Result<SpanIds, InvalidId>)> Walk<F> {
    fn request(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message(self.layout.resources, |it| self.of_resource(it))?,
                _ => reader.other(key, &self.layout.request)?,
            }
        }
        Ok(())
    }

    fn of_resource(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("resource", |it| self.resource(it))?,
                LEN_2 => reader.message(self.layout.scopes, |it| self.of_scope(it))?,
                LEN_3 => reader.skip_text("schema_url")?,
                _ => reader.other(key, &self.layout.of_resource)?,
            }
        }
        Ok(())
    }

    fn resource(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_2 => reader.skip_varint("dropped_attributes_count")?,
                LEN_3 => reader.message("entity_refs", entity_ref)?,
                _ => reader.other(key, &RESOURCE_FIELDS)?,
            }
        }
        Ok(())
    }

    fn of_scope(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("scope", |it| self.scope(it))?,
                LEN_2 if self.signal == Signal::Logs => {
                    let ids = reader.message("log_records", |it| self.log_record(it))?;
                    self.report_record(&ids);
                }
                LEN_2 if self.signal == Signal::Metrics => {
                    let metric = reader.message("metrics", |it| self.metric(it))?;
                    self.report_points(metric);
                }
                LEN_2 => {
                    let ids = reader.message("spans", |it| self.span(it))?;
                    self.report(&ids);
                }
                LEN_3 => reader.skip_text("schema_url")?,
                _ => reader.other(key, &self.layout.of_scope)?,
            }
        }
        Ok(())
    }

    fn scope(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.skip_text("name")?,
                LEN_2 => reader.skip_text("version")?,
                LEN_3 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_4 => reader.skip_varint("dropped_attributes_count")?,
                _ => reader.other(key, &SCOPE_FIELDS)?,
            }
        }
        Ok(())
    }

    fn span<'a>(&mut self, mut reader: Reader<'a>) -> Result<RawIds<'a>, DecodeError> {
        let mut ids = RawIds::default();
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => ids.trace_id = reader.bytes("trace_id")?,
                LEN_2 => ids.span_id = reader.bytes("span_id")?,
                LEN_3 => reader.skip_text("trace_state")?,
                LEN_4 => ids.parent_span_id = reader.bytes("parent_span_id")?,
                LEN_5 => reader.skip_text("name")?,
                VARINT_6 => reader.skip_varint("kind")?,
                FIXED64_7 => reader.skip_fixed::<8>("start_time_unix_nano")?,
                FIXED64_8 => reader.skip_fixed::<8>("end_time_unix_nano")?,
                LEN_9 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_10 => reader.skip_varint("dropped_attributes_count")?,
                LEN_11 => reader.message("events", |it| self.event(it))?,
                VARINT_12 => reader.skip_varint("dropped_events_count")?,
                LEN_13 => reader.message("links", |it| self.link(it))?,
                VARINT_14 => reader.skip_varint("dropped_links_count")?,
                LEN_15 => reader.message("status", status)?,
                FIXED32_16 => reader.skip_fixed::<4>("flags")?,
                _ => reader.other(key, &SPAN_FIELDS)?,
            }
        }
        Ok(ids)
    }

    fn report(&mut self, ids: &RawIds<'_>) {
        let outcome = ids.check();
        self.checked.items += 1;
        if let Err(reason) = outcome {
            self.checked.rejected += 1;
            self.checked
                .first_rejection
                .get_or_insert_with(|| ids.rejection(reason));
        }
        (self.each_span)(outcome);
    }

    fn event(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                FIXED64_1 => reader.skip_fixed::<8>("time_unix_nano")?,
                LEN_2 => reader.skip_text("name")?,
                LEN_3 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_4 => reader.skip_varint("dropped_attributes_count")?,
                _ => reader.other(key, &EVENT_FIELDS)?,
            }
        }
        Ok(())
    }

    fn link(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => _ = reader.bytes("trace_id")?,
                LEN_2 => _ = reader.bytes("span_id")?,
                LEN_3 => reader.skip_text("trace_state")?,
                LEN_4 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_5 => reader.skip_varint("dropped_attributes_count")?,
                FIXED32_6 => reader.skip_fixed::<4>("flags")?,
                _ => reader.other(key, &LINK_FIELDS)?,
            }
        }
        Ok(())
    }

    fn key_value(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        let mut has_key = false;
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => has_key = reader.text_length("key")? > 0,
                LEN_2 => reader.message("value", |it| self.any_value(it))?,
                VARINT_3 => {
                    reader.skip_varint("key_strindex")?;
                    self.checked.uses_string_table = true;
                }
                _ => reader.other(key, &KEY_VALUE_FIELDS)?,
            }
        }
        self.checked.empty_keys += u64::from(!has_key);
        Ok(())
    }

    /// Recursion through arrays and lists ends at the reader's depth limit.
    fn any_value(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.skip_text("string_value")?,
                VARINT_2 => reader.skip_varint("bool_value")?,
                VARINT_3 => reader.skip_varint("int_value")?,
                FIXED64_4 => reader.skip_fixed::<8>("double_value")?,
                LEN_5 => reader.message("array_value", |it| self.array(it))?,
                LEN_6 => reader.message("kvlist_value", |it| self.list(it))?,
                LEN_7 => _ = reader.bytes("bytes_value")?,
                VARINT_8 => {
                    reader.skip_varint("string_value_strindex")?;
                    self.checked.uses_string_table = true;
                }
                _ => reader.other(key, &ANY_VALUE_FIELDS)?,
            }
        }
        Ok(())
    }

    fn array(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("values", |it| self.any_value(it))?,
                _ => reader.other(key, &ARRAY_FIELDS)?,
            }
        }
        Ok(())
    }

    fn list(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("values", |it| self.key_value(it))?,
                _ => reader.other(key, &LIST_FIELDS)?,
            }
        }
        Ok(())
    }
}

fn status(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    while let Some(key) = reader.next_key()? {
        match key {
            LEN_2 => reader.skip_text("message")?,
            VARINT_3 => reader.skip_varint("code")?,
            _ => reader.other(key, &STATUS_FIELDS)?,
        }
    }
    Ok(())
}

fn entity_ref(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    while let Some(key) = reader.next_key()? {
        match key {
            LEN_1 => reader.skip_text("schema_url")?,
            LEN_2 => reader.skip_text("type")?,
            LEN_3 => reader.skip_text("id_keys")?,
            LEN_4 => reader.skip_text("description_keys")?,
            _ => reader.other(key, &ENTITY_REF_FIELDS)?,
        }
    }
    Ok(())
}
