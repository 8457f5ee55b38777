//! Codex CLI: hundreds of spans per turn. Those named `handle_responses` that have usage are model
//! calls, but know neither model nor session; the span of the turn has the sum and knows both, so it
//! is what counts.

use super::agents;
use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Codex, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row(
        "codex.usage.reasoning_output_tokens",
        Take::Count(Count::Reasoning),
    ),
    row("codex.usage.total_tokens", Take::Count(Count::Total)),
    row(
        "codex.turn.token_usage.input_tokens",
        Take::Count(Count::Input),
    ),
    row(
        "codex.turn.token_usage.cached_input_tokens",
        Take::Count(Count::CacheRead),
    ),
    row(
        "codex.turn.token_usage.output_tokens",
        Take::Count(Count::Output),
    ),
    row(
        "codex.turn.token_usage.reasoning_output_tokens",
        Take::Count(Count::Reasoning),
    ),
    row(
        "codex.turn.token_usage.total_tokens",
        Take::Count(Count::Total),
    ),
];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    if draft.kind.is_some() {
        return;
    }
    match draft.span.name {
        "handle_responses" if draft.usage.has_counts() => {
            draft.kind(Op::Chat);
            draft.repeats = true;
        }
        name if agents::is_call(name) => draft.kind(Op::Chat),
        "session_task.turn" => {
            draft.kind(Op::InvokeAgent);
            draft.sums_calls = draft.usage.has_counts();
        }
        _ => {}
    }
}
