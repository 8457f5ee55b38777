//! Identifiers: trace ids, span ids and projects.

use std::fmt;
use std::str::FromStr;

/// Reason a textual identifier was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum ParseIdError {
    /// The text has the wrong number of hexadecimal digits.
    #[error("expected {expected} hexadecimal digits, got {actual} characters")]
    Length {
        /// Digits a valid identifier has.
        expected: usize,
        /// Characters that were given.
        actual: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("not a hexadecimal digit at position {position}")]
    Digit {
        /// Zero-based byte position of the offending character.
        position: usize,
    },
    /// All-zero identifiers are invalid (W3C Trace Context).
    #[error("an all-zero identifier is invalid")]
    Zero,
}

/// A project: the tenant that owns every stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(pub u32);

impl ProjectId {
    /// The project that exists from the first start and takes unauthenticated local ingest.
    pub const DEFAULT: Self = Self(1);
}

impl fmt::Display for ProjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Number of bytes in the binary form.
            pub const LENGTH: usize = $length;

            /// Takes exactly the right number of bytes, not all zero; `None` otherwise
            /// (OTLP trace.proto: any other value is invalid).
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let bytes: [u8; $length] = bytes.try_into().ok()?;
                (bytes != [0; $length]).then_some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0 {
                    write!(formatter, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $length];
                parse_hex(text, &mut bytes)?;
                Self::from_bytes(&bytes).ok_or(ParseIdError::Zero)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

byte_id!(
    /// A trace identifier: 16 bytes, never all zero, written as 32 lower-case hex digits.
    TraceId,
    16
);
byte_id!(
    /// A span identifier: 8 bytes, never all zero, written as 16 lower-case hex digits.
    SpanId,
    8
);

fn parse_hex(text: &str, bytes: &mut [u8]) -> Result<(), ParseIdError> {
    let expected = bytes.len() * 2;
    if text.len() != expected {
        return Err(ParseIdError::Length {
            expected,
            actual: text.chars().count(),
        });
    }
    for (index, (byte, digits)) in bytes.iter_mut().zip(text.as_bytes().chunks(2)).enumerate() {
        let mut value = 0;
        for (offset, digit) in digits.iter().enumerate() {
            let nibble = char::from(*digit)
                .to_digit(16)
                .and_then(|nibble| u8::try_from(nibble).ok())
                .ok_or(ParseIdError::Digit {
                    position: index * 2 + offset,
                })?;
            value = value << 4 | nibble;
        }
        *byte = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_hex_in_any_case() {
        let id: TraceId = "5B8EFFF798038103D269B633813FC60c".parse().unwrap();
        assert_eq!(id.to_string(), "5b8efff798038103d269b633813fc60c");
        assert_eq!(id.to_string().parse::<TraceId>().unwrap(), id);
    }

    #[test]
    fn wrong_ids_are_refused_with_the_reason() {
        assert_eq!("00".repeat(8).parse::<SpanId>(), Err(ParseIdError::Zero));
        assert_eq!(
            "abc".parse::<SpanId>(),
            Err(ParseIdError::Length {
                expected: 16,
                actual: 3
            })
        );
        assert_eq!(
            "00000000000000g0".parse::<SpanId>(),
            Err(ParseIdError::Digit { position: 14 })
        );
        assert_eq!(SpanId::from_bytes(&[1; 7]), None);
    }
}
