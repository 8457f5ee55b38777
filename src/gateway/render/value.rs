//! OTLP attribute values as JSON.
//!
//! | OTLP | JSON |
//! |---|---|
//! | string, bool | as they are |
//! | int | number; string beyond ±2^53, where a number would lose digits |
//! | double | number; `"NaN"`, `"Infinity"`, `"-Infinity"` as strings |
//! | bytes | base64 string |
//! | array, map | array, object |
//! | none | null |
//!
//! Of attributes with one key the last wins. Depth is bounded by the decoder that read the value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Value};

/// Largest integer whose neighbours a JSON number can tell apart in every client.
const EXACT_MAX: u64 = 1 << 53;

/// Attributes as an object.
pub(super) fn attributes(attributes: Vec<KeyValue>) -> Map<String, Value> {
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, value(attribute.value)))
        .collect()
}

/// Bytes as text.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A value.
pub(super) fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.value) {
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(truth)) => Value::Bool(truth),
        Some(Any::IntValue(number)) if number.unsigned_abs() <= EXACT_MAX => number.into(),
        Some(Any::IntValue(number)) => Value::String(number.to_string()),
        Some(Any::DoubleValue(number)) => double(number),
        Some(Any::BytesValue(bytes)) => Value::String(base64(&bytes)),
        Some(Any::ArrayValue(array)) => array
            .values
            .into_iter()
            .map(|item| value(Some(item)))
            .collect(),
        Some(Any::KvlistValue(list)) => Value::Object(attributes(list.values)),
        // An index into a table of strings has no meaning outside the profiles signal.
        Some(Any::StringValueStrindex(_)) | None => Value::Null,
    }
}

fn double(number: f64) -> Value {
    match serde_json::Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::String("NaN".to_owned()),
        None if number > 0.0 => Value::String("Infinity".to_owned()),
        None => Value::String("-Infinity".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use serde_json::json;

    use super::*;

    fn key_value(key: &str, value: Any) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    #[test]
    fn every_kind_of_value_has_its_json() {
        let array = ArrayValue {
            values: vec![
                AnyValue {
                    value: Some(Any::IntValue(1)),
                },
                AnyValue { value: None },
            ],
        };
        let list = KeyValueList {
            values: vec![key_value("inner", Any::BoolValue(true))],
        };
        let given = vec![
            key_value("text", Any::StringValue("é\u{0}".to_owned())),
            key_value("small", Any::IntValue(-(1 << 53))),
            key_value("large", Any::IntValue((1 << 53) + 1)),
            key_value("least", Any::IntValue(i64::MIN)),
            key_value("half", Any::DoubleValue(0.5)),
            key_value("nan", Any::DoubleValue(f64::NAN)),
            key_value("up", Any::DoubleValue(f64::INFINITY)),
            key_value("down", Any::DoubleValue(f64::NEG_INFINITY)),
            key_value("bytes", Any::BytesValue(vec![255, 254])),
            key_value("array", Any::ArrayValue(array)),
            key_value("map", Any::KvlistValue(list)),
            key_value("twice", Any::IntValue(1)),
            key_value("twice", Any::IntValue(2)),
        ];
        let expected = json!({
            "text": "é\u{0}",
            "small": -9_007_199_254_740_992_i64,
            "large": "9007199254740993",
            "least": "-9223372036854775808",
            "half": 0.5,
            "nan": "NaN",
            "up": "Infinity",
            "down": "-Infinity",
            "bytes": "//4=",
            "array": [1, null],
            "map": {"inner": true},
            "twice": 2,
        });
        assert_eq!(Value::Object(attributes(given)), expected);
    }
}
