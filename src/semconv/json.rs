//! JSON whose objects keep the order of their keys: the arguments of a tool call are shown as the
//! model wrote them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::otlp::protobuf::AnyValue;

/// Levels of an attribute value that are looked into; deeper ones are null.
const DEPTH_MAX: u32 = 64;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Json {
    /// Null.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object; keys may repeat, and the first of a key is found.
    Map(Vec<(String, Self)>),
}

impl Json {
    /// Reads JSON text. Depth is bounded by the reader.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads JSON text that is an object or a list, encoded twice at most.
    pub(super) fn parse_container(text: &str) -> Option<Self> {
        let text = text.trim_start();
        if !text.starts_with(['{', '[', '"']) {
            return None;
        }
        match Self::parse(text)? {
            Self::Text(inner) if inner.trim_start().starts_with(['{', '[']) => Self::parse(&inner),
            container @ (Self::List(_) | Self::Map(_)) => Some(container),
            _ => None,
        }
    }

    /// The value of a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The first of some keys that has a value other than null.
    pub(super) fn first(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter()
            .filter_map(|key| self.get(key))
            .find(|value| !matches!(value, Self::Null))
    }

    /// The value at a path of keys; a `*` stands for the first element of a list.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, step| match value {
            Self::List(items) if *step == "*" => items.first(),
            other => other.get(step),
        })
    }

    /// Takes the value of a key out of an object.
    pub(super) fn take(&mut self, key: &str) -> Option<Self> {
        match self {
            Self::Map(entries) => {
                let place = entries.iter().position(|(name, _)| name == key)?;
                Some(entries.remove(place).1)
            }
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A count: a whole number that is not negative, or decimal digits.
    pub(super) fn as_count(&self) -> Option<i64> {
        let count = match self {
            Self::Number(number) => number
                .as_i64()
                .or_else(|| super::coerce::whole(number.as_f64()?))?,
            Self::Text(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        (count >= 0).then_some(count)
    }

    /// A finite number.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64().filter(|it| it.is_finite()),
            Self::Text(text) => text.trim().parse().ok().filter(|it: &f64| it.is_finite()),
            _ => None,
        }
    }

    /// Whether it says nothing: null, or an empty text, list or object.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(_) | Self::Number(_) => false,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
        }
    }

    /// Compact JSON text.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// An attribute value as JSON: bytes as base64, numbers that JSON does not have as text.
    pub(super) fn of(value: &AnyValue<'_>) -> Self {
        Self::of_nested(value, DEPTH_MAX)
    }

    fn of_nested(value: &AnyValue<'_>, depth: u32) -> Self {
        let Some(deeper) = depth.checked_sub(1) else {
            return Self::Null;
        };
        match *value {
            AnyValue::Empty => Self::Null,
            AnyValue::Str(text) => Self::Text(text.to_owned()),
            AnyValue::Bool(truth) => Self::Bool(truth),
            AnyValue::Int(number) => Self::Number(number.into()),
            AnyValue::Double(number) => serde_json::Number::from_f64(number)
                .map_or_else(|| Self::Text(value.text().into_owned()), Self::Number),
            AnyValue::Bytes(_) => Self::Text(value.text().into_owned()),
            AnyValue::Array(list) => Self::List(
                list.iter()
                    .map(|item| Self::of_nested(&item, deeper))
                    .collect(),
            ),
            AnyValue::KvList(list) => Self::Map(
                list.iter()
                    .map(|pair| (pair.key.to_owned(), Self::of_nested(&pair.value, deeper)))
                    .collect(),
            ),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_the_order_of_their_keys() {
        let text = r#"{"z":1,"a":[true,null,-2.5],"m":{"y":"é","b":""}}"#;
        assert_eq!(Json::parse(text).unwrap().to_text(), text);
    }

    #[test]
    fn containers_may_be_encoded_twice() {
        let twice = serde_json::to_string(r#"{"a":1}"#).unwrap();
        let found = Json::parse_container(&twice).unwrap();
        assert_eq!(found.get("a").and_then(Json::as_count), Some(1));
        assert_eq!(Json::parse_container("\"text\""), None);
        assert_eq!(Json::parse_container("7"), None);
        assert_eq!(Json::parse_container("[1,"), None);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert_eq!(Json::parse(&deep), None);
    }
}
