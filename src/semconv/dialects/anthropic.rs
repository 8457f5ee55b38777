//! The spans of Anthropic's own SDKs, and those that its API sends.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Anthropic, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row(
        "anthropic.message.stop_reason",
        Take::Text(Text::FinishReason),
    ),
    row(
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens",
        Take::Count(Count::CacheWrite5m),
    )
    .neutral(),
    row(
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        Take::Count(Count::CacheWrite1h),
    )
    .neutral(),
    row("anthropic.response.service_tier", Take::Text(Text::Tier)).neutral(),
    row("anthropic.request.service_tier", Take::Text(Text::Tier)).neutral(),
    row("anthropic.request.id", Take::Mark),
];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    let name = draft.span.name;
    // Counts tokens and uses none.
    if name == "anthropic.messages.count_tokens" {
        draft.repeats = true;
    }
    if draft.kind.is_some() {
        return;
    }
    let tools = [
        "anthropic.tool_use",
        "anthropic.mcp_tool_use",
        "anthropic.custom_tool_use",
    ];
    if tools.iter().any(|tool| name.starts_with(tool)) {
        draft.kind(Op::ExecuteTool);
    } else if name == "anthropic.messages.tool_runner" {
        draft.kind(Op::InvokeAgent);
    } else if name == "anthropic.messages.create" {
        draft.kind(Op::Chat);
    }
}
