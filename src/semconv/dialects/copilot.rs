//! GitHub Copilot: the OpenTelemetry conventions; its costs are premium requests, not dollars.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Copilot, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("github.copilot.turn_id", Take::Mark),
    row("github.copilot.cost", Take::Mark),
    row("github.copilot.nano_aiu", Take::Mark),
    row("github.copilot.git.repository", Take::Mark),
];
