//! API keys: `pulse_sk_`, 30 random letters and digits (178 bits), 6 of checksum.
//!
//! The checksum (CRC-32 in base 62) lets scanners for leaked secrets recognise a key, and lets us
//! refuse a mistyped one without asking the store. Keys of older Pulse servers, `pulse_sk_` and a
//! UUID, stay good: whatever has the prefix and is not a mistyped new key is looked up by its hash.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::random::{self, base62};

/// What every key starts with.
pub const PREFIX: &str = "pulse_sk_";
/// What stands for the rest of a key where its beginning is shown.
pub const MASK: &str = "********************************";

const RANDOM_CHARS: usize = 30;
const CHECKSUM_CHARS: usize = 6;
/// Longest text that is looked up.
const KEY_BYTES_MAX: usize = 128;
/// Characters of the random part that lists show.
const SHOWN_CHARS: usize = 4;

/// The SHA-256 of a key: how it is stored and looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Of any secret text: a key, or the token of a session or an invitation.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Compares in a time that does not depend on where the two differ.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        let differs = |differs, (one, other): (&u8, &u8)| differs | (one ^ other);
        let same = self.0.iter().zip(other).fold(0, differs) == 0;
        same && other.len() == self.0.len()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash([REDACTED])")
    }
}

/// A key as its holder knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key.
    ///
    /// # Errors
    /// [`random::Error`].
    pub fn generate() -> Result<Self, random::Error> {
        let body = PREFIX.to_owned() + &random::text(RANDOM_CHARS)?;
        let checksum = checksum(&body);
        Ok(Self(body + &checksum))
    }

    /// Takes what a client sent, unless it can't be a key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX)?;
        let is_sound = (1..=KEY_BYTES_MAX - PREFIX.len()).contains(&body.len())
            && body.bytes().all(|byte| byte.is_ascii_graphic())
            && !is_mistyped(text, body);
        is_sound.then(|| Self(text.to_owned()))
    }

    /// How it is stored.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The text, to show it once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its beginning, for lists: enough to tell keys apart, far too little to guess one.
    #[must_use]
    pub fn shown_prefix(&self) -> String {
        self.0.chars().take(PREFIX.len() + SHOWN_CHARS).collect()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey([REDACTED])")
    }
}

fn checksum(body: &str) -> String {
    base62(crc32fast::hash(body.as_bytes()), CHECKSUM_CHARS)
}

/// Whether a text has the form of a new key and the wrong checksum. A UUID has the same length, and
/// hyphens.
fn is_mistyped(text: &str, body: &str) -> bool {
    let is_new = body.len() == RANDOM_CHARS + CHECKSUM_CHARS
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let parts = text.split_at_checked(PREFIX.len() + RANDOM_CHARS);
    is_new && parts.is_some_and(|(start, end)| checksum(start) != end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_recognised_and_no_slip_of_the_pen_is() {
        let key = ApiKey::generate().unwrap();
        let text = key.reveal().to_owned();
        assert_eq!(text.len(), 45);
        assert_eq!(ApiKey::parse(&text), Some(key.clone()));
        assert_ne!(ApiKey::generate().unwrap(), key);
        for at in PREFIX.len()..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[at] = if typed[at] == b'a' { b'b' } else { b'a' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(ApiKey::parse(&typed), None, "{typed}");
        }
    }

    #[test]
    fn keys_of_older_servers_are_taken() {
        for text in [
            "pulse_sk_0b9d8a35-9a9e-4a0e-8e64-0c5a3f1f7a11",
            "pulse_sk_test",
        ] {
            assert_eq!(ApiKey::parse(text).unwrap().reveal(), text);
        }
        let long = format!("pulse_sk_{}", "x".repeat(120));
        for text in [
            "",
            "pulse_sk_",
            "sk_live_1",
            "pulse_sk_a b",
            "pulse_sk_é",
            &long,
        ] {
            assert_eq!(ApiKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_prints_a_key_or_its_hash() {
        let key = ApiKey::parse("pulse_sk_test-of-print").unwrap();
        let printed = format!("{key:?} {:?}", key.hash());
        assert_eq!(printed, "ApiKey([REDACTED]) KeyHash([REDACTED])");
        assert_eq!(key.shown_prefix(), "pulse_sk_test");
    }

    #[test]
    fn hashes_are_those_of_older_servers() {
        let hash = KeyHash::of("abc");
        assert_eq!(hash.0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert!(hash.is(&hash.0));
        assert!(!hash.is(&hash.0[..31]));
        let mut other = hash.0;
        other[31] ^= 1;
        assert!(!hash.is(&other));
    }
}
