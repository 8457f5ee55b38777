//! One record: a header of 56 bytes, the payload, zeros up to a multiple of eight.
//!
//! Little-endian. The header has a checksum of its own, so that the length can be trusted when
//! the payload can't and damage to one payload costs that record only.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `PLR1` |
//! | 4..8 | CRC-32 of bytes 8..56 |
//! | 8..12 | CRC-32 of the payload |
//! | 12..16 | payload length |
//! | 16..24 | epoch of the segment |
//! | 24..32 | position |
//! | 32..40 | positions below this were durable before this record was written |
//! | 40..48 | receive time, nanoseconds since the Unix epoch |
//! | 48..52 | project |
//! | 52 | payload kind |
//! | 53 | record version |
//! | 54..56 | zero |

use bytes::{Buf as _, BufMut as _};

/// First bytes of each record.
pub(super) const MAGIC: [u8; 4] = *b"PLR1";
/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 56;
/// Records start at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
/// Largest payload: what receivers let through, which is bounded at 64 MiB.
pub(super) const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// The record layout above.
pub(super) const VERSION: u8 = 1;

/// What precedes a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_crc: u32,
    pub(super) length: u32,
    /// Which life of the segment file this record belongs to.
    pub(super) epoch: u64,
    pub(super) position: u64,
    /// Every position below this one was durable before this record was written: tells a record
    /// that was lost from one that was never acknowledged.
    pub(super) durable_before: u64,
    pub(super) received_unix_nano: u64,
    pub(super) project: u32,
    pub(super) kind: u8,
    pub(super) version: u8,
}

/// What some bytes are, taken as a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A header as it was written.
    Header(Header),
    /// The remains of a header.
    Damaged,
    /// Something else.
    Other,
}

/// Bytes that a record with this payload takes in its group.
pub(super) const fn record_bytes(payload: usize) -> u64 {
    (HEADER_BYTES + payload.next_multiple_of(ALIGNMENT)) as u64
}

impl Header {
    /// The bytes on disk.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut body = [0; HEADER_BYTES - 8];
        let mut rest = body.as_mut_slice();
        rest.put_u32_le(self.payload_crc);
        rest.put_u32_le(self.length);
        rest.put_u64_le(self.epoch);
        rest.put_u64_le(self.position);
        rest.put_u64_le(self.durable_before);
        rest.put_u64_le(self.received_unix_nano);
        rest.put_u32_le(self.project);
        rest.put_u8(self.kind);
        rest.put_u8(self.version);
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        rest.put_slice(&MAGIC);
        rest.put_u32_le(crc32fast::hash(&body));
        rest.put_slice(&body);
        bytes
    }

    /// Reads a header of the segment life `epoch`.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], epoch: u64) -> Decoded {
        let mut rest = bytes.as_slice();
        let magic = rest.get_u32_le() == u32::from_le_bytes(MAGIC);
        let intact = rest.get_u32_le() == crc32fast::hash(rest);
        let header = Self {
            payload_crc: rest.get_u32_le(),
            length: rest.get_u32_le(),
            epoch: rest.get_u64_le(),
            position: rest.get_u64_le(),
            durable_before: rest.get_u64_le(),
            received_unix_nano: rest.get_u64_le(),
            project: rest.get_u32_le(),
            kind: rest.get_u8(),
            version: rest.get_u8(),
        };
        let current = header.epoch == epoch;
        if magic && intact && current && header.payload_bytes() <= MAX_PAYLOAD_BYTES {
            Decoded::Header(header)
        } else if current || (magic && !intact) {
            // Stale records are intact and of another epoch; what else looks like a header is ours.
            Decoded::Damaged
        } else {
            Decoded::Other
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            payload_crc: 0x0102_0304,
            length: 1_000_000,
            epoch: 0x1122_3344_5566_7788,
            position: 42,
            durable_before: 40,
            received_unix_nano: 1_700_000_000_000_000_000,
            project: 7,
            kind: 1,
            version: VERSION,
        }
    }

    #[test]
    fn a_header_survives_the_disk_and_no_bit_of_it_can_flip_unseen() {
        let bytes = header().encode();
        assert_eq!(
            Header::decode(&bytes, header().epoch),
            Decoded::Header(header())
        );
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = Header::decode(&flipped, header().epoch);
            assert_eq!(decoded, Decoded::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_life_of_the_file_is_not_ours() {
        let decoded = Header::decode(&header().encode(), header().epoch + 1);
        assert_eq!(decoded, Decoded::Other);
    }
}
