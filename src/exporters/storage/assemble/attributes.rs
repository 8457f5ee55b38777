//! What is taken from a span's attributes, events and links: columns, and whether a limit is passed.

use crate::model::span::{Basics, Status};
use crate::otlp::protobuf::{AnyValue, KeyValue, KeyValues, Span};
use crate::processors::limits;
use crate::semconv::{self, EventKind, SpanFacts};

pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

/// Takes the columns and tells whether anything is over a limit, in one pass. Only what feeds a
/// column, or is long enough to be over a limit, is looked into: the request was checked whole when
/// it came in.
pub(super) fn read_attributes<'a>(
    span: &Span<'a>,
    limits: &limits::Config,
    columns: &mut semconv::Collector<'a, '_>,
) -> (Basics<'a>, bool) {
    let mut over = span.name.len() > limits.name_length.as_usize()
        || span.attributes.len() > limits.attributes_per_span as usize
        || span.event_count() > limits.events_per_span as usize
        || span.link_count() > limits.links_per_span as usize;
    over |= take_attributes(&span.attributes, limits, columns);
    for event in span.events() {
        let kind = columns.event(event.name, event.time_unix_nano);
        over |= event.name.len() > limits.name_length.as_usize()
            || event.attributes.len() > limits.attributes_per_event as usize;
        for attribute in event.attributes.encoded() {
            over |= is_over(attribute, limits);
            if kind != EventKind::Other
                && let Ok(attribute) = KeyValue::parse(attribute)
            {
                columns.event_attribute(kind, attribute.key, attribute.value);
            }
        }
    }
    for link in span.links() {
        over |= link.attributes.len() > limits.attributes_per_link as usize;
        over |= link
            .attributes
            .encoded()
            .any(|attribute| is_over(attribute, limits));
    }
    let facts = SpanFacts {
        name: span.name,
        failed: Status::from_wire(span.status.code) == Status::Error,
        status_message: span.status.message,
        start_unix_nano: span.start_unix_nano,
    };
    (columns.finish(facts), over)
}

/// Takes the columns that are in attributes, and tells whether any of these is over a limit.
pub(super) fn take_attributes<'a>(
    attributes: &KeyValues<'a>,
    limits: &limits::Config,
    columns: &mut semconv::Collector<'a, '_>,
) -> bool {
    let mut over = false;
    for attribute in attributes.encoded() {
        over |= is_over(attribute, limits);
        columns.attribute(KeyValue::key_of(attribute), || {
            KeyValue::parse(attribute).unwrap_or_default().value
        });
    }
    over
}

/// Whether an encoded attribute has no key, or a text or bytes in it that are too long. No text is
/// longer than the attribute it is in, so nearly all pass by their size.
pub(super) fn is_over(attribute: &[u8], limits: &limits::Config) -> bool {
    let max = limits.attribute_value_length.as_usize();
    let too_long = |attribute| {
        let attribute = KeyValue::parse(attribute).unwrap_or_default();
        has_longer(&attribute.value, max)
    };
    KeyValue::key_of(attribute).is_empty() || attribute.len() > max && too_long(attribute)
}

/// Whether a text or bytes anywhere in the value are longer. Depth is bounded: the request was
/// checked under a limit when it came in.
pub(super) fn has_longer(value: &AnyValue<'_>, max: usize) -> bool {
    match value {
        AnyValue::Str(text) => text.len() > max,
        AnyValue::Bytes(bytes) => bytes.len() > max,
        AnyValue::Array(array) => array.iter().any(|value| has_longer(&value, max)),
        AnyValue::KvList(list) => list.iter().any(|pair| has_longer(&pair.value, max)),
        _ => false,
    }
}
