//! LangSmith's exporter: details of usage as Python literals.

use super::prelude::*;
use crate::semconv::usage::raw::python_count;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::LangSmith, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("langsmith.span.kind", Take::Kind(operation::of_kind)),
    row("langsmith.span.tags", Take::Tags),
    row("langsmith.metadata.ls_provider", Take::Text(Text::Provider)),
    row(
        "langsmith.metadata.ls_model_name",
        Take::Text(Text::RequestModel),
    ),
    row("langsmith.usage_metadata", Take::With(usage)),
    row("langsmith.metadata.usage_metadata", Take::With(usage)),
    row(
        "gen_ai.usage.input_token_details",
        Take::With(input_details),
    ),
    row(
        "gen_ai.usage.output_token_details",
        Take::With(output_details),
    ),
    row("langsmith.trace.name", Take::Mark),
    row("langsmith.trace.session_name", Take::Mark),
    row("langsmith.trace.session_id", Take::Mark),
];

fn usage<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    draft.usage_text(Dialect::LangSmith, &value, &[]);
}

fn input_details<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let of = |key| value.as_str().and_then(|text| python_count(text, key));
    draft.count(Dialect::LangSmith, Count::CacheRead, of("cache_read"));
    draft.count(Dialect::LangSmith, Count::CacheWrite, of("cache_creation"));
    draft.count(Dialect::LangSmith, Count::AudioIn, of("audio"));
    draft.count(Dialect::LangSmith, Count::ImageIn, of("image"));
}

fn output_details<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let of = |key| value.as_str().and_then(|text| python_count(text, key));
    draft.count(Dialect::LangSmith, Count::Reasoning, of("reasoning"));
    draft.count(Dialect::LangSmith, Count::AudioOut, of("audio"));
    draft.count(Dialect::LangSmith, Count::ImageOut, of("image"));
}
