//! What lets a search pass over most blocks without unpacking them: which three characters in a row
//! occur in a block.
//!
//! A sieve is a set of bits, a power of two of them; each triple of characters sets the one its hash
//! says. Letters count without case. Triples with bytes that are not printable ASCII are not in it,
//! and not asked for. It may say of a text that it may be there when it is not, never the other way
//! round. Its size goes by the number of triples, so that about a third of the bits is set.

/// Codes of characters are below this; 0 is what is not looked at.
const CODES: usize = 64;
const CODE_BITS: u32 = CODES.trailing_zeros();
/// Two characters in a row there may be.
const PAIRS: usize = CODES * CODES;
/// Of three characters.
const MASK: usize = CODES * PAIRS - 1;

/// Smallest and largest size, bits.
const BITS_MIN: usize = 1 << 12;
const BITS_MAX: usize = 1 << 16;

/// Letters and digits have codes of their own, other characters share some.
const fn code_of(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - b'a' + 1,
        b'A'..=b'Z' => byte - b'A' + 1,
        b'0'..=b'9' => byte - b'0' + 27,
        b' '..=b'~' => byte % 27 + 37,
        _ => 0,
    }
}

/// A character, as it is marked.
#[derive(Clone, Copy)]
struct Character {
    code: usize,
    bit: u64,
}

/// Makes sieves, reusing its memory.
pub struct SieveMaker {
    /// Of every byte.
    characters: [Character; 256],
    /// Which triples were seen: for each two characters, a bit for each third. Small enough for the
    /// processor's nearest cache.
    seen: Box<[u64; PAIRS]>,
    triples: Vec<usize>,
    sieve: Vec<u8>,
}

impl std::fmt::Debug for SieveMaker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SieveMaker").finish_non_exhaustive()
    }
}

impl Default for SieveMaker {
    fn default() -> Self {
        let character = |byte| {
            let code = u8::try_from(byte).map_or(0, code_of);
            Character {
                code: usize::from(code),
                bit: 1 << code,
            }
        };
        let seen = vec![0; PAIRS].into_boxed_slice();
        Self {
            characters: std::array::from_fn(character),
            seen: seen.try_into().unwrap_or_else(|_| Box::new([0; PAIRS])),
            triples: Vec::new(),
            sieve: Vec::new(),
        }
    }
}

impl SieveMaker {
    /// The sieve of some bytes.
    pub fn sieve(&mut self, bytes: &[u8]) -> &[u8] {
        let (characters, seen) = (&self.characters, &mut *self.seen);
        // Two halves at a time: each step waits for the one before it, but not for the other half's.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let (mut pair, mut other) = (0, 0);
        for (byte, of_other) in first.iter().zip(second) {
            pair = mark(characters, seen, pair, *byte);
            other = mark(characters, seen, other, *of_other);
        }
        for byte in second.iter().skip(first.len()) {
            other = mark(characters, seen, other, *byte);
        }
        // What lies in both.
        for byte in second.iter().take(2) {
            pair = mark(characters, seen, pair, *byte);
        }
        self.finish()
    }

    /// Makes a sieve of what was seen, and forgets it.
    fn finish(&mut self) -> &[u8] {
        self.triples.clear();
        for (pair, thirds) in self.seen.iter_mut().enumerate() {
            let mut thirds = std::mem::take(thirds);
            while thirds != 0 {
                let triple = (pair << CODE_BITS) | thirds.trailing_zeros() as usize;
                if is_whole(triple) {
                    self.triples.push(triple);
                }
                thirds &= thirds - 1;
            }
        }
        let bits = (self.triples.len() * 2).next_power_of_two();
        let bits = bits.clamp(BITS_MIN, BITS_MAX);
        self.sieve.clear();
        self.sieve.resize(bits / 8, 0);
        for triple in &self.triples {
            let bit = bit_of(*triple, bits);
            if let Some(byte) = self.sieve.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        &self.sieve
    }
}

/// Marks the triple that a byte ends; answers what to go on with.
#[inline]
fn mark(characters: &[Character; 256], seen: &mut [u64; PAIRS], before: usize, byte: u8) -> usize {
    let Character { code, bit } = characters
        .get(usize::from(byte))
        .copied()
        .unwrap_or(Character { code: 0, bit: 1 });
    if let Some(thirds) = seen.get_mut(before % PAIRS) {
        *thirds |= bit;
    }
    (before << CODE_BITS) | code
}

/// Whether all three characters are looked at.
const fn is_whole(triple: usize) -> bool {
    let (second, first) = (triple >> CODE_BITS, triple >> (2 * CODE_BITS));
    !triple.is_multiple_of(CODES) && !second.is_multiple_of(CODES) && !first.is_multiple_of(CODES)
}

const fn bit_of(triple: usize, bits: usize) -> usize {
    // Multiplied by the golden ratio, neighbours are far apart. The bits that are taken are the same
    // however many a machine's word has.
    (triple.wrapping_mul(0x9e37_79b1) >> 14) & (bits - 1)
}

/// Whether a text may be in the bytes that a sieve was made of. What is no sieve holds nothing back.
#[must_use]
pub fn may_hold(sieve: &[u8], text: &[u8]) -> bool {
    let bits = sieve.len() * 8;
    if !(BITS_MIN..=BITS_MAX).contains(&bits) || !bits.is_power_of_two() {
        return true;
    }
    let mut triple = 0;
    text.iter().enumerate().all(|(place, byte)| {
        triple = ((triple << CODE_BITS) | usize::from(code_of(*byte))) & MASK;
        if place < 2 || !is_whole(triple) {
            return true;
        }
        let bit = bit_of(triple, bits);
        let byte = sieve.get(bit / 8).copied().unwrap_or(u8::MAX);
        byte & (1 << (bit % 8)) != 0
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Scenario: any bytes, and any part of them, in any case of ASCII letters.
        // Guarantees: the sieve never holds the part back.
        #[test]
        fn what_is_there_is_never_held_back(
            bytes in prop::collection::vec(any::<u8>(), 1..2000),
            text in "[a-zA-Z0-9 \"\\\\{}:,é漢]{0,200}",
            from in any::<prop::sample::Index>(),
            len in 0_usize..40,
            upper in any::<bool>(),
        ) {
            let whole = [bytes, text.into_bytes()].concat();
            let from = from.index(whole.len());
            let mut part = whole[from..whole.len().min(from + len)].to_vec();
            if upper {
                part.make_ascii_uppercase();
            } else {
                part.make_ascii_lowercase();
            }
            let mut maker = SieveMaker::default();
            prop_assert!(may_hold(maker.sieve(&whole), &part));
        }

        // Scenario: anything is asked as if it were a sieve.
        // Guarantees: nothing panics, and what has no sieve's size holds nothing back.
        #[test]
        fn any_bytes_are_asked(
            sieve in prop::collection::vec(any::<u8>(), 0..2000),
            text in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let held = may_hold(&sieve, &text);
            prop_assert!(held || sieve.len() == BITS_MIN / 8 || sieve.len() == BITS_MIN / 4);
        }
    }

    // Scenario: some kilobytes of English; words that are in it and words that are not.
    // Guarantees: the former pass, nearly all of the latter are held back, in few bytes; the maker
    // forgets what it made before.
    #[test]
    fn most_of_what_is_not_there_is_held_back() {
        let text =
            "The carrier's note says the order shipped late because of the weather. ".repeat(40);
        let mut maker = SieveMaker::default();
        maker.sieve(b"unicorn zeppelin marmalade quixotic");
        let sieve = maker.sieve(text.as_bytes()).to_vec();
        assert_eq!(sieve.len(), BITS_MIN / 8);
        for word in ["order", "shipped late", "WEATHER", "it", "é"] {
            assert!(may_hold(&sieve, word.as_bytes()), "{word}");
        }
        for word in ["unicorn", "zeppelin", "marmalade", "quixotic", "refund"] {
            assert!(!may_hold(&sieve, word.as_bytes()), "{word}");
        }
        assert!(may_hold(&[], b"unicorn"));
        let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        assert!(maker.sieve(&large).len() <= BITS_MAX / 8);
    }
}
