//! Spans that were made of the log records of coding agents: the agents' words, of which some mean
//! something in several of them.

use super::prelude::*;
use crate::semconv::DERIVED_FROM;
use crate::semconv::coerce::count;

const NS_PER_MS: f64 = 1e6;

const fn shared(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Otel, key, take).neutral()
}

const fn gemini(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::GeminiCli, key, take).bare()
}

const fn codex(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Codex, key, take).bare()
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    Row::new(Dialect::Pulse, DERIVED_FROM, Take::Mark).hint(),
    shared("input_token_count", Take::With(input)),
    shared("output_token_count", Take::With(output)),
    shared("ttft_ms", Take::With(first_token)),
    codex("cached_token_count", Take::Count(Count::CacheRead)),
    codex("cache_write_token_count", Take::Count(Count::CacheWrite)),
    codex("reasoning_token_count", Take::Count(Count::Reasoning)),
    gemini("cached_content_token_count", Take::Count(Count::CacheRead)),
    gemini("thoughts_token_count", Take::Count(Count::Reasoning)),
    gemini("finish_reasons", Take::Text(Text::FinishReason)),
    gemini("error.message", Take::Text(Text::ErrorMessage)),
];

/// The dialect of the record that a span was made of.
pub(in crate::semconv) fn dialect_of(event: &str) -> Option<Dialect> {
    match event.split_once('.')?.0 {
        "claude_code" => Some(Dialect::ClaudeCode),
        "codex" => Some(Dialect::Codex),
        "gemini_cli" => Some(Dialect::GeminiCli),
        _ => None,
    }
}

/// Whether a span of this name was made of a record of a call.
pub(in crate::semconv) fn is_call(name: &str) -> bool {
    matches!(
        name,
        "claude_code.api_request"
            | "claude_code.api_error"
            | "codex.sse_event"
            | "gemini_cli.api_response"
            | "gemini_cli.api_error"
    )
}

fn input<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    tokens(draft, Count::Input, &value);
}

fn output<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    tokens(draft, Count::Output, &value);
}

fn tokens(draft: &mut Draft<'_>, of: Count, value: &AnyValue<'_>) {
    if let Some(dialect @ (Dialect::Codex | Dialect::GeminiCli)) = draft.dialect {
        draft.count(dialect, of, count(value));
    }
}

fn first_token<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if let Some(Dialect::ClaudeCode | Dialect::Codex) = draft.dialect {
        draft.first_token_in(&value, NS_PER_MS);
    }
}
