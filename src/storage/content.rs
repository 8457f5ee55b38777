//! How the span messages of one trace part are packed and compressed.
//!
//! A part holds spans of one trace that were stored together, so that what they share is
//! compressed once. Both backends store the same bytes.
//!
//! # Format
//!
//! Packed, per span: resource id, scope id and message length as LEB128 varints, then the encoded
//! OTLP `Span` message. The packed bytes are stored under a codec number:
//!
//! | codec | content |
//! |---|---|
//! | 0 | packed bytes as they are |
//! | 1 | packed length (u32, little-endian), then one zstd frame |
//!
//! A codec number is never reused for another format.

use std::cell::RefCell;

/// Stored as it is: compression did not pay.
const CODEC_PLAIN: i64 = 0;
/// zstd without a dictionary.
const CODEC_ZSTD: i64 = 1;

/// Fast enough to cost less than the disk writes it saves; measured in `benches/`.
const ZSTD_LEVEL: i32 = 1;

/// Below this, a compressed frame is rarely smaller than what went in.
const COMPRESS_BYTES_MIN: usize = 128;

/// No part is larger: a batch is bounded well below it.
const PACKED_BYTES_MAX: usize = 1 << 30;

/// Why a part could not be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The codec number is not one this program knows.
    #[error("unknown content codec {0}")]
    UnknownCodec(i64),
    /// The bytes are not what the codec says.
    #[error("damaged content: {0}")]
    Damaged(&'static str),
    /// zstd refused.
    #[error("zstd")]
    Zstd(#[source] std::io::Error),
}

/// Packs and compresses parts, reusing its buffers.
pub struct Packer {
    packed: Vec<u8>,
    compressed: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Packer")
            .field("packed_bytes", &self.packed.len())
            .finish()
    }
}

/// A part as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// How `content` is compressed.
    pub codec: i64,
    /// What to store.
    pub content: &'a [u8],
}

impl Packer {
    /// Makes a packer.
    ///
    /// # Errors
    /// [`Error::Zstd`] when zstd can't set up its context.
    pub fn new() -> Result<Self, Error> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(Error::Zstd)?;
        Ok(Self {
            packed: Vec::new(),
            compressed: Vec::new(),
            compressor,
        })
    }

    /// Starts a part.
    pub fn begin(&mut self) {
        self.packed.clear();
    }

    /// Adds a span to the part.
    pub fn push(&mut self, resource_id: i64, scope_id: i64, message: &[u8]) {
        write_varint(&mut self.packed, resource_id.cast_unsigned());
        write_varint(&mut self.packed, scope_id.cast_unsigned());
        write_varint(&mut self.packed, message.len() as u64);
        self.packed.extend_from_slice(message);
    }

    /// Ends the part and answers what to store.
    ///
    /// # Errors
    /// [`Error::Zstd`].
    pub fn finish(&mut self) -> Result<Packed<'_>, Error> {
        let plain_len = u32::try_from(self.packed.len()).ok().filter(|len| {
            let len = *len as usize;
            (COMPRESS_BYTES_MIN..PACKED_BYTES_MAX).contains(&len)
        });
        let Some(plain_len) = plain_len else {
            return Ok(Packed {
                codec: CODEC_PLAIN,
                content: &self.packed,
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
            })
        } else {
            Ok(Packed {
                codec: CODEC_PLAIN,
                content: &self.packed,
            })
        }
    }
}

/// A part, unpacked.
#[derive(Debug)]
pub struct DecodedPart {
    packed: Vec<u8>,
}

/// One span of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSpan<'a> {
    /// Row of its resource.
    pub resource_id: i64,
    /// Row of its scope.
    pub scope_id: i64,
    /// Encoded OTLP `Span` message.
    pub message: &'a [u8],
}

impl DecodedPart {
    /// The spans, in the order in which they were packed. Ends early only if the packed bytes
    /// are damaged, which [`decode`] has checked they are not.
    pub fn spans(&self) -> impl Iterator<Item = PartSpan<'_>> {
        let mut rest = self.packed.as_slice();
        std::iter::from_fn(move || read_span(&mut rest))
    }
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

/// Unpacks a stored part.
///
/// # Errors
/// [`Error::UnknownCodec`], [`Error::Damaged`], [`Error::Zstd`].
pub fn decode(codec: i64, content: &[u8]) -> Result<DecodedPart, Error> {
    let packed = match codec {
        CODEC_PLAIN => content.to_vec(),
        CODEC_ZSTD => decompress(content)?,
        other => return Err(Error::UnknownCodec(other)),
    };
    let mut rest = packed.as_slice();
    while !rest.is_empty() {
        read_span(&mut rest).ok_or(Error::Damaged("a span runs past the end of its part"))?;
    }
    Ok(DecodedPart { packed })
}

fn decompress(content: &[u8]) -> Result<Vec<u8>, Error> {
    let (prefix, frame) = content
        .split_first_chunk::<4>()
        .ok_or(Error::Damaged("no length before the frame"))?;
    let packed_len = u32::from_le_bytes(*prefix) as usize;
    if packed_len > PACKED_BYTES_MAX {
        return Err(Error::Damaged("implausible length before the frame"));
    }
    let packed = DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(frame, packed_len)
    });
    let packed = packed.map_err(Error::Zstd)?;
    if packed.len() == packed_len {
        Ok(packed)
    } else {
        Err(Error::Damaged("the frame is shorter than its length says"))
    }
}

fn read_span<'a>(rest: &mut &'a [u8]) -> Option<PartSpan<'a>> {
    let resource_id = read_varint(rest)?.cast_signed();
    let scope_id = read_varint(rest)?.cast_signed();
    let len = usize::try_from(read_varint(rest)?).ok()?;
    let (message, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(PartSpan {
        resource_id,
        scope_id,
        message,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low seven bits are what is written"
)]
fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
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
        }
    }

    proptest! {
        // Scenario: any spans are packed, with a packer that has been used before.
        // Guarantees: what is unpacked is what was packed.
        #[test]
        fn parts_round_trip(
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
        fn damaged_parts_never_panic(
            codec in 0_i64..3,
            content in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Ok(part) = decode(codec, &content) {
                part.spans().for_each(drop);
            }
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
