//! Events of TracePulse's webhook, which DebugQueue sends: checked as its server checked them, and
//! refused in its words.

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::identity::Identities;
use super::record::{Draft, Level, Origin};
use super::{EVENTS_MAX, names, value};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;

const LEVELS: [(&str, Level); 5] = [
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warning),
    ("error", Level::Error),
    ("critical", Level::Fatal),
];
const PRIORITIES: [&str; 3] = ["low", "medium", "high"];
/// Members of `metadata` that are texts, and the attributes that they become.
const METADATA_TEXTS: [(&str, &str); 4] = [
    ("errorCode", ""),
    ("userId", names::USER_ID),
    ("sessionId", names::SESSION_ID),
    ("edgeDevice", ""),
];
/// Messages of one answer at most.
const MESSAGES_MAX: usize = 1000;

/// Why a body is refused: what is wrong with it, and with its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// About the whole.
    pub form: Vec<String>,
    /// About `events` and all in it.
    pub events: Vec<String>,
    /// About `environment`.
    pub environment: Vec<String>,
}

/// A value by the name of its type.
fn type_of(value: Option<&Json>) -> &'static str {
    match value {
        None => "undefined",
        Some(Json::Null) => "null",
        Some(Json::Bool(_)) => "boolean",
        Some(Json::Number(_)) => "number",
        Some(Json::Text(_)) => "string",
        Some(Json::List(_)) => "array",
        Some(Json::Map(_)) => "object",
    }
}

fn wrong_type(expected: &str, value: Option<&Json>) -> String {
    match value {
        None => "Required".to_owned(),
        found => format!("Expected {expected}, received {}", type_of(found)),
    }
}

/// What is wrong with a body, as it is found.
#[derive(Default)]
struct Messages(Vec<String>);

impl Messages {
    fn add(&mut self, message: String) {
        if self.0.len() < MESSAGES_MAX {
            self.0.push(message);
        }
    }

    fn text<'j>(&mut self, of: &'j Json, name: &str, is_required: bool) -> Option<&'j str> {
        let found = of.get(name);
        match found {
            Some(Json::Text(text)) => return Some(text),
            None if !is_required => {}
            _ => self.add(wrong_type("string", found)),
        }
        None
    }

    fn object<'j>(&mut self, of: &'j Json, name: &str, is_required: bool) -> Option<&'j Json> {
        let found = of.get(name);
        match found {
            Some(Json::Map(_)) => return found,
            None if !is_required => {}
            _ => self.add(wrong_type("object", found)),
        }
        None
    }

    fn one_of<'j>(&mut self, of: &'j Json, name: &str, allowed: &[&str]) -> Option<&'j str> {
        let found = of.get(name)?;
        let quoted: Vec<_> = allowed.iter().map(|it| format!("'{it}'")).collect();
        let expected = quoted.join(" | ");
        match found.as_text() {
            Some(text) if allowed.contains(&text) => return Some(text),
            Some(text) => self.add(format!(
                "Invalid enum value. Expected {expected}, received '{text}'"
            )),
            None => self.add(wrong_type(&expected, Some(found))),
        }
        None
    }
}

/// The events of a body. `now_unix_nano` is the time of those that name none.
///
/// # Errors
/// All that is wrong.
pub fn events(
    body: &Json,
    now_unix_nano: u64,
    identities: &mut Identities,
) -> Result<Vec<Draft>, Refusal> {
    let mut refusal = Refusal::default();
    if !matches!(body, Json::Map(_)) {
        refusal.form.push(wrong_type("object", Some(body)));
        return Err(refusal);
    }
    let mut messages = Messages::default();
    let listed = body.get("events");
    let mut drafts = Vec::new();
    match listed {
        Some(Json::List(events)) if events.len() > EVENTS_MAX => messages.add(format!(
            "Array must contain at most {EVENTS_MAX} element(s)"
        )),
        Some(Json::List(events)) => {
            let made = events
                .iter()
                .filter_map(|event| draft(event, now_unix_nano, identities, &mut messages));
            drafts = made.collect();
        }
        _ => messages.add(wrong_type("array", listed)),
    }
    let mut others = Messages::default();
    let environment = others.text(body, "environment", false);
    refusal.events = messages.0;
    refusal.environment = others.0;
    if refusal != Refusal::default() {
        return Err(refusal);
    }
    for draft in &mut drafts {
        draft.origin.environment = environment.map(str::to_owned);
    }
    Ok(drafts)
}

/// An event, unless something is wrong with it or with one before it.
fn draft(
    event: &Json,
    now_unix_nano: u64,
    identities: &mut Identities,
    messages: &mut Messages,
) -> Option<Draft> {
    if !matches!(event, Json::Map(_)) {
        messages.add(wrong_type("object", Some(event)));
        return None;
    }
    let kind = messages.text(event, "eventType", true);
    let details = messages.object(event, "details", true);
    let correlation = messages.text(event, "correlationId", false);
    let service = messages.text(event, "service", false);
    let timestamp = messages.text(event, "timestamp", false);
    let level = messages.one_of(event, "level", &LEVELS.map(|(name, _)| name));
    let priority = messages.one_of(event, "priority", &PRIORITIES);
    let metadata = messages.object(event, "metadata", false);
    let named = METADATA_TEXTS.map(|(name, key)| {
        let text = metadata.and_then(|metadata| messages.text(metadata, name, false));
        (key, text)
    });
    let (kind, details) = kind.zip(details).filter(|_| messages.0.is_empty())?;
    let sent = timestamp.and_then(scalar::datetime);
    let sent = sent.and_then(|time| u64::try_from(time).ok().filter(|time| *time > 0));
    let identity = match sent {
        Some(_) => identities.of_content(&event.to_string()),
        None => identities.new_one(),
    };
    let found = LEVELS.iter().find(|(name, _)| Some(*name) == level);
    let mut draft = Draft {
        origin: Origin {
            service: service.map(str::to_owned),
            ..Origin::default()
        },
        record: LogRecord {
            time_unix_nano: sent.unwrap_or(now_unix_nano),
            severity_number: found.map_or(0, |(_, level)| level.severity()),
            severity_text: level.unwrap_or_default().to_owned(),
            event_name: kind.to_owned(),
            ..LogRecord::default()
        },
    };
    let unread = timestamp.filter(|_| sent.is_none());
    draft.add_text(names::EVENT_ID, Some(&identity.uuid()));
    draft.add_text(names::TIMESTAMP, unread);
    draft.add_text(names::CORRELATION_ID, correlation);
    draft.add_text(names::PRIORITY, priority);
    for (key, text) in named.into_iter().filter(|(key, _)| !key.is_empty()) {
        draft.add_text(key, text);
    }
    draft.add(names::METADATA, metadata.and_then(value::of_json));
    draft.link(correlation, None);
    tell(&mut draft, details);
    Some(draft)
}

/// What an event consists of. An error says its message and stack where logs have them.
fn tell(draft: &mut Draft, details: &Json) {
    let error = details.get("error");
    let part = |name: &str| error?.get(name)?.as_text();
    draft.add_text("exception.type", part("name"));
    draft.add_text("exception.message", part("message"));
    draft.add_text(names::STACK_TEXT, part("stack"));
    let message = details.get("message").and_then(Json::as_text);
    if let Some(message) = message.or_else(|| part("message")) {
        draft.say(message);
    }
    draft.add(names::DETAILS, value::of_json(details));
}

#[cfg(test)]
mod tests;
