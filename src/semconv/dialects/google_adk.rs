//! Google's Agent Development Kit: requests and responses as JSON, `{}` where there is none.

use super::prelude::*;
use crate::semconv::coerce::text;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::GoogleAdk, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("gcp.vertex.agent.llm_request", Take::With(request)),
    row("gcp.vertex.agent.llm_response", Take::With(response)),
    row("gcp.vertex.agent.tool_call_args", Take::Mark),
    row("gcp.vertex.agent.tool_response", Take::Mark),
    row("gcp.vertex.agent.invocation_id", Take::Mark),
    row("gcp.vertex.agent.event_id", Take::Mark),
];

/// Only the span of a call has a request; early versions say it nowhere else.
fn request<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if text(&value).is_some() {
        draft.kind(Op::Llm);
    }
}

/// Thoughts and cached tokens are only here in early versions.
fn response<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    if let Some(usage) = json.get("usage_metadata") {
        draft.usage_object(Dialect::GoogleAdk, usage);
    }
    if let Some(reason) = json.get("finish_reason").and_then(Json::as_text) {
        draft.set_reason(reason.to_owned().into());
    }
}

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    if draft.has_native_claude() {
        draft.usage.habits.cache_beside_input = Some(true);
    }
    // The names of early versions.
    if draft.span.name == "invocation" && draft.kind.is_none() {
        draft.kind(Op::Workflow);
    } else if draft.span.name.starts_with("agent_run") && draft.kind.is_none() {
        draft.kind(Op::InvokeAgent);
    }
}
