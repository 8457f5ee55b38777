//! Genkit: input and output as JSON; models are named `provider/model`.

use super::prelude::*;
use crate::semconv::coerce::text;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Genkit, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("genkit:metadata:subtype", Take::Kind(operation::of_kind)),
    row("genkit:type", Take::With(kind)),
    row("genkit:name", Take::With(name)),
    row("genkit:output", Take::With(output)),
    row("genkit:input", Take::Mark),
    row("genkit:path", Take::Mark),
    row("genkit:sessionId", Take::Text(Text::Session)),
];

/// Steps without a kind of their own.
fn kind<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if text(&value).is_some() {
        draft.weak_kind = draft.weak_kind.or(Some(Op::Chain));
    }
}

fn name<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(name) = text(&value) else { return };
    match draft.kind {
        Some(op) if op.is_model() => draft.set(Text::RequestModel, name),
        Some(_) => draft.set(Text::EntityName, name),
        None => {}
    }
}

fn output<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    if !draft.kind.is_some_and(Op::is_model) {
        return;
    }
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    if let Some(usage) = json.get("usage") {
        draft.usage_object(Dialect::Genkit, usage);
    }
    if let Some(reason) = json.get("finishReason").and_then(Json::as_text) {
        draft.set_reason(reason.to_owned().into());
    }
}
