//! OpenLLMetry (Traceloop): indexed attributes in its older packages, JSON in the newer ones.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::OpenLlmetry, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("traceloop.span.kind", Take::Kind(operation::of_kind)),
    row("traceloop.entity.name", Take::Text(Text::EntityName)),
    row("llm.request.type", Take::Kind(operation::of_kind)),
    row("llm.usage.prompt_tokens", Take::Count(Count::Input)),
    row("llm.usage.completion_tokens", Take::Count(Count::Output)),
    row("llm.usage.total_tokens", Take::Count(Count::Total)),
    row("llm.usage.reasoning_tokens", Take::Count(Count::Reasoning)),
    row("gen_ai.is_streaming", Take::Streaming),
    row("llm.is_streaming", Take::Streaming),
    row(
        "gen_ai.completion.0.finish_reason",
        Take::Text(Text::FinishReason),
    ),
    row("gen_ai.prompt.0.role", Take::Mark),
    row("gen_ai.prompt.0.content", Take::Mark),
    row("gen_ai.completion.0.role", Take::Mark),
    row("gen_ai.completion.0.content", Take::Mark),
    row("llm.request.functions.0.name", Take::Mark),
    row(
        "traceloop.association.properties.ls_provider",
        Take::Text(Text::Provider),
    )
    .neutral(),
    row(
        "traceloop.association.properties.ls_model_name",
        Take::Text(Text::RequestModel),
    )
    .neutral(),
    row("traceloop.association.properties.tags", Take::Tags).neutral(),
];
