//! Parts of messages.

use serde::Serialize;

use super::media;
use crate::semconv::json::Json;

/// One part of a message: an object whose `type` says what it is.
///
/// | type | keys |
/// |---|---|
/// | `text` | `content`; `unparsed: true` when it is what could not be read |
/// | `reasoning` | `content` |
/// | `tool_call` | `id`, `name`, `arguments` |
/// | `tool_call_response` | `id`, `response` |
/// | `server_tool_call`, `server_tool_call_response` | as the provider has it |
/// | `blob` | `mime_type`, `modality`, `content` (base64), or `omitted_bytes` in its place |
/// | `uri` | `mime_type`, `modality`, `uri` |
/// | `file` | `mime_type`, `modality`, `file_id` |
/// | any other | as it came |
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Part(pub(super) Json);

impl Part {
    /// A part of a type, with the keys that have a value.
    pub(super) fn new(kind: &str, entries: Vec<(&str, Option<Json>)>) -> Self {
        let mut map = vec![("type".to_owned(), Json::from(kind))];
        let present = entries
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        map.extend(present);
        Self(Json::Map(map))
    }

    pub(super) fn text(content: String) -> Self {
        Self::new("text", vec![("content", Some(Json::Text(content)))])
    }

    /// Text that should have been JSON and could not be read.
    pub(super) fn unparsed(content: String) -> Self {
        Self::new(
            "text",
            vec![
                ("content", Some(Json::Text(content))),
                ("unparsed", Some(Json::Bool(true))),
            ],
        )
    }

    pub(super) fn reasoning(content: String) -> Self {
        Self::new("reasoning", vec![("content", Some(Json::Text(content)))])
    }

    pub(super) fn tool_call(id: Option<Json>, name: Option<Json>, arguments: Option<Json>) -> Self {
        let arguments = arguments.map(|value| match value {
            Json::Text(text) => Json::parse_container(&text).unwrap_or(Json::Text(text)),
            other => other,
        });
        let name = name.unwrap_or_else(|| "".into());
        Self::new(
            "tool_call",
            vec![("id", id), ("name", Some(name)), ("arguments", arguments)],
        )
    }

    pub(super) fn tool_call_response(id: Option<Json>, response: Option<Json>) -> Self {
        let response = Some(response.unwrap_or_default());
        Self::new(
            "tool_call_response",
            vec![("id", id), ("response", response)],
        )
    }

    /// The type.
    pub(super) fn kind(&self) -> &str {
        self.0
            .get("type")
            .and_then(Json::as_text)
            .unwrap_or_default()
    }

    /// The content of a part that is text.
    pub(super) fn as_text(&self) -> Option<&str> {
        let content = self.0.get("content").and_then(Json::as_text);
        content.filter(|_| self.kind() == "text")
    }

    /// Whether another part is the same call of a tool.
    pub(super) fn is_same_call(&self, other: &Self) -> bool {
        let id = self.0.get("id");
        self.kind() == "tool_call" && other.kind() == "tool_call" && id.is_some() && {
            id == other.0.get("id")
        }
    }

    /// Reads a part in any of its shapes.
    pub(super) fn read(json: Json) -> Self {
        match json {
            Json::Text(text) => Self::text(text),
            map @ Json::Map(_) => Self::of_map(map),
            other => Self::new("json", vec![("content", Some(other))]),
        }
    }

    fn of_map(mut map: Json) -> Self {
        let kind = map.get("type").and_then(Json::as_text).unwrap_or_default();
        match kind {
            "text" | "input_text" | "output_text" | "summary_text" | "refusal" => {
                Self::text(text_of(&map).unwrap_or_default())
            }
            "reasoning" | "thinking" => Self::reasoning(text_of(&map).unwrap_or_default()),
            "tool_call" | "tool_use" | "function_call" | "tool-call" | "toolCall" | "function"
            | "custom_tool_call" => Self::of_call(map),
            "tool_call_response"
            | "tool_result"
            | "function_call_output"
            | "tool-result"
            | "tool_response"
            | "custom_tool_call_output" => Self::of_response(map),
            "server_tool_use" => {
                rename(&mut map, "server_tool_call");
                Self(map)
            }
            kind if kind.ends_with("_tool_result") => {
                rename(&mut map, "server_tool_call_response");
                Self(map)
            }
            "" => Self::of_untyped(map),
            _ => media::read(&map).unwrap_or(Self(map)),
        }
    }

    /// A call: OpenAI's, Anthropic's, the AI SDK's or LangChain's.
    pub(super) fn of_call(mut map: Json) -> Self {
        let mut inner = map.take("function").unwrap_or_default();
        let mut of = |keys: &[&str]| {
            let mut found = keys.iter().filter_map(|key| map.take(key));
            found.find(|value| !matches!(value, Json::Null))
        };
        let id = of(&["call_id", "id", "toolCallId", "tool_call_id", "toolUseId"]);
        let name = of(&["name", "toolName", "tool_name"]).or_else(|| inner.take("name"));
        let arguments = of(&["arguments", "input", "args"]).or_else(|| inner.take("arguments"));
        Self::tool_call(id, name, arguments)
    }

    fn of_response(mut map: Json) -> Self {
        let mut of = |keys: &[&str]| {
            let mut found = keys.iter().filter_map(|key| map.take(key));
            found.find(|value| !matches!(value, Json::Null))
        };
        let id = of(&[
            "tool_call_id",
            "tool_use_id",
            "call_id",
            "toolCallId",
            "toolUseId",
            "id",
        ]);
        let response = of(&["response", "result", "output", "content"]);
        Self::tool_call_response(id, response)
    }

    /// Parts that are told apart by their keys: Bedrock's and Gemini's.
    fn of_untyped(mut map: Json) -> Self {
        if let Some(call) = map.take("toolUse").or_else(|| map.take("functionCall")) {
            return Self::of_call(call);
        }
        if let Some(call) = map.take("function_call") {
            return Self::of_call(call);
        }
        let response = ["toolResult", "functionResponse", "function_response"];
        if let Some(response) = response.into_iter().find_map(|key| map.take(key)) {
            return Self::of_response(response);
        }
        if let Some(reasoning) = map.take("reasoningContent") {
            let text = reasoning
                .at(&["reasoningText", "text"])
                .and_then(Json::as_text);
            return Self::reasoning(text.unwrap_or_default().to_owned());
        }
        let is_thought = map.get("thought") == Some(&Json::Bool(true));
        match text_of(&map) {
            Some(text) if is_thought => Self::reasoning(text),
            Some(text) => Self::text(text),
            None => {
                media::read(&map).unwrap_or_else(|| Self::new("json", vec![("content", Some(map))]))
            }
        }
    }
}

/// Whether an object is a part, not a message.
pub(super) fn is_part(json: &Json) -> bool {
    const KEYS: [&str; 13] = [
        "text",
        "toolUse",
        "toolResult",
        "functionCall",
        "functionResponse",
        "function_call",
        "function_response",
        "inlineData",
        "inline_data",
        "fileData",
        "file_data",
        "reasoningContent",
        "image",
    ];
    let Json::Map(_) = json else { return false };
    let has = |key: &str| json.get(key).is_some();
    if ["role", "message", "messages", "event.name", "parts", "lc"]
        .into_iter()
        .any(has)
    {
        return false;
    }
    let is_message = matches!(
        json.get("type").and_then(Json::as_text),
        Some("message" | "human" | "ai" | "system" | "constructor")
    );
    has("type") && !is_message || KEYS.into_iter().any(has)
}

/// The text of an object that has one.
pub(super) fn text_of(map: &Json) -> Option<String> {
    let keys = [
        "content",
        "text",
        "thinking",
        "reasoning",
        "refusal",
        "value",
    ];
    let found = map.first(&keys).or_else(|| map.get("summary"))?;
    match found {
        Json::Text(text) => Some(text.clone()),
        // `{"text": {"value": …}}`, or a list of texts.
        inner @ Json::Map(_) => text_of(inner),
        Json::List(items) => {
            let texts: Vec<_> = items
                .iter()
                .filter_map(|item| item.as_text().map(str::to_owned).or_else(|| text_of(item)))
                .collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}

fn rename(map: &mut Json, kind: &str) {
    if let Json::Map(entries) = map
        && let Some((_, value)) = entries.iter_mut().find(|(key, _)| key == "type")
    {
        *value = kind.into();
    }
}
