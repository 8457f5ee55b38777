//! Reading a block where it lies, without a copy of every message.

use super::{BlockSpan, CODEC_PLAIN, CODEC_ZSTD, Error, decompress_into};
use crate::otlp::protobuf::{self, Value};

const NOT_A_BLOCK: Error = Error::Damaged("not a block");

/// Unpacks a stored block into a buffer, for who reads its spans where they lie ([`spans_of`]).
///
/// # Errors
/// [`Error::UnknownCodec`], [`Error::Damaged`], [`Error::Zstd`].
pub fn unpack(codec: i64, content: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
    packed.clear();
    match codec {
        CODEC_PLAIN => {
            packed.extend_from_slice(content);
            Ok(())
        }
        CODEC_ZSTD => decompress_into(content, packed),
        other => Err(Error::UnknownCodec(other)),
    }
}

/// The spans of an unpacked block in the order in which they were packed, each with where its
/// message begins.
pub fn spans_of(packed: &[u8]) -> impl Iterator<Item = Result<(BlockSpan<'_>, usize), Error>> {
    let mut reader = protobuf::fields(packed);
    std::iter::from_fn(move || {
        loop {
            let Ok(field) = reader.next()? else {
                return Some(Err(NOT_A_BLOCK));
            };
            if let (1, Value::Bytes(span)) = (field.number, field.value) {
                let end = packed.len() - reader.rest().len();
                return Some(span_of(span, end));
            }
        }
    })
}

/// A span from its encoding, which ends at this place of the block.
fn span_of(encoded: &[u8], end: usize) -> Result<(BlockSpan<'_>, usize), Error> {
    let mut span = BlockSpan {
        resource_id: 0,
        scope_id: 0,
        message: &[],
    };
    let mut at = end;
    let mut reader = protobuf::fields(encoded);
    while let Some(field) = reader.next_field().map_err(|_| NOT_A_BLOCK)? {
        match (field.number, field.value) {
            (1, Value::Varint(id)) => span.resource_id = id.cast_signed(),
            (2, Value::Varint(id)) => span.scope_id = id.cast_signed(),
            (3, Value::Bytes(message)) => {
                span.message = message;
                at = end - reader.rest().len() - message.len();
            }
            _ => {}
        }
    }
    Ok((span, at))
}
