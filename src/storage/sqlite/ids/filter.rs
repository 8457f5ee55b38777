//! A Bloom filter over ids.

/// Bits per id: about one look in a hundred is in vain.
const BITS_PER_ID: usize = 10;
/// Bits set per id.
const PROBES: u64 = 6;

/// Answers whether an id may be in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// An empty filter for so many ids.
    pub(super) fn for_ids(ids: usize) -> Self {
        let words = (ids * BITS_PER_ID).div_ceil(64).max(1);
        Self {
            words: vec![0; words],
        }
    }

    pub(super) fn add(&mut self, id: &[u8; 16], project: u32) {
        for bit in self.bits(id, project) {
            if let Some(word) = self.words.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// `false` only when the id was not added.
    pub(super) fn may_hold(&self, id: &[u8; 16], project: u32) -> bool {
        self.bits(id, project).all(|bit| {
            let word = self.words.get(bit / 64).copied().unwrap_or(u64::MAX);
            word & (1 << (bit % 64)) != 0
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self {
            words: words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the multiplication keeps it below the number of bits"
    )]
    fn bits(&self, id: &[u8; 16], project: u32) -> impl Iterator<Item = usize> + use<> {
        let bits = self.words.len() as u128 * 64;
        let [low, high] = halves(id);
        let first = mix(low ^ mix(high ^ u64::from(project)));
        let second = mix(first) | 1;
        (0..PROBES).map(move |probe| {
            let hash = first.wrapping_add(second.wrapping_mul(probe));
            ((u128::from(hash) * bits) >> 64) as usize
        })
    }
}

fn halves(id: &[u8; 16]) -> [u64; 2] {
    let (halves, _) = id.as_chunks::<8>();
    let half = |place: usize| {
        halves
            .get(place)
            .map_or(0, |half| u64::from_le_bytes(*half))
    };
    [half(0), half(1)]
}

/// Spreads every bit over all others (the finalizer of `SplitMix64`). Ids are often not random in
/// all of their bits. Never changed: filters lie on disk.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> [u8; 16] {
        u128::from(number).to_be_bytes()
    }

    #[test]
    fn what_was_added_is_held_and_little_else() {
        let mut filter = Filter::for_ids(10_000);
        for number in 0..10_000 {
            filter.add(&id(number), 1);
        }
        let filter = Filter::decode(&filter.encode());
        assert!((0..10_000).all(|number| filter.may_hold(&id(number), 1)));
        let others = (10_000..110_000).filter(|number| filter.may_hold(&id(*number), 1));
        assert!(others.count() < 2_000);
        let other_project = (0..10_000).filter(|number| filter.may_hold(&id(*number), 2));
        assert!(other_project.count() < 200);
    }

    #[test]
    fn a_filter_that_is_lost_holds_everything() {
        assert!(Filter::decode(&[]).may_hold(&id(1), 1));
    }
}
