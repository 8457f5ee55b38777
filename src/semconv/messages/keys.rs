//! Which attributes hold what was said, for who wants to tell them from others without reading them.

use super::{places, shape, tools};

/// Keys beside those of the tables; one that ends with a dot stands for those below it.
const OTHERS: [&str; 15] = [
    "ai.response.",
    "ai.result.",
    "ai.toolCall.",
    "ai.value",
    "ai.values",
    "all_messages_events",
    "embedding.embeddings.",
    "gen_ai.retrieval.documents",
    "pydantic_ai.all_messages",
    "reranker.input_documents.",
    "reranker.output_documents.",
    "reranker.query",
    "retrieval.documents.",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
];

/// Events whose attributes are what was said.
const EVENTS: [&str; 4] = [
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
    "gen_ai.client.inference.operation.details",
    "tool.output",
];

/// Whether the attribute of this key, of the event of this name if any, is one that messages,
/// arguments, results or documents of a model's call are read from, in any dialect.
#[must_use]
pub fn holds_messages(event: Option<&str>, key: &str) -> bool {
    let is_said = |event: &str| EVENTS.contains(&event) || shape::role_of_event(event).is_some();
    event.is_some_and(is_said)
        || places::keys()
            .chain(tools::keys())
            .chain(OTHERS)
            .any(|known| is_key(known, key))
}

fn is_key(known: &str, key: &str) -> bool {
    key == known || (known.ends_with('.') && key.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_with_messages_are_told_from_others() {
        for key in [
            "gen_ai.input.messages",
            "gen_ai.prompt",
            "gen_ai.prompt.0.content",
            "llm.input_messages.3.message.content",
            "input.value",
            "ai.response.text",
            "gen_ai.tool.call.arguments",
            "llm.tools.0.tool.json_schema",
            "retrieval.documents.0.document.content",
        ] {
            assert!(holds_messages(None, key), "{key}");
        }
        for key in [
            "http.route",
            "gen_ai.request.model",
            "gen_ai",
            "input.values",
            "",
        ] {
            assert!(!holds_messages(None, key), "{key}");
        }
        assert!(holds_messages(Some("gen_ai.user.message"), "content"));
        assert!(holds_messages(Some("my event"), "gen_ai.prompt"));
        assert!(!holds_messages(Some("exception"), "exception.message"));
    }
}
