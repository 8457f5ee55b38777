//! Tools: what a model could ask for, and what a tool's own span tells.

use super::ToolCall;
use super::events;
use super::indexed;
use super::source::{Source, decoded};
use crate::model::genai::GenAi;
use crate::semconv::json::Json;

const ARGUMENTS: [&str; 19] = [
    "langfuse.observation.input",
    "gen_ai.tool.call.arguments",
    "tool_arguments",
    "ai.toolCall.args",
    "ai.toolCall.input",
    "gcp.vertex.agent.tool_call_args",
    "gen_ai.tool.args",
    "pulse.tool.input",
    "gen_ai.tool.input",
    "tool_input",
    "lk.function_tool.arguments",
    "mlflow.spanInputs",
    "genkit:input",
    "lmnr.span.input",
    "haystack.component.input",
    "gen_ai.prompt",
    "traceloop.entity.input",
    "input.value",
    "tool.parameters",
];

const RESULTS: [&str; 17] = [
    "langfuse.observation.output",
    "gen_ai.tool.call.result",
    "tool_response",
    "ai.toolCall.result",
    "ai.toolCall.output",
    "gcp.vertex.agent.tool_response",
    "pulse.tool.response",
    "gen_ai.tool.output",
    "tool_output",
    "lk.function_tool.output",
    "mlflow.spanOutputs",
    "genkit:output",
    "lmnr.span.output",
    "haystack.component.output",
    "gen_ai.completion",
    "traceloop.entity.output",
    "output.value",
];

const DEFINITIONS: [(&str, &[&str]); 9] = [
    ("gen_ai.tool.definitions", &[]),
    ("ai.prompt.tools", &[]),
    ("gcp.vertex.agent.llm_request", &["config", "tools"]),
    ("mlflow.chat.tools", &[]),
    ("mlflow.spanInputs", &["tools"]),
    ("request_data", &["tools"]),
    ("model_request_parameters", &["function_tools"]),
    ("pulse.request", &["tools"]),
    ("pulse.metadata.pulse.request", &["tools"]),
];

/// Lists of tools in flat keys.
const LISTS: [&str; 2] = ["llm.tools.", "llm.request.functions."];

/// The keys of everything here that is read; one that ends in a dot stands for all below it.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    let definitions = DEFINITIONS.into_iter().map(|(key, _)| key);
    let of_calls = ARGUMENTS.into_iter().chain(RESULTS);
    of_calls.chain(definitions).chain(LISTS)
}

/// What the span of a tool tells, beside its columns.
pub(super) fn call(source: &mut Source<'_>, genai: &GenAi<'_>) -> ToolCall {
    let arguments = ARGUMENTS.iter().find_map(|key| {
        source
            .json(key)
            .filter(|it| *key != "tool.parameters" || !is_schema(it))
    });
    let result = RESULTS.iter().find_map(|key| source.json(key));
    let (asked, answered) = of_events(source);
    let (answers, result) = result.or(answered).map_or((None, None), of_message);
    let id = genai.tool_call_id.as_deref().map(str::to_owned);
    ToolCall {
        id: id.or(answers),
        name: genai.tool_name.as_deref().map(str::to_owned),
        arguments: arguments.or(asked),
        result,
    }
}

/// The call that a result answers, and the result: LangChain has both in the message that it makes
/// of it.
fn of_message(result: Json) -> (Option<String>, Option<Json>) {
    let is_tool = result.get("type").and_then(Json::as_text) == Some("tool");
    let content = is_tool.then(|| result.at(&["data", "content"])).flatten();
    let Some(content) = content.cloned() else {
        return (None, Some(result));
    };
    let id = result.at(&["data", "tool_call_id"]).and_then(Json::as_text);
    (id.map(str::to_owned), Some(content))
}

/// Whether an object is the schema of arguments, not arguments.
fn is_schema(json: &Json) -> bool {
    json.get("properties").is_some()
        || json.get("type") == Some(&"object".into())
        || json.get("title").is_some() && json.get("type").is_some()
}

/// Some have arguments and result in events: Strands, Claude Code.
fn of_events(source: &mut Source<'_>) -> (Option<Json>, Option<Json>) {
    let (mut asked, mut answered) = (None, None);
    let all: Vec<_> = source.events().collect();
    for event in all {
        match event.name {
            "gen_ai.tool.message" => {
                asked = asked.or_else(|| events::value(source, &event, &["content"]));
            }
            "gen_ai.choice" => {
                let keys = ["message", "tool.result", "content"];
                answered = answered.or_else(|| events::value(source, &event, &keys));
            }
            "tool.output" => {
                let keys = ["output", "tool.output", "content", "tool_output"];
                answered = answered.or_else(|| events::value(source, &event, &keys));
            }
            _ => {}
        }
    }
    (asked, answered)
}

/// Tools a model could ask for.
pub(super) fn definitions(source: &mut Source<'_>) -> Vec<Json> {
    let [tools, functions] = LISTS;
    let of_openinference = indexed::list(source, tools);
    let mut found: Vec<_> = of_openinference
        .into_iter()
        .filter_map(|mut item| item.take("tool")?.take("json_schema"))
        .collect();
    for (key, path) in DEFINITIONS {
        if !found.is_empty() {
            break;
        }
        let json = source.json(key);
        match json.as_ref().and_then(|json| json.at(path)) {
            Some(Json::List(items)) => found.clone_from(items),
            Some(map @ Json::Map(_)) => found.push(map.clone()),
            _ => {}
        }
    }
    if found.is_empty() {
        found = indexed::list(source, functions);
    }
    found.into_iter().flat_map(definition).collect()
}

/// A tool by name, description and schema, out of what each provider makes of it.
fn definition(item: Json) -> Vec<Json> {
    let item = match item {
        Json::Text(text) => decoded(&text),
        other => other,
    };
    let declared = item.first(&["functionDeclarations", "function_declarations"]);
    if let Some(Json::List(items)) = declared {
        return items.clone().into_iter().flat_map(definition).collect();
    }
    let inner = item
        .first(&["function", "toolSpec", "tool"])
        .unwrap_or(&item);
    let Some(name) = inner.get("name") else {
        return vec![item];
    };
    let schema = inner.first(&[
        "parameters",
        "input_schema",
        "inputSchema",
        "parameters_json_schema",
    ]);
    // Bedrock's is one level deeper.
    let schema = schema.map(|it| it.get("json").unwrap_or(it).clone());
    let schema = schema.map(|it| match it {
        Json::Text(text) => decoded(&text),
        other => other,
    });
    let mut entries = vec![
        ("type".to_owned(), "function".into()),
        ("name".to_owned(), name.clone()),
    ];
    if let Some(description) = inner.get("description") {
        entries.push(("description".to_owned(), description.clone()));
    }
    if let Some(schema) = schema {
        entries.push(("parameters".to_owned(), schema));
    }
    vec![Json::Map(entries)]
}
