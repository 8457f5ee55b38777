//! Pydantic AI: the OpenTelemetry conventions; agents repeat the sum of their calls.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::PydanticAi, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("agent_name", Take::Text(Text::AgentName)).bare(),
    row("model_name", Take::Text(Text::RequestModel)).bare(),
    row("pydantic_ai.all_messages", Take::Mark),
    row("all_messages_events", Take::Mark),
    row("gen_ai.aggregated_usage.input_tokens", Take::Mark),
    row("gen_ai.aggregated_usage.output_tokens", Take::Mark),
    row("pydantic_ai.cache.hit_ratio", Take::Mark),
    row("model_request_parameters", Take::Mark),
];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    if draft.kind.is_some() {
        return;
    }
    let name = draft.span.name;
    if name == "running tool" || name.starts_with("running tool:") {
        draft.kind(Op::ExecuteTool);
    } else if name.starts_with("running ") && (name.ends_with(" tools") || name.ends_with(" tool"))
    {
        draft.kind(Op::Chain);
    } else if name == "agent run" || draft.text(Text::AgentName).is_some() {
        draft.kind(Op::InvokeAgent);
    }
}
