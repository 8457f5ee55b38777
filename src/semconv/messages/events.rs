//! Messages in the events of a span.

use super::places::Place;
use super::shape;
use super::source::Source;
use super::{Message, part};
use crate::otlp::protobuf::Event;
use crate::semconv::json::Json;

/// The messages of all events, in the order they happened.
pub(super) fn messages(source: &mut Source<'_>) -> Vec<(Place, Message)> {
    let mut found = Vec::new();
    let events: Vec<_> = source.events().collect();
    for event in events {
        let (place, value) = match event.name {
            "gen_ai.content.prompt" => (Place::Input, value(source, &event, &["gen_ai.prompt"])),
            "gen_ai.content.completion" => {
                (Place::Output, value(source, &event, &["gen_ai.completion"]))
            }
            "gen_ai.client.inference.operation.details" => {
                let input = value(source, &event, &["gen_ai.input.messages"]);
                add(&mut found, Place::Input, input);
                (
                    Place::Output,
                    value(source, &event, &["gen_ai.output.messages"]),
                )
            }
            "gen_ai.choice" => (Place::Output, Some(message(source, &event, "assistant"))),
            name => match shape::role_of_event(name) {
                Some(role) => (Place::Input, Some(message(source, &event, role))),
                None => continue,
            },
        };
        add(&mut found, place, value);
    }
    found
}

fn add(found: &mut Vec<(Place, Message)>, place: Place, value: Option<Json>) {
    let role = match place {
        Place::Input => "user",
        Place::Output => "assistant",
    };
    let messages = value.map(|value| shape::messages(value, role));
    found.extend(messages.into_iter().flatten().map(|it| (place, it)));
}

/// An attribute of an event.
pub(super) fn value(source: &mut Source<'_>, event: &Event<'_>, keys: &[&str]) -> Option<Json> {
    let attributes: Vec<_> = event.attributes.iter().collect();
    keys.iter().find_map(|key| {
        let attribute = attributes.iter().rev().find(|it| it.key == *key)?;
        source.read(key, &attribute.value)
    })
}

/// An event that is one message: its content is in `content`, `message` or `gen_ai.event.content`,
/// as text, as parts or as a whole message.
fn message(source: &mut Source<'_>, event: &Event<'_>, role: &str) -> Json {
    let mut entries = vec![("role".to_owned(), Json::from(role))];
    let keys = ["content", "message", "gen_ai.event.content"];
    match value(source, event, &keys) {
        Some(whole @ Json::Map(_)) if !part::is_part(&whole) => {
            let Json::Map(inner) = whole else {
                return Json::Null;
            };
            let has_role = inner
                .iter()
                .any(|(key, _)| key == "role" || key == "message");
            if has_role {
                entries = inner;
            } else {
                entries.extend(inner);
            }
        }
        Some(content) => entries.push(("content".to_owned(), content)),
        None => {}
    }
    for key in ["role", "finish_reason", "tool_calls", "id", "name"] {
        if !entries.iter().any(|(name, _)| name == key)
            && let Some(value) = value(source, event, &[key])
        {
            entries.push((key.to_owned(), value));
        }
    }
    Json::Map(entries)
}
