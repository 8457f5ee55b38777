//! Microsoft's Agent Framework and Extensions.AI: the OpenTelemetry conventions; native clients of
//! Anthropic and Bedrock pass their counts on.

use super::prelude::*;

pub(in crate::semconv) const ROWS: &[Row] = &[Row::new(
    Dialect::AgentFramework,
    "agent_framework.function.invocation.duration",
    Take::Mark,
)];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    if draft.has_native_claude() {
        draft.usage.habits.cache_beside_input = Some(true);
    }
}
