//! Numbers as few bytes, one after the other.

/// Writes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    /// A number, in seven bits a byte.
    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.bytes.push(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.bytes.push(low);
    }

    /// A number that is small either way.
    pub(super) fn signed(&mut self, value: i64) {
        self.number((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    /// A double that is like another: what is equal of sign, exponent and the first bits, and zeros at
    /// the end, take no room.
    pub(super) fn double(&mut self, value: f64, like: f64) {
        self.number((value.to_bits() ^ like.to_bits()).swap_bytes());
    }
}

/// Reads what was written; `None` is the end, or what nobody wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (array, rest) = self.rest.split_first_chunk::<LENGTH>()?;
        self.rest = rest;
        Some(*array)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// How many things follow; never more than there are bytes.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.rest.len()).then_some(count)
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let folded = self.number()?;
        Some((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    pub(super) fn double(&mut self, like: f64) -> Option<f64> {
        let bits = self.number()?.swap_bytes() ^ like.to_bits();
        Some(f64::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Guarantees: what is written is read back to the last bit, and nothing else is read.
        #[test]
        fn numbers_come_back(a in any::<u64>(), b in any::<i64>(), c in any::<u64>(), like in any::<u64>()) {
            let (c, like) = (f64::from_bits(c), f64::from_bits(like));
            let mut writer = Writer::default();
            writer.number(a);
            writer.signed(b);
            writer.double(c, like);
            let mut reader = Reader::new(&writer.bytes);
            prop_assert_eq!(reader.number(), Some(a));
            prop_assert_eq!(reader.signed(), Some(b));
            prop_assert_eq!(reader.double(like).map(f64::to_bits), Some(c.to_bits()));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(reader.number(), None);
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let mut reader = Reader::new(&bytes);
            while reader.signed().is_some() {}
            let mut reader = Reader::new(&bytes);
            while reader.count().is_some_and(|count| count <= bytes.len()) {}
        }
    }
}
