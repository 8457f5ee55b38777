//! OpenInference: flat indexed attributes; `openinference.span.kind` says what a span is.

use super::prelude::*;
use crate::semconv::coerce::text;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::OpenInference, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("openinference.span.kind", Take::Kind(operation::of_kind)),
    row("llm.provider", Take::Text(Text::Provider)),
    row("llm.system", Take::Text(Text::Provider)),
    row("llm.request.model_name", Take::Text(Text::RequestModel)),
    row("llm.response.model_name", Take::Text(Text::ResponseModel)),
    row(
        "llm.invocation_parameters",
        Take::With(invocation_parameters),
    ),
    row("llm.model_name", Take::With(model_name)),
    row("embedding.model_name", Take::Text(Text::RequestModel)),
    row("reranker.model_name", Take::Text(Text::RequestModel)),
    row("llm.token_count.prompt", Take::Count(Count::Input)),
    row("llm.token_count.completion", Take::Count(Count::Output)),
    row("llm.token_count.total", Take::Count(Count::Total)),
    row(
        "llm.token_count.prompt_details.cache_read",
        Take::Count(Count::CacheRead),
    ),
    row(
        "llm.token_count.prompt_details.cache_input",
        Take::Count(Count::CacheRead),
    ),
    row(
        "llm.token_count.prompt_details.cache_write",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "llm.token_count.prompt_details.audio",
        Take::Count(Count::AudioIn),
    ),
    row(
        "llm.token_count.completion_details.reasoning",
        Take::Count(Count::Reasoning),
    ),
    row(
        "llm.token_count.completion_details.audio",
        Take::Count(Count::AudioOut),
    ),
    row("llm.cost.prompt", Take::Money(Money::Input)),
    row("llm.cost.completion", Take::Money(Money::Output)),
    row("llm.cost.total", Take::Money(Money::Total)),
    row("llm.finish_reason", Take::Text(Text::FinishReason)),
    row("llm.input_messages.0.message.role", Take::Mark),
    row("llm.output_messages.0.message.role", Take::Mark),
    row("tag.tags", Take::Tags),
    row("agent.name", Take::Text(Text::AgentName)).bare(),
    row("graph.node.name", Take::Text(Text::EntityName)).bare(),
    row("tool.name", Take::Text(Text::ToolName)).bare(),
    row("tool_call.id", Take::Text(Text::ToolCallId)).bare(),
    row("tool.id", Take::Text(Text::ToolCallId)).bare(),
    row("metadata", Take::With(metadata)).bare(),
    row("output.value", Take::With(output)).bare(),
];

/// The model asked for is only in the parameters.
fn invocation_parameters<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let model = json.first(&["model", "model_name", "modelId", "model_id"]);
    if let Some(model) = model.and_then(Json::as_text) {
        draft.set_cow(Text::RequestModel, model.to_owned().into());
    }
    if let Some(Json::Bool(streaming)) = json.get("stream") {
        draft.streaming = draft.streaming.or(Some(*streaming));
    }
}

/// The model that answered, but where a framework only knows what it asks for.
fn model_name<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(model) = text(&value) else { return };
    if draft.scope.names_request_model {
        draft.set(Text::RequestModel, model);
    } else {
        draft.set(Text::ResponseModel, model);
    }
}

/// LangChain says there who serves the model, and which thread it is.
fn metadata<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let of = |key| json.get(key).and_then(Json::as_text).map(str::to_owned);
    if let Some(provider) = of("ls_provider") {
        draft.provider(provider.into());
    }
    for key in ["session_id", "thread_id", "conversation_id"] {
        if let Some(session) = of(key) {
            draft.set_cow(Text::Session, session.into());
        }
    }
}

/// The id of the answer is only in the answer as it came, where OpenAI and Anthropic put it first,
/// and LangChain below `llm_output`, behind the messages. (Within a text the quotes of a key would
/// be escaped.)
fn output<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(text) = value.as_str() else { return };
    let Some(inside) = text.trim_start().strip_prefix('{').map(str::trim_start) else {
        return;
    };
    let id = if inside.starts_with("\"generations\"") {
        let (_, output) = inside.rsplit_once("\"llm_output\":").unwrap_or_default();
        output
            .split_once("\"id\":")
            .and_then(|(_, rest)| quoted(rest))
    } else {
        let rest = inside.strip_prefix("\"id\"").map(str::trim_start);
        rest.and_then(|it| it.strip_prefix(':')).and_then(quoted)
    };
    if let Some(id) = id {
        draft.set(Text::ResponseId, id);
    }
}

/// The text that JSON begins with, if nothing in it is escaped.
fn quoted(json: &str) -> Option<&str> {
    let (text, _) = json.trim_start().strip_prefix('"')?.split_once('"')?;
    (!text.contains('\\')).then_some(text)
}

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    // An agent names the model it was given.
    if draft.kind.is_some_and(|op| !op.is_model())
        && draft.text(Text::RequestModel).is_none()
        && let Some(model) = draft.take_text(Text::ResponseModel)
    {
        draft.set_cow(Text::RequestModel, model);
    }
    if draft.scope.is_agno && draft.has_native_claude() {
        draft.usage.habits.cache_beside_input = Some(true);
    }
}
