//! MLflow: every value is JSON, some twice.

use super::prelude::*;
use crate::semconv::coerce::nanos;
use crate::semconv::json::Json;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Mlflow, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("mlflow.spanType", Take::Kind(operation::of_kind)),
    row("mlflow.llm.provider", Take::Quoted(Text::Provider)),
    row("mlflow.llm.model", Take::Quoted(Text::RequestModel)),
    row("mlflow.chat.tokenUsage", Take::With(usage)),
    row("mlflow.llm.cost", Take::With(cost)),
    row("mlflow.spanOutputs", Take::With(outputs)),
    row("mlflow.spanInputs", Take::Mark),
    row("mlflow.traceRequestId", Take::Mark),
    row("mlflow.spanFunctionName", Take::Mark),
];

fn usage<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    draft.usage_text(Dialect::Mlflow, &value, &[]);
}

fn cost<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let usd = |key| nanos(json.get(key)?.as_number()?, 1e9);
    draft.money(Money::Input, usd("input_cost"));
    draft.money(Money::Output, usd("output_cost"));
    draft.money(Money::Total, usd("total_cost"));
}

/// The answer of the provider: its id, the model that answered, the reason it ended, and for
/// embeddings the usage are nowhere else.
fn outputs<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let Some(json) = value.as_str().and_then(Json::parse_container) else {
        return;
    };
    let of = |path: &[&str]| json.at(path).and_then(Json::as_text).map(str::to_owned);
    if let Some(id) = of(&["id"]) {
        draft.set_cow(Text::ResponseId, id.into());
    }
    if let Some(model) = of(&["model"]) {
        draft.set_cow(Text::ResponseModel, model.into());
    }
    let reason = of(&["choices", "*", "finish_reason"]).or_else(|| of(&["stop_reason"]));
    if let Some(reason) = reason {
        draft.set_reason(reason.into());
    }
    if let Some(usage) = json.get("usage") {
        draft.usage_object(Dialect::Mlflow, usage);
    }
}
