//! Which fields the bodies of the older routes have, and checking bodies against that. Everything
//! that is wrong is said, field by field in the order of the fields, item by item.

use super::issue::{self, Place};
use super::json::Json;
use super::scalar;

/// Items of one body at most.
pub const ITEMS_MAX: usize = 100;
/// Of a body with more items than this only their number is judged: bounds the answer.
const ITEMS_JUDGED_MAX: usize = 1000;

/// Providers of traces.
pub const PROVIDERS: &[&str] = &["openai", "anthropic", "openrouter"];
/// Outcomes.
pub const STATUSES: &[&str] = &["success", "error"];
/// Where spans come from.
pub const SOURCES: &[&str] = &["claude_code", "codex", "opencode", "openclaw", "sdk"];
/// What spans are.
pub const KINDS: &[&str] = &[
    "llm_call",
    "tool_use",
    "agent_run",
    "session",
    "user_prompt",
    "llm_response",
    "notification",
];

/// What a field must be.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Text,
    /// At least one character.
    Named,
    Uuid,
    Datetime,
    OneOf(&'static [&'static str]),
    /// Zero or more.
    Number,
    /// Whole, zero or more.
    Integer,
    Boolean,
    Object,
    Any,
}

/// A field.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static str,
    rule: Rule,
    required: bool,
}

const fn required(name: &'static str, rule: Rule) -> Field {
    Field {
        name,
        rule,
        required: true,
    }
}

const fn optional(name: &'static str, rule: Rule) -> Field {
    Field {
        name,
        rule,
        required: false,
    }
}

/// The fields of the items of a body.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    fields: &'static [Field],
    /// Whether null is as good as absent in optional fields.
    null_is_absent: bool,
}

/// Traces of the first generation. Its Python SDK sends null for what it has not got.
pub const TRACE: Schema = Schema {
    null_is_absent: true,
    fields: &[
        required("trace_id", Rule::Uuid),
        required("timestamp", Rule::Datetime),
        required("provider", Rule::OneOf(PROVIDERS)),
        required("model_requested", Rule::Named),
        optional("model_used", Rule::Text),
        optional("provider_request_id", Rule::Text),
        required("request_body", Rule::Object),
        optional("response_body", Rule::Object),
        optional("input_tokens", Rule::Integer),
        optional("output_tokens", Rule::Integer),
        optional("output_text", Rule::Text),
        optional("finish_reason", Rule::Text),
        required("status", Rule::OneOf(STATUSES)),
        optional("error", Rule::Object),
        required("latency_ms", Rule::Number),
        optional("cost_cents", Rule::Number),
        optional("session_id", Rule::Uuid),
        optional("metadata", Rule::Object),
    ],
};

/// Spans: those of the second generation, which takes all that the first took.
pub const SPAN: Schema = Schema {
    null_is_absent: false,
    fields: &[
        required("span_id", Rule::Named),
        optional("trace_id", Rule::Named),
        required("session_id", Rule::Named),
        optional("parent_span_id", Rule::Named),
        required("timestamp", Rule::Datetime),
        optional("duration_ms", Rule::Number),
        required("source", Rule::OneOf(SOURCES)),
        optional("service", Rule::Text),
        required("kind", Rule::OneOf(KINDS)),
        required("event_type", Rule::Named),
        required("status", Rule::OneOf(STATUSES)),
        optional("tool_use_id", Rule::Text),
        optional("tool_name", Rule::Text),
        optional("tool_input", Rule::Any),
        optional("tool_response", Rule::Any),
        optional("error", Rule::Any),
        optional("is_interrupt", Rule::Boolean),
        optional("cwd", Rule::Text),
        optional("model", Rule::Text),
        optional("agent_name", Rule::Text),
        optional("provider", Rule::Text),
        optional("model_used", Rule::Text),
        optional("input_tokens", Rule::Integer),
        optional("output_tokens", Rule::Integer),
        optional("cost_cents", Rule::Number),
        optional("finish_reason", Rule::Text),
        optional("output_text", Rule::Text),
        optional("provider_request_id", Rule::Text),
        optional("metadata", Rule::Object),
    ],
};

/// An item that fits its schema: the fields that are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Item(Vec<(&'static str, Json)>);

impl Item {
    /// The value of a field, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// The text of a field; empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Json::as_text).unwrap_or_default()
    }
}

impl Schema {
    /// Checks a body, and answers its items.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self, body: Json) -> Result<Vec<Item>, Vec<Json>> {
        let Json::List(values) = body else {
            let place = Place::default();
            return Err(vec![issue::wrong_type("array", Some(&body), place)]);
        };
        let is_too_long = values.len() > ITEMS_MAX;
        let mut issues = Vec::new();
        let mut items = Vec::new();
        let judged = if values.len() > ITEMS_JUDGED_MAX {
            Vec::new()
        } else {
            values
        };
        for (index, value) in judged.into_iter().enumerate() {
            items.push(self.item(index, value, &mut issues));
        }
        if is_too_long {
            issues.push(issue::too_many(100.0));
        }
        if issues.is_empty() {
            Ok(items)
        } else {
            Err(issues)
        }
    }

    fn item(&self, index: usize, value: Json, issues: &mut Vec<Json>) -> Item {
        let place = Place {
            index: Some(index),
            name: None,
        };
        let Json::Map(entries) = value else {
            issues.push(issue::wrong_type("object", Some(&value), place));
            return Item(Vec::new());
        };
        let mut found: Vec<Option<Json>> = vec![None; self.fields.len()];
        for (key, value) in entries {
            let known = self.fields.iter().position(|field| field.name == key);
            if let Some(place) = known.and_then(|known| found.get_mut(known)) {
                *place = Some(value);
            }
        }
        let mut kept = Vec::new();
        for (field, value) in self.fields.iter().zip(found) {
            let is_absent = match &value {
                None => true,
                Some(Json::Null) => self.null_is_absent,
                Some(_) => false,
            };
            if is_absent && !field.required {
                continue;
            }
            let place = Place {
                name: Some(field.name),
                ..place
            };
            issues.extend(field.rule.judge(value.as_ref(), place));
            if let Some(value) = value {
                kept.push((field.name, value));
            }
        }
        Item(kept)
    }
}

impl Rule {
    /// What is wrong with a value.
    fn judge(self, value: Option<&Json>, place: Place<'_>) -> Vec<Json> {
        let expected = match (self, value) {
            (Self::Any, _)
            | (Self::Text, Some(Json::Text(_)))
            | (Self::Boolean, Some(Json::Bool(_)))
            | (Self::Object, Some(Json::Map(_))) => return Vec::new(),
            (Self::Named, Some(Json::Text(text))) => {
                let empty = text.is_empty().then(|| issue::empty_text(place));
                return empty.into_iter().collect();
            }
            (Self::Uuid, Some(Json::Text(text))) => {
                let wrong = !scalar::is_uuid(text);
                return wrong
                    .then(|| issue::not_a_uuid(place))
                    .into_iter()
                    .collect();
            }
            (Self::Datetime, Some(Json::Text(text))) => {
                let wrong = scalar::datetime(text).is_none();
                let issue = wrong.then(|| issue::not_a_datetime(place));
                return issue.into_iter().collect();
            }
            (Self::OneOf(allowed), value) => {
                let text = value.and_then(Json::as_text);
                let known = text.is_some_and(|text| allowed.contains(&text));
                let issue = (!known).then(|| issue::not_one_of(allowed, place));
                return issue.into_iter().collect();
            }
            (Self::Number, Some(Json::Number(number))) => {
                let wrong = *number < 0.0;
                let issue = wrong.then(|| issue::too_small(0.0, place));
                return issue.into_iter().collect();
            }
            (Self::Integer, Some(Json::Number(number))) => {
                return issue::integer(*number, 0.0, place);
            }
            (Self::Text | Self::Named | Self::Uuid | Self::Datetime, _) => "string",
            (Self::Number | Self::Integer, _) => "number",
            (Self::Boolean, _) => "boolean",
            (Self::Object, _) => "record",
        };
        vec![issue::wrong_type(expected, value, place)]
    }
}

#[cfg(test)]
mod tests;
