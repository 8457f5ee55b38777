//! Memory of payloads that were read from disk, used again.
//!
//! A consumer that is behind reads payloads of a megabyte one after the other. Memory of that size comes
//! from the system and goes back to it, page by page, which costs more than reading into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Bytes kept at most: about what a batch holds.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Lengths are rounded up to this, so that what held a payload also holds one a little longer.
const STEP: usize = 128 << 10;

/// Memory that nobody uses.
#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    /// Their capacities together.
    bytes: usize,
}

/// Where memory comes from, and goes back to.
#[derive(Debug, Clone, Default)]
pub(super) struct Spares(Arc<Mutex<Kept>>);

/// Memory that is in use.
#[derive(Debug)]
pub(super) struct Lent {
    bytes: Vec<u8>,
    to: Spares,
}

impl Spares {
    /// Memory of this length. Its content is anything.
    pub(super) fn take(&self, length: usize) -> Lent {
        let kept = {
            let mut kept = self.kept();
            // Not one that is far too large: who keeps a payload would keep all of it.
            let fits = length..=length.saturating_mul(2).max(STEP);
            let place = kept
                .buffers
                .iter()
                .rposition(|it| fits.contains(&it.capacity()));
            let buffer = place.map(|place| kept.buffers.swap_remove(place));
            kept.bytes -= buffer.as_ref().map_or(0, Vec::capacity);
            buffer
        };
        // Fresh memory is zero as it is.
        let mut bytes = kept.unwrap_or_else(|| vec![0; length.next_multiple_of(STEP)]);
        bytes.resize(length, 0);
        Lent {
            bytes,
            to: self.clone(),
        }
    }

    /// Gives back to the system what nobody uses.
    pub(super) fn let_go(&self) {
        let unused = std::mem::take(&mut *self.kept());
        drop(unused);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// What is to be filled.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl From<Lent> for Bytes {
    fn from(lent: Lent) -> Self {
        Self::from_owner(lent)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.to.kept();
        let capacity = self.bytes.capacity();
        if kept.bytes + capacity <= KEPT_BYTES_MAX {
            kept.bytes += capacity;
            kept.buffers.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Scenario: payloads are read, used and dropped, longer and shorter ones.
    // Guarantees: memory is used again where it is large enough, holds as many bytes as were asked for,
    // and no more is kept than may be, nor anything after it was let go.
    #[test]
    fn memory_comes_back() {
        let spares = Spares::default();
        let mut first = spares.take(STEP - 5);
        first.bytes().fill(7);
        let place = first.bytes.as_ptr();
        let payload = Bytes::from(first);
        assert_eq!(payload, vec![7; STEP - 5]);
        let part = payload.slice(10..20);
        drop(payload);
        assert_ne!(spares.take(10).bytes.as_ptr(), place, "a part is in use");
        drop(part);

        let far_longer = spares.take(STEP + 1);
        assert_eq!(far_longer.bytes.len(), STEP + 1);
        assert_ne!(far_longer.bytes.as_ptr(), place);
        let longer = spares.take(STEP);
        assert_eq!((longer.bytes.as_ptr(), longer.bytes.len()), (place, STEP));
        drop((longer, far_longer));
        assert!(spares.take(STEP / 2).bytes.capacity() <= STEP);

        let many: Vec<Lent> = (0..20).map(|_| spares.take(1 << 20)).collect();
        drop(many);
        let kept: usize = spares.kept().buffers.iter().map(Vec::capacity).sum();
        assert_eq!(kept, spares.kept().bytes);
        assert!((15 << 20..=KEPT_BYTES_MAX).contains(&kept));
        spares.let_go();
        assert_eq!(spares.kept().bytes, 0);
        assert!(spares.kept().buffers.is_empty());
    }
}
