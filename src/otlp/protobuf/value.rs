//! Attributes and their values, read lazily.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::error::DecodeError;
use super::wire::{RECURSION_LIMIT, Reader, fields};

/// One attribute.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyValue<'a> {
    /// Its key; empty when the sender gave none.
    pub key: &'a str,
    /// Its value; absent and empty values are both [`AnyValue::Empty`].
    pub value: AnyValue<'a>,
}

/// An attribute value.
///
/// [`Serialize`] writes it as plain JSON: arrays as arrays, lists as objects, bytes as base64,
/// doubles that JSON has no number for as `"NaN"`, `"Infinity"` and `"-Infinity"`, empty as null.
#[derive(Debug, Clone, Copy, Default)]
pub enum AnyValue<'a> {
    /// Nothing, which is a value of its own.
    #[default]
    Empty,
    /// A string.
    Str(&'a str),
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A floating-point number, possibly NaN or infinite.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of values.
    Array(Array<'a>),
    /// A list of keys and values; keys may repeat.
    KvList(KvList<'a>),
}

/// The values of an array.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a>(Elements<'a>);

/// The pairs of a key-value list.
#[derive(Debug, Clone, Copy)]
pub struct KvList<'a>(Elements<'a>);

/// The `values` of an array or list. Protobuf merges a message that occurs several times, at
/// both levels above, so each level goes on in the one above it when it ends.
#[derive(Debug, Clone, Copy)]
struct Elements<'a> {
    /// Number of the array or list within the value.
    wrapper: u32,
    /// Rest of the array or list being read.
    wrapped: &'a [u8],
    /// Rest of the value it is in.
    value: &'a [u8],
    /// Rest of the attribute that is in; empty when the value is not an attribute's.
    attribute: &'a [u8],
}

const ATTRIBUTE_KEY: u32 = 1;
const ATTRIBUTE_VALUE: u32 = 2;
const ARRAY: u32 = 5;
const KV_LIST: u32 = 6;

impl<'a> KeyValue<'a> {
    /// The key of an encoded `KeyValue`, without a look at the value: for readers that want a few
    /// attributes of many. The bytes are a key that was checked to be UTF-8.
    #[must_use]
    pub fn key_of(bytes: &'a [u8]) -> &'a [u8] {
        const KEY_FIRST: u8 = 0x0a;
        // What every encoder writes: the key first, shorter than 128 bytes.
        if let [KEY_FIRST, length @ ..0x80, rest @ ..] = bytes
            && let Some(key) = rest.get(..usize::from(*length))
        {
            return key;
        }
        Self::parse(bytes).map_or(&[], |attribute| attribute.key.as_bytes())
    }

    /// Reads an encoded `KeyValue`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut attribute = Self::default();
        let mut reader = fields(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                ATTRIBUTE_KEY => attribute.key = field.text("key")?,
                ATTRIBUTE_VALUE => {
                    let value = field.bytes("value")?;
                    attribute.value.merge(fields(value), reader.rest())?;
                }
                _ => {}
            }
        }
        Ok(attribute)
    }
}

impl<'a> AnyValue<'a> {
    /// Reads an encoded `AnyValue`.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut value = Self::Empty;
        value.merge(fields(bytes), &[])?;
        Ok(value)
    }

    /// Takes over what one encoded value says; `attribute` is what follows it in its attribute.
    fn merge(&mut self, mut reader: Reader<'a>, attribute: &'a [u8]) -> Result<(), DecodeError> {
        loop {
            let elements = Elements {
                wrapper: ARRAY,
                wrapped: &[],
                value: reader.rest(),
                attribute,
            };
            let Some(field) = reader.next_field()? else {
                return Ok(());
            };
            match field.number {
                1 => *self = Self::Str(field.text("string_value")?),
                2 => *self = Self::Bool(field.varint("bool_value")? != 0),
                3 => *self = Self::Int(field.varint("int_value")?.cast_signed()),
                4 => *self = Self::Double(f64::from_bits(field.fixed64("double_value")?)),
                // A further part of an array that is being read already is found by `Elements`.
                ARRAY if matches!(self, Self::Array(_)) => {}
                ARRAY => *self = Self::Array(Array(elements)),
                KV_LIST if matches!(self, Self::KvList(_)) => {}
                KV_LIST => {
                    *self = Self::KvList(KvList(Elements {
                        wrapper: KV_LIST,
                        ..elements
                    }));
                }
                7 => *self = Self::Bytes(field.bytes("bytes_value")?),
                // An index into a table that traces don't have.
                8 => *self = Self::Empty,
                _ => {}
            }
        }
    }

    /// The string in it, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The value as text, for filters: strings as they are, integers in decimal, doubles in their
    /// shortest form, booleans as `true` and `false`, bytes as base64, arrays and lists as compact
    /// JSON, empty as nothing.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        match *self {
            Self::Empty => Cow::Borrowed(""),
            Self::Str(text) => Cow::Borrowed(text),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Double(value) => double_text(value),
            Self::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
            Self::Array(_) | Self::KvList(_) => {
                Cow::Owned(serde_json::to_string(self).unwrap_or_default())
            }
        }
    }
}

/// The text of a double that JSON has no number for.
pub(in crate::otlp) fn non_finite_text(value: f64) -> Option<&'static str> {
    if value.is_finite() {
        None
    } else if value.is_nan() {
        Some("NaN")
    } else if value > 0.0 {
        Some("Infinity")
    } else {
        Some("-Infinity")
    }
}

fn double_text(value: f64) -> Cow<'static, str> {
    if let Some(text) = non_finite_text(value) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    // Plain decimals as long as they are the shorter form, as JavaScript does.
    let is_plain = value == 0.0 || (1e-6..1e21).contains(&value.abs());
    let written = if is_plain {
        write!(text, "{value}")
    } else {
        write!(text, "{value:e}")
    };
    debug_assert!(written.is_ok(), "a string takes all text");
    Cow::Owned(text)
}

impl<'a> Elements<'a> {
    /// The next element's bytes.
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(element) = next_of(&mut self.wrapped, 1) {
                return Some(element);
            }
            if let Some(wrapped) = next_of(&mut self.value, self.wrapper) {
                self.wrapped = wrapped;
            } else {
                self.value = next_of(&mut self.attribute, ATTRIBUTE_VALUE)?;
            }
        }
    }
}

/// Finds the next message numbered `number` and leaves `rest` after it; at the end, and at bytes
/// that are no field, leaves it empty.
pub(super) fn next_of<'a>(rest: &mut &'a [u8], number: u32) -> Option<&'a [u8]> {
    let mut reader = fields(rest);
    let found = loop {
        match reader.next_field() {
            Ok(Some(field)) if field.number == number => break field.bytes("").ok(),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break None,
        }
    };
    *rest = if found.is_some() { reader.rest() } else { &[] };
    found
}

impl<'a> Array<'a> {
    /// Iterates over the values.
    pub fn iter(&self) -> impl Iterator<Item = AnyValue<'a>> + Clone + use<'a> {
        let mut elements = self.0;
        std::iter::from_fn(move || elements.next())
            .map_while(|element| AnyValue::parse(element).ok())
    }
}

impl<'a> KvList<'a> {
    /// Iterates over the pairs.
    pub fn iter(&self) -> impl Iterator<Item = KeyValue<'a>> + Clone + use<'a> {
        let mut elements = self.0;
        std::iter::from_fn(move || elements.next())
            .map_while(|element| KeyValue::parse(element).ok())
    }
}

impl Serialize for AnyValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nested(*self, RECURSION_LIMIT).serialize(serializer)
    }
}

/// A value and the levels that may still be entered; unchecked bytes could nest without end.
struct Nested<'a>(AnyValue<'a>, u32);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(deeper) = self.1.checked_sub(1) else {
            return serializer.serialize_unit();
        };
        match self.0 {
            AnyValue::Empty => serializer.serialize_unit(),
            AnyValue::Str(text) => serializer.serialize_str(text),
            AnyValue::Bool(value) => serializer.serialize_bool(value),
            AnyValue::Int(value) => serializer.serialize_i64(value),
            AnyValue::Double(value) => match non_finite_text(value) {
                Some(text) => serializer.serialize_str(text),
                None => serializer.serialize_f64(value),
            },
            AnyValue::Bytes(bytes) => {
                serializer.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
            }
            AnyValue::Array(array) => {
                let mut sequence = serializer.serialize_seq(None)?;
                for value in array.iter() {
                    sequence.serialize_element(&Nested(value, deeper))?;
                }
                sequence.end()
            }
            AnyValue::KvList(list) => {
                let mut map = serializer.serialize_map(None)?;
                for pair in list.iter() {
                    map.serialize_entry(pair.key, &Nested(pair.value, deeper))?;
                }
                map.end()
            }
        }
    }
}
