//! Limits on what one span may carry. What is over is cut and the dropped counts are raised
//! (OpenTelemetry specification, "Attribute limits" and "Span limits").

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
