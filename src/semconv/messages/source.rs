//! Where content is read from.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::otlp::protobuf::{AnyValue, Event, Span};
use crate::semconv::coerce::usable;
use crate::semconv::json::Json;

/// The attributes and events of a span.
pub(super) struct Source<'s> {
    attributes: BTreeMap<&'s str, AnyValue<'s>>,
    span: &'s Span<'s>,
    unparsed: Vec<String>,
}

impl<'s> Source<'s> {
    pub(super) fn new(span: &'s Span<'s>) -> Self {
        Self {
            // Of equal keys the last counts.
            attributes: span
                .attributes
                .iter()
                .map(|attribute| (attribute.key, attribute.value))
                .collect(),
            span,
            unparsed: Vec::new(),
        }
    }

    pub(super) fn attribute(&self, key: &str) -> Option<&AnyValue<'s>> {
        self.attributes.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'s str> {
        usable(self.attribute(key)?.as_str()?)
    }

    /// An attribute as JSON: text that is JSON is read, and noted when it can't be.
    pub(super) fn json(&mut self, key: &str) -> Option<Json> {
        let value = *self.attribute(key)?;
        self.read(key, &value)
    }

    /// A value as JSON, of an attribute or of one like it.
    pub(super) fn read(&mut self, key: &str, value: &AnyValue<'_>) -> Option<Json> {
        let Some(text) = value.as_str() else {
            return Some(Json::of(value)).filter(|json| !json.is_empty());
        };
        let text = usable(text)?;
        let json = decoded(text);
        if matches!(&json, Json::Text(text) if is_broken(text)) {
            let key = key.to_owned();
            if !self.unparsed.contains(&key) {
                self.unparsed.push(key);
            }
        }
        Some(json)
    }

    /// Attributes whose key starts with a prefix, and the rest of their keys.
    pub(super) fn below(&self, prefix: &str) -> Vec<(&'s str, AnyValue<'s>)> {
        let range = (Bound::Included(prefix), Bound::Unbounded);
        self.attributes
            .range::<str, _>(range)
            .map_while(|(key, value)| Some((key.strip_prefix(prefix)?, *value)))
            .collect()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = Event<'s>> + use<'s> {
        self.span.events()
    }

    pub(super) fn unparsed(self) -> Vec<String> {
        self.unparsed
    }
}

/// Text as JSON if it is JSON, encoded twice at most, else as the text it is.
pub(super) fn decoded(text: &str) -> Json {
    let start = text.trim_start();
    if !start.starts_with(['{', '[', '"']) {
        return text.into();
    }
    match Json::parse(text) {
        Some(Json::Text(inner)) => Json::parse_container(&inner).unwrap_or(Json::Text(inner)),
        Some(json) => json,
        None => text.into(),
    }
}

/// Whether a text looks like JSON and is none: cut off, or written by something else.
pub(super) fn is_broken(text: &str) -> bool {
    let start = text.trim_start();
    let looks = ["{\"", "[{", "[\"", "{'", "[{'"];
    looks.iter().any(|head| start.starts_with(head)) && Json::parse(text).is_none()
}
