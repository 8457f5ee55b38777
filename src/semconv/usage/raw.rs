//! Usage objects of providers and libraries, passed through as JSON or as Python literals.

use super::{Count, Counts, Habits};
use crate::semconv::json::Json;

/// Names of counts, by path, the better ones first.
const PATHS: [(Count, &[&[&str]]); 11] = [
    (
        Count::Input,
        &[
            &["input_tokens"],
            &["prompt_tokens"],
            &["inputTokens"],
            &["promptTokens"],
            &["promptTokenCount"],
            &["prompt_token_count"],
            &["input"],
        ],
    ),
    (
        Count::Output,
        &[
            &["output_tokens"],
            &["completion_tokens"],
            &["outputTokens"],
            &["completionTokens"],
            &["candidatesTokenCount"],
            &["candidates_token_count"],
            &["output"],
        ],
    ),
    (
        Count::Total,
        &[
            &["total_tokens"],
            &["totalTokens"],
            &["totalTokenCount"],
            &["total_token_count"],
            &["total"],
        ],
    ),
    (
        Count::CacheRead,
        &[
            &["prompt_tokens_details", "cached_tokens"],
            &["input_tokens_details", "cached_tokens"],
            &["input_token_details", "cache_read"],
            &["cache_read_input_tokens"],
            &["cacheReadInputTokens"],
            &["cacheReadInputTokenCount"],
            &["cachedContentTokenCount"],
            &["cached_content_token_count"],
            &["cachedContentTokens"],
            &["cachedInputTokens"],
            &["input_cached_tokens"],
            &["cache_read_tokens"],
            &["prompt_cached_tokens"],
        ],
    ),
    (
        Count::CacheWrite,
        &[
            &["prompt_tokens_details", "cache_write_tokens"],
            &["prompt_tokens_details", "cache_creation_tokens"],
            &["input_token_details", "cache_creation"],
            &["cache_creation_input_tokens"],
            &["cacheWriteInputTokens"],
            &["cacheCreationInputTokens"],
            &["cache_write_tokens"],
            &["input_cache_creation"],
        ],
    ),
    (
        Count::CacheWrite1h,
        &[&["cache_creation", "ephemeral_1h_input_tokens"]],
    ),
    (
        Count::Reasoning,
        &[
            &["completion_tokens_details", "reasoning_tokens"],
            &["output_tokens_details", "reasoning_tokens"],
            &["output_token_details", "reasoning"],
            &["thoughtsTokenCount"],
            &["thoughts_token_count"],
            &["thoughtsTokens"],
            &["reasoning_tokens"],
            &["output_reasoning_tokens"],
        ],
    ),
    (
        Count::AudioIn,
        &[
            &["prompt_tokens_details", "audio_tokens"],
            &["input_tokens_details", "audio_tokens"],
            &["input_token_details", "audio"],
        ],
    ),
    (
        Count::AudioOut,
        &[
            &["completion_tokens_details", "audio_tokens"],
            &["output_tokens_details", "audio_tokens"],
            &["output_token_details", "audio"],
        ],
    ),
    (
        Count::ImageIn,
        &[
            &["prompt_tokens_details", "image_tokens"],
            &["input_tokens_details", "image_tokens"],
            &["input_token_details", "image"],
        ],
    ),
    (
        Count::ImageOut,
        &[
            &["completion_tokens_details", "image_tokens"],
            &["output_tokens_details", "image_tokens"],
            &["output_token_details", "image"],
        ],
    ),
];

/// Where Gemini counts by kind of content: `[{"modality": "IMAGE", "tokenCount": 1290}]`.
struct ByModality {
    names: [&'static str; 2],
    audio: Count,
    image: Count,
}

const BY_MODALITY: [ByModality; 2] = [
    ByModality {
        names: ["promptTokensDetails", "prompt_tokens_details"],
        audio: Count::AudioIn,
        image: Count::ImageIn,
    },
    ByModality {
        names: ["candidatesTokensDetails", "candidates_tokens_details"],
        audio: Count::AudioOut,
        image: Count::ImageOut,
    },
];

fn read_modalities(usage: &Json, counts: &mut Counts) {
    for by in &BY_MODALITY {
        let Some(Json::List(details)) = usage.first(&by.names) else {
            continue;
        };
        for detail in details {
            let count = match detail.get("modality").and_then(Json::as_text) {
                Some("AUDIO") => by.audio,
                Some("IMAGE") => by.image,
                _ => continue,
            };
            let number = detail.first(&["tokenCount", "token_count"]);
            if let Some(number) = number.and_then(Json::as_count) {
                counts.set(count, number);
            }
        }
    }
}

/// Reads a usage object, and the habits that its key names tell.
pub(in crate::semconv) fn read(usage: &Json) -> (Counts, Habits) {
    let mut counts = Counts::default();
    for (count, paths) in PATHS {
        let found = paths.iter().find_map(|path| usage.at(path)?.as_count());
        counts.put(count, found);
    }
    read_modalities(usage, &mut counts);
    let has = |key| usage.get(key).is_some();
    let is_gemini = has("candidatesTokenCount") || has("candidates_token_count");
    // Anthropic's and Bedrock's own objects. A library that computes a total has made them its own.
    let is_anthropic = has("input_tokens")
        && (has("cache_read_input_tokens") || has("cache_creation_input_tokens"))
        && counts.get(Count::Total).is_none();
    let is_bedrock = has("inputTokens") && has("cacheReadInputTokens");
    let habits = Habits {
        cache_beside_input: (is_anthropic || is_bedrock).then_some(true),
        reasoning_beside_output: is_gemini.then_some(true),
    };
    (counts, habits)
}

/// A count in a Python literal: `{'audio': 0, 'cache_read': 40}`, `Usage(cached_tokens=40)`.
pub(in crate::semconv) fn python_count(literal: &str, key: &str) -> Option<i64> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = literal;
    loop {
        let (before, after) = rest.split_once(key)?;
        let value = after.trim_start_matches(['\'', '"']).trim_start();
        if !before.ends_with(is_of_name)
            && let Some(value) = value.strip_prefix([':', '='])
        {
            let value = value.trim_start();
            let end = value.find(|c: char| !c.is_ascii_digit());
            let digits = value.get(..end.unwrap_or(value.len()));
            if let Some(number) = digits.and_then(|it| it.parse().ok()) {
                return Some(number);
            }
        }
        rest = after;
    }
}
