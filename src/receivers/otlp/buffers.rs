//! Buffers of request bodies, used again.
//!
//! A body of a megabyte in fresh memory costs more in page faults than in copying, and growing to
//! it by doubling costs the copies as well. What comes back is kept, up to a bound.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Larger buffers are not kept.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// Smaller bodies are not worth it.
const BUFFER_BYTES_MIN: usize = 64 << 10;
/// Bytes kept in all.
const KEPT_BYTES_MAX: usize = 16 << 20;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    buffers: Vec::new(),
    bytes: 0,
});

struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// An empty buffer; one with room for `bytes` when one of about that size is at hand.
pub(super) fn take(bytes: usize) -> Vec<u8> {
    if !(BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&bytes) {
        return Vec::new();
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |buffer: &Vec<u8>| (bytes..=bytes.saturating_mul(4)).contains(&buffer.capacity());
    let Some(place) = kept.buffers.iter().position(fits) else {
        return Vec::new();
    };
    let buffer = kept.buffers.swap_remove(place);
    kept.bytes -= buffer.capacity();
    buffer
}

/// Shares what a buffer holds; the buffer is kept when nobody has it any more.
pub(super) fn share(buffer: Vec<u8>) -> Bytes {
    if (BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
        Bytes::from_owner(Shared(buffer))
    } else {
        Bytes::from(buffer)
    }
}

struct Shared(Vec<u8>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + buffer.capacity() <= KEPT_BYTES_MAX {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Scenario: a body is read, shared, and let go of by all who had it.
    // Guarantees: its buffer is at hand for a body of its size, empty, and only then.
    #[test]
    fn a_buffer_comes_back_when_nobody_has_it() {
        let size = BUFFER_BYTES_MAX - 1234;
        let mut buffer = Vec::with_capacity(size);
        buffer.extend_from_slice(b"body");
        let shared = share(buffer);
        let slice = shared.slice(1..);
        drop(shared);
        assert_eq!(slice, b"ody"[..]);
        drop(slice);
        let again = take(size);
        assert!(again.is_empty() && again.capacity() >= size);
    }

    #[test]
    fn small_and_huge_bodies_have_buffers_of_their_own() {
        assert_eq!(take(BUFFER_BYTES_MIN - 1).capacity(), 0);
        assert_eq!(take(BUFFER_BYTES_MAX + 1).capacity(), 0);
        assert_eq!(share(b"body".to_vec()), b"body"[..]);
    }
}
