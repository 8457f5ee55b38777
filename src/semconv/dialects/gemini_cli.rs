//! Gemini CLI: operations by names of its own; output without thoughts. Its spans leave out cached
//! tokens and thoughts, which are charged for; the log records that come with them do not, and
//! are what counts.

use super::agents;
use super::prelude::*;
use crate::semconv::usage::Reported;

pub(in crate::semconv) const ROWS: &[Row] =
    &[Row::new(Dialect::GeminiCli, "installation.id", Take::Mark).bare()];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    draft.usage.habits.reasoning_beside_output = Some(true);
    if agents::is_call(draft.span.name) {
        draft.kind(Op::Chat);
    } else {
        draft.usage = Reported::default();
        draft.repeats = true;
    }
}
