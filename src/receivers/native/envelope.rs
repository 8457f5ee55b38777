//! What clients say on a stream.

use bytes::Bytes;

use crate::otlp::Failure;
use crate::otlp::protobuf::{DecodeError, Value, fields};

/// `StreamRequest.batch`, `Batch.sequence`.
const BATCH: u32 = 1;
const SEQUENCE: u32 = 100;

/// A batch as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its name on the stream, not zero.
    pub sequence: u64,
    /// The encoded `Batch`, which is an `ExportRequest` with a field more.
    pub payload: Bytes,
}

/// Reads a `StreamRequest`; copies nothing.
///
/// # Errors
/// [`Failure::Malformed`] when it is none, holds anything but one batch, or the batch has no
/// sequence number.
pub fn batch(message: &Bytes) -> Result<Batch, Failure> {
    let mut found = None;
    let mut reader = fields(message);
    while let Some(field) = reader.next_field()? {
        match (field.number, field.value) {
            (BATCH, Value::Bytes(batch)) if found.is_none() => found = Some(batch),
            (BATCH, _) => return Err(wrong("batch", "a message holds one batch")),
            // Of a newer version.
            _ => {}
        }
    }
    let batch = found.ok_or_else(|| wrong("batch", "the message holds no batch"))?;
    let sequence = sequence(batch)?;
    if sequence == 0 {
        let message = "a batch needs a number to be answered by";
        return Err(wrong("batch.sequence", message));
    }
    let payload = message.slice_ref(batch);
    Ok(Batch { sequence, payload })
}

fn sequence(batch: &[u8]) -> Result<u64, DecodeError> {
    let (mut sequence, mut reader) = (0, fields(batch));
    while let Some(field) = reader.next_field()? {
        if let (SEQUENCE, Value::Varint(number)) = (field.number, field.value) {
            sequence = number;
        }
    }
    Ok(sequence)
}

fn wrong(field: &str, message: &str) -> Failure {
    Failure::Malformed {
        message: message.to_owned(),
        field: Some(field.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::proto;
    use super::*;

    fn encoded(request: &proto::StreamRequest) -> Bytes {
        request.encode_to_vec().into()
    }

    fn request(sequence: u64) -> proto::StreamRequest {
        let spans = proto::ResourceSpans {
            schema_url: "x".to_owned(),
            ..proto::ResourceSpans::default()
        };
        proto::StreamRequest {
            batch: Some(proto::Batch {
                resource_spans: vec![spans; 2],
                sequence,
            }),
        }
    }

    #[test]
    fn a_batch_is_an_export_request_with_a_number() {
        let sent = request(u64::MAX);
        let read = batch(&encoded(&sent)).unwrap();
        assert_eq!(read.sequence, u64::MAX);
        let export = proto::ExportRequest::decode(read.payload).unwrap();
        assert_eq!(export.resource_spans, sent.batch.unwrap().resource_spans);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let empty = encoded(&proto::StreamRequest::default());
        let unnamed = encoded(&request(0));
        let twice = [encoded(&request(1)), encoded(&request(2))].concat().into();
        let broken = Bytes::from_static(b"\x0a\x05\x01");
        let as_number = Bytes::from_static(b"\x08\x01");
        for message in [empty, unnamed, twice, broken, as_number] {
            let refused = batch(&message).unwrap_err();
            assert!(matches!(refused, Failure::Malformed { .. }), "{refused}");
        }
        let newer = [&b"\x10\x01"[..], &encoded(&request(7))].concat().into();
        assert_eq!(batch(&newer).unwrap().sequence, 7);
    }
}
