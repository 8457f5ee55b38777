//! One segment file: its name and its header block.
//!
//! The name `SEQUENCE-FIRST-EPOCH.log` says all that is needed to read the file, so that a damaged
//! header block costs nothing: the order in which files were made, the position of the first
//! record, and the epoch, a random number that the records repeat. A recycled file gets a new
//! name; records of its earlier lives have other epochs and are never taken for current ones.
//! Random, because after damage the file is searched for record headers, and a client that could
//! guess the epoch could place a forged one in its payload.
//!
//! The header block is written together with the first group. A file without one and without
//! records was never used.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf as _, BufMut as _};

use super::file::BLOCK;

/// Newest layout of segments that this release reads and the one it writes.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Name of the one file kept for reuse.
pub(super) const SPARE: &str = "recycled.spare";
/// Ending of the names of segments.
pub(super) const SUFFIX: &str = ".log";
/// Ending of the names of segments that are stored and kept to be sent (`tee`).
pub(super) const HELD_SUFFIX: &str = ".held";
/// Ending of the names under which damaged segments are kept.
pub(super) const DAMAGED_SUFFIX: &str = ".damaged";

const MAGIC: [u8; 8] = *b"PULSELOG";
/// Bytes covered by the checksum. Every format version keeps magic, version and checksum where
/// they are, so that a newer format can be told from damage.
const HEADER_BYTES: usize = 64;

/// What a segment's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Order of creation; never used twice.
    pub(super) sequence: u64,
    /// Position of the first record. Records at or above it in older segments were never
    /// acknowledged.
    pub(super) first: u64,
    /// Which life of the file this is.
    pub(super) epoch: u64,
}

impl Identity {
    pub(super) fn new(sequence: u64, first: u64) -> Self {
        // Never zero, so that zeros are not taken for remains of a record.
        let epoch = std::hash::RandomState::new().build_hasher().finish().max(1);
        Self {
            sequence,
            first,
            epoch,
        }
    }

    /// Reads a file name; `None` when it is not one of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('-');
        let identity = Self {
            sequence: parts.next()?.parse().ok()?,
            first: parts.next()?.parse().ok()?,
            epoch: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        (identity.to_string() == name).then_some(identity)
    }

    /// Reads the name of a file that is kept to be sent; `None` when it is not one of ours.
    pub(super) fn parse_held(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(HELD_SUFFIX)?)
    }

    /// The name under which it is kept to be sent.
    pub(super) fn held_name(&self) -> String {
        format!("{self}{HELD_SUFFIX}")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            first,
            epoch,
        } = self;
        write!(formatter, "{sequence:010}-{first:020}-{epoch:016x}{SUFFIX}")
    }
}

/// A segment that exists, shared by writer and reader.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) identity: Identity,
    pub(super) name: String,
    /// Bytes the file takes on disk.
    pub(super) bytes: u64,
    /// Damage was found: the file has a second name and must not be reused.
    pub(super) damaged: AtomicBool,
}

impl Segment {
    pub(super) fn new(identity: Identity, bytes: u64) -> Self {
        Self {
            identity,
            name: identity.to_string(),
            bytes,
            damaged: AtomicBool::new(false),
        }
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }
}

/// The first block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preamble {
    pub(super) identity: Identity,
    /// Positions below this were durable when the segment was begun.
    pub(super) durable_before: u64,
    /// Bytes the file had when it was begun; a shorter file was cut.
    pub(super) bytes: u64,
}

/// What the first block of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodedPreamble {
    /// Written by this format.
    Valid(Preamble),
    /// Written by a newer release, whose version is given.
    Newer(u32),
    /// Damaged, or never written.
    Unreadable,
}

impl Preamble {
    pub(super) fn encode(&self) -> [u8; BLOCK] {
        Self::encode_version(self, FORMAT_VERSION)
    }

    fn encode_version(&self, version: u32) -> [u8; BLOCK] {
        let mut body = [0; HEADER_BYTES - 12];
        let mut rest = body.as_mut_slice();
        rest.put_u32_le(version);
        rest.put_u64_le(self.identity.sequence);
        rest.put_u64_le(self.identity.first);
        rest.put_u64_le(self.identity.epoch);
        rest.put_u64_le(self.durable_before);
        rest.put_u64_le(self.bytes);
        let mut block = [0; BLOCK];
        let mut rest = block.as_mut_slice();
        rest.put_slice(&MAGIC);
        rest.put_u32_le(crc32fast::hash(&body));
        rest.put_slice(&body);
        block
    }

    pub(super) fn decode(block: &[u8]) -> DecodedPreamble {
        let Some((mut rest, _)) = block.split_at_checked(HEADER_BYTES) else {
            return DecodedPreamble::Unreadable;
        };
        let magic = rest.get_u64_le() == u64::from_le_bytes(MAGIC);
        let intact = rest.get_u32_le() == crc32fast::hash(rest);
        if !magic || !intact {
            return DecodedPreamble::Unreadable;
        }
        let version = rest.get_u32_le();
        if version > FORMAT_VERSION {
            return DecodedPreamble::Newer(version);
        }
        DecodedPreamble::Valid(Self {
            identity: Identity {
                sequence: rest.get_u64_le(),
                first: rest.get_u64_le(),
                epoch: rest.get_u64_le(),
            },
            durable_before: rest.get_u64_le(),
            bytes: rest.get_u64_le(),
        })
    }

    /// The same block as a later release would write it.
    #[cfg(test)]
    pub(super) fn encode_newer(&self) -> [u8; BLOCK] {
        self.encode_version(FORMAT_VERSION + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_first_blocks_read_back_what_they_say() {
        let identity = Identity::new(3, 1_000);
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        let preamble = Preamble {
            identity,
            durable_before: 998,
            bytes: 1 << 24,
        };
        assert_eq!(
            Preamble::decode(&preamble.encode()),
            DecodedPreamble::Valid(preamble)
        );
        assert_eq!(
            Preamble::decode(&preamble.encode_newer()),
            DecodedPreamble::Newer(FORMAT_VERSION + 1)
        );
        // A flipped version is damage, not a newer format.
        let mut flipped = preamble.encode();
        flipped[12] ^= 2;
        assert_eq!(Preamble::decode(&flipped), DecodedPreamble::Unreadable);
    }

    #[test]
    fn names_that_only_resemble_ours_are_not_segments() {
        for name in [
            "1-2-3.log",
            "0000000001-00000000000000000002-0000000000000003",
            "x.log",
            "+000000001-00000000000000000002-0000000000000003.log",
            "0000000001-00000000000000000002-0000000000000003-4.log",
        ] {
            assert_eq!(Identity::parse(name), None, "{name}");
        }
    }
}
