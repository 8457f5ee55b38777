//! Accounts for positions that were not found: which are lost, and which were never promised.

use std::ops::Range;

/// Follows the positions of whole records as they are read.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    /// Position that should come next.
    pub(super) expected: u64,
    /// Every position below is known to have been durable.
    pub(super) durable_before: u64,
    /// Missing positions that were durable.
    pub(super) lost: u64,
    /// Missing positions of which nothing says that they were durable.
    pub(super) torn: u64,
    /// Missing positions at or above `durable_before`, all of the group that was read last: what
    /// comes after it decides.
    undecided: u64,
}

impl Gaps {
    pub(super) fn new(expected: u64) -> Self {
        Self {
            expected,
            durable_before: expected,
            lost: 0,
            torn: 0,
            undecided: 0,
        }
    }

    /// Takes note that all positions below were durable.
    pub(super) fn prove(&mut self, durable_before: u64) {
        if durable_before > self.durable_before {
            self.durable_before = durable_before;
            self.lost += std::mem::take(&mut self.undecided);
        }
    }

    /// Takes note that nothing was found from the expected position up to this one, and returns
    /// what is missing.
    pub(super) fn missing_until(&mut self, position: u64) -> Option<Range<u64>> {
        let gap = self.expected..position;
        if gap.is_empty() {
            return None;
        }
        let lost = position.min(self.durable_before);
        let lost = lost.saturating_sub(gap.start);
        self.lost += lost;
        self.undecided += gap.end - gap.start - lost;
        self.expected = gap.end;
        Some(gap)
    }

    /// Takes note of a whole record, and returns what is missing before it.
    pub(super) fn found(&mut self, position: u64, durable_before: u64) -> Option<Range<u64>> {
        self.prove(durable_before);
        let gap = self.missing_until(position);
        self.expected = self.expected.max(position.saturating_add(1));
        gap
    }

    /// Closes a segment: nothing that follows can decide about it.
    pub(super) fn settle(&mut self) {
        self.torn += std::mem::take(&mut self.undecided);
    }
}
