//! The attributes of a span and its resource, as the older servers read them. Pure.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::names;

/// Largest payload that is answered whole, in bytes of its JSON text.
const PAYLOAD_MAX: usize = 65_536;
/// How the TypeScript SDK prefixes the keys of metadata.
const METADATA_PREFIX: &str = "pulse.metadata.";
/// What the SDKs themselves put into metadata.
const BOOKKEEPING: [&str; 2] = ["toolCalls", "requestContext"];
/// Attributes that become fields of a span, and so are not part of its metadata.
const FIELDS: [&str; 36] = [
    names::TRACE_ID,
    names::SPAN_ID,
    names::PARENT_SPAN_ID,
    names::SESSION_ID,
    names::SESSION_NAME,
    names::SOURCE,
    names::KIND,
    names::EVENT_TYPE,
    names::MODEL,
    names::PROVIDER,
    names::COST_CENTS,
    names::OUTPUT_TEXT,
    names::ERROR,
    names::METADATA,
    names::TOOL_ID,
    names::TOOL_NAME,
    names::TOOL_INPUT,
    names::TOOL_RESPONSE,
    names::IS_INTERRUPT,
    names::CWD,
    names::AGENT_NAME,
    names::GENAI_PROVIDER,
    names::GENAI_REQUEST_MODEL,
    names::GENAI_RESPONSE_MODEL,
    names::GENAI_RESPONSE_ID,
    names::GENAI_FINISH_REASONS,
    names::GENAI_INPUT_TOKENS,
    names::GENAI_OUTPUT_TOKENS,
    "gen_ai.system",
    "gen_ai.conversation.id",
    "gen_ai.response.finish_reason",
    "gen_ai.tool.name",
    "gen_ai.tool.call.id",
    "gen_ai.tool.input",
    "gen_ai.tool.output",
    names::RECORD,
];

/// The attributes of a span, its own before its resource's.
pub(super) struct Values<'a> {
    of_span: &'a [KeyValue],
    of_resource: &'a [KeyValue],
}

impl<'a> Values<'a> {
    pub(super) fn new(of_span: &'a [KeyValue], of_resource: &'a [KeyValue]) -> Self {
        Self {
            of_span,
            of_resource,
        }
    }

    /// All attributes; of equal keys the last counts.
    fn all(&self) -> impl DoubleEndedIterator<Item = &'a KeyValue> {
        self.of_resource.iter().chain(self.of_span)
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        let found = self.all().rev().find(|it| it.key == key)?;
        found.value.as_ref()?.value.as_ref()
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Value::StringValue(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A text, empty or not.
    pub(super) fn text_as_is(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The first of some texts that is there.
    pub(super) fn first_of(&self, keys: &[&str]) -> Option<String> {
        let found = keys.iter().find_map(|key| self.text(key));
        found.map(str::to_owned)
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::BoolValue(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A number, or the number in a text.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::StringValue(text) => text.trim().parse().ok().filter(|it: &f64| it.is_finite()),
            value => json(value)?.as_number(),
        }
    }

    /// A text, or the first text of a list or of JSON that is a list.
    pub(super) fn first_text(&self, key: &str) -> Option<String> {
        let found = match self.value(key)? {
            Value::StringValue(text) if text.trim_start().starts_with('[') => {
                Json::parse(text.as_bytes()).ok()?
            }
            value => json(value)?,
        };
        let first = found.as_list().and_then(<[Json]>::first);
        first.unwrap_or(&found).as_text().map(str::to_owned)
    }

    /// The JSON in a text that we wrote.
    pub(super) fn kept_json(&self, key: &str) -> Option<Json> {
        let text = self.text(key)?;
        // Redaction and limits may leave a text that is no JSON any more.
        Some(Json::parse(text.as_bytes()).unwrap_or_else(|_| Json::text(text)))
    }

    /// The first of some values that is there; texts that are JSON are read.
    pub(super) fn payload(&self, keys: &[&str]) -> Json {
        let found = keys.iter().find_map(|key| match self.value(key)? {
            Value::StringValue(text) if text.is_empty() => None,
            value => read(value),
        });
        found.map_or(Json::Null, capped)
    }

    /// The object `pulse.metadata`, in whatever form.
    fn metadata_object(&self) -> Vec<(String, Json)> {
        match self.value(names::METADATA).and_then(json) {
            Some(Json::Map(entries)) => entries,
            _ => Vec::new(),
        }
    }

    /// A member of the metadata, wherever SDKs put it.
    pub(super) fn of_metadata(&self, key: &str) -> Option<Json> {
        let prefixed = format!("{METADATA_PREFIX}{key}");
        let found = [key, &prefixed]
            .into_iter()
            .find_map(|key| self.value(key).and_then(read));
        let within = || {
            let entries = self.metadata_object().into_iter();
            let mut found = entries.filter(|(name, _)| name == key);
            found.next().map(|(_, value)| value)
        };
        found.or_else(within).map(capped)
    }

    /// What the attributes say beyond the fields of a span.
    pub(super) fn metadata(&self) -> Json {
        let mut entries = self.metadata_object();
        if entries.is_empty()
            && let Some(text) = self.text(names::METADATA)
        {
            let value = Json::parse(text.as_bytes()).unwrap_or_else(|_| Json::text(text));
            put(&mut entries, names::METADATA, value);
        }
        if let Some(name) = self.text(names::SESSION_NAME) {
            put(&mut entries, "session_name", Json::text(name));
        }
        for attribute in self.all() {
            let key = attribute.key.as_str();
            let is_ours = key.starts_with("pulse.") || key.starts_with("gen_ai.");
            if is_ours
                && !FIELDS.contains(&key)
                && let Some(value) = of(attribute)
            {
                put(&mut entries, key, value);
            }
        }
        object(entries)
    }

    /// The application's own metadata. With `bare`, attributes of no convention belong to it.
    pub(super) fn user_metadata(&self, bare: bool) -> Json {
        let mut entries = self.metadata_object();
        if let Some(Ok(Json::Map(read))) = self
            .text(names::METADATA)
            .map(|text| Json::parse(text.as_bytes()))
        {
            entries.extend(read);
        }
        for attribute in self.of_span {
            let key = attribute.key.as_str();
            let known = ["pulse.", "gen_ai.", "exception.", "service."];
            let own = match key.strip_prefix(METADATA_PREFIX) {
                Some(own) => own,
                None if bare && !known.iter().any(|prefix| key.starts_with(prefix)) => key,
                None => continue,
            };
            if let Some(value) = of(attribute) {
                put(&mut entries, own, value);
            }
        }
        entries
            .retain(|(key, _)| !key.starts_with("pulse.") && !BOOKKEEPING.contains(&key.as_str()));
        object(entries)
    }
}

fn of(attribute: &KeyValue) -> Option<Json> {
    let value = attribute.value.as_ref()?.value.as_ref()?;
    read(value).map(capped)
}

fn object(entries: Vec<(String, Json)>) -> Json {
    if entries.is_empty() {
        Json::Null
    } else {
        Json::Map(entries)
    }
}

fn put(entries: &mut Vec<(String, Json)>, key: &str, value: Json) {
    match entries.iter_mut().find(|(known, _)| known == key) {
        Some((_, known)) => *known = value,
        None => entries.push((key.to_owned(), value)),
    }
}

/// A value; a text that is JSON is read.
fn read(value: &Value) -> Option<Json> {
    match value {
        Value::StringValue(text) => {
            let read = Json::parse(text.as_bytes());
            Some(read.unwrap_or_else(|_| Json::text(text.as_str())))
        }
        other => json(other),
    }
}

/// A value as it is. Bytes have no form here.
fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::StringValue(text) => Json::text(text.as_str()),
        Value::BoolValue(flag) => Json::Bool(*flag),
        Value::IntValue(number) => Json::Number(super::record::count(*number)),
        Value::DoubleValue(number) => Json::Number(*number),
        Value::ArrayValue(list) => {
            let values = list.values.iter();
            let values = values.map(|it| it.value.as_ref().and_then(json).unwrap_or(Json::Null));
            Json::List(values.collect())
        }
        Value::KvlistValue(list) => {
            let mut entries = Vec::new();
            for pair in &list.values {
                let value = pair.value.as_ref().and_then(|it| it.value.as_ref());
                if let Some(value) = value.and_then(json) {
                    put(&mut entries, &pair.key, value);
                }
            }
            Json::Map(entries)
        }
        Value::BytesValue(_) | Value::StringValueStrindex(_) => return None,
    })
}

/// A payload, or what tells of one that is too large.
fn capped(value: Json) -> Json {
    let text = value.to_string();
    if text.len() <= PAYLOAD_MAX {
        return value;
    }
    let preview: String = text.chars().take(PAYLOAD_MAX).collect();
    Json::map([
        ("truncated", Json::Bool(true)),
        ("originalBytes", Json::count(text.len())),
        ("preview", Json::text(preview)),
    ])
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        attribute(key, Value::StringValue(value.to_owned()))
    }

    #[test]
    fn a_span_says_more_than_its_resource_and_the_last_of_equal_keys_counts() {
        let of_span = [text("a", "1"), text("a", "2"), text("empty", "")];
        let of_resource = [text("a", "0"), text("b", "3"), text("empty", "x")];
        let values = Values::new(&of_span, &of_resource);
        assert_eq!((values.text("a"), values.text("b")), (Some("2"), Some("3")));
        assert_eq!(values.first_of(&["empty", "b"]).as_deref(), Some("3"));
        assert_eq!(values.text_as_is("empty").as_deref(), Some(""));
        assert_eq!(values.number("a"), Some(2.0));
        assert_eq!(Values::new(&[text("n", "NaN")], &[]).number("n"), None);
    }

    #[test]
    fn the_first_reason_is_found_in_every_form() {
        let list = ArrayValue {
            values: vec![AnyValue {
                value: Some(Value::StringValue("stop".to_owned())),
            }],
        };
        let forms = [
            text("r", "stop"),
            text("r", "[\"stop\",\"length\"]"),
            attribute("r", Value::ArrayValue(list)),
        ];
        for form in forms {
            let form = [form];
            let values = Values::new(&form, &[]);
            assert_eq!(values.first_text("r").as_deref(), Some("stop"));
        }
    }

    #[test]
    fn metadata_is_what_is_no_field_and_the_applications_is_less() {
        let inner = KeyValueList {
            values: vec![text("session", "s"), text("pulse.kept", "no")],
        };
        let attributes = [
            attribute(names::METADATA, Value::KvlistValue(inner)),
            text("pulse.metadata.turn", "1"),
            text("pulse.metadata.pulse.request", "{}"),
            text("pulse.metadata.toolCalls", "3"),
            text("pulse.correlation.status", "matched"),
            text("bare", "[2]"),
            text(names::KIND, "llm_call"),
        ];
        let values = Values::new(&attributes, &[]);
        assert_eq!(
            values.metadata().to_string(),
            r#"{"session":"s","pulse.kept":"no","pulse.metadata.turn":1,"pulse.metadata.pulse.request":{},"pulse.metadata.toolCalls":3,"pulse.correlation.status":"matched"}"#
        );
        assert_eq!(
            values.user_metadata(false).to_string(),
            r#"{"session":"s","turn":1}"#
        );
        assert_eq!(
            values.user_metadata(true).to_string(),
            r#"{"session":"s","turn":1,"bare":[2]}"#
        );
        assert_eq!(
            values.of_metadata(names::REQUEST),
            Some(Json::Map(Vec::new()))
        );
        assert_eq!(Values::new(&[], &[]).metadata(), Json::Null);
    }

    #[test]
    fn payloads_that_are_too_large_are_told_of() {
        let long = "é".repeat(PAYLOAD_MAX);
        let attributes = [text("p", &long)];
        let payload = Values::new(&attributes, &[]).payload(&["p"]);
        let shown = "é".repeat(PAYLOAD_MAX - 1);
        assert_eq!(
            payload,
            Json::map([
                ("truncated", Json::Bool(true)),
                ("originalBytes", Json::count(2 * PAYLOAD_MAX + 2)),
                ("preview", Json::Text(format!("\"{shown}"))),
            ])
        );
    }
}
