//! Rewrites messages where they lie: leaves out attributes without a key, and what is over limits,
//! and counts what is left out in the dropped counts.
//!
//! Works on the encoding itself. What stays is copied as it is, fields of newer protocol versions
//! included, and nothing is built per element: a message of a few bytes per attribute would take
//! twenty times its size once decoded.

use super::error::{DecodeError, Fault};
use super::kind::Kind;
use super::wire::{Field, RECURSION_LIMIT, Value, fields};
use crate::otlp::Signal;

/// What a message may carry at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Attributes of a span, and of a log record.
    pub attributes_per_span: usize,
    /// Events of a span.
    pub events_per_span: usize,
    /// Links of a span.
    pub links_per_span: usize,
    /// Attributes of one event.
    pub attributes_per_event: usize,
    /// Attributes of one link.
    pub attributes_per_link: usize,
    /// Bytes of one string or bytes value.
    pub value_bytes: usize,
    /// Bytes of the name of a span or event.
    pub name_bytes: usize,
}

impl Bounds {
    /// No bounds: only what has no key is left out.
    pub const NONE: Self = Self {
        attributes_per_span: usize::MAX,
        events_per_span: usize::MAX,
        links_per_span: usize::MAX,
        attributes_per_event: usize::MAX,
        attributes_per_link: usize::MAX,
        value_bytes: usize::MAX,
        name_bytes: usize::MAX,
    };
}

/// Leaves attributes without a key out of an encoded export request, at every level: resources,
/// scopes, spans, log records, events, links, and the key-value lists in their values. Each counts as
/// a dropped attribute of what it belongs to. `None`: there are none. Takes up to twice the size of
/// the request while it works.
///
/// # Errors
/// The bytes are not such a message, as far as they had to be read.
pub fn without_empty_keys(signal: Signal, request: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    rewrite(Kind::Request(signal), request, &Bounds::NONE)
}

/// Cuts an encoded `Span` to bounds; attributes without a key are left out too. `None`: it is within
/// them. Strings are cut at the end of a character.
///
/// # Errors
/// The bytes are not such a message, as far as they had to be read.
pub fn bounded_span(span: &[u8], bounds: &Bounds) -> Result<Option<Vec<u8>>, DecodeError> {
    rewrite(Kind::Span, span, bounds)
}

/// Cuts an encoded `LogRecord` to bounds, its body included, as [`bounded_span`] cuts a span.
///
/// # Errors
/// The bytes are not such a message, as far as they had to be read.
pub fn bounded_record(record: &[u8], bounds: &Bounds) -> Result<Option<Vec<u8>>, DecodeError> {
    rewrite(Kind::LogRecord, record, bounds)
}

fn rewrite(kind: Kind, message: &[u8], bounds: &Bounds) -> Result<Option<Vec<u8>>, DecodeError> {
    let rewriter = Rewriter { bounds };
    let rewritten = rewriter.message(kind, message, RECURSION_LIMIT + 1)?;
    Ok(rewritten.bytes)
}

impl Kind {
    /// The lists of a message that are counted: the attributes first.
    fn lists(self, bounds: &Bounds) -> [List; 3] {
        let list = |number, counter, max| List {
            number,
            counter,
            max,
            ..List::default()
        };
        let none = List::default();
        match self {
            Self::Resource => [list(1, 2, usize::MAX), none, none],
            Self::Scope => [list(3, 4, usize::MAX), none, none],
            Self::Span => [
                list(9, 10, bounds.attributes_per_span),
                list(11, 12, bounds.events_per_span),
                list(13, 14, bounds.links_per_span),
            ],
            Self::LogRecord => [list(6, 7, bounds.attributes_per_span), none, none],
            Self::Event => [list(3, 4, bounds.attributes_per_event), none, none],
            Self::Link => [list(4, 5, bounds.attributes_per_link), none, none],
            _ => [none; 3],
        }
    }
}

/// A repeated field with a count of what was left out of it.
#[derive(Debug, Clone, Copy, Default)]
struct List {
    /// Number of the field; zero when there is no such list.
    number: u32,
    /// Number of the field with the count.
    counter: u32,
    max: usize,
    kept: usize,
    /// The count as it came.
    sent: u32,
    dropped: u64,
}

impl List {
    /// The count with what was left out here.
    fn total(&self) -> u32 {
        let dropped = u32::try_from(self.dropped).unwrap_or(u32::MAX);
        self.sent.saturating_add(dropped)
    }
}

/// What became of a message.
struct Rewritten {
    /// `None`: it stays as it is.
    bytes: Option<Vec<u8>>,
    /// Pairs left out that it has no count for.
    uncounted: u64,
}

struct Rewriter<'b> {
    bounds: &'b Bounds,
}

impl Rewriter<'_> {
    fn message(&self, kind: Kind, bytes: &[u8], depth: u32) -> Result<Rewritten, DecodeError> {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| DecodeError::new(Fault::Depth))?;
        let mut output = Output::new(bytes);
        let mut lists = kind.lists(self.bounds);
        let mut uncounted = 0;
        let mut reader = fields(bytes);
        loop {
            let before = reader.rest();
            let Some(field) = reader.next_field()? else {
                break;
            };
            let length = before.len() - reader.rest().len();
            let raw = before.get(..length).unwrap_or_default();
            for list in &mut lists {
                if let Value::Varint(_) = field.value
                    && field.number == list.counter
                {
                    list.sent = field.uint32("dropped count")?;
                }
            }
            let Value::Bytes(content) = field.value else {
                output.keep(raw);
                continue;
            };
            let is_left_out = leaves_out(kind, &field, content, &mut lists, &mut uncounted)?;
            if is_left_out {
                output.leave_out();
            } else if let Some(short) = self.cut(kind, field.number, content) {
                output.replace(field.number, short);
            } else if let Some(child) = kind.child(field.number) {
                let rewritten = self.message(child, content, depth)?;
                uncounted += rewritten.uncounted;
                match rewritten.bytes {
                    Some(changed) => output.replace(field.number, &changed),
                    None => output.keep(raw),
                }
            } else {
                output.keep(raw);
            }
        }
        if let Some(attributes) = lists.first_mut().filter(|list| list.number > 0) {
            attributes.dropped += std::mem::take(&mut uncounted);
        }
        for list in lists.iter().filter(|list| list.dropped > 0) {
            output.count(list.counter, list.total());
        }
        Ok(Rewritten {
            bytes: output.changed,
            uncounted,
        })
    }

    /// What is left of a text or bytes that are too long.
    fn cut<'a>(&self, kind: Kind, number: u32, content: &'a [u8]) -> Option<&'a [u8]> {
        let (max, is_text) = match (kind, number) {
            (Kind::Span, 5) | (Kind::Event, 2) | (Kind::LogRecord, 12) => {
                (self.bounds.name_bytes, true)
            }
            (Kind::AnyValue, 1) => (self.bounds.value_bytes, true),
            (Kind::AnyValue, 7) => (self.bounds.value_bytes, false),
            _ => return None,
        };
        if content.len() <= max {
            return None;
        }
        let is_continued = |at: &usize| content.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let mut end = max;
        while is_text && end > 0 && is_continued(&end) {
            end -= 1;
        }
        content.get(..end)
    }
}

/// Whether an element of a list is left out; counts it then.
fn leaves_out(
    kind: Kind,
    field: &Field<'_>,
    content: &[u8],
    lists: &mut [List; 3],
    uncounted: &mut u64,
) -> Result<bool, DecodeError> {
    let is_pair = kind.child(field.number) == Some(Kind::KeyValue);
    let is_nameless = is_pair && !has_key(content)?;
    match lists.iter_mut().find(|list| list.number == field.number) {
        Some(list) if is_nameless || list.kept >= list.max => list.dropped += 1,
        Some(list) => {
            list.kept += 1;
            return Ok(false);
        }
        None if is_nameless => *uncounted += 1,
        None => return Ok(false),
    }
    Ok(true)
}

/// Whether an encoded `KeyValue` has a key that is not empty. The last of several counts.
fn has_key(pair: &[u8]) -> Result<bool, DecodeError> {
    let mut has_key = false;
    let mut reader = fields(pair);
    while let Some(field) = reader.next_field()? {
        if let (1, Value::Bytes(key)) = (field.number, field.value) {
            has_key = !key.is_empty();
        }
    }
    Ok(has_key)
}

/// A message being copied, from its first change on.
struct Output<'a> {
    source: &'a [u8],
    /// Bytes at the start that stay as they are, while nothing has changed.
    same: usize,
    changed: Option<Vec<u8>>,
}

impl<'a> Output<'a> {
    fn new(source: &'a [u8]) -> Self {
        Self {
            source,
            same: 0,
            changed: None,
        }
    }

    fn keep(&mut self, raw: &[u8]) {
        match &mut self.changed {
            Some(changed) => changed.extend_from_slice(raw),
            None => self.same += raw.len(),
        }
    }

    fn change(&mut self) -> &mut Vec<u8> {
        let same = self.source.get(..self.same).unwrap_or_default();
        self.changed.get_or_insert_with(|| same.to_vec())
    }

    fn leave_out(&mut self) {
        self.change();
    }

    fn replace(&mut self, number: u32, content: &[u8]) {
        let out = self.change();
        put_varint(out, u64::from(number << 3 | 2));
        put_varint(out, content.len() as u64);
        out.extend_from_slice(content);
    }

    /// Appends a count; the last one of a message holds.
    fn count(&mut self, number: u32, count: u32) {
        let out = self.change();
        put_varint(out, u64::from(number << 3));
        put_varint(out, u64::from(count));
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

#[cfg(test)]
mod tests;
