//! Vercel's AI SDK: an outer span for what the application calls, an inner one for each call of a
//! model. The outer one repeats the usage of the last step, or the sum of all.

use super::prelude::*;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::AiSdk, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("ai.operationId", Take::With(operation_id)),
    row("ai.model.provider", Take::Text(Text::Provider)),
    row("ai.model.id", Take::Text(Text::RequestModel)),
    row("ai.response.model", Take::Text(Text::ResponseModel)),
    row("ai.response.id", Take::Text(Text::ResponseId)),
    row("ai.usage.inputTokens", Take::Count(Count::Input)),
    row("ai.usage.promptTokens", Take::Count(Count::Input)),
    row("ai.usage.tokens", Take::Count(Count::Input)),
    row("ai.usage.outputTokens", Take::Count(Count::Output)),
    row("ai.usage.completionTokens", Take::Count(Count::Output)),
    row("ai.usage.totalTokens", Take::Count(Count::Total)),
    row(
        "ai.usage.inputTokenDetails.noCacheTokens",
        Take::Count(Count::Uncached),
    ),
    row(
        "ai.usage.inputTokenDetails.cacheReadTokens",
        Take::Count(Count::CacheRead),
    ),
    row("ai.usage.cachedInputTokens", Take::Count(Count::CacheRead)),
    row(
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "ai.usage.outputTokenDetails.reasoningTokens",
        Take::Count(Count::Reasoning),
    ),
    row("ai.usage.reasoningTokens", Take::Count(Count::Reasoning)),
    row(
        "ai.response.providerMetadata",
        Take::With(provider_metadata),
    ),
    row("ai.response.finishReason", Take::Text(Text::FinishReason)),
    row("ai.finishReason", Take::Text(Text::FinishReason)),
    row("gen_ai.finishReason", Take::Text(Text::FinishReason)),
    row("ai.response.msToFirstChunk", Take::FirstTokenMillis),
    row("ai.toolCall.name", Take::Text(Text::ToolName)),
    row("ai.toolCall.id", Take::Text(Text::ToolCallId)),
    row("ai.telemetry.functionId", Take::Mark),
    row("ai.telemetry.metadata.tags", Take::Tags),
    row("ai.prompt", Take::Mark),
    row("ai.prompt.messages", Take::Mark),
];

fn operation_id<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(id) = value.as_str() else { return };
    let op = match id.rsplit('.').next().unwrap_or(id) {
        "doGenerate" | "doStream" => {
            draft.streaming = Some(id.ends_with("doStream"));
            Op::Llm
        }
        "doEmbed" => Op::Embeddings,
        "doRerank" => Op::Rerank,
        "toolCall" => Op::ExecuteTool,
        _ => Op::Chain,
    };
    draft.kind(op);
}

/// Details of OpenAI, Anthropic and Bedrock, which older versions report nowhere else.
fn provider_metadata<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    const PATHS: [(Count, &[&str]); 8] = [
        (Count::CacheRead, &["openai", "cachedPromptTokens"]),
        (Count::Reasoning, &["openai", "reasoningTokens"]),
        (
            Count::CacheRead,
            &["anthropic", "usage", "cache_read_input_tokens"],
        ),
        (
            Count::CacheWrite,
            &["anthropic", "usage", "cache_creation_input_tokens"],
        ),
        (
            Count::CacheWrite,
            &["anthropic", "cacheCreationInputTokens"],
        ),
        (
            Count::CacheWrite1h,
            &[
                "anthropic",
                "usage",
                "cache_creation",
                "ephemeral_1h_input_tokens",
            ],
        ),
        (
            Count::CacheRead,
            &["bedrock", "usage", "cacheReadInputTokens"],
        ),
        (
            Count::CacheWrite,
            &["bedrock", "usage", "cacheWriteInputTokens"],
        ),
    ];
    for (count, path) in PATHS {
        draft.count(
            Dialect::AiSdk,
            count,
            json.at(path).and_then(Json::as_count),
        );
    }
}

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    // Version 7 has two spans per embedding, of which one has the usage.
    draft.counts_with_usage = draft.scope.is_ai_sdk_otel && draft.kind == Some(Op::Embeddings);
}
