//! OpenLIT: the OpenTelemetry conventions; says a time to the first token of answers that are not
//! streamed, too, where it is the duration.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::OpenLit, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("openlit.agent.version_hash", Take::Mark),
    row("gen_ai.application_name", Take::Mark),
    row("gen_ai.content.reasoning", Take::Mark),
];

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    if draft.streaming != Some(true) {
        draft.first_token = None;
    }
}
