//! JSON as the older servers read and wrote it: objects keep the order of their keys, of equal
//! keys the last counts, numbers are doubles and are written as JavaScript writes them.

mod number;

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Values of one text at most: bounds the memory of texts such as `[0,0,0,…]`.
const VALUES_MAX: usize = 2_000_000;
/// Objects with more keys look for equal ones by a map.
const FEW_KEYS: usize = 8;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object, without equal keys.
    Map(Vec<(String, Self)>),
}

/// The text is not JSON, or has more levels or values than are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

impl Json {
    /// Reads a text, at most 128 levels deep.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(text).map_err(|_| Invalid)?;
        let whole = without_lone_surrogates(text);
        let text = whole.as_deref().unwrap_or(text);
        let mut values = 0;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Seed(&mut values).deserialize(&mut deserializer);
        let value = value.map_err(|_| Invalid)?;
        deserializer.end().map_err(|_| Invalid)?;
        Ok(value)
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A text, or null.
    pub fn text_or_null(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// A count. Counts beyond 2^53 are as exact as a double.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Number(u32::try_from(count).map_or(f64::from(u32::MAX), f64::from))
    }

    /// An object.
    pub fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Self)>) -> Self {
        let entries = entries.into_iter();
        Self::Map(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// The value of a key of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries
                .iter()
                .find_map(|(name, value)| (name == key).then_some(value)),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The values, if it is an array.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// What JavaScript takes as false.
    #[must_use]
    pub fn is_falsy(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Number(number) => *number == 0.0,
            Self::Text(text) => text.is_empty(),
            _ => false,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(value) => out.push_str(&number::written(*value)),
            Self::Text(text) => write_text(text, out),
            Self::List(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl fmt::Display for Json {
    /// The text, without spaces.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        formatter.write_str(&out)
    }
}

fn write_text(text: &str, out: &mut String) {
    // Strings always serialize.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// The text with the replacement character for halves of surrogate pairs, which JavaScript's
/// cutting of texts leaves behind; `None` when there are none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return None;
    }
    let bytes = text.as_bytes();
    let unit = |at: usize| -> Option<u32> {
        let escape = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let (mut at, mut kept) = (0, 0);
    while at < bytes.len() {
        if bytes.get(at) != Some(&b'\\') {
            at += 1;
            continue;
        }
        let length = match unit(at) {
            None => 2,
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.push_str(text.get(kept..at)?);
                out.push_str("\\ufffd");
                kept = at + 6;
                6
            }
            Some(_) => 6,
        };
        at += length;
    }
    out.push_str(text.get(kept..)?);
    Some(out)
}

/// Reads a value, and counts it.
struct Seed<'c>(&'c mut usize);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        *self.0 += 1;
        if *self.0 > VALUES_MAX {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    #[expect(clippy::as_conversions, reason = "numbers are doubles here")]
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    #[expect(clippy::as_conversions, reason = "numbers are doubles here")]
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Seed(&mut *self.0))? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Seed(&mut *self.0))?;
            if entries.len() == FEW_KEYS {
                let known = entries.iter().enumerate();
                places = known.map(|(at, (key, _))| (key.clone(), at)).collect();
            }
            let place = if entries.len() < FEW_KEYS {
                entries.iter().position(|(known, _)| *known == key)
            } else {
                places.get(&key).copied()
            };
            match place.and_then(|place| entries.get_mut(place)) {
                Some((_, known)) => *known = value,
                None => {
                    if entries.len() >= FEW_KEYS {
                        places.insert(key.clone(), entries.len());
                    }
                    entries.push((key, value));
                }
            }
        }
        Ok(Json::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> String {
        Json::parse(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (read, written) in [
            ("1.0", "1"),
            ("-0", "0"),
            ("0.00045", "0.00045"),
            ("0.000001", "0.000001"),
            ("1e-7", "1e-7"),
            ("1.25e-9", "1.25e-9"),
            ("12345678901234567890", "12345678901234567000"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("-12.50", "-12.5"),
            ("123456.789", "123456.789"),
            ("9007199254740993", "9007199254740992"),
        ] {
            assert_eq!(again(read), written);
        }
    }

    #[test]
    fn keys_keep_their_order_and_the_last_of_equal_ones_counts() {
        assert_eq!(
            again(r#"{ "b": 1, "a": {"z":[], "y": null}, "b": 2 }"#),
            r#"{"b":2,"a":{"z":[],"y":null}}"#
        );
        let many = (0..20).chain(5..7).map(|n| format!("\"k{}\":{n}", n % 20));
        let text = format!("{{{}}}", many.collect::<Vec<_>>().join(","));
        let Json::Map(entries) = Json::parse(text.as_bytes()).unwrap() else {
            panic!("an object")
        };
        assert_eq!(entries.len(), 20);
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        assert_eq!(again(r#""a\ud83d""#), "\"a\u{fffd}\"");
        assert_eq!(again(r#""\udc00\uD83D\uDE00""#), "\"\u{fffd}\u{1f600}\"");
        assert_eq!(again(r#""\\ud83d""#), r#""\\ud83d""#);
    }

    #[test]
    fn what_is_too_deep_or_no_json_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in ["", "{", "nul", "[1,]", "1 2", "'a'", &deep] {
            assert_eq!(Json::parse(text.as_bytes()), Err(Invalid), "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), Err(Invalid));
    }

    proptest! {
        // Scenario: any bytes, and any text with escapes.
        // Guarantees: never a panic, and what was read is written so that it reads the same.
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(Json::parse(&bytes));
        }

        #[test]
        fn what_is_written_reads_the_same(text in r#"[\[\]{}",:0-9a-e.\\u \-]{0,40}"#) {
            if let Ok(json) = Json::parse(text.as_bytes()) {
                let written = json.to_string();
                prop_assert_eq!(Json::parse(written.as_bytes()), Ok(json));
            }
        }
    }
}
