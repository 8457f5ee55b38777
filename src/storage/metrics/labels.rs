//! Attributes of series as they are stored and shown: JSON objects of bounded size.
//!
//! What is cut is cut for show only: a series' identity is of all that was sent.

use serde_json::{Map, Value};

use super::identity::sorted;
use crate::otlp::protobuf::{AnyValue, KeyValues};

/// Attributes kept of a series, and of its resource and scope each.
const ATTRIBUTES_MAX: usize = 128;
/// Bytes of a text that are kept.
const TEXT_BYTES_MAX: usize = 512;

/// The text as both stores can hold it: short, and without U+0000, for which U+FFFD stands.
#[must_use]
pub fn clean(text: &str) -> String {
    let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
    let text = text.get(..cut).unwrap_or_default();
    text.replace('\0', "\u{fffd}")
}

/// Attributes as an object; of several with one key the first.
#[must_use]
pub fn object(attributes: &KeyValues<'_>) -> Map<String, Value> {
    let sorted = sorted(attributes).into_iter().take(ATTRIBUTES_MAX);
    let pairs = sorted.map(|attribute| (clean(attribute.key), value(&attribute.value)));
    pairs.collect()
}

fn value(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Empty => Value::Null,
        AnyValue::Bool(value) => Value::Bool(*value),
        AnyValue::Int(value) => Value::from(*value),
        AnyValue::Double(value) if value.is_finite() => Value::from(*value),
        AnyValue::Array(_) | AnyValue::KvList(_) => {
            let text = value.text();
            let whole = (text.len() <= TEXT_BYTES_MAX && !text.contains("\\u0000"))
                .then(|| serde_json::from_str(&text).ok())
                .flatten();
            whole.unwrap_or_else(|| Value::String(clean(&text)))
        }
        AnyValue::Double(_) | AnyValue::Str(_) | AnyValue::Bytes(_) => {
            Value::String(clean(&value.text()))
        }
    }
}

/// The text of a value, as filters and groups see it.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(double) if !number.is_i64() && !number.is_u64() => {
                AnyValue::Double(double).text().into_owned()
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filtered_by_their_text() {
        for (value, text) in [
            (Value::Null, ""),
            (Value::from("a"), "a"),
            (Value::from(true), "true"),
            (Value::from(7), "7"),
            (Value::from(-7), "-7"),
            (Value::from(1.0), "1"),
            (Value::from(0.5), "0.5"),
            (serde_json::json!(["a", 1]), r#"["a",1]"#),
        ] {
            assert_eq!(text_of(&value), text);
        }
        assert_eq!(clean("a\0b"), "a\u{fffd}b");
        assert_eq!(clean(&"é".repeat(300)).len(), TEXT_BYTES_MAX);
    }
}
