//! Which attributes and events hold what was said, whatever the dialect: for who must not keep it.
//!
//! The keys are those that messages, tool calls and documents are read from, and some that nothing is
//! read from but that hold the same once more.

use super::{documents, places, shape, tools};

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

/// Whether an attribute of such an event holds content. What is not known to be harmless does.
#[must_use]
pub fn is_in_event_attribute(key: &str) -> bool {
    let is_fact = EVENT_FACTS.contains(&key)
        || EVENT_FACT_PREFIXES
            .iter()
            .any(|prefix| key.starts_with(prefix));
    !is_fact
}
