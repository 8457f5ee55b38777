//! Names as many libraries write them, and the one name each has with us.

pub(super) mod error;
pub(super) mod finish;
pub(super) mod operation;
pub(super) mod provider;

pub(super) use operation::Op;

/// A short text in lower case, without a heap: what is longer is no name that is known.
pub(super) struct Lower {
    bytes: [u8; 48],
    length: usize,
}

impl Lower {
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 48];
        let place = bytes.get_mut(..text.len())?;
        place.copy_from_slice(text.as_bytes());
        place.make_ascii_lowercase();
        Some(Self {
            bytes,
            length: text.len(),
        })
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        // Lower-casing ASCII leaves UTF-8 valid.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}
