//! Events of PulseKit: checked as its server checked them, but that a stack may be a list or a text
//! too, which is what its SDKs send.

use md5::{Digest as _, Md5};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value};

use super::identity::Identities;
use super::record::{Draft, Level, Origin};
use super::{names, value};
use crate::receivers::pulse::scalar;

const BLANK: &str = "can't be blank";
const INVALID: &str = "is invalid";

/// The level of an event whose sender names none.
const LEVEL_DEFAULT: &str = "info";
/// What the Elixir SDK sends for a level that is missing.
const LEVEL_NIL: &str = "nil";

/// A field, and what is wrong with it.
pub type Wrong = (&'static str, &'static str);

/// An event that was taken, as its sender is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its level.
    pub level: &'static str,
    /// When it happened, ns since the Unix epoch.
    pub unix_nano: u64,
}

/// What a level is called, and how bad it is.
const LEVELS: [(&str, Level); 5] = [
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warning", Level::Warning),
    ("error", Level::Error),
    ("fatal", Level::Fatal),
];

/// Fields of an event, with what is wrong with them. Null is as good as absent, and so is an empty
/// text.
struct Fields<'v> {
    entries: Option<&'v Map<String, Value>>,
    wrong: Vec<Wrong>,
}

impl<'v> Fields<'v> {
    fn get(&self, name: &str) -> Option<&'v Value> {
        let found = self.entries?.get(name)?;
        (!found.is_null() && found.as_str() != Some("")).then_some(found)
    }

    fn text(&mut self, name: &'static str) -> Option<&'v str> {
        let found = self.get(name)?;
        let text = found.as_str();
        if text.is_none() {
            self.wrong.push((name, INVALID));
        }
        text
    }

    fn object(&mut self, name: &'static str) -> Option<&'v Value> {
        let found = self.get(name)?;
        if found.is_object() {
            return Some(found);
        }
        self.wrong.push((name, INVALID));
        None
    }

    fn kind(&mut self) -> &'v str {
        let is_absent = self.get("type").is_none();
        let kind = self.text("type").unwrap_or_default();
        if is_absent || !kind.is_empty() && kind.trim().is_empty() {
            self.wrong.push(("type", BLANK));
        }
        kind
    }

    fn level(&mut self) -> (&'static str, Level) {
        let named = self.text("level").unwrap_or(LEVEL_DEFAULT);
        let named = if named == LEVEL_NIL {
            LEVEL_DEFAULT
        } else {
            named
        };
        let known = LEVELS.into_iter().find(|(name, _)| *name == named);
        known.unwrap_or_else(|| {
            self.wrong.push(("level", INVALID));
            (LEVEL_DEFAULT, Level::Info)
        })
    }

    fn stack(&mut self) -> Option<&'v Value> {
        let found = self.get("stacktrace")?;
        if found.is_string() || found.is_array() || found.is_object() {
            return Some(found);
        }
        self.wrong.push(("stacktrace", INVALID));
        None
    }
}

/// What makes events without a fingerprint of their own one issue.
#[must_use]
pub fn fingerprint(kind: &str, message: &str) -> String {
    let digest = Md5::digest(format!("{kind}:{message}"));
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// The event of a JSON value. `now_unix_nano` is its time where it names none.
///
/// # Errors
/// All that is wrong, by field.
pub fn event(
    json: &Value,
    now_unix_nano: u64,
    identities: &mut Identities,
) -> Result<(Taken, Draft), Vec<Wrong>> {
    let mut fields = Fields {
        entries: json.as_object(),
        wrong: Vec::new(),
    };
    let kind = fields.kind();
    let (level, severity) = fields.level();
    let message = fields.text("message");
    let metadata = fields.object("metadata");
    let stack = fields.stack();
    let origin = Origin {
        service: None,
        release: fields.text("release").map(str::to_owned),
        environment: fields.text("environment").map(str::to_owned),
    };
    let tags = fields.object("tags");
    let own = fields.text("fingerprint").map(str::to_owned);
    if !fields.wrong.is_empty() {
        return Err(fields.wrong);
    }
    let sent = fields
        .get("timestamp")
        .and_then(Value::as_str)
        .and_then(time);
    let identity = match sent {
        Some(_) => identities.of_content(&json.to_string()),
        None => identities.new_one(),
    };
    let taken = Taken {
        id: identity.uuid(),
        kind: kind.to_owned(),
        level,
        unix_nano: sent.unwrap_or(now_unix_nano),
    };
    let mut draft = Draft {
        origin,
        record: LogRecord {
            time_unix_nano: taken.unix_nano,
            severity_number: severity.severity(),
            severity_text: level.to_owned(),
            event_name: kind.to_owned(),
            ..LogRecord::default()
        },
    };
    if let Some(message) = message {
        draft.say(message);
    }
    let fingerprint = own.unwrap_or_else(|| fingerprint(kind, message.unwrap_or_default()));
    draft.add_text(names::EVENT_ID, Some(&taken.id));
    draft.add_text(names::FINGERPRINT, Some(&fingerprint));
    add_details(&mut draft, metadata, stack, tags);
    Ok((taken, draft))
}

fn add_details(
    draft: &mut Draft,
    metadata: Option<&Value>,
    stack: Option<&Value>,
    tags: Option<&Value>,
) {
    match stack {
        Some(Value::String(text)) => draft.add_text(names::STACK_TEXT, Some(text)),
        Some(frames) => draft.add(names::STACK, value::of_value(frames)),
        None => {}
    }
    for (name, tag) in tags.and_then(Value::as_object).into_iter().flatten() {
        let tag = value::of_value(tag).unwrap_or(Any::StringValue(String::new()));
        draft.add(format!("{}{name}", names::TAG), Some(tag));
    }
    let Some(metadata) = metadata else { return };
    let named = |keys: [&str; 2]| {
        let mut keys = keys.into_iter();
        keys.find_map(|key| metadata.get(key)?.as_str())
    };
    draft.link(named(["trace_id", "traceId"]), named(["span_id", "spanId"]));
    draft.add_text(names::SESSION_ID, named(["session_id", "sessionId"]));
    draft.add_text(names::USER_ID, named(["user_id", "userId"]));
    draft.add(names::METADATA, value::of_value(metadata));
}

/// A time, if OTLP has it.
fn time(text: &str) -> Option<u64> {
    let time = u64::try_from(scalar::datetime(text)?).ok()?;
    (time > 0).then_some(time)
}

#[cfg(test)]
mod tests;
