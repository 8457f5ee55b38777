//! Logfire: requests and responses as JSON; a streamed call is two spans, of which the later one
//! has the answer; spans that are still open are announced by a span of their own.

use super::prelude::*;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Logfire, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("logfire.span_type", Take::With(span_type)).neutral(),
    row("logfire.tags", Take::Tags).neutral(),
    row("gen_ai.usage.raw", Take::With(usage)),
    row("request_data", Take::With(request)).bare(),
    row("response_data", Take::Mark).bare(),
];

fn span_type<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if value.as_str() == Some("pending_span") {
        draft.repeats = true;
    }
}

fn usage<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    draft.usage_text(Dialect::Logfire, &value, &[]);
}

fn request<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    if let Some(model) = json.get("model").and_then(Json::as_text) {
        draft.set_cow(Text::RequestModel, model.to_owned().into());
    }
    if let Some(Json::Bool(streaming)) = json.get("stream") {
        draft.streaming = draft.streaming.or(Some(*streaming));
    }
}

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    draft.counts_with_usage = draft.streaming == Some(true);
}
