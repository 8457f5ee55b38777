//! Columns that only GenAI spans have, after the OpenTelemetry GenAI conventions.

use std::borrow::Cow;

use super::{Value, cut};
use crate::model::genai::GenAi;

/// Operations that are one call of a model; all others repeat or add nothing to usage.
const MODEL_CALLS: [&str; 4] = ["chat", "text_completion", "generate_content", "embeddings"];

/// Columns with several names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    ResponseId,
    AgentName,
    AgentId,
    ToolName,
    ToolCallId,
    Input,
    Output,
    CacheRead,
    CacheWrite,
    Reasoning,
}

const COLUMN_COUNT: usize = 10;

/// Collects the columns, in any order of attributes.
#[derive(Debug, Default)]
pub(super) struct Collector<'a> {
    genai: GenAi<'a>,
    ranks: [u8; COLUMN_COUNT],
}

/// Which column a key feeds, and the rank of the name among the column's names (1 is best).
pub(super) fn column_of(key: &[u8]) -> Option<(Column, u8)> {
    let found = match key {
        b"gen_ai.response.id" => (Column::ResponseId, 1),
        b"gen_ai.agent.name" => (Column::AgentName, 1),
        b"gen_ai.agent.id" => (Column::AgentId, 1),
        b"gen_ai.tool.name" => (Column::ToolName, 1),
        b"gen_ai.tool.call.id" => (Column::ToolCallId, 1),
        b"gen_ai.usage.input_tokens" => (Column::Input, 1),
        b"gen_ai.usage.prompt_tokens" => (Column::Input, 2),
        b"gen_ai.usage.output_tokens" => (Column::Output, 1),
        b"gen_ai.usage.completion_tokens" => (Column::Output, 2),
        b"gen_ai.usage.cache_read.input_tokens" => (Column::CacheRead, 1),
        b"gen_ai.usage.cache_creation.input_tokens" => (Column::CacheWrite, 1),
        b"gen_ai.usage.reasoning.output_tokens" => (Column::Reasoning, 1),
        _ => return None,
    };
    Some(found)
}

impl<'a> Collector<'a> {
    /// Takes an attribute that feeds a column.
    pub(super) fn take(&mut self, column: Column, rank: u8, value: Value<'a>) {
        let usable = match column {
            Column::Input
            | Column::Output
            | Column::CacheRead
            | Column::CacheWrite
            | Column::Reasoning => matches!(value, Value::Integer(0..)),
            _ => matches!(value, Value::Text(text) if !text.is_empty()),
        };
        let Some(best) = self.ranks.get_mut(column as usize) else {
            return;
        };
        if !usable || (*best != 0 && rank > *best) {
            return;
        }
        *best = rank;
        let genai = &mut self.genai;
        match value {
            Value::Text(text) => {
                let text = Some(Cow::Borrowed(cut(text)));
                match column {
                    Column::ResponseId => genai.response_id = text,
                    Column::AgentName => genai.agent_name = text,
                    Column::AgentId => genai.agent_id = text,
                    Column::ToolName => genai.tool_name = text,
                    Column::ToolCallId => genai.tool_call_id = text,
                    _ => {}
                }
            }
            Value::Integer(number) => {
                let usage = &mut genai.usage;
                match column {
                    Column::Input => usage.input = Some(number),
                    Column::Output => usage.output = Some(number),
                    Column::CacheRead => usage.cache_read = Some(number),
                    Column::CacheWrite => usage.cache_write = Some(number),
                    Column::Reasoning => usage.reasoning = Some(number),
                    _ => {}
                }
            }
            Value::Other => {}
        }
    }

    /// The columns of a span with this operation.
    pub(super) fn finish(mut self, operation: &str) -> GenAi<'a> {
        self.genai.dialect = Some(Cow::Borrowed("otel"));
        self.genai.is_model_call = MODEL_CALLS.contains(&operation);
        self.genai
    }
}
