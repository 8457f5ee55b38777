//! Attribute filters: what no column holds is looked up in the messages themselves.

use std::collections::HashMap;

use memchr::memmem;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::corrupt;
use super::keys::Origins;
use crate::storage::Error;
use crate::storage::content::BlockSpan;
use crate::storage::query::AttributeEquals;

/// Tests spans against attribute filters.
#[derive(Debug)]
pub(super) struct AttributeTest<'f> {
    wanted: &'f [AttributeEquals],
    /// Which filters a resource answers by itself, per resource seen.
    by_resource: HashMap<i64, Vec<bool>>,
}

impl<'f> AttributeTest<'f> {
    /// A test for these filters; `None` when there are none.
    pub(super) fn new(wanted: &'f [AttributeEquals]) -> Option<Self> {
        (!wanted.is_empty()).then(|| Self {
            wanted,
            by_resource: HashMap::new(),
        })
    }

    /// Whether the span, with its resource, has all wanted attributes.
    pub(super) fn matches(
        &mut self,
        span: BlockSpan<'_>,
        origins: &mut Origins<'_>,
    ) -> Result<bool, Error> {
        let wanted = self.wanted;
        let from_resource = self.resource_answers(span.resource_id, origins)?;
        let open: Vec<_> = wanted
            .iter()
            .zip(from_resource)
            .filter_map(|(filter, answered)| (!answered).then_some(filter))
            .collect();
        if open.is_empty() {
            return Ok(true);
        }
        // A key is in the message as it is, so that its absence is seen without decoding.
        let possible = open
            .iter()
            .all(|filter| memmem::find(span.message, filter.key.as_bytes()).is_some());
        if !possible {
            return Ok(false);
        }
        let message = Span::decode(span.message).map_err(|_| corrupt("span message"))?;
        Ok(open.iter().all(|filter| has(&message.attributes, filter)))
    }

    fn resource_answers(
        &mut self,
        resource_id: i64,
        origins: &mut Origins<'_>,
    ) -> Result<&[bool], Error> {
        let wanted = self.wanted;
        match self.by_resource.entry(resource_id) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let resource = origins.resource(resource_id)?;
                let message = Resource::decode(resource.message.as_slice())
                    .map_err(|_| corrupt("resource message"))?;
                let answers = wanted
                    .iter()
                    .map(|filter| has(&message.attributes, filter))
                    .collect();
                Ok(entry.insert(answers))
            }
        }
    }
}

fn has(attributes: &[KeyValue], filter: &AttributeEquals) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.key == filter.key && equals(attribute.value.as_ref(), filter))
}

/// Compares a value in its string form. Arrays, maps and bytes have none.
fn equals(value: Option<&AnyValue>, filter: &AttributeEquals) -> bool {
    let text = filter.value.as_str();
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(value)) => value == text,
        Some(Value::BoolValue(value)) => text == if *value { "true" } else { "false" },
        Some(Value::IntValue(value)) => text.parse() == Ok(*value),
        Some(Value::DoubleValue(value)) => text.parse() == Ok(*value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(value: &str) -> AttributeEquals {
        AttributeEquals {
            key: "k".to_owned(),
            value: value.to_owned(),
        }
    }

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    #[test]
    fn values_are_compared_in_their_string_form() {
        let string = any(Value::StringValue("10".to_owned()));
        let int = any(Value::IntValue(-10));
        let double = any(Value::DoubleValue(0.5));
        let truth = any(Value::BoolValue(true));
        assert!(equals(Some(&string), &filter("10")));
        assert!(!equals(Some(&string), &filter("1")));
        assert!(equals(Some(&int), &filter("-10")));
        assert!(!equals(Some(&int), &filter("10")));
        assert!(equals(Some(&double), &filter("0.5")));
        assert!(equals(Some(&truth), &filter("true")));
        assert!(!equals(Some(&truth), &filter("false")));
        assert!(!equals(None, &filter("")));
    }
}
