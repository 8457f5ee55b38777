//! How span messages are packed into blocks and compressed.
//!
//! A block holds spans of one project that were stored together, those of a trace side by side, so
//! that what they share is compressed once. A span is found by its block and its place there. Both
//! backends store the same bytes.
//!
//! # Format
//!
//! A block is a `pulse.storage.v1.Block` message (`proto/`), stored under a codec number:
//!
//! | codec | content |
//! |---|---|
//! | 0 | the message as it is |
//! | 1 | its length (u32, little-endian), then one zstd frame of it |
//!
//! A codec number is never reused for another format.

mod in_place;

use std::cell::RefCell;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use zstd::zstd_safe::CParameter;

use super::search::SieveMaker;

pub use in_place::{spans_of, unpack};

#[expect(unreachable_pub, reason = "generated")]
pub(in crate::storage) mod proto {
    include!(concat!(env!("OUT_DIR"), "/pulse.storage.v1.rs"));
}

/// Stored as it is: compression did not pay.
const CODEC_PLAIN: i64 = 0;
/// zstd without a dictionary.
const CODEC_ZSTD: i64 = 1;

/// Fast enough to cost less than the disk writes it saves. The level's own tables are made for
/// smaller inputs: with a window of a whole block, a table to match and no search for very short
/// matches it is both faster and smaller.
const ZSTD_LEVEL: i32 = 1;
const ZSTD_PARAMETERS: [CParameter; 3] = [
    CParameter::WindowLog(18),
    CParameter::HashLog(16),
    CParameter::MinMatch(6),
];

/// A block this large takes no further span. More compresses better, less is quicker to read a
/// single trace from; measured in `benches/`.
const BLOCK_BYTES: usize = 256 * 1024;

/// Below this, a compressed frame is rarely smaller than what went in.
const COMPRESS_BYTES_MIN: usize = 128;

/// No block is larger: a batch is bounded well below it.
const PACKED_BYTES_MAX: usize = 1 << 30;

/// Why a block could not be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The codec number is not one this program knows.
    #[error("unknown content codec {0}")]
    UnknownCodec(i64),
    /// The bytes are not what the codec says.
    #[error("damaged content: {0}")]
    Damaged(&'static str),
    /// The bytes are not a block.
    #[error("decode a block")]
    Message(#[from] prost::DecodeError),
    /// zstd refused.
    #[error("zstd")]
    Zstd(#[source] std::io::Error),
}

/// Packs and compresses blocks, reusing its buffers.
pub struct Packer {
    spans: u32,
    packed: Vec<u8>,
    compressed: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
    sieves: SieveMaker,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Packer")
            .field("packed_bytes", &self.packed.len())
            .finish()
    }
}

/// A block as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// How `content` is compressed.
    pub codec: i64,
    /// What to store.
    pub content: &'a [u8],
    /// Which texts may be in it.
    pub sieve: &'a [u8],
}

impl Packer {
    /// Makes a packer.
    ///
    /// # Errors
    /// [`Error::Zstd`] when zstd can't set up its context.
    pub fn new() -> Result<Self, Error> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(Error::Zstd)?;
        for parameter in ZSTD_PARAMETERS {
            compressor.set_parameter(parameter).map_err(Error::Zstd)?;
        }
        Ok(Self {
            spans: 0,
            packed: Vec::new(),
            compressed: Vec::new(),
            compressor,
            sieves: SieveMaker::default(),
        })
    }

    /// Starts a block.
    pub fn begin(&mut self) {
        self.spans = 0;
        self.packed.clear();
    }

    /// Spans in the block.
    #[must_use]
    pub const fn spans(&self) -> u32 {
        self.spans
    }

    /// Whether a message of this many bytes should go to another block. Never of an empty one.
    #[must_use]
    pub const fn is_full_for(&self, message_len: usize) -> bool {
        self.spans > 0 && self.packed.len().saturating_add(message_len) > BLOCK_BYTES
    }

    /// Adds a span to the block; answers its place.
    ///
    /// Written field by field rather than through the generated type, which would want its own
    /// copy of every message.
    pub fn push(&mut self, resource_id: i64, scope_id: i64, message: &[u8]) -> u32 {
        let (resource_id, scope_id) = (resource_id.cast_unsigned(), scope_id.cast_unsigned());
        let message_len = message.len() as u64;
        let span_len = 3
            + encoded_len_varint(resource_id)
            + encoded_len_varint(scope_id)
            + encoded_len_varint(message_len)
            + message.len();
        let out = &mut self.packed;
        encode_key(1, WireType::LengthDelimited, out);
        encode_varint(span_len as u64, out);
        encode_key(1, WireType::Varint, out);
        encode_varint(resource_id, out);
        encode_key(2, WireType::Varint, out);
        encode_varint(scope_id, out);
        encode_key(3, WireType::LengthDelimited, out);
        encode_varint(message_len, out);
        out.extend_from_slice(message);
        let place = self.spans;
        self.spans += 1;
        place
    }

    /// Ends the block and answers what to store.
    ///
    /// # Errors
    /// [`Error::Zstd`].
    pub fn finish(&mut self) -> Result<Packed<'_>, Error> {
        let sieve = self.sieves.sieve(&self.packed);
        let plain_len = u32::try_from(self.packed.len()).ok().filter(|len| {
            let len = *len as usize;
            (COMPRESS_BYTES_MIN..PACKED_BYTES_MAX).contains(&len)
        });
        let Some(plain_len) = plain_len else {
            return Ok(Packed {
                codec: CODEC_PLAIN,
                content: &self.packed,
                sieve,
            });
        };
        let bound = zstd::zstd_safe::compress_bound(self.packed.len());
        self.compressed.clear();
        self.compressed.reserve(bound + 4);
        self.compressed.extend_from_slice(&plain_len.to_le_bytes());
        let mut frame = std::io::Cursor::new(&mut self.compressed);
        frame.set_position(4);
        self.compressor
            .compress_to_buffer(&self.packed, &mut frame)
            .map_err(Error::Zstd)?;
        if self.compressed.len() < self.packed.len() {
            Ok(Packed {
                codec: CODEC_ZSTD,
                content: &self.compressed,
                sieve,
            })
        } else {
            Ok(Packed {
                codec: CODEC_PLAIN,
                content: &self.packed,
                sieve,
            })
        }
    }
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

/// A block, unpacked.
#[derive(Debug)]
pub struct DecodedBlock {
    block: proto::Block,
}

/// One span of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSpan<'a> {
    /// Row of its resource.
    pub resource_id: i64,
    /// Row of its scope.
    pub scope_id: i64,
    /// Encoded OTLP `Span` message.
    pub message: &'a [u8],
}

impl DecodedBlock {
    /// The span at a place.
    #[must_use]
    pub fn span(&self, place: usize) -> Option<BlockSpan<'_>> {
        self.block.spans.get(place).map(BlockSpan::of)
    }

    /// Bytes of the messages.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.block.spans.iter().map(|span| span.message.len()).sum()
    }

    /// The spans, in the order in which they were packed.
    pub fn spans(&self) -> impl Iterator<Item = BlockSpan<'_>> {
        self.block.spans.iter().map(BlockSpan::of)
    }
}

impl<'a> BlockSpan<'a> {
    fn of(span: &'a proto::BlockSpan) -> Self {
        Self {
            resource_id: span.resource_id.cast_signed(),
            scope_id: span.scope_id.cast_signed(),
            message: &span.message,
        }
    }
}

/// Bytes that a stored block takes once it is unpacked, as it says itself.
#[must_use]
pub fn unpacked_len(codec: i64, content: &[u8]) -> usize {
    match (codec, content.first_chunk::<4>()) {
        (CODEC_ZSTD, Some(prefix)) => u32::from_le_bytes(*prefix) as usize,
        _ => content.len(),
    }
}

/// Unpacks a stored block.
///
/// # Errors
/// [`Error::UnknownCodec`], [`Error::Damaged`], [`Error::Zstd`], [`Error::Message`].
pub fn decode(codec: i64, content: &[u8]) -> Result<DecodedBlock, Error> {
    let packed = match codec {
        CODEC_PLAIN => content.to_vec(),
        CODEC_ZSTD => decompress(content)?,
        other => return Err(Error::UnknownCodec(other)),
    };
    Ok(DecodedBlock {
        block: proto::Block::decode(Bytes::from(packed))?,
    })
}

fn decompress(content: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packed = Vec::new();
    decompress_into(content, &mut packed)?;
    Ok(packed)
}

fn decompress_into(content: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
    let (prefix, frame) = content
        .split_first_chunk::<4>()
        .ok_or(Error::Damaged("no length before the frame"))?;
    let packed_len = u32::from_le_bytes(*prefix) as usize;
    if packed_len > PACKED_BYTES_MAX {
        return Err(Error::Damaged("implausible length before the frame"));
    }
    packed.clear();
    packed.reserve(packed_len);
    let written = DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(frame, packed)
    });
    if written.map_err(Error::Zstd)? == packed_len {
        Ok(())
    } else {
        Err(Error::Damaged(
            "the frame is not as long as its length says",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(spans: &[(i64, i64, Vec<u8>)]) {
        let mut packer = Packer::new().unwrap();
        for _ in 0..2 {
            packer.begin();
            for (resource_id, scope_id, message) in spans {
                packer.push(*resource_id, *scope_id, message);
            }
            let packed = packer.finish().unwrap();
            let decoded = decode(packed.codec, packed.content).unwrap();
            let back: Vec<_> = decoded
                .spans()
                .map(|span| (span.resource_id, span.scope_id, span.message.to_vec()))
                .collect();
            assert_eq!(back, spans);
            let mut buffer = vec![1, 2, 3];
            unpack(packed.codec, packed.content, &mut buffer).unwrap();
            let in_place: Vec<_> = spans_of(&buffer)
                .map(|span| {
                    let (span, at) = span.unwrap();
                    let message = &buffer[at..at + span.message.len()];
                    assert!(std::ptr::eq(message, span.message));
                    (span.resource_id, span.scope_id, message.to_vec())
                })
                .collect();
            assert_eq!(in_place, spans);
        }
    }

    proptest! {
        // Scenario: any spans are packed, with a packer that has been used before.
        // Guarantees: what is unpacked is what was packed.
        #[test]
        fn blocks_round_trip(
            spans in prop::collection::vec(
                (0..i64::MAX, 0..i64::MAX, prop::collection::vec(any::<u8>(), 0..400)),
                0..20,
            ),
        ) {
            round_trip(&spans);
        }

        // Scenario: stored content is cut or altered.
        // Guarantees: an error or some spans, never a panic.
        #[test]
        fn damaged_blocks_never_panic(
            codec in 0_i64..3,
            content in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            drop(decode(codec, &content));
            let mut buffer = Vec::new();
            drop(unpack(codec, &content, &mut buffer));
            let read = spans_of(&buffer).take(1000).filter(Result::is_ok).count();
            prop_assert!(read <= buffer.len());
        }
    }

    #[test]
    fn what_spans_share_is_compressed_once() {
        let spans: Vec<_> = (0..8).map(|n| (1, 2, vec![b'a' + n; 500])).collect();
        round_trip(&spans);
        let mut packer = Packer::new().unwrap();
        packer.begin();
        for (resource_id, scope_id, message) in &spans {
            packer.push(*resource_id, *scope_id, message);
        }
        let packed = packer.finish().unwrap();
        assert_eq!(packed.codec, CODEC_ZSTD);
        assert!(packed.content.len() < 400, "{} bytes", packed.content.len());
    }
}
