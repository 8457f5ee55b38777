//! Walks the attributes and texts of an encoded request and changes them as someone else decides.
//!
//! Nothing is built per element, and nothing is allocated unless something changes. Fields keep
//! their order; unknown fields, and everything that is no attribute and no text, stay as they are.

use std::borrow::Cow;

use super::edit::{Editor, Part, TextEdits};
use super::error::{DecodeError, Fault};
use super::kind::Kind;
use super::rewrite::put_varint;
use super::wire::{RECURSION_LIMIT, Value, fields};
use crate::otlp::{Failure, Signal};

/// Whose an attribute or a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Place {
    /// An attribute of a resource.
    Resource,
    /// An attribute of an instrumentation scope.
    Scope,
    /// An attribute of a span.
    Span,
    /// An attribute of an event.
    Event,
    /// An attribute of a link.
    Link,
    /// The name of a span.
    SpanName,
    /// The name of an event.
    EventName,
    /// The message of a span's status.
    StatusMessage,
    /// An attribute of a log record.
    Log,
    /// The body of a log record.
    LogBody,
    /// An attribute of a data point of a metric, or of an exemplar of one.
    Point,
}

impl Place {
    /// All places; each is at its own number.
    pub const ALL: [Self; 11] = [
        Self::Resource,
        Self::Scope,
        Self::Span,
        Self::Event,
        Self::Link,
        Self::SpanName,
        Self::EventName,
        Self::StatusMessage,
        Self::Log,
        Self::LogBody,
        Self::Point,
    ];
}

/// What becomes of an attribute, or of a pair in a key-value list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'t> {
    /// It stays as it is.
    Keep,
    /// The texts in its value are looked at.
    Look,
    /// It is left out.
    Remove,
    /// Its value becomes this text.
    Replace(Cow<'t, str>),
}

/// Decides what is changed.
pub trait Reviser {
    /// An event begins, whose attributes follow.
    fn event(&mut self, name: &[u8]);

    /// A log record begins, whose attributes and body follow. `record` is the encoded `LogRecord`.
    fn record(&mut self, record: &[u8]);

    /// Decides on the body of the log record. `body` is the encoded `AnyValue`, or a part of it.
    fn body(&mut self, body: &[u8]) -> Verdict<'_>;

    /// Decides on an attribute, or on a pair in a key-value list in the value of one. `pair` is the
    /// encoded `KeyValue`.
    fn attribute(&mut self, place: Place, key: &[u8], pair: &[u8]) -> Verdict<'_>;

    /// Changes a text: a string or bytes in the value of an attribute, a name or a message. A
    /// string must still be UTF-8 afterwards.
    fn text(&mut self, place: Place, text: &[u8], edits: &mut TextEdits<'_, '_, '_>);
}

/// Walks an encoded export request of a signal. `None`: nothing is changed. `reserve` is asked
/// before memory is taken.
///
/// # Errors
/// The bytes are not such a message, as far as they had to be read; the request became more than
/// twice as large; what `reserve` says.
pub fn revise(
    signal: Signal,
    request: &[u8],
    reviser: &mut impl Reviser,
    reserve: &mut dyn FnMut(usize) -> Result<(), Failure>,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut walk = Walk {
        editor: Editor::new(request, reserve),
        reviser,
    };
    let whole = Part {
        number: 0,
        start: 0,
        content: 0,
        end: request.len(),
    };
    walk.message(
        Kind::Request(signal),
        whole,
        Place::Span,
        RECURSION_LIMIT + 1,
    )?;
    walk.editor.finish()
}

struct Walk<'i, 'r, 'v, R> {
    editor: Editor<'i, 'r>,
    reviser: &'v mut R,
}

impl<'i, R: Reviser> Walk<'i, '_, '_, R> {
    fn content(&self, part: Part) -> &'i [u8] {
        let content = self.editor.input().get(part.content..part.end);
        content.unwrap_or_default()
    }

    fn message(
        &mut self,
        kind: Kind,
        message: Part,
        place: Place,
        depth: u32,
    ) -> Result<(), DecodeError> {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| DecodeError::new(Fault::Depth))?;
        let mut reader = fields(self.content(message));
        loop {
            let start = message.end - reader.rest().len();
            let Some(field) = reader.next_field()? else {
                return Ok(());
            };
            let Value::Bytes(content) = field.value else {
                continue;
            };
            let end = message.end - reader.rest().len();
            let part = Part {
                number: field.number,
                start,
                content: end - content.len(),
                end,
            };
            self.field(kind, part, place, depth)?;
            if self.editor.has_failed() {
                return Ok(());
            }
        }
    }

    fn field(
        &mut self,
        kind: Kind,
        part: Part,
        place: Place,
        depth: u32,
    ) -> Result<(), DecodeError> {
        let text = match (kind, part.number) {
            (Kind::Span, 5) => Place::SpanName,
            (Kind::Event, 2) | (Kind::LogRecord, 12) => Place::EventName,
            (Kind::Status, 2) => Place::StatusMessage,
            (Kind::AnyValue, 1 | 7) => place,
            _ => return self.nested(kind, part, place, depth),
        };
        let mark = self.editor.open(part);
        let content = self.content(part);
        let mut edits = TextEdits::new(&mut self.editor, part.content);
        self.reviser.text(text, content, &mut edits);
        self.editor.close(mark, part);
        Ok(())
    }

    fn nested(
        &mut self,
        kind: Kind,
        part: Part,
        place: Place,
        depth: u32,
    ) -> Result<(), DecodeError> {
        let child = match (kind, part.number) {
            (Kind::Span, 15) => Kind::Status,
            (kind, number) => match kind.child(number) {
                Some(child) => child,
                None => return Ok(()),
            },
        };
        let place = match child {
            Kind::Resource => Place::Resource,
            Kind::Scope => Place::Scope,
            Kind::Span => Place::Span,
            Kind::Event => Place::Event,
            Kind::Link => Place::Link,
            Kind::LogRecord => Place::Log,
            Kind::Metric => Place::Point,
            _ => place,
        };
        match child {
            Kind::KeyValue => return self.pair(part, place, depth),
            Kind::AnyValue if kind == Kind::LogRecord => return self.body(part, depth),
            Kind::LogRecord => self.reviser.record(self.content(part)),
            Kind::Event => {
                let name = last(self.content(part), 2)?;
                self.reviser.event(name.unwrap_or_default());
            }
            _ => {}
        }
        let mark = self.editor.open(part);
        self.message(child, part, place, depth)?;
        self.editor.close(mark, part);
        Ok(())
    }

    fn pair(&mut self, part: Part, place: Place, depth: u32) -> Result<(), DecodeError> {
        let pair = self.content(part);
        // The last of several keys is the key.
        let key = last(pair, 1)?.unwrap_or_default();
        match self.reviser.attribute(place, key, pair) {
            Verdict::Keep => {}
            Verdict::Look => {
                let mark = self.editor.open(part);
                self.message(Kind::KeyValue, part, place, depth)?;
                self.editor.close(mark, part);
            }
            Verdict::Remove => self.editor.replace(part.start..part.end, &[]),
            Verdict::Replace(text) => {
                let value = text_field(VALUE, &text);
                let mark = self.editor.open(part);
                self.replace_value(part, &value)?;
                self.editor.close(mark, part);
            }
        }
        Ok(())
    }

    fn body(&mut self, part: Part, depth: u32) -> Result<(), DecodeError> {
        match self.reviser.body(self.content(part)) {
            Verdict::Keep => {}
            Verdict::Look => {
                let mark = self.editor.open(part);
                self.message(Kind::AnyValue, part, Place::LogBody, depth)?;
                self.editor.close(mark, part);
            }
            Verdict::Remove => self.editor.replace(part.start..part.end, &[]),
            Verdict::Replace(text) => {
                let value = text_field(BODY, &text);
                self.editor.replace(part.start..part.end, &value);
            }
        }
        Ok(())
    }

    /// Puts one value in the place of all parts of the value of a pair.
    fn replace_value(&mut self, pair: Part, value: &[u8]) -> Result<(), DecodeError> {
        let mut value = value;
        let mut reader = fields(self.content(pair));
        loop {
            let start = pair.end - reader.rest().len();
            let Some(field) = reader.next_field()? else {
                return Ok(());
            };
            if let (2, Value::Bytes(_)) = (field.number, field.value) {
                let end = pair.end - reader.rest().len();
                self.editor.replace(start..end, std::mem::take(&mut value));
            }
        }
    }
}

/// The last of the strings, bytes or messages of this number.
fn last(message: &[u8], number: u32) -> Result<Option<&[u8]>, DecodeError> {
    let mut found = None;
    let mut reader = fields(message);
    while let Some(field) = reader.next_field()? {
        if let Value::Bytes(content) = field.value
            && field.number == number
        {
            found = Some(content);
        }
    }
    Ok(found)
}

/// Tags of the value of a `KeyValue`, and of the body of a log record.
const VALUE: u64 = 2 << 3 | 2;
const BODY: u64 = 5 << 3 | 2;

/// A field of this tag that is a value that is a text.
fn text_field(tag: u64, text: &str) -> Vec<u8> {
    const STRING_VALUE: u64 = 1 << 3 | 2;
    let mut inner = Vec::with_capacity(text.len() + 8);
    put_varint(&mut inner, STRING_VALUE);
    put_varint(&mut inner, text.len() as u64);
    inner.extend_from_slice(text.as_bytes());
    let mut outer = Vec::with_capacity(inner.len() + 8);
    put_varint(&mut outer, tag);
    put_varint(&mut outer, inner.len() as u64);
    outer.extend_from_slice(&inner);
    outer
}

#[cfg(test)]
mod tests;
