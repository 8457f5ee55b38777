//! Which attributes hold what was said, for who wants to tell them from others without reading them.

use super::content;

/// Whether the attribute of this key, of the event of this name if any, is one that holds what was
/// said to a model or by it, arguments, results or documents, in any dialect.
#[must_use]
pub fn holds_messages(event: Option<&str>, key: &str) -> bool {
    let is_said = |event| content::is_in_event(event) && content::is_in_event_attribute(key);
    event.is_some_and(is_said) || content::keys().any(|known| is_key(known, key))
}

/// A key that ends with a dot stands for those below it; a `*` stands for any text.
fn is_key(known: &str, key: &str) -> bool {
    match known.split_once('*') {
        Some((start, end)) => key
            .strip_prefix(start)
            .is_some_and(|rest| rest.ends_with(end)),
        None => key == known || (known.ends_with('.') && key.starts_with(known)),
    }
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
            "llm.input_messages",
            "llm.input_messages.3.message.content",
            "llm.openai.messages",
            "input.value",
            "ai.response.text",
            "gen_ai.tool.call.arguments",
            "llm.tools.0.tool.json_schema",
            "retrieval.documents.0.document.content",
            "reranker.query",
        ] {
            assert!(holds_messages(None, key), "{key}");
        }
        for key in [
            "http.route",
            "gen_ai.request.model",
            "gen_ai",
            "input.values",
            "llm.messages",
            "",
        ] {
            assert!(!holds_messages(None, key), "{key}");
        }
        assert!(holds_messages(Some("gen_ai.user.message"), "content"));
        assert!(!holds_messages(Some("gen_ai.user.message"), "role"));
        assert!(holds_messages(Some("my event"), "gen_ai.prompt"));
        assert!(!holds_messages(Some("exception"), "exception.message"));
    }

    // Scenario: every key that content is known by, as the patterns that redaction is given.
    // Guarantees: at most one `*`, so that a search takes the same attributes for messages.
    #[test]
    fn a_pattern_has_one_star_at_most() {
        for key in content::key_globs() {
            assert!(key.matches('*').count() <= 1, "{key}");
            assert!(holds_messages(None, &key.replace('*', "x")), "{key}");
        }
    }
}
