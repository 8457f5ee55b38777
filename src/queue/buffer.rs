//! A reused, page-aligned buffer through which groups go to the disk in pieces of bounded size.

use std::io;

use super::file::{BLOCK, SegmentFile};

/// Bytes written by one system call. Large enough to keep a disk busy, small enough that the log
/// never holds a second copy of what clients sent.
const CHUNK: usize = 1 << 20;

/// Bytes whose address is a multiple of [`BLOCK`], as direct I/O needs.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    /// One block longer than the chunk, so that an aligned chunk fits wherever it was allocated.
    bytes: Vec<u8>,
    /// Where the aligned chunk starts.
    start: usize,
    /// Bytes in use.
    filled: usize,
}

impl AlignedBuffer {
    pub(super) fn new() -> Self {
        let bytes = vec![0; CHUNK + BLOCK];
        // The address of a vector that never grows stays the same when the vector moves.
        let start = bytes.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self {
            bytes,
            start,
            filled: 0,
        }
    }

    /// Takes as many of the bytes as fit and returns the rest.
    fn fill<'bytes>(&mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        let room = CHUNK - self.filled;
        let (taken, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        let from = self.start + self.filled;
        if let Some(target) = self.bytes.get_mut(from..from + taken.len()) {
            target.copy_from_slice(taken);
            self.filled += taken.len();
        }
        rest
    }

    fn filled(&self) -> &[u8] {
        let filled = self.start..self.start + self.filled;
        self.bytes.get(filled).unwrap_or_default()
    }
}

/// Writes one group through the buffer, in order, from a block boundary on.
#[derive(Debug)]
pub(super) struct GroupWriter<'writer> {
    buffer: &'writer mut AlignedBuffer,
    file: &'writer dyn SegmentFile,
    /// Where the buffer's first byte goes; a multiple of [`BLOCK`].
    offset: u64,
}

impl<'writer> GroupWriter<'writer> {
    pub(super) fn new(
        buffer: &'writer mut AlignedBuffer,
        file: &'writer dyn SegmentFile,
        offset: u64,
    ) -> Self {
        buffer.filled = 0;
        Self {
            buffer,
            file,
            offset,
        }
    }

    /// Adds bytes, writing each full chunk.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = self.buffer.fill(bytes);
            if self.buffer.filled == CHUNK {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Adds zeros up to a multiple of `alignment`, which divides [`BLOCK`].
    pub(super) fn pad(&mut self, alignment: usize) -> io::Result<()> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        let missing = self.buffer.filled.next_multiple_of(alignment) - self.buffer.filled;
        self.push(ZEROS.get(..missing).unwrap_or_default())
    }

    /// Pads to a block, writes what is left and returns where the next group starts.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.pad(BLOCK)?;
        self.write()?;
        Ok(self.offset)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.buffer.filled > 0 {
            self.file.write_at(self.buffer.filled(), self.offset)?;
            self.offset += self.buffer.filled as u64;
            self.buffer.filled = 0;
        }
        Ok(())
    }
}
