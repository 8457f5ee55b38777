//! Ids of blocks: the time of arrival in front, so that partitions by arrival are ranges of ids.

use std::hash::{BuildHasher as _, Hasher as _};

/// 2020-01-01, ms since the Unix epoch: 41 bits of milliseconds from then last until 2089.
const EPOCH_UNIX_MS: i64 = 1_577_836_800_000;

/// Bits below the milliseconds. A batch takes consecutive numbers from a random one on; two batches
/// of one millisecond that meet are found out by the primary key, and one is written again.
const NUMBER_BITS: u32 = 22;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;

/// The first id of a time, ms since the Unix epoch.
pub(in super::super) const fn first_at(unix_ms: i64) -> i64 {
    unix_ms
        .saturating_sub(EPOCH_UNIX_MS)
        .saturating_mul(1 << NUMBER_BITS)
}

/// Gives ids to the blocks of a batch.
#[derive(Debug)]
pub(super) struct BlockIds {
    first: i64,
    number: u32,
}

impl BlockIds {
    /// Ids for what arrived at this time, ns since the Unix epoch.
    pub(super) fn of(received_unix_nano: i64) -> Self {
        // Seeded by the system.
        let random = std::hash::RandomState::new().build_hasher().finish();
        Self {
            first: first_at(received_unix_nano / 1_000_000),
            number: u32::try_from(random & u64::from(NUMBER_MASK)).unwrap_or(0),
        }
    }

    /// The next id.
    pub(super) fn next(&mut self) -> i64 {
        let id = self.first.saturating_add(i64::from(self.number));
        self.number = (self.number + 1) & NUMBER_MASK;
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_sort_by_arrival_and_differ() {
        let ns = 1_795_246_200_123_000_000;
        let mut ids = BlockIds::of(ns);
        ids.number = NUMBER_MASK - 2;
        let given: BTreeSet<_> = (0..10).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 10);
        let millisecond = first_at(ns / 1_000_000)..first_at(ns / 1_000_000 + 1);
        assert!(given.iter().all(|id| millisecond.contains(id)));
        assert!(
            first_at(i64::MAX / 1_000_000) > 0,
            "the largest time still has ids"
        );
    }
}
