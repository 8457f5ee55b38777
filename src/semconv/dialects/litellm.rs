//! LiteLLM: the span of a call, one of the raw request in it, and one of the proxy around it.

use super::prelude::*;
use crate::semconv::usage::raw::python_count;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::LiteLlm, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("litellm.cost.total", Take::Money(Money::Total)),
    row("metadata.usage_object", Take::With(usage)),
    row("litellm.call_id", Take::Mark),
    row("litellm.provider.model", Take::Mark),
    row("hidden_params", Take::Mark).bare(),
];

/// Cached tokens are only in a Python literal.
fn usage<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let of = |keys: &[&str]| {
        let text = value.as_str()?;
        keys.iter().find_map(|key| python_count(text, key))
    };
    let counts = [
        (
            Count::CacheRead,
            of(&["cached_tokens", "cache_read_input_tokens"]),
        ),
        (Count::CacheWrite, of(&["cache_creation_input_tokens"])),
        (Count::Reasoning, of(&["reasoning_tokens"])),
    ];
    for (count, number) in counts {
        draft.count(Dialect::LiteLlm, count, number);
    }
}

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    match draft.span.name {
        "raw_gen_ai_request" => {
            draft.repeats = true;
            draft.weak_kind = Some(Op::Chain);
        }
        "Received Proxy Server Request" => {
            draft.repeats = true;
            draft.kind = None;
            draft.form = None;
        }
        _ => {}
    }
}
