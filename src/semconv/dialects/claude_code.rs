//! Claude Code's spans: bare keys, input without cached tokens.

use super::agents;
use super::prelude::*;
use crate::semconv::coerce::{nanos, number};

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::ClaudeCode, key, take).bare()
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("span.type", Take::With(kind)).hint(),
    row("input_tokens", Take::Count(Count::Input)),
    row("output_tokens", Take::Count(Count::Output)),
    row("cache_read_tokens", Take::Count(Count::CacheRead)),
    row("cache_creation_tokens", Take::Count(Count::CacheWrite)),
    row("cache_creation_5m_tokens", Take::Count(Count::CacheWrite5m)),
    row("cache_creation_1h_tokens", Take::Count(Count::CacheWrite1h)),
    row("cost_usd_micros", Take::With(cost_micros)),
    row("cost_usd", Take::Money(Money::Total)),
    row("request_id", Take::Text(Text::ResponseId)),
    row("stop_reason", Take::Text(Text::FinishReason)),
    row("tool_name", Take::Text(Text::ToolName)),
    row("tool_use_id", Take::Text(Text::ToolCallId)),
    row("speed", Take::Text(Text::Tier)),
    row("error_class", Take::Text(Text::ErrorType)),
    row("error", Take::Text(Text::ErrorMessage)),
];

/// What a span's `span.type` says; `None` when it is no word of Claude Code's.
pub(in crate::semconv) fn of_span_type(word: &str) -> Option<Op<'static>> {
    match word {
        "llm_request" => Some(Op::Chat),
        "tool" => Some(Op::ExecuteTool),
        "interaction" => Some(Op::InvokeAgent),
        "tool.execution" | "tool.blocked_on_user" | "hook" => Some(Op::Chain),
        _ => None,
    }
}

fn kind<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if let Some(op) = value.as_str().and_then(of_span_type) {
        draft.kind(op);
    }
}

fn cost_micros<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let amount = number(&value).and_then(|micros| nanos(micros, 1e3));
    draft.money(Money::Total, amount);
}

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    draft.usage.habits.cache_beside_input = Some(true);
    if agents::is_call(draft.span.name) {
        draft.kind(Op::Chat);
    }
    if draft.kind.is_none() {
        let word = draft.span.name.strip_prefix("claude_code.");
        if let Some(op) = word.and_then(of_span_type) {
            draft.kind(op);
        }
    }
}
