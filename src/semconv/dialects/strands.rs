//! Strands agents: the OpenTelemetry conventions, content in events, times in milliseconds.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Strands, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("event_loop.cycle_id", Take::Mark),
    row("event_loop.parent_cycle_id", Take::Mark),
];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    if draft.kind.is_some() {
        return;
    }
    // The names of early versions.
    let name = draft.span.name;
    if name == "Model invoke" {
        draft.kind(Op::Chat);
    } else if let Some(tool) = name.strip_prefix("Tool: ") {
        draft.kind(Op::ExecuteTool);
        draft.set(Text::ToolName, tool);
    } else if name.starts_with("Cycle ") {
        draft.kind(Op::Chain);
    }
}
