//! The attributes of the Pulse SDKs and of the hooks of the Pulse command line.

use super::prelude::*;
use crate::semconv::coerce::{nanos, number};
use crate::semconv::json::Json;

const NANO_USD_PER_CENT: f64 = 1e7;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Pulse, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("pulse.kind", Take::With(kind)),
    row("pulse.event_type", Take::Mark),
    row("pulse.source", Take::Mark),
    row("pulse.model", Take::Text(Text::RequestModel)),
    row("pulse.agent.name", Take::Text(Text::AgentName)),
    row("pulse.tool.name", Take::Text(Text::ToolName)),
    row("pulse.tool.id", Take::Text(Text::ToolCallId)),
    row("pulse.cost_cents", Take::With(cost)),
    row("pulse.error", Take::With(error)),
    row("pulse.tags", Take::Tags).neutral(),
];

/// Comes after the keys of the OpenTelemetry conventions.
pub(in crate::semconv) const LATE_ROWS: &[Row] =
    &[row("pulse.provider", Take::Text(Text::Provider))];

fn kind<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(text) = value.as_str() else { return };
    draft.kind(match text {
        "llm_call" => Op::Llm,
        "tool_use" => Op::ExecuteTool,
        "agent_run" => Op::InvokeAgent,
        "" => return,
        other => Op::Other(other),
    });
}

fn cost<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let amount = number(&value).and_then(|cents| nanos(cents, NANO_USD_PER_CENT));
    draft.money(Money::Total, amount);
}

/// An object with name and message, as JSON or as a map, or a message.
fn error<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if let AnyValue::KvList(list) = value {
        for pair in list.iter() {
            match (pair.key, pair.value.as_str()) {
                ("name", Some(name)) => draft.set(Text::ErrorType, name),
                ("message", Some(message)) => draft.set(Text::ErrorMessage, message),
                _ => {}
            }
        }
        return;
    }
    let Some(text) = value.as_str() else { return };
    let Some(json) = Json::parse_container(text) else {
        draft.set(Text::ErrorMessage, text);
        return;
    };
    for (key, column) in [("name", Text::ErrorType), ("message", Text::ErrorMessage)] {
        if let Some(text) = json.get(key).and_then(Json::as_text) {
            draft.set_cow(column, text.to_owned().into());
        }
    }
}
