//! What of an OTLP span is checked beyond OTLP, and what is overlooked.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::issue::{self, Place};
use super::json::Json;
use super::names;
use super::schema::{KINDS, SOURCES};

/// Largest number of a span kind.
const SPAN_KIND_MAX: f64 = 5.0;
/// Largest number of a status code.
const STATUS_MAX: f64 = 2.0;

/// A text attribute that is not empty.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(attributes, key)? {
        Value::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().rev().find(|it| it.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn number(attributes: &[KeyValue], key: &str) -> Option<f64> {
    match value(attributes, key)? {
        Value::StringValue(text) => text.trim().parse().ok(),
        Value::DoubleValue(number) => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "only its sign counts")]
        Value::IntValue(number) => Some(*number as f64),
        _ => None,
    }
}

/// Checks what a span of the older servers had to be.
///
/// # Errors
/// The message of the first failure.
pub(super) fn attributes(attributes: &[KeyValue]) -> Result<(), String> {
    let mut issues = Vec::new();
    let place = Place::default();
    for (key, allowed) in [(names::SOURCE, SOURCES), (names::KIND, KINDS)] {
        if text(attributes, key).is_some_and(|text| !allowed.contains(&text)) {
            issues.push(issue::not_one_of(allowed, place));
        }
    }
    for key in [names::GENAI_INPUT_TOKENS, names::GENAI_OUTPUT_TOKENS] {
        if let Some(number) = number(attributes, key) {
            issues.extend(issue::integer(number, 0.0, place));
        }
    }
    if number(attributes, names::COST_CENTS).is_some_and(|cents| cents < 0.0) {
        issues.push(issue::too_small(0.0, place));
    }
    match issues.first().and_then(|it| it.get("message")?.as_text()) {
        Some(message) => Err(message.to_owned()),
        None => Ok(()),
    }
}

/// The status of a span, of which only what OTLP knows is left.
pub(super) fn status(json: Option<&Json>) -> Json {
    let code = json.and_then(|status| status.get("code"));
    let names = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
    let code = known(code, &names, STATUS_MAX);
    let message = json.and_then(|status| status.get("message"));
    let message = message.and_then(Json::as_text).unwrap_or_default();
    Json::map([("code", code), ("message", Json::text(message))])
}

/// The kind of a span, if OTLP knows it.
pub(super) fn kind(json: Option<&Json>) -> Json {
    let names = [
        "SPAN_KIND_UNSPECIFIED",
        "SPAN_KIND_INTERNAL",
        "SPAN_KIND_SERVER",
        "SPAN_KIND_CLIENT",
        "SPAN_KIND_PRODUCER",
        "SPAN_KIND_CONSUMER",
    ];
    known(json, &names, SPAN_KIND_MAX)
}

/// A name or a number that is known, else zero.
fn known(json: Option<&Json>, names: &[&str], max: f64) -> Json {
    match json {
        Some(Json::Text(text)) if names.contains(&text.as_str()) => Json::text(text.clone()),
        Some(Json::Number(number)) if number.fract() == 0.0 && (0.0..=max).contains(number) => {
            Json::Number(*number)
        }
        _ => Json::Number(0.0),
    }
}
