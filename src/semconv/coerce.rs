//! Values of one type read as another, as far as instrumentations mix them up.

use std::borrow::Cow;

use crate::otlp::protobuf::AnyValue;

/// Longest text copied to a column, in bytes; a longer one is cut, the attribute keeps it whole.
const COLUMN_BYTES_MAX: usize = 512;

/// Largest double whose neighbours are whole.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Cuts a text for a column at a character boundary.
#[must_use]
pub fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(COLUMN_BYTES_MAX))
        .unwrap_or(text)
}

/// A text that says something: not empty, and not what libraries write for nothing.
pub(super) fn usable(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_nothing = matches!(
        text,
        "" | "{}" | "[]" | "None" | "null" | "undefined" | "nil"
    );
    (!is_nothing).then_some(text)
}

/// A text for a column.
pub(super) fn text<'a>(value: &AnyValue<'a>) -> Option<&'a str> {
    usable(value.as_str()?).map(cut)
}

/// The text in a JSON string, or the text as it is; JSON may be encoded twice.
pub(super) fn unquoted(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text.trim());
    for _ in 0..2 {
        let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let Some(inner) = inner else { break };
        if inner.contains('\\') {
            match serde_json::from_str::<String>(&text) {
                Ok(decoded) => text = Cow::Owned(decoded),
                Err(_) => break,
            }
        } else {
            text = match &text {
                Cow::Borrowed(whole) => {
                    Cow::Borrowed(whole.get(1..whole.len() - 1).unwrap_or(whole))
                }
                Cow::Owned(_) => Cow::Owned(inner.to_owned()),
            };
        }
    }
    text
}

/// A count: an integer, a whole double or decimal digits, not negative.
pub(super) fn count(value: &AnyValue<'_>) -> Option<i64> {
    let number = match value {
        AnyValue::Int(number) => *number,
        AnyValue::Double(number) => whole(*number)?,
        AnyValue::Str(text) => {
            let text = text.trim();
            match text.parse() {
                Ok(number) => number,
                Err(_) => whole(text.parse().ok()?)?,
            }
        }
        _ => return None,
    };
    (number >= 0).then_some(number)
}

/// A double as an integer, when it is one.
pub(super) fn whole(number: f64) -> Option<i64> {
    if number.fract() != 0.0 || number.abs() > EXACT_MAX {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, and within the bounds just checked"
    )]
    Some(number as i64)
}

/// A finite number.
pub(super) fn number(value: &AnyValue<'_>) -> Option<f64> {
    let number = match value {
        AnyValue::Int(number) => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "durations and amounts are far below 2^53"
            )]
            let number = *number as f64;
            number
        }
        AnyValue::Double(number) => *number,
        AnyValue::Str(text) => text.trim().trim_matches('"').parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A truth value.
pub(super) fn truth(value: &AnyValue<'_>) -> Option<bool> {
    match value {
        AnyValue::Bool(truth) => Some(*truth),
        AnyValue::Str(text) => match text.trim() {
            "true" | "True" | "1" => Some(true),
            "false" | "False" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// An amount of so many units of a nano each, rounded; `None` when it is not finite, not positive
/// or too large.
pub(super) fn nanos(amount: f64, unit: f64) -> Option<i64> {
    let nanos = (amount * unit).round();
    (nanos > 0.0).then(|| whole(nanos)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_in_several_types() {
        let counts = [
            (AnyValue::Int(7), Some(7)),
            (AnyValue::Double(7.0), Some(7)),
            (AnyValue::Str("7"), Some(7)),
            (AnyValue::Str("7.0"), Some(7)),
            (AnyValue::Double(7.5), None),
            (AnyValue::Double(f64::NAN), None),
            (AnyValue::Double(1e300), None),
            (AnyValue::Int(-1), None),
            (AnyValue::Str("seven"), None),
            (AnyValue::Bool(true), None),
        ];
        for (value, expected) in counts {
            assert_eq!(count(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn json_strings_are_unquoted_twice_at_most() {
        assert_eq!(unquoted("\"CHAT_MODEL\""), "CHAT_MODEL");
        assert_eq!(unquoted(r#""\"LLM\"""#), "LLM");
        assert_eq!(unquoted("plain"), "plain");
        assert_eq!(unquoted("\""), "\"");
        assert_eq!(unquoted("\"\""), "");
    }

    #[test]
    fn what_stands_for_nothing_is_nothing() {
        for nothing in ["", "  ", "{}", "None", "null"] {
            assert_eq!(usable(nothing), None);
        }
        assert_eq!(usable(" a "), Some("a"));
    }

    #[test]
    fn amounts_are_positive_and_finite() {
        assert_eq!(nanos(0.000_45, 1e9), Some(450_000));
        assert_eq!(nanos(0.0, 1e9), None);
        assert_eq!(nanos(f64::INFINITY, 1e9), None);
        assert_eq!(nanos(1e300, 1e9), None);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(300)), "é".repeat(256));
    }
}
