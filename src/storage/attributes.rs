//! Attribute filters: what no column holds is looked up in the messages themselves.

use std::collections::HashMap;

use memchr::memmem;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::Error;
use super::content::BlockSpan;
use super::query::AttributeEquals;

/// Tests spans and events against attribute filters.
#[derive(Debug)]
pub struct AttributeTest<'f> {
    wanted: &'f [AttributeEquals],
    /// What a resource answers to each filter, per resource shown.
    by_resource: HashMap<i64, Vec<Found>>,
}

/// What attributes say to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// One is what is wanted.
    Equal,
    /// There are others of the key.
    Other,
    /// There is none of the key.
    Absent,
}

impl<'f> AttributeTest<'f> {
    /// A test for these filters; `None` when there are none.
    #[must_use]
    pub fn new(wanted: &'f [AttributeEquals]) -> Option<Self> {
        (!wanted.is_empty()).then(|| Self {
            wanted,
            by_resource: HashMap::new(),
        })
    }

    /// Whether a resource has been shown, so that its spans can be tested.
    #[must_use]
    pub fn knows(&self, resource_id: i64) -> bool {
        self.by_resource.contains_key(&resource_id)
    }

    /// Shows it a resource.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the message is not a resource.
    pub fn learn(&mut self, resource_id: i64, message: &[u8]) -> Result<(), Error> {
        let message = Resource::decode(message).map_err(|_| corrupt("resource message"))?;
        let answers = self
            .wanted
            .iter()
            .map(|filter| find(&message.attributes, filter))
            .collect();
        self.by_resource.insert(resource_id, answers);
        Ok(())
    }

    /// Whether the span, with its resource, has all wanted attributes. A resource that was not
    /// shown answers nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the message is not a span.
    pub fn matches(&self, span: BlockSpan<'_>) -> Result<bool, Error> {
        self.test(span, |message| {
            let span = Span::decode(message).map_err(|_| corrupt("span message"))?;
            Ok(span.attributes)
        })
    }

    /// As [`AttributeTest::matches`], of an event.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the message is not a log record.
    pub fn matches_event(&self, event: BlockSpan<'_>) -> Result<bool, Error> {
        self.test(event, |message| {
            let record = LogRecord::decode(message).map_err(|_| corrupt("log record"))?;
            Ok(record.attributes)
        })
    }

    fn test(
        &self,
        span: BlockSpan<'_>,
        attributes_of: impl FnOnce(&[u8]) -> Result<Vec<KeyValue>, Error>,
    ) -> Result<bool, Error> {
        let from_resource = self.by_resource.get(&span.resource_id);
        let in_resource = |place| {
            let answer = from_resource.and_then(|answers| answers.get(place));
            answer.copied().unwrap_or(Found::Absent)
        };
        let wanted = self.wanted.iter().enumerate();
        let open: Vec<_> = wanted
            .map(|(place, filter)| (in_resource(place), filter))
            .filter(|(found, _)| *found != Found::Equal)
            .collect();
        // A key is in the message as it is, so that its absence is seen without decoding.
        let has_key =
            |filter: &AttributeEquals| memmem::find(span.message, filter.key.as_bytes()).is_some();
        let may_be_absent =
            |found, filter: &AttributeEquals| filter.or_absent && found == Found::Absent;
        let possible = open
            .iter()
            .all(|(found, filter)| may_be_absent(*found, filter) || has_key(filter));
        if !possible || !open.iter().any(|(_, filter)| has_key(filter)) {
            return Ok(possible);
        }
        let attributes = attributes_of(span.message)?;
        Ok(open
            .iter()
            .all(|(in_resource, filter)| match find(&attributes, filter) {
                Found::Equal => true,
                Found::Other => false,
                Found::Absent => may_be_absent(*in_resource, filter),
            }))
    }
}

fn corrupt(context: &str) -> Error {
    Error::Corrupt {
        context: context.to_owned(),
    }
}

fn find(attributes: &[KeyValue], filter: &AttributeEquals) -> Found {
    let mut found = Found::Absent;
    for attribute in attributes {
        if attribute.key == filter.key {
            if equals(attribute.value.as_ref(), filter) {
                return Found::Equal;
            }
            found = Found::Other;
        }
    }
    found
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

    fn filter(key: &str, value: &str) -> AttributeEquals {
        AttributeEquals {
            key: key.to_owned(),
            value: value.to_owned(),
            or_absent: false,
        }
    }

    fn key_value(key: &str, value: Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    #[test]
    fn values_are_compared_in_their_string_form() {
        let equals = |value: Value, text: &str| {
            let value = AnyValue { value: Some(value) };
            equals(Some(&value), &filter("k", text))
        };
        let string = Value::StringValue("10".to_owned());
        assert!(equals(string.clone(), "10") && !equals(string, "1"));
        assert!(equals(Value::IntValue(-10), "-10") && !equals(Value::IntValue(-10), "10"));
        assert!(equals(Value::DoubleValue(0.5), "0.5"));
        assert!(equals(Value::BoolValue(true), "true"));
        assert!(!equals(Value::BoolValue(true), "false"));
        assert!(!super::equals(None, &filter("k", "")));
    }

    #[test]
    fn span_and_resource_answer_together() {
        let wanted = [filter("region", "north"), filter("tier", "gold")];
        let mut test = AttributeTest::new(&wanted).unwrap();
        let resource = |region: &str| {
            Resource {
                attributes: vec![key_value("region", Value::StringValue(region.to_owned()))],
                ..Resource::default()
            }
            .encode_to_vec()
        };
        test.learn(1, &resource("north")).unwrap();
        test.learn(2, &resource("south")).unwrap();
        let span = |tier: &str| {
            Span {
                attributes: vec![key_value("tier", Value::StringValue(tier.to_owned()))],
                ..Span::default()
            }
            .encode_to_vec()
        };
        let matches = |resource_id, message: &[u8]| {
            let span = BlockSpan {
                resource_id,
                scope_id: 0,
                message,
            };
            test.matches(span).unwrap()
        };
        assert!(test.knows(1) && !test.knows(3));
        assert!(matches(1, &span("gold")));
        assert!(!matches(1, &span("silver")));
        assert!(!matches(2, &span("gold")));
        assert!(!matches(3, &span("gold")));
        assert!(AttributeTest::new(&[]).is_none());
    }
}
