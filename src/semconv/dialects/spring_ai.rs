//! Spring AI: the OpenTelemetry conventions with numbers as text; its chat client wraps the call.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::SpringAi, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("spring.ai.kind", Take::Mark),
    row("spring.ai.chat.client.stream", Take::Streaming),
    row("spring.ai.chat.client.advisors", Take::Mark),
];
