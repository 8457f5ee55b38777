//! Page cursors as clients see them: opaque text, good only where it was given out.
//!
//! A cursor is the base64url form of a version, the store's cursor and the first half of an
//! HMAC-SHA256 over both and the *binding*: project, path and filters. A cursor that was altered,
//! or that comes from another project, another list or other filters, does not open.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::model::ProjectId;
use crate::storage::Cursor;

const VERSION: u8 = 1;
/// Half of the digest: forging needs the key, and cursors stay short.
const TAG_BYTES: usize = 16;
/// Version and time.
const HEAD_BYTES: usize = 9;
/// Longest text that is looked at; the longest cursors end in a session or service name.
const TEXT_BYTES_MAX: usize = 4096;

/// Where a cursor is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding([u8; 32]);

impl Binding {
    /// Binds to a project, a path and filters, whatever the order of the filters.
    pub(super) fn new(project: ProjectId, path: &str, filters: &[(String, String)]) -> Self {
        let mut sorted: Vec<_> = filters.iter().collect();
        sorted.sort();
        let mut hash = Sha256::new();
        hash.update(project.0.to_be_bytes());
        let names_and_values = sorted.iter().flat_map(|(name, value)| [name, value]);
        for text in std::iter::once(path).chain(names_and_values.map(String::as_str)) {
            // Lengths keep neighbours apart.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }
}

/// Seals and opens cursors.
#[derive(Clone)]
pub(super) struct Cursors {
    /// Filled up with zeros to the block of the hash, as HMAC does with a shorter key.
    key: [u8; 64],
}

impl Cursors {
    /// Uses the store's key, so that cursors outlive a restart.
    pub(super) fn new(key: [u8; 32]) -> Self {
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(key) {
            *to = from;
        }
        Self { key: block }
    }

    /// The text of a cursor.
    pub(super) fn seal(&self, binding: &Binding, cursor: &Cursor) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + cursor.key.len() + TAG_BYTES);
        bytes.push(VERSION);
        bytes.extend(cursor.unix_nano.to_be_bytes());
        bytes.extend(&cursor.key);
        let tag = self.tag(binding, &bytes).finalize().into_bytes();
        bytes.extend(tag.iter().take(TAG_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a text; `None` when it was not sealed with this key and binding.
    pub(super) fn open(&self, binding: &Binding, text: &str) -> Option<Cursor> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        // Takes the same time whatever differs.
        self.tag(binding, payload).verify_truncated_left(tag).ok()?;
        let (&[version, ref time @ ..], key) = payload.split_first_chunk::<HEAD_BYTES>()?;
        (version == VERSION).then(|| Cursor {
            unix_nano: u64::from_be_bytes(*time),
            key: key.to_vec(),
        })
    }

    fn tag(&self, binding: &Binding, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(&binding.0);
        mac.update(payload);
        mac
    }
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cursors([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binding(project: u32, path: &str, filters: &[(&str, &str)]) -> Binding {
        let filters: Vec<_> = filters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Binding::new(ProjectId(project), path, &filters)
    }

    fn cursor() -> Cursor {
        Cursor {
            unix_nano: 17,
            key: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_cursor_opens_only_where_it_was_given_out() {
        let cursors = Cursors::new([7; 32]);
        let home = binding(1, "/api/v1/traces", &[("service", "a"), ("name", "b")]);
        let text = cursors.seal(&home, &cursor());
        assert_eq!(cursors.open(&home, &text), Some(cursor()));
        let reordered = binding(1, "/api/v1/traces", &[("name", "b"), ("service", "a")]);
        assert_eq!(cursors.open(&reordered, &text), Some(cursor()));
        let foreign = [
            binding(2, "/api/v1/traces", &[("service", "a"), ("name", "b")]),
            binding(1, "/api/v1/spans", &[("service", "a"), ("name", "b")]),
            binding(1, "/api/v1/traces", &[("service", "a")]),
            binding(1, "/api/v1/traces", &[("service", "an"), ("ame", "b")]),
        ];
        for other in foreign {
            assert_eq!(cursors.open(&other, &text), None);
        }
        assert_eq!(Cursors::new([8; 32]).open(&home, &text), None);
    }

    proptest! {
        // Scenario: a sealed cursor with one bit flipped or cut short, and arbitrary text.
        // Guarantees: none opens, and none panics.
        #[test]
        fn forged_cursors_do_not_open(bit in 0_usize..224, cut in 1_usize..38, text in ".{0,80}") {
            let cursors = Cursors::new([7; 32]);
            let home = binding(1, "/", &[]);
            let sealed = cursors.seal(&home, &cursor());
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(cursors.open(&home, &URL_SAFE_NO_PAD.encode(&bytes)), None);
            let short: String = sealed.chars().take(sealed.len() - cut).collect();
            prop_assert_eq!(cursors.open(&home, &short), None);
            prop_assert_eq!(cursors.open(&home, &text), None);
        }
    }
}
