//! One pass over a request that finds everything the generated decoder would refuse.

use super::error::DecodeError;
use super::ids::{InvalidId, RawIds, Rejection, SpanIds};
use super::wire::{Reader, fields};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Spans in the request.
    pub spans: u64,
    /// Spans among them whose identifiers are invalid.
    pub rejected: u64,
    /// The first of those.
    pub first_rejection: Option<Rejection>,
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
    let mut walk = Walk {
        each_span,
        checked: Checked::default(),
    };
    walk.request(fields(bytes))?;
    Ok(walk.checked)
}

struct Walk<F> {
    each_span: F,
    checked: Checked,
}

impl<F: FnMut(Result<SpanIds, InvalidId>)> Walk<F> {
    fn request(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => reader.message(&field, "resource_spans", |it| self.resource_spans(it))?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn resource_spans(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => reader.message(&field, "resource", |it| self.resource(it))?,
                2 => reader.message(&field, "scope_spans", |it| self.scope_spans(it))?,
                3 => _ = field.text("schema_url")?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn resource(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => reader.message(&field, "attributes", |it| self.key_value(it))?,
                2 => _ = field.varint("dropped_attributes_count")?,
                3 => reader.message(&field, "entity_refs", entity_ref)?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => reader.message(&field, "scope", |it| self.scope(it))?,
                2 => {
                    let ids = reader.message(&field, "spans", |it| self.span(it))?;
                    self.report(&ids);
                }
                3 => _ = field.text("schema_url")?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn scope(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => _ = field.text("name")?,
                2 => _ = field.text("version")?,
                3 => reader.message(&field, "attributes", |it| self.key_value(it))?,
                4 => _ = field.varint("dropped_attributes_count")?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn span<'a>(&mut self, mut reader: Reader<'a>) -> Result<RawIds<'a>, DecodeError> {
        let mut ids = RawIds::default();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => ids.trace_id = field.bytes("trace_id")?,
                2 => ids.span_id = field.bytes("span_id")?,
                3 => _ = field.text("trace_state")?,
                4 => ids.parent_span_id = field.bytes("parent_span_id")?,
                5 => _ = field.text("name")?,
                6 => _ = field.varint("kind")?,
                7 => _ = field.fixed64("start_time_unix_nano")?,
                8 => _ = field.fixed64("end_time_unix_nano")?,
                9 => reader.message(&field, "attributes", |it| self.key_value(it))?,
                10 => _ = field.varint("dropped_attributes_count")?,
                11 => reader.message(&field, "events", |it| self.event(it))?,
                12 => _ = field.varint("dropped_events_count")?,
                13 => reader.message(&field, "links", |it| self.link(it))?,
                14 => _ = field.varint("dropped_links_count")?,
                15 => reader.message(&field, "status", status)?,
                16 => _ = field.fixed32("flags")?,
                _ => reader.unknown()?,
            }
        }
        Ok(ids)
    }

    fn report(&mut self, ids: &RawIds<'_>) {
        let outcome = ids.check();
        self.checked.spans += 1;
        if let Err(reason) = outcome {
            self.checked.rejected += 1;
            self.checked
                .first_rejection
                .get_or_insert_with(|| ids.rejection(reason));
        }
        (self.each_span)(outcome);
    }

    fn event(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => _ = field.fixed64("time_unix_nano")?,
                2 => _ = field.text("name")?,
                3 => reader.message(&field, "attributes", |it| self.key_value(it))?,
                4 => _ = field.varint("dropped_attributes_count")?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn link(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => _ = field.bytes("trace_id")?,
                2 => _ = field.bytes("span_id")?,
                3 => _ = field.text("trace_state")?,
                4 => reader.message(&field, "attributes", |it| self.key_value(it))?,
                5 => _ = field.varint("dropped_attributes_count")?,
                6 => _ = field.fixed32("flags")?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn key_value(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => _ = field.text("key")?,
                2 => reader.message(&field, "value", |it| self.any_value(it))?,
                3 => {
                    field.varint("key_strindex")?;
                    self.checked.uses_string_table = true;
                }
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    /// Recursion through arrays and lists ends at the reader's depth limit.
    fn any_value(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => _ = field.text("string_value")?,
                2 => _ = field.varint("bool_value")?,
                3 => _ = field.varint("int_value")?,
                4 => _ = field.fixed64("double_value")?,
                5 => reader.message(&field, "array_value", |it| self.array(it))?,
                6 => reader.message(&field, "kvlist_value", |it| self.list(it))?,
                7 => _ = field.bytes("bytes_value")?,
                8 => {
                    field.varint("string_value_strindex")?;
                    self.checked.uses_string_table = true;
                }
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn array(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => reader.message(&field, "values", |it| self.any_value(it))?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }

    fn list(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => reader.message(&field, "values", |it| self.key_value(it))?,
                _ => reader.unknown()?,
            }
        }
        Ok(())
    }
}

fn status(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field.number {
            2 => _ = field.text("message")?,
            3 => _ = field.varint("code")?,
            _ => reader.unknown()?,
        }
    }
    Ok(())
}

fn entity_ref(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => _ = field.text("schema_url")?,
            2 => _ = field.text("type")?,
            3 => _ = field.text("id_keys")?,
            4 => _ = field.text("description_keys")?,
            _ => reader.unknown()?,
        }
    }
    Ok(())
}
