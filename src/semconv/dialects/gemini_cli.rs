//! Gemini CLI: operations by names of its own; output without thoughts.

use super::agents;
use super::prelude::*;

pub(in crate::semconv) const ROWS: &[Row] =
    &[Row::new(Dialect::GeminiCli, "installation.id", Take::Mark).bare()];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    draft.usage.habits.reasoning_beside_output = Some(true);
    if agents::is_call(draft.span.name) {
        draft.kind(Op::Chat);
    }
}
