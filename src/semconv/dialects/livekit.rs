//! LiveKit agents.

use super::prelude::*;
use crate::semconv::coerce::nanos;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::LiveKit, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("lk.function_tool.name", Take::With(tool)),
    row("lk.function_tool.id", Take::Text(Text::ToolCallId)),
    row("lk.llm_metrics", Take::With(metrics)),
    row("lk.agent_name", Take::Text(Text::AgentName)),
    row("lk.chat_ctx", Take::Mark),
    row("lk.response.text", Take::Mark),
];

fn tool<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if let Some(name) = crate::semconv::coerce::text(&value) {
        draft.kind(Op::ExecuteTool);
        draft.set(Text::ToolName, name);
    }
}

fn metrics<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    draft.usage_object(Dialect::LiveKit, &json);
    let seconds = json.get("ttft").and_then(Json::as_number);
    let first = seconds.and_then(|it| nanos(it, 1e9));
    draft.first_token = draft.first_token.or(first);
}
