//! The OpenTelemetry GenAI conventions, all generations, and the keys that others add to them.

use super::prelude::*;
use crate::semconv::coerce::text;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Otel, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("gen_ai.operation.name", Take::With(operation_name)),
    row("gen_ai.provider.name", Take::Text(Text::Provider)),
    row("gen_ai.system", Take::Text(Text::Provider)),
    row("gen_ai.request.model", Take::Text(Text::RequestModel)),
    row("gen_ai.response.model", Take::Text(Text::ResponseModel)),
    row("gen_ai.response.id", Take::Text(Text::ResponseId)),
    row(
        "gen_ai.response.finish_reasons",
        Take::Text(Text::FinishReason),
    ),
    row(
        "gen_ai.response.finish_reason",
        Take::Text(Text::FinishReason),
    ),
    row("gen_ai.agent.name", Take::Text(Text::AgentName)),
    row("gen_ai.agent.id", Take::Text(Text::AgentId)),
    row("gen_ai.tool.name", Take::Text(Text::ToolName)),
    row("gen_ai.tool.call.id", Take::Text(Text::ToolCallId)),
    row("gen_ai.tool.call_id", Take::Text(Text::ToolCallId)),
    // Usage: the names of today, of yesterday, and of those who made up their own.
    row("gen_ai.usage.input_tokens", Take::Count(Count::Input)),
    row("gen_ai.usage.prompt_tokens", Take::Count(Count::Input)),
    row("gen_ai.usage.output_tokens", Take::Count(Count::Output)),
    row("gen_ai.usage.completion_tokens", Take::Count(Count::Output)),
    row("gen_ai.usage.total_tokens", Take::Count(Count::Total)),
    row("gen_ai.client.token.usage", Take::Count(Count::Total)),
    row(
        "gen_ai.usage.cache_read.input_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.cache_read_input_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.details.cache_read_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.details.cache_read_input_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.input_tokens.cached",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.cached_input_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.input_cached_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "gen_ai.usage.cache_write.input_tokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.cache_creation.input_tokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.cache_creation_input_tokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.cache_write_input_tokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.details.cache_write_tokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.details.cache_creation_input_tokens",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.input_cache_creation",
        Take::Count(Count::CacheWrite),
    ),
    row(
        "gen_ai.usage.details.ephemeral_5m_input_tokens",
        Take::Count(Count::CacheWrite5m),
    ),
    row(
        "gen_ai.usage.details.ephemeral_1h_input_tokens",
        Take::Count(Count::CacheWrite1h),
    ),
    row(
        "gen_ai.usage.non_cached_input_tokens",
        Take::Count(Count::Uncached),
    ),
    row(
        "gen_ai.usage.reasoning.output_tokens",
        Take::Count(Count::Reasoning),
    ),
    row(
        "gen_ai.usage.reasoning_tokens",
        Take::Count(Count::Reasoning),
    ),
    row(
        "gen_ai.usage.output_tokens.reasoning",
        Take::Count(Count::Reasoning),
    ),
    row(
        "gen_ai.usage.details.reasoning_tokens",
        Take::Count(Count::Reasoning),
    ),
    row(
        "gen_ai.usage.details.thoughts_tokens",
        Take::Count(Count::Reasoning),
    ),
    row(
        "gen_ai.usage.audio.input_tokens",
        Take::Count(Count::AudioIn),
    ),
    row(
        "gen_ai.usage.details.input_audio_tokens",
        Take::Count(Count::AudioIn),
    ),
    row(
        "gen_ai.usage.audio.output_tokens",
        Take::Count(Count::AudioOut),
    ),
    row(
        "gen_ai.usage.details.output_audio_tokens",
        Take::Count(Count::AudioOut),
    ),
    row(
        "gen_ai.usage.image.input_tokens",
        Take::Count(Count::ImageIn),
    ),
    row(
        "gen_ai.usage.details.input_image_tokens",
        Take::Count(Count::ImageIn),
    ),
    row(
        "gen_ai.usage.image.output_tokens",
        Take::Count(Count::ImageOut),
    ),
    row(
        "gen_ai.usage.details.output_image_tokens",
        Take::Count(Count::ImageOut),
    ),
    // Cost in USD. `gen_ai.usage.cost` is zero where its sender had no price list.
    row("operation.cost", Take::Money(Money::Total)).neutral(),
    row("gen_ai.usage.cost", Take::Money(Money::Total)),
    row("gen_ai.cost.total_cost", Take::Money(Money::Total)),
    row("gen_ai.cost.input_cost", Take::Money(Money::Input)),
    row("gen_ai.cost.output_cost", Take::Money(Money::Output)),
    row("gen_ai.usage.total_cost", Take::Money(Money::Total)),
    row("gen_ai.usage.input_cost", Take::Money(Money::Input)),
    row("gen_ai.usage.output_cost", Take::Money(Money::Output)),
    row("opencode.llm.cost.total", Take::Money(Money::Total)),
    row("gen_ai.request.stream", Take::Streaming),
    row("gen_ai.request.is_stream", Take::Streaming),
    row(
        "gen_ai.response.time_to_first_chunk",
        Take::FirstChunkSeconds,
    ),
    row(
        "gen_ai.client.operation.time_to_first_chunk",
        Take::FirstChunkSeconds,
    ),
    row(
        "gen_ai.server.time_to_first_token",
        Take::With(time_to_first_token),
    ),
    row("openai.response.service_tier", Take::Text(Text::Tier)),
    row(
        "gen_ai.openai.response.service_tier",
        Take::Text(Text::Tier),
    ),
    row("openai.request.service_tier", Take::Text(Text::Tier)),
    row("gen_ai.openai.request.service_tier", Take::Text(Text::Tier)),
    row("gen_ai.openai.api_base", Take::Text(Text::Server)),
    row("mcp.method.name", Take::With(mcp_method)),
    row("gen_ai.input.messages", Take::Mark),
    row("gen_ai.output.messages", Take::Mark),
];

fn operation_name<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if let Some(name) = text(&value) {
        draft.kind(operation::of_genai(name).unwrap_or(Op::Other(name)));
    }
}

fn mcp_method<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    match value.as_str() {
        Some("tools/call") => draft.kind(Op::ExecuteTool),
        Some("prompts/get") => draft.kind(Op::Prompt),
        _ => {}
    }
}

/// The name of a metric, which Strands sends in milliseconds and all others in seconds.
fn time_to_first_token<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let unit = if draft.dialect == Some(Dialect::Strands) {
        1e6
    } else {
        1e9
    };
    draft.first_token_in(&value, unit);
}
