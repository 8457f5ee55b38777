//! Telling which spans match, and where.

use std::fmt;

use super::Match;
use super::fields;
use super::forms::Forms;
use super::look::Look;
use super::terms::Terms;
use crate::otlp::protobuf::{DecodeError, LogRecord, Span};

/// Which texts of a span or an event are looked at.
#[derive(Clone, Copy)]
pub struct Scope {
    /// Its name.
    pub name: bool,
    /// What was said to a model and by it; the body of an event.
    pub messages: bool,
    /// All other attributes, the status message, and the names and attributes of a span's events; what
    /// the source of an event calls its severity.
    pub attributes: bool,
    /// Whether the attribute of this key, of the event of this name if any, holds messages.
    pub holds_messages: fn(Option<&str>, &str) -> bool,
}

impl Scope {
    /// Whether an attribute is looked at.
    pub(super) fn takes(&self, event: Option<&str>, key: &str) -> bool {
        if self.messages == self.attributes {
            self.messages
        } else {
            (self.holds_messages)(event, key) == self.messages
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Scope")
            .field("name", &self.name)
            .field("messages", &self.messages)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

/// Tests spans and events.
pub struct Matcher {
    terms: Terms,
    scope: Scope,
    pub(super) wanted: Vec<Forms>,
    pub(super) unwanted: Vec<Forms>,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Matcher")
            .field("terms", &self.terms)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Matcher {
    /// Prepares to look for these terms there.
    #[must_use]
    pub fn new(terms: Terms, scope: Scope) -> Self {
        let forms = |terms: &[String]| terms.iter().map(|term| Forms::of(term)).collect();
        Self {
            wanted: forms(&terms.wanted),
            unwanted: forms(&terms.unwanted),
            terms,
            scope,
        }
    }

    /// Whether all wanted terms occur in some bytes, given with ASCII in lower case. Where they do
    /// not, no span in these bytes matches.
    pub(super) fn may_match(&self, folded: &[u8]) -> bool {
        self.wanted.iter().all(|forms| forms.are_in(folded))
    }

    /// Whether all wanted terms may be in the block that a sieve is of. Where they can't be, no span
    /// of the block matches.
    #[must_use]
    pub fn may_be_in(&self, sieve: &[u8]) -> bool {
        self.wanted.iter().all(|forms| forms.may_be_in(sieve))
    }

    /// Where an encoded span matches, `None` when it does not; `folded` are the same bytes with
    /// ASCII in lower case.
    pub(super) fn matches(
        &self,
        message: &[u8],
        folded: &[u8],
    ) -> Result<Option<Vec<Match>>, DecodeError> {
        let span = Span::parse(message)?;
        let mut look = Look::new(self, message, folded);
        let wanted = fields::visit(&span, &self.scope, &mut |field| look.at(field));
        Ok(look.finish(wanted))
    }

    /// Where an encoded log record matches, as [`Self::matches`].
    pub(super) fn matches_folded_record(
        &self,
        message: &[u8],
        folded: &[u8],
    ) -> Result<Option<Vec<Match>>, DecodeError> {
        let record = LogRecord::parse(message)?;
        let mut look = Look::new(self, message, folded);
        let wanted = fields::visit_record(&record, &self.scope, &mut |field| look.at(field));
        Ok(look.finish(wanted))
    }

    /// Where an encoded log record matches, `None` when it does not.
    ///
    /// # Errors
    /// The bytes are not such a message.
    pub fn matches_record(&self, message: &[u8]) -> Result<Option<Vec<Match>>, DecodeError> {
        self.matches_folded_record(message, &message.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::trace::v1::{self as proto, span::Event};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn is_message(event: Option<&str>, key: &str) -> bool {
        key == "said" || event == Some("said")
    }

    const ALL: Scope = Scope {
        name: true,
        messages: true,
        attributes: true,
        holds_messages: is_message,
    };

    fn key_value(key: &str, value: Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        key_value(key, Value::StringValue(value.to_owned()))
    }

    fn span() -> proto::Span {
        let list = KeyValueList {
            values: vec![text("deep", "under Water")],
        };
        let array = ArrayValue {
            values: vec![AnyValue {
                value: Some(Value::KvlistValue(list)),
            }],
        };
        proto::Span {
            name: "Chat gpt".to_owned(),
            attributes: vec![
                text("said", r#"[{"content": "A REFUND in Z\u00fcrich"}]"#),
                text("tier", "gold"),
                key_value("list", Value::ArrayValue(array)),
                key_value("number", Value::IntValue(4711)),
                text("late", "another refund"),
            ],
            events: vec![
                Event {
                    name: "exception".to_owned(),
                    attributes: vec![text("exception.message", "socket closed")],
                    ..Event::default()
                },
                Event {
                    name: "said".to_owned(),
                    attributes: vec![text("content", "good morning")],
                    ..Event::default()
                },
            ],
            status: Some(proto::Status {
                code: 2,
                message: "out of tokens".to_owned(),
            }),
            ..proto::Span::default()
        }
    }

    fn found(query: &str, scope: Scope) -> Option<Vec<Match>> {
        let matcher = Matcher::new(Terms::parse(query).unwrap(), scope);
        let message = span().encode_to_vec();
        let folded = message.to_ascii_lowercase();
        let found = matcher.matches(&message, &folded).unwrap();
        assert!(found.is_none() || matcher.may_match(&folded));
        found
    }

    fn places(query: &str, scope: Scope) -> Vec<String> {
        let found = found(query, scope).unwrap_or_default();
        let place = |found: &Match| {
            let hit: String = found
                .snippet
                .chars()
                .skip(found.offset)
                .take(found.length)
                .collect();
            let event = found.event.as_deref().unwrap_or_default();
            format!("{event}/{}: {hit}", found.field)
        };
        found.iter().map(place).collect()
    }

    #[test]
    fn every_text_of_a_span_is_found_with_its_place() {
        let cases: [(&str, &[&str]); 16] = [
            ("chat", &["/name: Chat"]),
            ("gold", &["/tier: gold"]),
            ("water", &["/list: Water"]),
            ("zürich", &[r"/said: Z\u00fcrich"]),
            ("\"a refund\"", &["/said: A REFUND"]),
            ("refund", &["/said: REFUND", "/late: refund"]),
            (
                "gold refund chat",
                &["/name: Chat", "/said: REFUND", "/tier: gold"],
            ),
            ("socket closed", &["exception/exception.message: socket"]),
            ("exception", &["exception/name: exception"]),
            ("tokens", &["/status.message: tokens"]),
            ("gold silver", &[]),
            ("gold -refund", &[]),
            ("gold -silver", &["/tier: gold"]),
            ("4711", &[]),
            ("tier", &[]),
            ("gold -4711", &["/tier: gold"]),
        ];
        for (query, expected) in cases {
            assert_eq!(places(query, ALL), expected, "{query}");
        }
    }

    #[test]
    fn the_scope_says_which_texts_count() {
        let nothing = Scope {
            name: false,
            messages: false,
            attributes: false,
            ..ALL
        };
        let only = [
            Scope {
                name: true,
                ..nothing
            },
            Scope {
                messages: true,
                ..nothing
            },
            Scope {
                attributes: true,
                ..nothing
            },
        ];
        let cases = [
            ("chat", [1, 0, 0]),
            ("refund", [0, 1, 1]),
            ("gold", [0, 0, 1]),
            ("morning", [0, 1, 0]),
            ("closed", [0, 0, 1]),
            ("tokens", [0, 0, 1]),
            ("refund -gold", [0, 1, 0]),
            ("chat refund", [0, 0, 0]),
        ];
        for (query, expected) in cases {
            let counts = only.map(|scope| places(query, scope).len());
            assert_eq!(counts, expected, "{query}");
        }
    }

    proptest! {
        // Scenario: any bytes as a span, and a span with any text.
        // Guarantees: never a panic; the text is found exactly when the term is a part of it.
        #[test]
        fn any_text_is_searched(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            value in "[ab ]{0,30}",
            term in "[ab]{2,4}",
        ) {
            let matcher = Matcher::new(Terms::parse(&term).unwrap(), ALL);
            drop(matcher.matches(&bytes, &bytes.to_ascii_lowercase()));
            let span = proto::Span { attributes: vec![text("k", &value)], ..proto::Span::default() };
            let message = span.encode_to_vec();
            let found = matcher.matches(&message, &message).unwrap();
            prop_assert_eq!(found.is_some(), value.contains(&term));
        }
    }
}
