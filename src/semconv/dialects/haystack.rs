//! Haystack: components of pipelines, content only when enabled.

use super::prelude::*;
use crate::semconv::coerce::text;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Haystack, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("haystack.component.type", Take::With(kind)),
    row("haystack.component.name", Take::Text(Text::EntityName)),
    row("haystack.component.output", Take::With(output)),
    row("haystack.component.input", Take::Mark),
    row("haystack.agent.max_steps", Take::With(agent)),
    row("haystack.pipeline.input_data", Take::With(pipeline)),
    row("haystack.pipeline.output_data", Take::With(pipeline)),
    row(
        "haystack.pipeline.max_runs_per_component",
        Take::With(pipeline),
    ),
];

fn kind<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(name) = text(&value) else { return };
    draft.kind(if name.ends_with("Generator") {
        Op::Llm
    } else if name.ends_with("Embedder") {
        Op::Embeddings
    } else if name.ends_with("Retriever") {
        Op::Retrieval
    } else if name.ends_with("Ranker") {
        Op::Rerank
    } else if name.ends_with("Agent") {
        Op::InvokeAgent
    } else if name.ends_with("ToolInvoker") {
        Op::ExecuteTool
    } else {
        Op::Chain
    });
}

fn agent<'a>(draft: &mut Draft<'a>, _value: AnyValue<'a>) {
    draft.kind(Op::InvokeAgent);
}

fn pipeline<'a>(draft: &mut Draft<'a>, _value: AnyValue<'a>) {
    draft.weak_kind = draft.weak_kind.or(Some(Op::Workflow));
}

/// What a generator answers has the provider's usage in its metadata.
fn output<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if !draft.kind.is_some_and(Op::is_model) {
        return;
    }
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let of_reply = ["meta", "_meta"].map(|key| json.at(&["replies", "*", key]));
    let of_generator = ["meta"].map(|key| json.get(key));
    let mut found = of_reply.into_iter().chain(of_generator).flatten();
    let Some(meta) = found.find_map(|meta| match meta {
        Json::List(items) => items.first(),
        other => Some(other),
    }) else {
        return;
    };
    if let Some(usage) = meta.get("usage") {
        draft.usage_object(Dialect::Haystack, usage);
    }
    if let Some(model) = meta.get("model").and_then(Json::as_text) {
        draft.set_cow(Text::ResponseModel, model.to_owned().into());
    }
    let reason = meta.first(&["finish_reason", "stop_reason"]);
    if let Some(reason) = reason.and_then(Json::as_text) {
        draft.set_reason(reason.to_owned().into());
    }
}
