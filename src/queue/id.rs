//! Which life of a log a position belongs to.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};

/// One opening of one partition for appending: chosen at random each time.
///
/// A store that keeps its checkpoint by this id can never take a new record for one that it has:
/// whatever a power loss, a restored backup or a deleted directory does to the numbering, records
/// appended after it have another id. Numbers go on across the lives of a partition as long as its
/// directory tells where they ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// A new id.
    pub(super) fn new() -> Self {
        // Two words of the generator that also makes the epochs of segments: seeded by the system.
        let word = || std::hash::RandomState::new().build_hasher().finish();
        let mut id = Self::default();
        for (to, from) in id.0.chunks_exact_mut(8).zip([word(), word()]) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        id
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LogId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids: std::collections::BTreeSet<LogId> = (0..1000).map(|_| LogId::new()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
