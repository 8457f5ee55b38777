//! What is wrong with a body or a query, in the words and the key order of the older servers.

use super::json::Json;
use super::scalar::{DATETIME_PATTERN, UUID_PATTERN};

/// Largest integer that a double tells from its neighbours.
const SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;
const SAFE_NOTE: &str = "Integers must be within the safe integer range.";

/// Where in a body or a query: an index and a name, or one of them, or neither.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Index in the body's array.
    pub index: Option<usize>,
    /// Name of the field.
    pub name: Option<&'a str>,
}

impl Place<'_> {
    fn path(self) -> Json {
        let index = self.index.map(Json::count);
        let name = self.name.map(Json::text);
        Json::List(index.into_iter().chain(name).collect())
    }
}

/// A value of the wrong type; `None` is one that is missing.
#[must_use]
pub fn wrong_type(expected: &str, value: Option<&Json>, place: Place<'_>) -> Json {
    let received = match value {
        None => "undefined",
        Some(Json::Null) => "null",
        Some(Json::Bool(_)) => "boolean",
        Some(Json::Number(_)) => "number",
        Some(Json::Text(_)) => "string",
        Some(Json::List(_)) => "array",
        Some(Json::Map(_)) => "object",
    };
    let message = format!("Invalid input: expected {expected}, received {received}");
    Json::map([
        ("expected", Json::text(expected)),
        ("code", Json::text("invalid_type")),
        ("path", place.path()),
        ("message", Json::text(message)),
    ])
}

/// A parameter that is no finite number.
#[must_use]
pub fn not_a_number(received: &str, place: Place<'_>) -> Json {
    let shown = if received == "NaN" { "NaN" } else { "number" };
    let message = format!("Invalid input: expected number, received {shown}");
    Json::map([
        ("expected", Json::text("number")),
        ("code", Json::text("invalid_type")),
        ("received", Json::text(received)),
        ("path", place.path()),
        ("message", Json::text(message)),
    ])
}

/// A text that is none of those allowed, or no text.
#[must_use]
pub fn not_one_of(allowed: &[&str], place: Place<'_>) -> Json {
    let quoted: Vec<_> = allowed.iter().map(|it| format!("\"{it}\"")).collect();
    let message = format!("Invalid option: expected one of {}", quoted.join("|"));
    let values = allowed.iter().map(|it| Json::text(*it)).collect();
    Json::map([
        ("code", Json::text("invalid_value")),
        ("values", Json::List(values)),
        ("path", place.path()),
        ("message", Json::text(message)),
    ])
}

/// A text with a character that no stored text has.
#[must_use]
pub fn nul(place: Place<'_>) -> Json {
    wrong_format(
        "regex",
        r"/^[^\0]*$/",
        "Invalid string: must not have a NUL",
        place,
    )
}

/// A text that is no UUID.
#[must_use]
pub fn not_a_uuid(place: Place<'_>) -> Json {
    wrong_format("uuid", UUID_PATTERN, "Invalid UUID", place)
}

/// A text that is no time.
#[must_use]
pub fn not_a_datetime(place: Place<'_>) -> Json {
    let message = "Invalid ISO datetime";
    wrong_format("datetime", DATETIME_PATTERN, message, place)
}

fn wrong_format(format: &str, pattern: &str, message: &str, place: Place<'_>) -> Json {
    Json::map([
        ("origin", Json::text("string")),
        ("code", Json::text("invalid_format")),
        ("format", Json::text(format)),
        ("pattern", Json::text(pattern)),
        ("path", place.path()),
        ("message", Json::text(message)),
    ])
}

/// A text without a character.
#[must_use]
pub fn empty_text(place: Place<'_>) -> Json {
    let message = "Too small: expected string to have >=1 characters";
    bound(
        "string",
        ("too_small", "minimum"),
        1.0,
        message.to_owned(),
        place,
    )
}

/// A number below the least allowed.
#[must_use]
pub fn too_small(minimum: f64, place: Place<'_>) -> Json {
    let shown = Json::Number(minimum);
    let message = format!("Too small: expected number to be >={shown}");
    bound("number", ("too_small", "minimum"), minimum, message, place)
}

/// A number above the largest allowed.
#[must_use]
pub fn too_big(maximum: f64, place: Place<'_>) -> Json {
    let shown = Json::Number(maximum);
    let message = format!("Too big: expected number to be <={shown}");
    bound("number", ("too_big", "maximum"), maximum, message, place)
}

/// An array with too many items.
#[must_use]
pub fn too_many(maximum: f64) -> Json {
    let shown = Json::Number(maximum);
    let message = format!("Too big: expected array to have <={shown} items");
    let place = Place::default();
    bound("array", ("too_big", "maximum"), maximum, message, place)
}

fn bound(
    origin: &str,
    (code, limit): (&str, &str),
    value: f64,
    message: String,
    place: Place<'_>,
) -> Json {
    Json::map([
        ("origin", Json::text(origin)),
        ("code", Json::text(code)),
        (limit, Json::Number(value)),
        ("inclusive", Json::Bool(true)),
        ("path", place.path()),
        ("message", Json::text(message)),
    ])
}

/// What is wrong with a number that should be a safe integer from `minimum` on; nothing further is
/// said of one with a fraction.
#[must_use]
pub fn integer(value: f64, minimum: f64, place: Place<'_>) -> Vec<Json> {
    if value.fract() != 0.0 {
        return vec![Json::map([
            ("expected", Json::text("int")),
            ("format", Json::text("safeint")),
            ("code", Json::text("invalid_type")),
            ("path", place.path()),
            (
                "message",
                Json::text("Invalid input: expected int, received number"),
            ),
        ])];
    }
    let mut issues = Vec::new();
    if value > SAFE_INTEGER {
        let words = ("too_big", "maximum", "Too big", "<=");
        issues.push(unsafe_integer(words, SAFE_INTEGER, place));
    }
    if value < -SAFE_INTEGER {
        let words = ("too_small", "minimum", "Too small", ">=");
        issues.push(unsafe_integer(words, -SAFE_INTEGER, place));
    }
    if value < minimum {
        issues.push(too_small(minimum, place));
    }
    issues
}

fn unsafe_integer(
    (code, limit, words, sign): (&str, &str, &str, &str),
    bound: f64,
    place: Place<'_>,
) -> Json {
    let bound = Json::Number(bound);
    let message = format!("{words}: expected int to be {sign}{bound}");
    Json::map([
        ("code", Json::text(code)),
        (limit, bound),
        ("note", Json::text(SAFE_NOTE)),
        ("origin", Json::text("int")),
        ("inclusive", Json::Bool(true)),
        ("path", place.path()),
        ("message", Json::text(message)),
    ])
}
