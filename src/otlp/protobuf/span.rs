//! Spans, events and links, read in place.

use super::error::DecodeError;
use super::ids::{InvalidId, RawIds, SpanIds};
use super::view::{KeyValues, Repeated};
use super::wire::fields;

/// The outcome of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status<'a> {
    /// The code as sent, known or not.
    pub code: i32,
    /// What the sender says about an error.
    pub message: &'a str,
}

/// A span.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span<'a> {
    /// Trace id as sent; [`Span::ids`] checks it.
    pub trace_id: &'a [u8],
    /// Span id as sent.
    pub span_id: &'a [u8],
    /// Parent's id as sent; empty for a root.
    pub parent_span_id: &'a [u8],
    /// W3C trace state.
    pub trace_state: &'a str,
    /// Flags, all 32 bits.
    pub flags: u32,
    /// Name.
    pub name: &'a str,
    /// Kind as sent, known or not.
    pub kind: i32,
    /// Start, ns since the Unix epoch.
    pub start_unix_nano: u64,
    /// End, ns since the Unix epoch.
    pub end_unix_nano: u64,
    /// Attributes.
    pub attributes: KeyValues<'a>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Events that the sender left out.
    pub dropped_events_count: u32,
    /// Links that the sender left out.
    pub dropped_links_count: u32,
    /// Outcome; unset when missing.
    pub status: Status<'a>,
    events: Repeated<'a>,
    links: Repeated<'a>,
}

impl<'a> Span<'a> {
    /// Reads an encoded `Span` in one pass over its fields.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read: attributes, events and
    /// links are not looked into.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut span = Self::default();
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => span.trace_id = field.bytes("trace_id")?,
                2 => span.span_id = field.bytes("span_id")?,
                3 => span.trace_state = field.text("trace_state")?,
                4 => span.parent_span_id = field.bytes("parent_span_id")?,
                5 => span.name = field.text("name")?,
                6 => span.kind = field.int32("kind")?,
                7 => span.start_unix_nano = field.fixed64("start_time_unix_nano")?,
                8 => span.end_unix_nano = field.fixed64("end_time_unix_nano")?,
                9 => span.attributes.add(&field, before, reader.rest()),
                10 => span.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                11 => span.events.add(&field, before, reader.rest()),
                12 => span.dropped_events_count = field.uint32("dropped_events_count")?,
                13 => span.links.add(&field, before, reader.rest()),
                14 => span.dropped_links_count = field.uint32("dropped_links_count")?,
                15 => span.status.merge(field.bytes("status")?)?,
                16 => span.flags = field.fixed32("flags")?,
                _ => {}
            }
            before = reader.rest();
        }
        Ok(span)
    }

    /// Checks the identifiers, as [`super::check_spans`] does.
    ///
    /// # Errors
    /// The span must not be stored.
    pub fn ids(&self) -> Result<SpanIds, InvalidId> {
        RawIds {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_span_id: self.parent_span_id,
        }
        .check()
    }

    /// Number of events.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.events.count
    }

    /// Iterates over the events.
    pub fn events(&self) -> impl Iterator<Item = Event<'a>> + Clone + use<'a> {
        self.events
            .encoded()
            .map_while(|bytes| Event::parse(bytes).ok())
    }

    /// Number of links.
    #[must_use]
    pub fn link_count(&self) -> usize {
        self.links.count
    }

    /// Iterates over the links.
    pub fn links(&self) -> impl Iterator<Item = Link<'a>> + Clone + use<'a> {
        self.links
            .encoded()
            .map_while(|bytes| Link::parse(bytes).ok())
    }
}

impl<'a> Status<'a> {
    /// A status that occurs several times is merged field by field.
    fn merge(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let mut reader = fields(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => self.message = field.text("message")?,
                3 => self.code = field.int32("code")?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Something that happened during a span.
#[derive(Debug, Clone, Copy, Default)]
pub struct Event<'a> {
    /// When, ns since the Unix epoch.
    pub time_unix_nano: u64,
    /// Name.
    pub name: &'a str,
    /// Attributes.
    pub attributes: KeyValues<'a>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
}

impl<'a> Event<'a> {
    /// Reads an encoded `Event`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut event = Self::default();
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => event.time_unix_nano = field.fixed64("time_unix_nano")?,
                2 => event.name = field.text("name")?,
                3 => event.attributes.add(&field, before, reader.rest()),
                4 => event.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                _ => {}
            }
            before = reader.rest();
        }
        Ok(event)
    }
}

/// A reference to another span.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link<'a> {
    /// Trace id as sent, valid or not.
    pub trace_id: &'a [u8],
    /// Span id as sent, valid or not.
    pub span_id: &'a [u8],
    /// W3C trace state.
    pub trace_state: &'a str,
    /// Attributes.
    pub attributes: KeyValues<'a>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Flags, all 32 bits.
    pub flags: u32,
}

impl<'a> Link<'a> {
    /// Reads an encoded `Link`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut link = Self::default();
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => link.trace_id = field.bytes("trace_id")?,
                2 => link.span_id = field.bytes("span_id")?,
                3 => link.trace_state = field.text("trace_state")?,
                4 => link.attributes.add(&field, before, reader.rest()),
                5 => link.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                6 => link.flags = field.fixed32("flags")?,
                _ => {}
            }
            before = reader.rest();
        }
        Ok(link)
    }
}
