//! Spans made of log records: the attributes stay the bytes that they are.

use prost::encoding::{WireType, encode_key, encode_varint};

use super::record::LogRecord;
use super::span::Status;
use crate::model::{SpanId, TraceId};

/// `SPAN_KIND_CLIENT`.
const CLIENT: u64 = 3;

/// What a span that is made of a log record has besides its attributes.
#[derive(Debug, Clone, Copy)]
pub struct Derived<'a> {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Its name.
    pub name: &'a str,
    /// Start, ns since the Unix epoch.
    pub start_unix_nano: u64,
    /// End, ns since the Unix epoch.
    pub end_unix_nano: u64,
    /// Its outcome.
    pub status: Status<'a>,
    /// Key and value of an attribute that the record does not have.
    pub marker: (&'a str, &'a str),
}

impl Derived<'_> {
    /// Encodes the `Span`: that of a client, with the attributes of the record.
    #[must_use]
    pub fn encode(&self, record: &LogRecord<'_>) -> Vec<u8> {
        let attributes = record.attributes.encoded();
        let length: usize = attributes.clone().map(|it| it.len() + 6).sum();
        let mut out = Vec::with_capacity(length + 256);
        put(&mut out, 1, &self.trace_id.0);
        put(&mut out, 2, &self.span_id.0);
        put(&mut out, 5, self.name.as_bytes());
        encode_key(6, WireType::Varint, &mut out);
        encode_varint(CLIENT, &mut out);
        for (number, time) in [(7, self.start_unix_nano), (8, self.end_unix_nano)] {
            encode_key(number, WireType::SixtyFourBit, &mut out);
            out.extend_from_slice(&time.to_le_bytes());
        }
        // First, so that no limit drops it.
        put(&mut out, 9, &text_attribute(self.marker));
        for attribute in attributes {
            put(&mut out, 9, attribute);
        }
        if self.status != Status::default() {
            let mut status = Vec::new();
            put(&mut status, 2, self.status.message.as_bytes());
            encode_key(3, WireType::Varint, &mut status);
            encode_varint(u64::from(self.status.code.unsigned_abs()), &mut status);
            put(&mut out, 15, &status);
        }
        out
    }
}

fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// An encoded `KeyValue`.
fn text_attribute((key, text): (&str, &str)) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len() + 4);
    put(&mut value, 1, text.as_bytes());
    let mut attribute = Vec::with_capacity(key.len() + value.len() + 8);
    put(&mut attribute, 1, key.as_bytes());
    put(&mut attribute, 2, &value);
    attribute
}
