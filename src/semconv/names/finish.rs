//! Why a model stopped.

use super::Lower;

/// The common name of a reason; `None` when it is not known.
pub(in crate::semconv) fn canonical(reason: &str) -> Option<&'static str> {
    // Enums are written with their type: `FinishReason.STOP`, `finishreason.tool_calls`.
    let bare = reason.rsplit(['.', ':']).next().unwrap_or(reason);
    let name = Lower::new(bare.trim())?;
    let canonical = match name.as_str() {
        "stop" | "end_turn" | "stop_sequence" | "complete" | "completed" | "eos" | "eos_token"
        | "finished" | "end" => "stop",
        "length" | "max_tokens" | "max_output_tokens" | "model_length" | "incomplete"
        | "max_token" => "length",
        "tool_call" | "tool_calls" | "tool-calls" | "tool_use" | "function_call"
        | "functioncall" => "tool_call",
        "content_filter"
        | "content-filter"
        | "content_filtered"
        | "safety"
        | "recitation"
        | "blocklist"
        | "prohibited_content"
        | "spii"
        | "refusal"
        | "guardrail_intervened"
        | "image_safety" => "content_filter",
        "error" | "malformed_function_call" | "failed" | "cancelled" => "error",
        _ => return None,
    };
    Some(canonical)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn spellings_have_one_name() {
        let spellings = [
            ("STOP", "stop"),
            ("end_turn", "stop"),
            ("FinishReason.STOP", "stop"),
            ("FinishReason.TOOL_CALLS", "tool_call"),
            ("tool-calls", "tool_call"),
            ("MAX_TOKENS", "length"),
            ("SAFETY", "content_filter"),
        ];
        for (sent, expected) in spellings {
            assert_eq!(canonical(sent), Some(expected), "{sent}");
        }
        assert_eq!(canonical("pause_turn"), None);
        assert_eq!(canonical(&"x".repeat(500)), None);
    }
}
