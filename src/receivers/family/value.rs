//! JSON as OTLP values.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use serde_json::Value;

use crate::receivers::pulse::json::Json;

/// Levels of arrays and objects; what is deeper becomes its text. Protobuf readers give up somewhat
/// further down.
const LEVELS_MAX: usize = 16;
/// Largest number below which all whole ones are told apart.
const SAFE_INTEGER: f64 = 9_007_199_254_740_992.0;

/// An attribute.
#[must_use]
pub fn attribute(key: impl Into<String>, value: Any) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// An attribute that is a text.
#[must_use]
pub fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(key, Any::StringValue(value.into()))
}

/// A value whose numbers are exact.
#[must_use]
pub fn of_value(value: &Value) -> Option<Any> {
    exact(value, 0)
}

/// A value whose numbers are doubles.
#[must_use]
pub fn of_json(value: &Json) -> Option<Any> {
    double(value, 0)
}

fn list(values: impl Iterator<Item = Option<Any>>) -> Any {
    Any::ArrayValue(ArrayValue {
        values: values.map(|value| AnyValue { value }).collect(),
    })
}

fn map(entries: impl Iterator<Item = (String, Option<Any>)>) -> Any {
    Any::KvlistValue(KeyValueList {
        values: entries
            .map(|(key, value)| KeyValue {
                key,
                value: Some(AnyValue { value }),
                ..KeyValue::default()
            })
            .collect(),
    })
}

fn exact(value: &Value, level: usize) -> Option<Any> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => Any::BoolValue(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::IntValue(whole),
            // Beyond 63 bits as its digits.
            (None, _) if number.is_u64() => Any::StringValue(number.to_string()),
            (None, Some(double)) => Any::DoubleValue(double),
            (None, None) => Any::StringValue(number.to_string()),
        },
        Value::String(text) => Any::StringValue(text.clone()),
        _ if level >= LEVELS_MAX => Any::StringValue(value.to_string()),
        Value::Array(values) => list(values.iter().map(|value| exact(value, level + 1))),
        Value::Object(entries) => {
            let entries = entries.iter();
            map(entries.map(|(key, value)| (key.clone(), exact(value, level + 1))))
        }
    })
}

fn double(value: &Json, level: usize) -> Option<Any> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Any::BoolValue(*flag),
        Json::Number(number) => of_number(*number),
        Json::Text(text) => Any::StringValue(text.clone()),
        _ if level >= LEVELS_MAX => Any::StringValue(value.to_string()),
        Json::List(values) => list(values.iter().map(|value| double(value, level + 1))),
        Json::Map(entries) => {
            let entries = entries.iter();
            map(entries.map(|(key, value)| (key.clone(), double(value, level + 1))))
        }
    })
}

/// A number, as a whole one where that is exact.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole and within what both types tell exactly"
)]
pub fn of_number(number: f64) -> Any {
    if number.fract() == 0.0 && number.abs() < SAFE_INTEGER {
        Any::IntValue(number as i64)
    } else {
        Any::DoubleValue(number)
    }
}

/// The JSON of a stored value.
#[must_use]
pub fn to_json(value: Option<Any>) -> Json {
    match value {
        None | Some(Any::BytesValue(_) | Any::StringValueStrindex(_)) => Json::Null,
        Some(Any::BoolValue(flag)) => Json::Bool(flag),
        #[expect(clippy::cast_precision_loss, reason = "came from a double")]
        Some(Any::IntValue(whole)) => Json::Number(whole as f64),
        Some(Any::DoubleValue(number)) => Json::Number(number),
        Some(Any::StringValue(text)) => Json::Text(text),
        Some(Any::ArrayValue(list)) => {
            let values = list.values.into_iter();
            Json::List(values.map(|it| to_json(it.value)).collect())
        }
        Some(Any::KvlistValue(map)) => {
            let entries = map.values.into_iter();
            let value = |it: Option<AnyValue>| to_json(it.and_then(|it| it.value));
            Json::Map(entries.map(|it| (it.key, value(it.value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"{"a":[1,1.5,"x",null,true,{"b":{}}],"z":-9007199254740991,"e":[]}"#;

    #[test]
    fn what_goes_in_comes_out() {
        let json = Json::parse(ALL.as_bytes()).unwrap();
        assert_eq!(to_json(of_json(&json)).to_string(), json.to_string());
        let value: Value = serde_json::from_str(ALL).unwrap();
        let back = to_json(of_value(&value)).to_string();
        assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), value);
    }

    #[test]
    fn whole_numbers_are_exact_where_the_sender_has_them() {
        let value: Value =
            serde_json::from_str("[9223372036854775807,18446744073709551615]").unwrap();
        let Some(Any::ArrayValue(list)) = of_value(&value) else {
            panic!("a list")
        };
        let values: Vec<_> = list.values.into_iter().map(|it| it.value).collect();
        let digits = Any::StringValue("18446744073709551615".to_owned());
        assert_eq!(values, [Some(Any::IntValue(i64::MAX)), Some(digits)]);
    }

    #[test]
    fn what_is_too_deep_becomes_a_text() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        let (mut value, mut levels) = (of_json(&Json::parse(deep.as_bytes()).unwrap()), 0);
        while let Some(Any::ArrayValue(mut list)) = value {
            value = list.values.remove(0).value;
            levels += 1;
        }
        assert_eq!(levels, LEVELS_MAX);
        assert_eq!(
            value,
            Some(Any::StringValue("[".repeat(84) + &"]".repeat(84)))
        );
        let value: Value = serde_json::from_str(&deep).unwrap();
        assert!(of_value(&value).is_some());
    }
}
