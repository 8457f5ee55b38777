//! Limits on what one span may carry. What is over is cut and the dropped counts are raised
//! (OpenTelemetry specification, "Attribute limits" and "Span limits").
//!
//! Nearly every span is within them, so the mapper only checks while it reads; [`truncate`]
//! rewrites the few that are not.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::config::ByteSize;

/// `processors.limits`. Each is per span unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Attributes of a span.
    pub attributes_per_span: u32,
    /// Events of a span.
    pub events_per_span: u32,
    /// Links of a span.
    pub links_per_span: u32,
    /// Attributes of one event.
    pub attributes_per_event: u32,
    /// Attributes of one link.
    pub attributes_per_link: u32,
    /// Length of one string or bytes value, in bytes; strings are cut at a character boundary.
    pub attribute_value_length: ByteSize,
    /// Length of a span or event name, in bytes.
    pub name_length: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attributes_per_span: 1024,
            events_per_span: 1024,
            links_per_span: 1024,
            attributes_per_event: 256,
            attributes_per_link: 256,
            attribute_value_length: ByteSize::mib(4),
            name_length: ByteSize::kib(4),
        }
    }
}

/// Rewrites an encoded OTLP `Span` so that it is within the limits. Attributes with an empty key
/// are dropped and counted too (OpenTelemetry specification, "Attribute": keys are non-empty).
///
/// # Errors
/// When the bytes are not such a message.
pub fn truncate(message: &[u8], limits: &Config) -> Result<Vec<u8>, prost::DecodeError> {
    let mut span = Span::decode(message)?;
    cut_text(&mut span.name, limits.name_length);
    let dropped = &mut span.dropped_attributes_count;
    cut_attributes(
        &mut span.attributes,
        dropped,
        limits.attributes_per_span,
        limits,
    );
    keep_first(
        &mut span.events,
        &mut span.dropped_events_count,
        limits.events_per_span,
    );
    for event in &mut span.events {
        cut_text(&mut event.name, limits.name_length);
        let dropped = &mut event.dropped_attributes_count;
        cut_attributes(
            &mut event.attributes,
            dropped,
            limits.attributes_per_event,
            limits,
        );
    }
    keep_first(
        &mut span.links,
        &mut span.dropped_links_count,
        limits.links_per_span,
    );
    for link in &mut span.links {
        let dropped = &mut link.dropped_attributes_count;
        cut_attributes(
            &mut link.attributes,
            dropped,
            limits.attributes_per_link,
            limits,
        );
    }
    Ok(span.encode_to_vec())
}

fn cut_attributes(attributes: &mut Vec<KeyValue>, dropped: &mut u32, keep: u32, limits: &Config) {
    let before = attributes.len();
    attributes.retain(|attribute| !attribute.key.is_empty());
    raise(dropped, before - attributes.len());
    keep_first(attributes, dropped, keep);
    for value in attributes
        .iter_mut()
        .filter_map(|attribute| attribute.value.as_mut())
    {
        cut_value(value, limits.attribute_value_length);
    }
}

fn keep_first<T>(items: &mut Vec<T>, dropped: &mut u32, keep: u32) {
    let over = items.len().saturating_sub(keep as usize);
    raise(dropped, over);
    items.truncate(keep as usize);
}

fn raise(dropped: &mut u32, by: usize) {
    *dropped = dropped.saturating_add(u32::try_from(by).unwrap_or(u32::MAX));
}

/// Cuts the strings and bytes in a value. Depth is bounded: the value was decoded under a limit.
fn cut_value(value: &mut AnyValue, length: ByteSize) {
    match &mut value.value {
        Some(Value::StringValue(text)) => cut_text(text, length),
        Some(Value::BytesValue(bytes)) => bytes.truncate(length.as_usize()),
        Some(Value::ArrayValue(array)) => {
            array
                .values
                .iter_mut()
                .for_each(|value| cut_value(value, length));
        }
        Some(Value::KvlistValue(list)) => {
            let values = list
                .values
                .iter_mut()
                .filter_map(|pair| pair.value.as_mut());
            values.for_each(|value| cut_value(value, length));
        }
        _ => {}
    }
}

fn cut_text(text: &mut String, length: ByteSize) {
    text.truncate(text.floor_char_boundary(length.as_usize()));
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

    use super::*;

    fn text(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(value.to_owned())),
            }),
            ..KeyValue::default()
        }
    }

    fn limited(span: &Span, limits: &Config) -> Span {
        let bytes = truncate(&span.encode_to_vec(), limits).unwrap();
        Span::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn each_limit_cuts_and_counts() {
        let limits = Config {
            attributes_per_span: 2,
            events_per_span: 1,
            links_per_span: 1,
            attributes_per_event: 1,
            attributes_per_link: 1,
            attribute_value_length: ByteSize(4),
            name_length: ByteSize(3),
        };
        let three = vec![text("a", "12345"), text("b", "1"), text("c", "1")];
        let event = Event {
            name: "event".to_owned(),
            attributes: three.clone(),
            ..Event::default()
        };
        let link = Link {
            attributes: three.clone(),
            ..Link::default()
        };
        let span = Span {
            name: "name".to_owned(),
            attributes: three,
            dropped_attributes_count: 5,
            events: vec![event.clone(), event],
            links: vec![link.clone(), link],
            ..Span::default()
        };
        let span = limited(&span, &limits);
        assert_eq!(span.name, "nam");
        assert_eq!(
            (span.attributes.len(), span.dropped_attributes_count),
            (2, 6)
        );
        assert_eq!(span.attributes[0], text("a", "1234"));
        assert_eq!((span.events.len(), span.dropped_events_count), (1, 1));
        let event = &span.events[0];
        assert_eq!(
            (event.attributes.len(), event.dropped_attributes_count),
            (1, 2)
        );
        assert_eq!(event.name, "eve");
        assert_eq!((span.links.len(), span.dropped_links_count), (1, 1));
        let link = &span.links[0];
        assert_eq!(
            (link.attributes.len(), link.dropped_attributes_count),
            (1, 2)
        );
    }

    #[test]
    fn empty_keys_are_dropped_and_counted() {
        let span = Span {
            attributes: vec![text("", "x"), text("k", "v")],
            ..Span::default()
        };
        let span = limited(&span, &Config::default());
        assert_eq!(span.attributes, [text("k", "v")]);
        assert_eq!(span.dropped_attributes_count, 1);
    }

    #[test]
    fn a_text_is_cut_at_a_character_boundary() {
        let limits = Config {
            attribute_value_length: ByteSize(3),
            ..Config::default()
        };
        let span = Span {
            attributes: vec![text("k", "éé")],
            ..Span::default()
        };
        assert_eq!(limited(&span, &limits).attributes, [text("k", "é")]);
    }
}
