//! Lists of messages in any of the shapes they come in.

use super::Message;
use super::part::{Part, is_part};
use super::source;
use crate::semconv::json::Json;
use crate::semconv::names::finish;

/// Containers of containers that are looked into.
const DEPTH_MAX: u8 = 12;

/// Keys that hold messages, of requests, answers and states of frameworks.
const CONTAINERS: [&str; 10] = [
    "messages",
    "generations",
    "choices",
    "candidates",
    "contents",
    "replies",
    "message",
    "output",
    "input",
    "prompt",
];

/// Reads messages; the role is that of messages that do not say it.
pub(super) fn messages(value: Json, role: &str) -> Vec<Message> {
    let mut reader = Reader {
        role,
        messages: Vec::new(),
        is_loose: false,
    };
    reader.read(value, DEPTH_MAX);
    reader.messages
}

/// Whether a value is a list of messages, or holds one, so that it can be shown as one.
pub(super) fn is_messages(value: &Json) -> bool {
    let is_message = |json: &Json| {
        let has = |key| json.get(key).is_some();
        has("role") && (has("content") || has("parts")) || has("lc") && has("kwargs")
    };
    match value {
        Json::List(items) => {
            !items.is_empty()
                && items.iter().all(|item| match item {
                    Json::List(_) => is_messages(item),
                    other => is_message(other),
                })
        }
        Json::Map(_) => is_message(value) || value.get("messages").is_some_and(is_messages),
        _ => false,
    }
}

struct Reader<'r> {
    role: &'r str,
    messages: Vec<Message>,
    /// Whether the last message is made of parts that came without one, so that the next such part
    /// belongs to it.
    is_loose: bool,
}

impl Reader<'_> {
    fn read(&mut self, value: Json, depth: u8) {
        let Some(deeper) = depth.checked_sub(1) else {
            let part = Part::new("json", vec![("content", Some(value))]);
            return self.push(self.role.to_owned(), vec![part]);
        };
        match value {
            Json::Null => {}
            Json::Text(text) => match source::decoded(&text) {
                Json::Text(plain) if source::is_broken(&plain) => {
                    self.push(self.role.to_owned(), vec![Part::unparsed(plain)]);
                }
                Json::Text(plain) => self.push(self.role.to_owned(), vec![Part::text(plain)]),
                container => self.read(container, deeper),
            },
            Json::List(items) => {
                for item in items {
                    match item {
                        Json::Text(text) if !text.trim_start().starts_with(['{', '[']) => {
                            self.loose(Json::Text(text));
                        }
                        other => self.read(other, deeper),
                    }
                }
            }
            map @ Json::Map(_) => self.map(map, deeper),
            other => {
                let part = Part::new("json", vec![("content", Some(other))]);
                self.push(self.role.to_owned(), vec![part]);
            }
        }
    }

    fn push(&mut self, role: String, parts: Vec<Part>) {
        self.is_loose = false;
        self.messages.push(Message {
            role,
            parts,
            ..Message::default()
        });
    }

    /// A part without a message around it.
    fn loose(&mut self, json: Json) {
        let kind = json.get("type").and_then(Json::as_text).unwrap_or_default();
        let role = match kind {
            "function_call_output" | "custom_tool_call_output" => "tool",
            "function_call" | "custom_tool_call" | "reasoning" => "assistant",
            kind if kind.ends_with("_call") => "assistant",
            _ => self.role,
        };
        let role = role.to_owned();
        let part = Part::read(json);
        match self.messages.last_mut() {
            Some(last) if self.is_loose && last.role == role => last.parts.push(part),
            _ => self.push(role, vec![part]),
        }
        self.is_loose = true;
    }

    fn map(&mut self, mut map: Json, depth: u8) {
        let has = |key: &str| map.get(key).is_some();
        if has("lc") && has("kwargs") {
            return self.langchain(map);
        }
        if has("role") || has("parts") || has("event.name") || has("tool_calls") {
            return self.message(map);
        }
        if has("content") && !is_part(&map) && !has("choices") {
            // A candidate of Gemini has its message there.
            return match map.take("content") {
                Some(inner @ Json::Map(_)) if inner.get("parts").is_some() => {
                    self.finished(inner, &map, depth);
                }
                Some(content) => {
                    put(&mut map, "content", content);
                    self.message(map);
                }
                None => {}
            };
        }
        if is_part(&map) {
            return self.loose(map);
        }
        let container = CONTAINERS.iter().find_map(|key| map.take(key));
        match container {
            Some(inner) => self.finished(inner, &map, depth),
            None => {
                let part = Part::new("json", vec![("content", Some(map))]);
                self.push(self.role.to_owned(), vec![part]);
            }
        }
    }

    /// Reads what is in a container that may say why the model stopped.
    fn finished(&mut self, inner: Json, container: &Json, depth: u8) {
        let before = self.messages.len();
        self.read(inner, depth);
        let reason = reason_of(container);
        if let (Some(reason), Some(added)) = (reason, self.messages.get_mut(before..)) {
            for message in added {
                message.finish_reason.get_or_insert_with(|| reason.clone());
            }
        }
    }

    fn message(&mut self, mut map: Json) {
        if let Some(inner @ Json::Map(_)) = map.take("message") {
            return self.finished(inner, &map, DEPTH_MAX / 2);
        }
        let event = map.get("event.name").and_then(Json::as_text);
        let role = map.get("role").and_then(Json::as_text);
        let role = match (role, event) {
            (Some(role), _) => role_name(role).to_owned(),
            (None, Some(event)) => role_of_event(event).unwrap_or(self.role).to_owned(),
            (None, None) => self.role.to_owned(),
        };
        let message = Message {
            finish_reason: reason_of(&map),
            name: map.get("name").and_then(Json::as_text).map(str::to_owned),
            parts: parts(map, &role),
            role,
        };
        self.is_loose = false;
        self.messages.push(message);
    }

    /// A message as LangChain dumps its objects.
    fn langchain(&mut self, mut map: Json) {
        let class = match map.get("id") {
            Some(Json::List(path)) => path.last().and_then(Json::as_text).unwrap_or_default(),
            _ => "",
        };
        let role = match class {
            name if name.starts_with("Human") => "user",
            name if name.starts_with("AI") => "assistant",
            name if name.starts_with("System") => "system",
            name if name.starts_with("Tool") || name.starts_with("Function") => "tool",
            _ => self.role,
        };
        let mut kwargs = map.take("kwargs").unwrap_or_default();
        put(&mut kwargs, "role", role.into());
        self.message(kwargs);
    }
}

fn put(map: &mut Json, key: &str, value: Json) {
    if let Json::Map(entries) = map {
        entries.retain(|(name, _)| name != key);
        entries.insert(0, (key.to_owned(), value));
    }
}

/// The parts of a message: those it names, its content, its reasoning and its calls.
fn parts(mut map: Json, role: &str) -> Vec<Part> {
    let mut found = Vec::new();
    for key in ["reasoning_content", "reasoning", "thinking"] {
        if let Some(Json::Text(text)) = map.get(key)
            && !text.is_empty()
        {
            found.push(Part::reasoning(text.clone()));
            break;
        }
    }
    if let Some(Json::List(items)) = map.take("parts") {
        found.extend(items.into_iter().map(Part::read));
    }
    let content = map.take("content").or_else(|| map.take("text"));
    let call_id = map.take("tool_call_id").or_else(|| match role {
        "tool" => map.take("id"),
        _ => None,
    });
    if role == "tool"
        && call_id.is_some()
        && content.is_none()
        && let Some(response) = texts(&found)
    {
        return vec![Part::tool_call_response(call_id, Some(response))];
    }
    if role == "tool" && found.is_empty() {
        let response = content.map(|content| match content {
            Json::Text(text) => source::decoded(&text),
            other => other,
        });
        // Blocks that are answers of tools themselves, as Bedrock has them.
        match response {
            Some(Json::List(items)) if items.iter().any(is_response) => {
                found.extend(items.into_iter().map(Part::read));
            }
            other => found.push(Part::tool_call_response(call_id, other)),
        }
        return found;
    }
    match content {
        Some(Json::List(items)) => found.extend(items.into_iter().map(Part::read)),
        Some(Json::Text(text)) => found.extend(of_text(text)),
        Some(Json::Null) | None => {}
        Some(other) => found.push(Part::read(other)),
    }
    let calls = map.take("tool_calls").filter(|calls| !calls.is_empty());
    let calls = calls.or_else(|| map.take("additional_kwargs")?.take("tool_calls"));
    let calls = match calls {
        Some(Json::Text(text)) => source::decoded(&text),
        other => other.unwrap_or_default(),
    };
    let single = map.take("function_call");
    let calls = match calls {
        Json::List(items) => items,
        _ => Vec::new(),
    };
    for call in calls.into_iter().chain(single) {
        let call = Part::of_call(call);
        if !found.iter().any(|known| known.is_same_call(&call)) {
            found.push(call);
        }
    }
    found
}

/// What a tool answered, where its answer came as parts that are all text.
fn texts(parts: &[Part]) -> Option<Json> {
    let mut texts: Vec<_> = parts.iter().map(Part::as_text).collect::<Option<_>>()?;
    match texts.as_slice() {
        [] => None,
        [_] => texts.pop().map(source::decoded),
        _ => Some(Json::List(texts.into_iter().map(Json::from).collect())),
    }
}

fn is_response(item: &Json) -> bool {
    let kind = item.get("type").and_then(Json::as_text);
    item.get("toolResult").is_some()
        || matches!(
            kind,
            Some("tool_result" | "tool_call_response" | "tool-result")
        )
}

/// Content that is text, or a list of parts as JSON text.
fn of_text(text: String) -> Vec<Part> {
    if text.trim_start().starts_with("[{")
        && let Some(Json::List(items)) = Json::parse(&text)
        && items.iter().all(is_part)
    {
        return items.into_iter().map(Part::read).collect();
    }
    if text.is_empty() {
        return Vec::new();
    }
    vec![Part::text(text)]
}

fn reason_of(map: &Json) -> Option<String> {
    let keys = ["finish_reason", "finishReason", "stop_reason", "stopReason"];
    let reason = map.first(&keys).and_then(Json::as_text)?;
    let reason = reason.trim();
    let name = finish::canonical(reason).unwrap_or(reason);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The common name of a role.
pub(super) fn role_name(role: &str) -> &str {
    match role {
        "model" | "ai" | "AI" | "AIMessage" | "bot" | "Assistant" => "assistant",
        "human" | "Human" | "HumanMessage" | "User" => "user",
        "developer" | "System" | "SystemMessage" => "system",
        "function" | "ToolMessage" | "Tool" => "tool",
        other => other,
    }
}

/// The role that the name of an event tells.
pub(super) fn role_of_event(name: &str) -> Option<&'static str> {
    match name {
        "gen_ai.system.message" => Some("system"),
        "gen_ai.user.message" => Some("user"),
        "gen_ai.assistant.message" | "gen_ai.choice" => Some("assistant"),
        "gen_ai.tool.message" => Some("tool"),
        _ => None,
    }
}
