//! Where messages are: the keys of each dialect, in order of precedence. The first that has
//! messages is taken whole; lists of several dialects are never mixed.

use super::part::Part;
use super::source::Source;
use super::{Message, indexed, shape};
use crate::semconv::json::Json;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Input,
    Output,
}

/// Which list a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Input,
    Output,
}

/// How a key is read.
#[derive(Debug, Clone, Copy)]
enum How {
    /// Messages in any shape.
    Value,
    /// Messages in any shape, if the span is a model's or the value looks like messages: steps have
    /// anything there.
    Maybe,
    /// Messages in any shape, at a path in JSON.
    At(&'static [&'static str]),
    /// A list in flat keys below the key.
    Indexed,
    /// OpenInference's list in flat keys, whose items are wrapped.
    Wrapped,
    /// Pydantic AI's events: the answer is the last of them.
    Events,
    /// Texts in flat keys below the key, each at this path.
    Texts(&'static [&'static str]),
}

const INPUT: &[(&str, How)] = &[
    ("langfuse.observation.input", How::Maybe),
    ("llm.input_messages.", How::Wrapped),
    ("llm.prompts.", How::Texts(&["prompt", "text"])),
    ("gen_ai.input.messages", How::Value),
    ("ai.prompt.messages", How::Value),
    ("ai.prompt", How::Value),
    ("events", How::Events),
    ("pydantic_ai.all_messages", How::Value),
    ("all_messages_events", How::Events),
    ("request_data", How::At(&["messages"])),
    ("request_data", How::At(&["input"])),
    ("gcp.vertex.agent.llm_request", How::At(&["contents"])),
    ("mlflow.spanInputs", How::At(&["messages"])),
    ("mlflow.spanInputs", How::At(&["input"])),
    ("lk.chat_ctx", How::At(&["items"])),
    ("lk.chat_ctx", How::Value),
    ("genkit:input", How::At(&["messages"])),
    ("haystack.component.input", How::At(&["messages"])),
    ("haystack.component.input", How::At(&["prompt"])),
    ("pulse.request", How::At(&["messages"])),
    ("pulse.metadata.pulse.request", How::At(&["messages"])),
    ("pulse.request", How::At(&["input"])),
    ("pulse.metadata.pulse.request", How::At(&["input"])),
    ("new_context", How::Value),
    ("user_prompt", How::Value),
    ("gen_ai.content.prompt", How::Value),
    ("gen_ai.prompt.", How::Indexed),
    ("gen_ai.prompt", How::Maybe),
    ("lmnr.span.input", How::Maybe),
];

const OUTPUT: &[(&str, How)] = &[
    ("langfuse.observation.output", How::Maybe),
    ("llm.output_messages.", How::Wrapped),
    ("llm.choices.", How::Texts(&["completion", "text"])),
    ("gen_ai.output.messages", How::Value),
    ("events", How::Events),
    ("all_messages_events", How::Events),
    ("response_data", How::At(&["message"])),
    ("response_data", How::At(&["combined_chunk_content"])),
    ("gcp.vertex.agent.llm_response", How::At(&["content"])),
    ("mlflow.spanOutputs", How::At(&["choices"])),
    ("mlflow.spanOutputs", How::At(&["output"])),
    ("mlflow.spanOutputs", How::At(&["content"])),
    ("lk.response.text", How::Value),
    ("genkit:output", How::At(&["message"])),
    ("haystack.component.output", How::At(&["replies"])),
    ("pulse.response", How::At(&["content"])),
    ("pulse.metadata.pulse.response", How::At(&["content"])),
    ("pulse.output_text", How::Value),
    ("response.model_output", How::Value),
    ("gen_ai.content.completion", How::Value),
    ("gen_ai.completion.", How::Indexed),
    ("gen_ai.completion", How::Maybe),
    ("lmnr.span.output", How::Maybe),
];

const SYSTEM: &[(&str, How)] = &[
    ("gen_ai.system_instructions", How::Value),
    (
        "gcp.vertex.agent.llm_request",
        How::At(&["config", "system_instruction"]),
    ),
    ("request_data", How::At(&["instructions"])),
    ("request_data", How::At(&["system"])),
    ("mlflow.spanInputs", How::At(&["instructions"])),
    ("mlflow.spanInputs", How::At(&["system"])),
    ("pulse.request", How::At(&["system"])),
    ("pulse.request", How::At(&["instructions"])),
    ("pulse.metadata.pulse.request", How::At(&["system"])),
    ("pulse.metadata.pulse.request", How::At(&["instructions"])),
    ("ai.prompt", How::At(&["system"])),
    ("system_prompt", How::Value),
    ("system_prompt_preview", How::Value),
];

/// Input and output of anything.
const INPUT_VALUES: &[&str] = &[
    "langfuse.observation.input",
    "lmnr.span.input",
    "gen_ai.prompt",
    "input.value",
    "traceloop.entity.input",
    "mlflow.spanInputs",
    "langfuse.trace.input",
    "haystack.component.input",
    "haystack.pipeline.input_data",
    "genkit:input",
    "crew_tasks",
    "gcp.vertex.agent.llm_request",
    "request_data",
    "pulse.request",
    "pulse.metadata.pulse.request",
];

const OUTPUT_VALUES: &[&str] = &[
    "langfuse.observation.output",
    "lmnr.span.output",
    "gen_ai.completion",
    "output.value",
    "traceloop.entity.output",
    "mlflow.spanOutputs",
    "langfuse.trace.output",
    "haystack.component.output",
    "haystack.pipeline.output_data",
    "genkit:output",
    "final_result",
    "gcp.vertex.agent.llm_response",
    "response_data",
    "pulse.response",
    "pulse.metadata.pulse.response",
];

/// The keys of everything here that is read; one that ends in a dot stands for all below it.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    let tables = [INPUT, OUTPUT, SYSTEM].into_iter().flatten();
    let values = INPUT_VALUES.iter().chain(OUTPUT_VALUES).copied();
    tables.map(|(key, _)| *key).chain(values).chain(PARTS)
}

/// The messages at the first place that has any.
pub(super) fn messages(source: &mut Source<'_>, what: What, is_model: bool) -> Vec<Message> {
    let (places, role) = match what {
        What::Input => (INPUT, "user"),
        What::Output => (OUTPUT, "assistant"),
    };
    let mut found = first(source, places, role, is_model);
    if what == What::Output {
        if found.is_empty() {
            found = of_parts(source);
        }
        add_call(source, &mut found);
    }
    found
}

fn first(
    source: &mut Source<'_>,
    places: &[(&str, How)],
    role: &str,
    is_model: bool,
) -> Vec<Message> {
    for (key, how) in places {
        let Some(value) = at(source, key, *how, role) else {
            continue;
        };
        if matches!(how, How::Maybe) && !is_model && !shape::is_messages(&value) {
            continue;
        }
        let found = shape::messages(value, role);
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn at(source: &mut Source<'_>, key: &str, how: How, role: &str) -> Option<Json> {
    match how {
        How::Value | How::Maybe => source.json(key),
        How::Events => {
            let Json::List(mut items) = source.json(key)? else {
                return None;
            };
            let is_answer = |item: &Json| item.get("event.name") == Some(&"gen_ai.choice".into());
            items.retain(|item| is_answer(item) == (role == "assistant"));
            some_list(items)
        }
        How::At(path) => {
            // A text that can't be read is not looked into, and not shown here.
            let json = source.json(key)?;
            json.at(path).filter(|inner| !inner.is_empty()).cloned()
        }
        How::Indexed => some_list(indexed::list(source, key)),
        How::Wrapped => {
            let items = indexed::list(source, key);
            some_list(items.into_iter().map(unwrapped).collect())
        }
        How::Texts(path) => {
            let items = indexed::list(source, key);
            some_list(items.iter().filter_map(|it| it.at(path).cloned()).collect())
        }
    }
}

fn some_list(items: Vec<Json>) -> Option<Json> {
    (!items.is_empty()).then_some(Json::List(items))
}

/// An item of OpenInference's lists: every level has a wrapper named after the item.
fn unwrapped(mut item: Json) -> Json {
    let mut message = item.take("message").unwrap_or(item);
    if let Some(Json::List(contents)) = message.take("contents") {
        let parts: Vec<_> = contents.into_iter().map(content).collect();
        if let Json::Map(entries) = &mut message {
            entries.retain(|(key, _)| key != "content");
            entries.push(("content".to_owned(), Json::List(parts)));
        }
    }
    let calls = match message.take("tool_calls") {
        Some(Json::List(calls)) => calls,
        _ => Vec::new(),
    };
    let single = message.take("function_call_name").map(|name| {
        let arguments = message.take("function_call_arguments_json");
        Json::Map(vec![
            ("name".to_owned(), name),
            ("arguments".to_owned(), arguments.unwrap_or_default()),
        ])
    });
    let calls: Vec<_> = calls
        .into_iter()
        .map(|mut call| call.take("tool_call").unwrap_or(call))
        .chain(single)
        .collect();
    if let Json::Map(entries) = &mut message
        && !calls.is_empty()
    {
        entries.push(("tool_calls".to_owned(), Json::List(calls)));
    }
    message
}

fn content(mut item: Json) -> Json {
    if let Some(call) = item.take("tool_call") {
        return Json::Map(vec![
            ("type".to_owned(), "tool_call".into()),
            (
                "function".to_owned(),
                call.get("function").cloned().unwrap_or_default(),
            ),
            ("id".to_owned(), call.get("id").cloned().unwrap_or_default()),
        ]);
    }
    let mut inner = item.take("message_content").unwrap_or(item);
    let url = inner.at(&["image", "image", "url"]).cloned();
    if let (Some(url), Json::Map(entries)) = (url, &mut inner) {
        entries.retain(|(key, _)| key != "image" && key != "type");
        entries.push(("type".to_owned(), "image_url".into()));
        entries.push(("image_url".to_owned(), url));
    }
    inner
}

/// The keys of the AI SDK's answer.
const PARTS: [&str; 8] = [
    "ai.response.reasoning",
    "ai.result.reasoning",
    "ai.response.text",
    "ai.result.text",
    "ai.response.object",
    "ai.result.object",
    "ai.response.toolCalls",
    "ai.result.toolCalls",
];

/// The AI SDK's answer, in a key for each of its parts.
fn of_parts(source: &mut Source<'_>) -> Vec<Message> {
    let mut parts = Vec::new();
    let of = |source: &mut Source<'_>, keys: [&str; 2]| {
        keys.into_iter().find_map(|key| source.json(key))
    };
    if let Some(Json::Text(text)) = of(source, ["ai.response.reasoning", "ai.result.reasoning"]) {
        parts.push(Part::reasoning(text));
    }
    let text = ["ai.response.text", "ai.result.text"]
        .into_iter()
        .find_map(|key| source.text(key));
    if let Some(text) = text {
        parts.push(Part::text(text.to_owned()));
    }
    if let Some(object) = of(source, ["ai.response.object", "ai.result.object"]) {
        parts.push(Part::text(object.to_text()));
    }
    if let Some(Json::List(calls)) = of(source, ["ai.response.toolCalls", "ai.result.toolCalls"]) {
        parts.extend(calls.into_iter().map(Part::of_call));
    }
    if parts.is_empty() {
        return Vec::new();
    }
    let reason = source.text("ai.response.finishReason");
    let reason = reason.and_then(crate::semconv::names::finish::canonical);
    vec![Message {
        role: "assistant".to_owned(),
        parts,
        finish_reason: reason.map(str::to_owned),
        ..Message::default()
    }]
}

/// LiteLLM's messages have no parts for a call, which is in flat keys beside them.
fn add_call(source: &Source<'_>, found: &mut [Message]) {
    let Some(last) = found.last_mut().filter(|last| last.parts.is_empty()) else {
        return;
    };
    let key = |part: &str| format!("gen_ai.completion.0.function_call.{part}");
    if let Some(name) = source.text(&key("name")) {
        let arguments = source.text(&key("arguments")).map(Json::from);
        last.parts
            .push(Part::tool_call(None, Some(name.into()), arguments));
    }
}

/// Instructions that are kept apart.
pub(super) fn system(source: &mut Source<'_>) -> Vec<Part> {
    let found = first(source, SYSTEM, "system", true);
    found
        .into_iter()
        .flat_map(|message| message.parts)
        .collect()
}

/// Input or output of anything.
pub(super) fn value(source: &mut Source<'_>, what: What) -> Option<Json> {
    let keys = match what {
        What::Input => INPUT_VALUES,
        What::Output => OUTPUT_VALUES,
    };
    keys.iter().find_map(|key| source.json(key))
}
