//! Scalars as OTLP/JSON writes them, and as clients write them in fact.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::Memory;
use super::message::Codec;
use crate::model::{SpanId, TraceId};

/// Longest text kept in place of an id.
const WRONG_ID_BYTES_MAX: usize = 64;

/// Implements [`Codec`] by a visitor that is a unit value.
macro_rules! codec {
    ($codec:ty => $value:ty, $method:ident, $visitor:expr) => {
        impl Codec for $codec {
            type Value = $value;

            fn decode<'de, D: Deserializer<'de>>(
                deserializer: D,
                _: &Memory,
            ) -> Result<$value, D::Error> {
                deserializer.$method($visitor)
            }
        }
    };
}

/// A string. Taken as bytes, because `serde_json` passes lone surrogates on that way only.
pub(super) struct Text;

codec!(Text => String, deserialize_bytes, Self);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<String, E> {
        Ok(match std::str::from_utf8(text) {
            Ok(text) => text.to_owned(),
            Err(_) => without_surrogates(text),
        })
    }
}

/// Replaces lone surrogates, encoded as three bytes from `0xED` on, by U+FFFD. Nothing else can be
/// wrong with the text, since the whole body was checked.
fn without_surrogates(text: &[u8]) -> String {
    let mut clean = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        clean.push_str(chunk.valid());
        if chunk.invalid().first() == Some(&0xed) {
            clean.push(char::REPLACEMENT_CHARACTER);
        }
    }
    clean
}

/// An identifier in hex of any case and length. Text that is not hex stays as it is, but never
/// with the length of an id.
pub(super) struct HexId;

codec!(HexId => Vec<u8>, deserialize_bytes, Self);

impl Visitor<'_> for HexId {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an identifier in hex")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<Vec<u8>, E> {
        let (pairs, odd) = text.as_chunks::<2>();
        let id: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(hex_digit(*high)? << 4 | hex_digit(*low)?))
            .collect();
        Ok(id
            .filter(|_| odd.is_empty())
            .unwrap_or_else(|| wrong_id(text)))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn wrong_id(text: &[u8]) -> Vec<u8> {
    let mut id = text.get(..WRONG_ID_BYTES_MAX).unwrap_or(text).to_vec();
    if matches!(id.len(), SpanId::LENGTH | TraceId::LENGTH) {
        id.push(b' ');
    }
    id
}

/// An integer, as a number or in a string, in decimal or with an exponent. Numbers with a point
/// or exponent have the precision of a double; strings are exact.
pub(super) struct Integer<T>(PhantomData<T>);

impl<T: TryFrom<i128> + Default> Codec for Integer<T> {
    type Value = T;

    fn decode<'de, D: Deserializer<'de>>(deserializer: D, _: &Memory) -> Result<T, D::Error> {
        deserializer.deserialize_any(Self(PhantomData))
    }
}

impl<T: TryFrom<i128>> Integer<T> {
    fn fit<E: Error>(&self, value: Option<i128>, unexpected: Unexpected<'_>) -> Result<T, E>
    where
        Self: for<'de> Visitor<'de>,
    {
        value
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| E::invalid_value(unexpected, self))
    }
}

impl<T: TryFrom<i128>> Visitor<'_> for Integer<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an integer of {} bits", size_of::<T>() * 8)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.fit(Some(value.into()), Unexpected::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.fit(Some(value.into()), Unexpected::Unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        self.fit(integral(value), Unexpected::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.fit(parse_integer(text), Unexpected::Other("other text"))
    }
}

fn integral(value: f64) -> Option<i128> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value has no fraction and lies well within the range"
    )]
    (value.fract() == 0.0 && value.abs() < 1e30).then_some(value as i128)
}

/// Reads a decimal number, possibly with a fraction and an exponent, that is an integer.
fn parse_integer(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
    };
    let (is_negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa),
    };
    let (whole, fraction) = match digits.split_once('.') {
        None => (digits, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    if whole.is_empty() {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let mut value = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if value != 0 {
        let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
        value = if exponent >= 0 {
            value.checked_mul(power)?
        } else {
            (value % power == 0).then_some(value / power)?
        };
    }
    Some(if is_negative { -value } else { value })
}

/// A double, as a number or in a string.
pub(super) struct Double;

codec!(Double => f64, deserialize_any, Self);

impl Visitor<'_> for Double {
    type Value = f64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, NaN, Infinity or -Infinity")
    }

    fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest double is meant")]
    fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest double is meant")]
    fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => text
                .parse()
                .ok()
                // Other spellings of these, and what only rounds to them, are no numbers.
                .filter(|value: &f64| value.is_finite())
                .ok_or_else(|| E::invalid_value(Unexpected::Other("other text"), &self)),
        }
    }
}

/// A boolean.
pub(super) struct Boolean;

codec!(Boolean => bool, deserialize_bool, Self);

impl Visitor<'_> for Boolean {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

const BASE64_CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64_CONFIG);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64_CONFIG);

/// Bytes in either alphabet of base64, padded or not.
pub(super) struct Base64;

codec!(Base64 => Vec<u8>, deserialize_bytes, Self);

impl Visitor<'_> for Base64 {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("bytes in base64")
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Vec<u8>, E> {
        let is_url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
        let engine = if is_url_safe { &BASE64_URL } else { &BASE64 };
        engine
            .decode(text)
            .map_err(|_| E::invalid_value(Unexpected::Other("other text"), &self))
    }
}

/// An enum that has names.
pub(super) trait Names {
    /// The number of a name.
    fn number(name: &str) -> Option<i32>;
}

impl Names for SpanKind {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

impl Names for SeverityNumber {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

impl Names for AggregationTemporality {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

impl Names for StatusCode {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

/// An enum, as the number that OTLP demands or by its name. Unknown numbers are kept; unknown
/// names, as newer clients may have them, are unspecified.
pub(super) struct Named<E>(PhantomData<E>);

impl<E: Names> Codec for Named<E> {
    type Value = i32;

    fn decode<'de, D: Deserializer<'de>>(deserializer: D, _: &Memory) -> Result<i32, D::Error> {
        deserializer.deserialize_any(Self(PhantomData))
    }
}

impl<N: Names> Visitor<'_> for Named<N> {
    type Value = i32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the number of an enum value")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i32, E> {
        Integer(PhantomData).visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i32, E> {
        Integer(PhantomData).visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<i32, E> {
        Integer(PhantomData).visit_f64(value)
    }

    fn visit_str<E>(self, name: &str) -> Result<i32, E> {
        let number = N::number(name).or_else(|| name.parse().ok());
        Ok(number.unwrap_or_default())
    }
}
