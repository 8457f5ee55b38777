//! Langfuse: JSON in text values; session, user and tags of the trace on every span.

use super::prelude::*;
use crate::semconv::coerce::{nanos, unquoted};
use crate::semconv::json::Json;
use crate::semconv::usage::raw;
use crate::semconv::usage::{Counts, Habits};

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Langfuse, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("langfuse.observation.type", Take::With(kind)),
    row(
        "langfuse.observation.model.name",
        Take::Quoted(Text::RequestModel),
    ),
    row("langfuse.observation.usage_details", Take::With(usage)),
    row("langfuse.observation.cost_details", Take::With(cost)),
    row(
        "langfuse.observation.completion_start_time",
        Take::With(completion_start),
    ),
    row(
        "langfuse.observation.status_message",
        Take::Text(Text::ErrorMessage),
    ),
    row("langfuse.observation.name", Take::Text(Text::EntityName)),
    row("langfuse.observation.level", Take::Mark),
    row("langfuse.observation.input", Take::Mark),
    row("langfuse.observation.output", Take::Mark),
    row("langfuse.observation.model.parameters", Take::Mark),
    row("langfuse.trace.name", Take::Mark),
    row("langfuse.trace.tags", Take::Tags),
    row("langfuse.trace.input", Take::Mark),
    row("langfuse.trace.output", Take::Mark),
];

fn kind<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(text) = value.as_str() else { return };
    match &*unquoted(text) {
        // What every span is that nobody called anything else.
        "span" => draft.weak_kind = draft.weak_kind.or(Some(Op::Chain)),
        "event" => draft.weak_kind = draft.weak_kind.or(Some(Op::Other("event"))),
        other => {
            if let Some(op) = operation::of_kind(other) {
                draft.kind(op);
            }
        }
    }
}

/// Counts written by hand are buckets that add up; a wrapper passes the provider's object on.
fn usage<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let Json::Map(entries) = &json else { return };
    let is_providers = entries.iter().any(|(key, value)| {
        matches!(value, Json::Map(_))
            || matches!(
                key.as_str(),
                "prompt_tokens" | "total_tokens" | "completion_tokens"
            )
    });
    if is_providers {
        let (counts, habits) = raw::read(&json);
        draft.usage.record(Dialect::Langfuse, &counts, habits);
        return;
    }
    let mut counts = Counts::default();
    let detail = |names: &[&str]| json.first(names).and_then(Json::as_count);
    counts.put(Count::Input, sum(entries, is_input));
    counts.put(Count::Output, sum(entries, is_output));
    counts.put(
        Count::CacheRead,
        detail(&[
            "input_cached_tokens",
            "cache_read_input_tokens",
            "input_cache_read",
        ]),
    );
    counts.put(
        Count::CacheWrite,
        detail(&["cache_creation_input_tokens", "input_cache_creation"]),
    );
    counts.put(
        Count::Reasoning,
        detail(&["output_reasoning_tokens", "output_reasoning"]),
    );
    counts.put(
        Count::AudioIn,
        detail(&["input_audio_tokens", "input_audio"]),
    );
    counts.put(
        Count::AudioOut,
        detail(&["output_audio_tokens", "output_audio"]),
    );
    counts.put(
        Count::ImageIn,
        detail(&["input_image_tokens", "input_image"]),
    );
    counts.put(
        Count::ImageOut,
        detail(&["output_image_tokens", "output_image"]),
    );
    if counts.get(Count::Input).is_none() && counts.get(Count::Output).is_none() {
        counts.put(Count::Input, detail(&["total"]));
    }
    let habits = Habits {
        cache_beside_input: Some(false),
        reasoning_beside_output: Some(false),
    };
    draft.usage.record(Dialect::Langfuse, &counts, habits);
}

fn is_input(key: &str) -> bool {
    key == "input" || key.starts_with("input_") || key.starts_with("cache_")
}

fn is_output(key: &str) -> bool {
    key == "output" || key.starts_with("output_")
}

fn sum(entries: &[(String, Json)], counts: fn(&str) -> bool) -> Option<i64> {
    let mut found = entries
        .iter()
        .filter(|(key, _)| counts(key))
        .filter_map(|(_, value)| value.as_count());
    let first = found.next()?;
    Some(found.fold(first, i64::saturating_add))
}

fn cost<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(Json::Map(entries)) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let usd = |counts: fn(&str) -> bool| {
        let parts = entries.iter().filter(|(key, _)| counts(key));
        nanos(parts.filter_map(|(_, value)| value.as_number()).sum(), 1e9)
    };
    draft.money(Money::Input, usd(is_input));
    draft.money(Money::Output, usd(is_output));
    draft.money(
        Money::Total,
        usd(|key| key == "total").or_else(|| usd(|key| key != "total")),
    );
}

/// A time, as a JSON string.
fn completion_start<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(text) = value.as_str() else { return };
    let Ok(time) = unquoted(text).parse::<jiff::Timestamp>() else {
        return;
    };
    let after = time.as_nanosecond() - i128::from(draft.span.start_unix_nano);
    let after = i64::try_from(after).ok().filter(|after| *after > 0);
    draft.first_token = draft.first_token.or(after);
}
