//! Keyed hashes in place of values.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a hash that are shown, as twice the hexadecimal digits: enough that no two values of a
/// large installation share one.
const SHOWN_BYTES: usize = 12;

/// Hashes with a key (HMAC-SHA-256), so that nobody without it can try values.
#[derive(Clone)]
pub(super) struct Hasher(Hmac<Sha256>);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher([REDACTED])")
    }
}

impl Hasher {
    /// `None` for a key that can't be used, which there is none of.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// The hash of a value, in hexadecimal digits.
    pub(super) fn hash(&self, value: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(value);
        let bytes = mac.finalize().into_bytes();
        let shown = bytes.iter().take(SHOWN_BYTES);
        shown.fold(String::with_capacity(SHOWN_BYTES * 2), |mut text, byte| {
            text.extend([byte >> 4, byte & 15].map(|digit| {
                let code = if digit < 10 { b'0' } else { b'a' - 10 };
                char::from(code + digit)
            }));
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_rfc_4231_cut_to_its_first_half() {
        let hasher = Hasher::new(b"Jefe").unwrap();
        let hash = hasher.hash(b"what do ya want for nothing?");
        assert_eq!(hash, "5bdcc146bf60754e6a042426");
    }

    #[test]
    fn keys_and_values_matter_and_the_key_is_not_shown() {
        let [one, other] = ["key one", "key two"].map(|key| Hasher::new(key.as_bytes()).unwrap());
        assert_eq!(one.hash(b"a"), one.hash(b"a"));
        assert_ne!(one.hash(b"a"), one.hash(b"b"));
        assert_ne!(one.hash(b"a"), other.hash(b"a"));
        assert!(!format!("{one:?}").contains("key one"));
    }
}
