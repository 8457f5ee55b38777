//! What a span does.

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::semconv) enum Op<'a> {
    /// A call of a language model, of whatever form.
    Llm,
    Chat,
    TextCompletion,
    GenerateContent,
    Embeddings,
    Rerank,
    Retrieval,
    ExecuteTool,
    InvokeAgent,
    CreateAgent,
    Workflow,
    /// A step of a workflow, a chain, a wrapper around a call.
    Chain,
    Guardrail,
    Evaluation,
    Prompt,
    /// One that is not known, as sent.
    Other(&'a str),
}

impl<'a> Op<'a> {
    /// Name stored and served.
    pub(in crate::semconv) const fn as_str(self) -> &'a str {
        match self {
            Self::Llm | Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Retrieval => "retrieval",
            Self::ExecuteTool => "execute_tool",
            Self::InvokeAgent => "invoke_agent",
            Self::CreateAgent => "create_agent",
            Self::Workflow => "workflow",
            Self::Chain => "chain",
            Self::Guardrail => "guardrail",
            Self::Evaluation => "evaluation",
            Self::Prompt => "prompt",
            Self::Other(name) => name,
        }
    }

    /// Whether it is one call of a model; all others repeat or add nothing to usage.
    pub(in crate::semconv) const fn is_model(self) -> bool {
        matches!(
            self,
            Self::Llm
                | Self::Chat
                | Self::TextCompletion
                | Self::GenerateContent
                | Self::Embeddings
                | Self::Rerank
        )
    }
}

/// `gen_ai.operation.name`, old spellings and those of libraries included.
pub(in crate::semconv) fn of_genai(name: &str) -> Option<Op<'static>> {
    let op = match name {
        "chat"
        | "chat.completions"
        | "chat.streaming_completions"
        | "completion"
        | "acompletion"
        | "responses"
        | "aresponses"
        | "llm_call"
        | "message" => Op::Chat,
        "text_completion" | "text.completions" | "text.streaming_completions" => Op::TextCompletion,
        "generate_content" => Op::GenerateContent,
        "embeddings" | "embedding" | "aembedding" => Op::Embeddings,
        "rerank" | "arerank" => Op::Rerank,
        "retrieval" | "search_memory" | "vector_search" => Op::Retrieval,
        "execute_tool" | "tool_call" | "tool" => Op::ExecuteTool,
        "invoke_agent" | "agent_call" | "agent" => Op::InvokeAgent,
        "create_agent" => Op::CreateAgent,
        "invoke_workflow" | "workflow" => Op::Workflow,
        "agent_step"
        | "execute_task"
        | "execute_event_loop_cycle"
        | "chain"
        | "task"
        | "plan"
        | "schedule_tool_calls"
        | "framework"
        | "step" => Op::Chain,
        "guardrail" => Op::Guardrail,
        "evaluation" | "evaluate" => Op::Evaluation,
        _ => return None,
    };
    Some(op)
}

/// Kinds of observations, runs and spans, as tracing products name them, in any case.
pub(in crate::semconv) fn of_kind(name: &str) -> Option<Op<'static>> {
    let name = super::Lower::new(name)?;
    let op = match name.as_str() {
        "llm" | "generation" | "chat_model" | "model" => Op::Llm,
        "chat" => Op::Chat,
        "completion" => Op::TextCompletion,
        "embedding" | "embedder" => Op::Embeddings,
        "reranker" | "rerank" => Op::Rerank,
        "retriever" | "retrieval" => Op::Retrieval,
        "tool" => Op::ExecuteTool,
        "agent" => Op::InvokeAgent,
        "workflow" | "flow" => Op::Workflow,
        "chain" | "task" | "parser" => Op::Chain,
        "guardrail" => Op::Guardrail,
        "evaluator" => Op::Evaluation,
        "prompt" => Op::Prompt,
        _ => return None,
    };
    Some(op)
}
