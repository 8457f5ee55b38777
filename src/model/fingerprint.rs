//! What makes events one issue.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::ids::ParseIdError;

/// The attribute by which a sender says itself what makes events one issue.
pub const ATTRIBUTE: &str = "pulse.event.fingerprint";

/// The same for events that are alike. As a text, 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub i64);

impl Fingerprint {
    const DIGITS: usize = 16;

    /// Of what a sender says: 16 hexadecimal digits, which is what the rules of PulseKit and
    /// PulseBoard give, stay what they are; all other texts give a hash.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        text.parse()
            .unwrap_or_else(|_| Self::of_parts(&["pulse.fingerprint", text]))
    }

    /// Of some texts that are the same for events that are alike.
    #[must_use]
    pub fn of_parts(parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let word = digest.first_chunk().copied().unwrap_or_default();
        Self(i64::from_be_bytes(word) & i64::MAX)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if let Some(position) = text.bytes().position(|byte| !is_digit(byte)) {
            return Err(ParseIdError::Digit { position });
        }
        let length = ParseIdError::Length {
            expected: Self::DIGITS,
            actual: text.len(),
        };
        if text.len() != Self::DIGITS {
            return Err(length);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| length)?;
        Ok(Self(number.cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stay_what_they_are() {
        for text in ["f3bab23b0e814f9f", "0000000000000000", "7fffffffffffffff"] {
            assert_eq!(Fingerprint::of_text(text).to_string(), text);
        }
        for other in [
            "",
            "mine",
            "F3BAB23B0E814F9F",
            "f3bab23b0e814f9f0",
            "+3bab23b0e814f9f",
        ] {
            let print = Fingerprint::of_text(other);
            assert_ne!(print.to_string(), other);
            assert_eq!(print.to_string().parse(), Ok(print));
            assert!(other.parse::<Fingerprint>().is_err());
        }
        assert_ne!(
            Fingerprint::of_parts(&["ab", "c"]),
            Fingerprint::of_parts(&["a", "bc"])
        );
    }
}
