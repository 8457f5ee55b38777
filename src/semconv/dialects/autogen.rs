//! AutoGen: messages between agents; model calls are other instrumentations'.

use super::prelude::*;

pub(in crate::semconv) const ROWS: &[Row] = &[Row::new(
    Dialect::AutoGen,
    "recipient_agent_class",
    Take::Text(Text::AgentName),
)
.bare()];
