//! The messages of an export, read in place. Resources and scopes are laid out alike for all signals:
//! what is called spans here are the log records of a log export, and the metrics of a metric export.

use std::borrow::Cow;

use super::error::DecodeError;
use super::value::{KeyValue, next_of};
use super::wire::{Field, fields};

/// An encoded export request of any signal.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
}

/// Spans of one resource.
#[derive(Debug, Clone)]
pub struct ResourceSpans<'a> {
    /// The encoded `Resource`; empty when there is none. Borrowed unless it came in parts.
    pub resource: Cow<'a, [u8]>,
    /// Schema of the resource's attributes.
    pub schema_url: &'a str,
    bytes: &'a [u8],
}

/// Spans of one instrumentation scope.
#[derive(Debug, Clone)]
pub struct ScopeSpans<'a> {
    /// The encoded `InstrumentationScope`; empty when there is none. Borrowed unless it came in
    /// parts.
    pub scope: Cow<'a, [u8]>,
    /// Schema of the spans' and events' attributes.
    pub schema_url: &'a str,
    bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// Takes the bytes of a checked request.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Iterates over the resources.
    pub fn resource_spans(&self) -> impl Iterator<Item = ResourceSpans<'a>> + Clone + use<'a> {
        messages(self.bytes, 1).map_while(|bytes| ResourceSpans::parse(bytes).ok())
    }
}

impl<'a> ResourceSpans<'a> {
    /// Reads an encoded `ResourceSpans`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (resource, schema_url) = head(bytes)?;
        Ok(Self {
            resource,
            schema_url,
            bytes,
        })
    }

    /// Iterates over the scopes.
    pub fn scope_spans(&self) -> impl Iterator<Item = ScopeSpans<'a>> + Clone + use<'a> {
        messages(self.bytes, 2).map_while(|bytes| ScopeSpans::parse(bytes).ok())
    }
}

impl<'a> ScopeSpans<'a> {
    /// Reads an encoded `ScopeSpans`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (scope, schema_url) = head(bytes)?;
        Ok(Self {
            scope,
            schema_url,
            bytes,
        })
    }

    /// Iterates over the encoded spans, log records or metrics; `Span::parse`, `LogRecord::parse` and
    /// `Metric::parse` read them.
    pub fn spans(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        messages(self.bytes, 2)
    }
}

/// What `ResourceSpans` and `ScopeSpans` have in common: a message numbered 1, merged if it occurs
/// several times, and the schema URL numbered 3.
fn head(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, &str), DecodeError> {
    let mut origin: Option<Cow<'_, [u8]>> = None;
    let mut schema_url = "";
    let mut reader = fields(bytes);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => {
                let part = field.bytes("resource or scope")?;
                match &mut origin {
                    None => origin = Some(Cow::Borrowed(part)),
                    // Encoded parts in a row are the encoding of the merged message.
                    Some(parts) => parts.to_mut().extend_from_slice(part),
                }
            }
            3 => schema_url = field.text("schema_url")?,
            _ => {}
        }
    }
    Ok((origin.unwrap_or_default(), schema_url))
}

pub(super) fn messages(bytes: &[u8], number: u32) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = bytes;
    std::iter::from_fn(move || next_of(&mut rest, number))
}

/// A repeated field of a message: where its elements lie and how many there are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repeated<'a> {
    number: u32,
    pub(super) count: usize,
    /// From the first element on.
    bytes: &'a [u8],
    /// How much of `bytes` follows the last element.
    after: usize,
}

impl<'a> Repeated<'a> {
    /// Notes an element that lies between two rests of the message.
    #[inline]
    pub(super) fn add(&mut self, field: &Field<'a>, before: &'a [u8], after: &'a [u8]) {
        if self.count == 0 {
            self.number = field.number;
            self.bytes = before;
        }
        self.count += 1;
        self.after = after.len();
    }

    /// Iterates over the encoded elements.
    pub(super) fn encoded(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let length = self.bytes.len().saturating_sub(self.after);
        messages(self.bytes.get(..length).unwrap_or_default(), self.number)
    }
}

/// The attributes of something.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyValues<'a>(Repeated<'a>);

impl<'a> KeyValues<'a> {
    /// Finds the attributes of an encoded `Resource`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn of_resource(resource: &'a [u8]) -> Result<Self, DecodeError> {
        Self::numbered(resource, 1)
    }

    /// Finds the attributes of an encoded `InstrumentationScope`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn of_scope(scope: &'a [u8]) -> Result<Self, DecodeError> {
        Self::numbered(scope, 3)
    }

    fn numbered(message: &'a [u8], number: u32) -> Result<Self, DecodeError> {
        let mut attributes = Self::default();
        let mut reader = fields(message);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            if field.number == number {
                attributes.add(&field, before, reader.rest());
            }
            before = reader.rest();
        }
        Ok(attributes)
    }

    #[inline]
    pub(super) fn add(&mut self, field: &Field<'a>, before: &'a [u8], after: &'a [u8]) {
        self.0.add(field, before, after);
    }

    /// Number of attributes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// Iterates over the attributes in the order they came; keys may repeat.
    pub fn iter(&self) -> impl Iterator<Item = KeyValue<'a>> + Clone + use<'a> {
        self.encoded()
            .map_while(|bytes| KeyValue::parse(bytes).ok())
    }

    /// Iterates over the encoded attributes.
    pub fn encoded(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.0.encoded()
    }
}

/// An instrumentation scope's name and version.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Name of the instrumentation.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its attributes.
    pub attributes: KeyValues<'a>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
}

impl<'a> Scope<'a> {
    /// Reads an encoded `InstrumentationScope`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut scope = Self::default();
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => scope.name = field.text("name")?,
                2 => scope.version = field.text("version")?,
                3 => scope.attributes.add(&field, before, reader.rest()),
                4 => scope.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                _ => {}
            }
            before = reader.rest();
        }
        Ok(scope)
    }
}
