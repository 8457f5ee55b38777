//! Reading the records of one segment in order, past damage.
//!
//! Used alike by recovery, by the reader and by `wal inspect`. Memory is bounded: one window, and
//! one payload where the caller asks for it.

use std::io;

use bytes::Bytes;

use super::file::{BLOCK, SegmentFile};
use super::record::{ALIGNMENT, Decoded, HEADER_BYTES, Header, MAGIC, record_bytes};
use super::spare::Spares;

/// Bytes read ahead.
const WINDOW: usize = 128 << 10;

/// What comes next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An intact header. Its payload has not been looked at.
    Header(Header),
    /// No further record. `torn` when remains of one were seen.
    End {
        /// The remains of a header were where a record could be.
        torn: bool,
    },
}

/// Walks from record to record.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Box<dyn SegmentFile>,
    epoch: u64,
    /// Bytes of the file that may be read; grows while the segment is written.
    limit: u64,
    /// Where the next record may start.
    offset: u64,
    /// Smallest position that can come next.
    floor: u64,
    window: Vec<u8>,
    window_offset: u64,
}

impl Scanner {
    pub(super) fn new(file: Box<dyn SegmentFile>, epoch: u64, first: u64, limit: u64) -> Self {
        Self {
            file,
            epoch,
            limit,
            offset: BLOCK as u64,
            floor: first,
            window: Vec::new(),
            window_offset: 0,
        }
    }

    /// Allows reading up to the offset, when more has been written.
    pub(super) fn extend(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// The first block of the file, or as much as there is.
    pub(super) fn first_block(&mut self) -> io::Result<&[u8]> {
        self.at(0, BLOCK)
    }

    /// Where the header found last starts.
    #[cfg(test)]
    pub(super) fn offset(&self) -> usize {
        usize::try_from(self.offset).unwrap()
    }

    /// Finds the next intact header. Call [`Scanner::payload`], [`Scanner::verify`] or
    /// [`Scanner::skip`] for each.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        let mut torn = false;
        // Inside a group records follow each other; a new group starts at the next block.
        let here = self.offset;
        for offset in [here, here.next_multiple_of(BLOCK as u64)] {
            match self.header_at(offset)? {
                Decoded::Header(header) if header.position == self.floor => {
                    self.offset = offset;
                    return Ok(Found::Header(header));
                }
                Decoded::Damaged => torn = true,
                // Not the next one: something before it is damaged, and more may lie between.
                Decoded::Header(_) | Decoded::Other => {}
            }
        }
        match self.search()? {
            Some(header) => Ok(Found::Header(header)),
            None => Ok(Found::End { torn }),
        }
    }

    /// Steps over the record.
    pub(super) fn skip(&mut self, header: &Header) {
        self.offset += record_bytes(header.payload_bytes());
        self.floor = header.position.saturating_add(1);
    }

    /// Whether the record's payload is as it was written. Steps over the record.
    pub(super) fn verify(&mut self, header: &Header) -> io::Result<bool> {
        let mut crc = crc32fast::Hasher::new();
        let mut offset = self.offset + HEADER_BYTES as u64;
        let mut left = header.payload_bytes();
        while left > 0 {
            let piece = self.at(offset, left.min(WINDOW))?;
            if piece.is_empty() {
                break;
            }
            crc.update(piece);
            offset += piece.len() as u64;
            left -= piece.len();
        }
        self.skip(header);
        Ok(left == 0 && crc.finalize() == header.payload_crc)
    }

    /// The record's payload, or `None` when it is damaged. Steps over the record.
    pub(super) fn payload(
        &mut self,
        header: &Header,
        spares: &Spares,
    ) -> io::Result<Option<Bytes>> {
        let start = self.offset + HEADER_BYTES as u64;
        let length = header.payload_bytes();
        let mut payload = None;
        if start.saturating_add(length as u64) > self.limit {
            // Not all of it was written.
        } else if length <= WINDOW {
            let read = self.at(start, length)?;
            payload = (read.len() == length).then(|| Bytes::copy_from_slice(read));
        } else {
            let mut memory = spares.take(length);
            let read = read_around_damage(&*self.file, memory.bytes(), start)?;
            payload = (read == length).then(|| Bytes::from(memory));
        }
        self.skip(header);
        Ok(payload.filter(|it| crc32fast::hash(it) == header.payload_crc))
    }

    /// Looks for the next intact header anywhere from the current offset on.
    fn search(&mut self) -> io::Result<Option<Header>> {
        let mut from = self.offset;
        while from < self.limit {
            let piece = self.at(from, WINDOW)?;
            if piece.is_empty() {
                break;
            }
            let next = from + piece.len() as u64;
            let places = piece.chunks(ALIGNMENT).zip((from..).step_by(ALIGNMENT));
            // Collected first: a payload may be full of magic, and each look would read again.
            let places: Vec<u64> = places
                .filter(|(bytes, _)| bytes.starts_with(&MAGIC))
                .map(|(_, offset)| offset)
                .collect();
            for offset in places {
                if let Decoded::Header(header) = self.header_at(offset)? {
                    self.offset = offset;
                    return Ok(Some(header));
                }
            }
            from = next;
        }
        Ok(None)
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Decoded> {
        let (epoch, floor) = (self.epoch, self.floor);
        let bytes: Option<&[u8; HEADER_BYTES]> = self.at(offset, HEADER_BYTES)?.first_chunk();
        Ok(match bytes.map(|bytes| Header::decode(bytes, epoch)) {
            Some(Decoded::Header(header)) if header.position < floor => Decoded::Other,
            Some(decoded) => decoded,
            None => Decoded::Other,
        })
    }

    /// Up to `length` bytes at the offset; fewer only at the end of what may be read.
    fn at(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let available = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = length.min(available);
        let in_window = |start: u64, window: &[u8]| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (window.len().checked_sub(skip)? >= wanted).then_some(skip)
        };
        if in_window(self.window_offset, &self.window).is_none() {
            self.window.resize(WINDOW.min(available).max(wanted), 0);
            let read = read_around_damage(&*self.file, &mut self.window, offset)?;
            self.window.truncate(read);
            self.window_offset = offset;
        }
        let skip = in_window(self.window_offset, &self.window).unwrap_or(0);
        let window = self.window.get(skip..).unwrap_or_default();
        Ok(window.get(..wanted).unwrap_or(window))
    }
}

/// Reads like [`SegmentFile::read_at`], but takes blocks that the device can't read for zeros:
/// the checksums then find which records are hit, and the others are saved.
fn read_around_damage(file: &dyn SegmentFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
    let unreadable = |error: &io::Error| error.raw_os_error() == Some(EIO);
    match file.read_at(buffer, offset) {
        Err(error) if unreadable(&error) => {}
        other => return other,
    }
    let mut done = 0;
    for block in buffer.chunks_mut(BLOCK) {
        let read = match file.read_at(block, offset + done as u64) {
            Err(error) if unreadable(&error) => {
                block.fill(0);
                block.len()
            }
            other => other?,
        };
        done += read;
        if read < block.len() {
            break;
        }
    }
    Ok(done)
}
