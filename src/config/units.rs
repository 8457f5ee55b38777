//! Byte sizes and durations as people write them: `64MiB`, `200ms`, `30d`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration as StdDuration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a size looks like, for error messages.
const SIZE_EXPECTED: &str = "a size such as 512KiB, 64MiB or 10GiB";
/// What a duration looks like, for error messages.
const DURATION_EXPECTED: &str = "a duration with its unit, such as 200ms, 10s, 5m, 12h or 30d";

/// Reason a size or duration was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum ParseUnitError {
    /// The text is not a number followed by a known unit.
    #[error("expected {expected}, got \"{text}\"")]
    Syntax {
        /// What a valid value looks like.
        expected: &'static str,
        /// The offending text.
        text: String,
    },
    /// The value does not fit in 64 bits.
    #[error("\"{0}\" is too large")]
    Overflow(String),
}

/// A number of bytes. Written `0`, `512KiB`, `64MiB`, `10GB`; a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `count` times 1024 bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` times 1024² bytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// `count` times 1024³ bytes.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The size in bytes, saturated to the platform's address space.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const BYTE_UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let syntax = || ParseUnitError::Syntax {
            expected: SIZE_EXPECTED,
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let digits_end = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(digits_end);
        if digits.is_empty() {
            return Err(syntax());
        }
        let count: u64 = digits
            .parse()
            .map_err(|_| ParseUnitError::Overflow(text.to_owned()))?;
        let unit = unit.trim();
        let factor = if unit.is_empty() {
            1
        } else {
            BYTE_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(syntax)?
                .1
        };
        let bytes = count.checked_mul(factor);
        bytes
            .map(Self)
            .ok_or_else(|| ParseUnitError::Overflow(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = BYTE_UNITS.iter().take(4).rev();
        for (name, factor) in binary {
            if self.0 >= *factor && self.0.is_multiple_of(*factor) {
                return write!(formatter, "{}{name}", self.0 / factor);
            }
        }
        write!(formatter, "{}B", self.0)
    }
}

/// A span of time. Written `0s`, `200ms`, `10s`, `5m`, `12h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub StdDuration);

impl Duration {
    /// Whole seconds.
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self(StdDuration::from_secs(count))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn millis(count: u64) -> Self {
        Self(StdDuration::from_millis(count))
    }

    /// Days of 24 hours.
    #[must_use]
    pub const fn days(count: u64) -> Self {
        Self(StdDuration::from_secs(count * 86_400))
    }
}

const TIME_UNITS_MS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for Duration {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let syntax = || ParseUnitError::Syntax {
            expected: DURATION_EXPECTED,
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let digits_end = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(digits_end);
        if digits.is_empty() {
            return Err(syntax());
        }
        let count: u64 = digits
            .parse()
            .map_err(|_| ParseUnitError::Overflow(text.to_owned()))?;
        let unit = unit.trim();
        if unit.is_empty() && count == 0 {
            return Ok(Self(StdDuration::ZERO));
        }
        let factor = TIME_UNITS_MS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(syntax)?
            .1;
        let millis = count.checked_mul(factor);
        millis
            .map(|millis| Self(StdDuration::from_millis(millis)))
            .ok_or_else(|| ParseUnitError::Overflow(text.to_owned()))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (name, factor) in TIME_UNITS_MS {
            let factor = u128::from(factor);
            if millis >= factor && millis.is_multiple_of(factor) {
                return write!(formatter, "{}{name}", millis / factor);
            }
        }
        formatter.write_str("0s")
    }
}

/// Reads a YAML scalar that may be written as a number or as text.
struct NumberOrText<T> {
    expected: &'static str,
    parsed: PhantomData<T>,
}

impl<T> Visitor<'_> for NumberOrText<T>
where
    T: FromStr<Err = ParseUnitError>,
{
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! serde_as_text {
    ($name:ident, $expected:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(NumberOrText {
                    expected: $expected,
                    parsed: PhantomData,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

serde_as_text!(ByteSize, SIZE_EXPECTED);
serde_as_text!(Duration, DURATION_EXPECTED);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_what_they_print() {
        for size in ["0B", "1B", "512KiB", "64MiB", "10GiB", "1500B"] {
            assert_eq!(size.parse::<ByteSize>().unwrap().to_string(), size);
        }
        for duration in ["0s", "200ms", "10s", "5m", "12h", "30d", "1500ms"] {
            assert_eq!(duration.parse::<Duration>().unwrap().to_string(), duration);
        }
        assert_eq!(
            "10GB".parse::<ByteSize>().unwrap(),
            ByteSize(10_000_000_000)
        );
    }

    #[test]
    fn a_bare_number_is_bytes_but_never_a_duration() {
        assert_eq!("4096".parse::<ByteSize>().unwrap(), ByteSize(4096));
        let error = "30".parse::<Duration>().unwrap_err().to_string();
        assert!(error.contains("with its unit"), "{error}");
    }

    #[test]
    fn overflow_is_an_error_not_a_wrap() {
        assert!("99999999999999999999".parse::<ByteSize>().is_err());
        assert!("18446744073709551615KiB".parse::<ByteSize>().is_err());
        assert!("18446744073709551615d".parse::<Duration>().is_err());
    }
}
