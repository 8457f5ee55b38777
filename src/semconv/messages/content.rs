//! Which attributes and events hold what was said, whatever the dialect: for who must not keep it.
//!
//! The keys are those that messages, tool calls and documents are read from, and some that nothing is
//! read from but that hold the same once more.

use super::{documents, places, shape, tools};
use crate::otlp::protobuf::{AnyValue, LogRecord};

/// Keys that hold content and that nothing is read from. A `*` stands for any text.
const MORE_KEYS: &[&str] = &[
    // Lists as one text, where others have flat keys.
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.choices",
    "llm.completions*",
    "llm.tools",
    "llm.request.functions",
    // A tool's own span repeats its definition.
    "tool.description",
    "tool.json_schema",
    "gen_ai.tool.description",
    "embedding.text",
    "retrieval.documents",
    // What a prompt was made from, and parameters with the system's text in them.
    "llm.prompt_template.template",
    "llm.prompt_template.variables",
    "llm.invocation_parameters",
    "gen_ai.prompt.variable*",
    "traceloop.prompt.template",
    "traceloop.prompt.template_variables",
    "langfuse.observation.prompt.variables",
    "crew_inputs",
    "crew_agents",
    "formatted_description",
    // What the client saw, word for word.
    "llm.*.messages",
    "llm.*.choices",
    "llm.*.input",
    "llm.*.output",
    "llm.*.prompt",
    "llm.*.content",
    "lmnr.sdk.raw.*",
    "pulse.input_text",
    // Vectors give texts away, too.
    "ai.embedding",
    "ai.embeddings",
    "gen_ai.retrieval.query.text",
    "gen_ai.evaluation.explanation",
    "lk.input_text",
    "lk.user_input",
    "lk.user_transcript",
    "lk.instructions",
];

/// Events that are messages or hold some, besides those that `shape` has roles for.
const EVENTS: &[&str] = &[
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
    "gen_ai.client.inference.operation.details",
    "llm.content.completion.chunk",
    "gen_ai.content.completion.chunk",
    "gen_ai.evaluation.result",
    "tool.output",
];

/// Attributes of such events that say nothing of the content.
const EVENT_FACTS: &[&str] = &[
    "event.name",
    "finish_reason",
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.system",
    "id",
    "index",
    "role",
];

/// Prefixes of more such attributes.
const EVENT_FACT_PREFIXES: &[&str] = &["gen_ai.request.", "gen_ai.response.", "gen_ai.usage."];

/// The keys of attributes that hold content. One that ends in a dot stands for all below it, a `*`
/// for any text, dots included.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    let read = places::keys().chain(tools::keys()).chain(documents::KEYS);
    read.chain(MORE_KEYS.iter().copied())
}

/// The keys of attributes that hold content. A `*` stands for any text, dots included.
pub fn key_globs() -> impl Iterator<Item = String> {
    keys().map(|key| match key.strip_suffix('.') {
        Some(_) => format!("{key}*"),
        None => key.to_owned(),
    })
}

/// Whether an event is a message, or holds some.
#[must_use]
pub fn is_in_event(name: &str) -> bool {
    shape::role_of_event(name).is_some() || EVENTS.contains(&name)
}

/// Starts of bodies that are messages though nothing names them (Spring AI).
const BODIES: &[&str] = &["Chat Model Prompt Content:", "Chat Model Completion:"];

/// Log records of coding agents that hold what was said, without the agent's name before it.
const AGENT_EVENTS: &[&str] = &[
    "user_prompt",
    "assistant_response",
    "api_request",
    "api_response",
    "api_request_body",
    "api_response_body",
    "tool_call",
    "tool_decision",
    "tool_result",
];

/// Attributes of those that say what was said.
const AGENT_CONTENT: &[&str] = &[
    "prompt",
    "response",
    "request_text",
    "response_text",
    "function_args",
    "tool_input",
    "tool_parameters",
    "tool_output",
    "arguments",
    "output",
    "body",
    "content",
];

/// Where in a log record content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InRecord {
    /// Where the keys of attributes say so.
    Keys,
    /// In the body, and in all attributes that are not known to be harmless.
    Everywhere,
    /// In some attributes of a coding agent.
    Agent,
}

impl InRecord {
    /// Finds out for a log record.
    #[must_use]
    pub fn of(record: &LogRecord<'_>) -> Self {
        let name = record.name();
        let body = record.body();
        let body = AnyValue::parse(&body).unwrap_or_default();
        let body = body.as_str().unwrap_or_default().trim_start();
        if is_in_event(name) || BODIES.iter().any(|start| body.starts_with(start)) {
            return Self::Everywhere;
        }
        let name = name.rsplit('.').next().unwrap_or_default();
        if AGENT_EVENTS.contains(&name) {
            Self::Agent
        } else {
            Self::Keys
        }
    }

    /// Whether an attribute holds content that its key alone does not tell of.
    #[must_use]
    pub fn is_in_attribute(self, key: &str) -> bool {
        match self {
            Self::Keys => false,
            Self::Everywhere => is_in_event_attribute(key),
            Self::Agent => AGENT_CONTENT.contains(&key),
        }
    }

    /// Whether the body is content.
    #[must_use]
    pub fn is_in_body(self) -> bool {
        self == Self::Everywhere
    }
}

/// Whether an attribute of such an event holds content. What is not known to be harmless does.
#[must_use]
pub fn is_in_event_attribute(key: &str) -> bool {
    let is_fact = EVENT_FACTS.contains(&key)
        || EVENT_FACT_PREFIXES
            .iter()
            .any(|prefix| key.starts_with(prefix));
    !is_fact
}
