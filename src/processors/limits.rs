//! Limits on what one span may carry. What is over is cut and the dropped counts are raised
//! (OpenTelemetry specification, "Attribute limits" and "Span limits").
//!
//! Nearly every span is within them, so the mapper only checks while it reads; [`truncate`]
//! rewrites the few that are not.

use serde::{Deserialize, Serialize};

use crate::config::ByteSize;
use crate::otlp::protobuf::{self, Bounds, DecodeError};

/// `processors.limits`. Each is per span unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Attributes of a span, and of a log record.
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
    /// Metric series of a project; points of more go to one series of their metric.
    pub max_metric_series: u32,
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
            max_metric_series: 50_000,
        }
    }
}

/// Rewrites an encoded OTLP `Span` so that it is within the limits. Attributes with an empty key
/// are dropped and counted too (OpenTelemetry specification, "Attribute": keys are non-empty).
///
/// # Errors
/// When the bytes are not such a message.
pub fn truncate(message: &[u8], limits: &Config) -> Result<Vec<u8>, DecodeError> {
    let shorter = protobuf::bounded_span(message, &limits.bounds())?;
    Ok(shorter.unwrap_or_else(|| message.to_vec()))
}

/// Rewrites an encoded OTLP `LogRecord` so that it is within the limits, as [`truncate`] does a span.
/// It has as many attributes as a span may have; its body is a value.
///
/// # Errors
/// When the bytes are not such a message.
pub fn truncate_record(message: &[u8], limits: &Config) -> Result<Vec<u8>, DecodeError> {
    let shorter = protobuf::bounded_record(message, &limits.bounds())?;
    Ok(shorter.unwrap_or_else(|| message.to_vec()))
}

impl Config {
    fn bounds(&self) -> Bounds {
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Bounds {
            attributes_per_span: count(self.attributes_per_span),
            events_per_span: count(self.events_per_span),
            links_per_span: count(self.links_per_span),
            attributes_per_event: count(self.attributes_per_event),
            attributes_per_link: count(self.attributes_per_link),
            value_bytes: self.attribute_value_length.as_usize(),
            name_bytes: self.name_length.as_usize(),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use prost::Message as _;

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
            ..Config::default()
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
