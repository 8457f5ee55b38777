//! Mastra: a generation, and in newer versions its steps in it. The generation has the whole usage
//! in all versions, so that the steps add nothing.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Mastra, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[row("mastra.span.type", Take::With(kind))];

fn kind<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let op = match value.as_str() {
        Some("model_generation" | "llm_generation") => Op::Llm,
        Some("model_step" | "llm_step") => {
            draft.repeats = true;
            Op::Llm
        }
        Some("model_chunk" | "llm_chunk") => {
            draft.repeats = true;
            Op::Chain
        }
        Some("tool_call" | "mcp_tool_call") => Op::ExecuteTool,
        Some("agent_run") => Op::InvokeAgent,
        Some("workflow_run") => Op::Workflow,
        Some(_) => Op::Chain,
        None => return,
    };
    draft.kind(op);
}
