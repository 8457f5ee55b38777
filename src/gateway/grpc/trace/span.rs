//! A stored span as native clients have it: what was sent, and in `gen_ai` what it means.

use prost::Message as _;
use serde::Serialize;

use super::super::summary;
use crate::gateway::render;
use crate::receivers::native::proto::{GenAi, Span};
use crate::receivers::native::{lift, tidy};
use crate::semconv::messages::{Json, Messages};
use crate::storage::{Error, SpanEvents, StoredSpan};

/// Decodes a span, and says in `gen_ai` what it and its events tell of the work of a model.
///
/// # Errors
/// [`Error::Corrupt`] when the stored message is not what it should be.
pub(super) fn native(stored: &StoredSpan, events: &SpanEvents) -> Result<Span, Error> {
    let mut span = Span::decode(stored.message.as_slice()).map_err(|source| Error::Corrupt {
        context: format!("span message: {source}"),
    })?;
    lift(&mut span);
    let mut gen_ai = span.gen_ai.take().unwrap_or_default();
    summary::fill(&mut gen_ai, &stored.summary);
    if stored.summary.genai.is_some()
        && let Some(messages) = render::messages(stored, &events.events)
    {
        fill(&mut gen_ai, messages);
    }
    span.gen_ai = (gen_ai != GenAi::default()).then_some(gen_ai);
    Ok(span)
}

/// Fills in messages that the sender did not put where the fields take theirs from.
fn fill(gen_ai: &mut GenAi, messages: Messages) {
    fill_list(&mut gen_ai.input_messages, &messages.input_messages);
    fill_list(&mut gen_ai.output_messages, &messages.output_messages);
    fill_list(
        &mut gen_ai.system_instructions,
        &messages.system_instructions,
    );
    fill_list(&mut gen_ai.tool_definitions, &messages.tool_definitions);
    if let Some(call) = messages.tool_call {
        let tool = gen_ai.tool.get_or_insert_default();
        fill_value(&mut tool.arguments, call.arguments);
        fill_value(&mut tool.result, call.result);
    }
    tidy(gen_ai);
}

fn fill_list(text: &mut String, list: &[impl Serialize]) {
    if text.is_empty() && !list.is_empty() {
        *text = json(list);
    }
}

/// A text is itself, anything else JSON.
fn fill_value(text: &mut String, value: Option<Json>) {
    if text.is_empty() {
        *text = match value {
            None | Some(Json::Null) => String::new(),
            Some(Json::Text(value)) => value,
            Some(value) => json(&value),
        };
    }
}

/// What was read as JSON always serializes.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
