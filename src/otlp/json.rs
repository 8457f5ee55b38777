//! OTLP/JSON: a decoder that takes what clients really send, and an encoder that sends what the
//! specification says.
//!
//! Decoding accepts, beyond the letter of the proto3 JSON mapping as OTLP changes it: `null` for
//! any field (it is as good as absent), 64-bit integers as strings or numbers in any notation,
//! doubles as strings, bytes in either base64 alphabet with or without padding, enum names, a byte
//! order mark, lone surrogates (they become U+FFFD) and NUL. The last of several equal keys wins.
//! Unknown keys are ignored at every level, and the `snake_case` names of the proto files are
//! unknown keys. Text in place of an id is kept as bytes of a length that no id has, so that one
//! bad span is rejected later and not the whole request now.
//!
//! Failure: malformed JSON, or a value of the wrong kind, refuses the request with the path, line
//! and column. Nesting is limited to 128 levels of JSON, which is less than what the protobuf
//! decoder takes, so that whatever is accepted here can be read back from the log. Memory is
//! limited in proportion to the body: a list of millions of `{}` is refused.

mod encode;
mod locate;
mod message;
mod metric;
mod record;
mod scalar;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::Failure;
use message::{Codec as _, Message, Object};

pub use encode::{Json, encode, encode_logs, encode_metrics};

/// RFC 8259 §8.1: a reader may ignore it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of decoded list elements allowed per byte of the body; real requests need about three.
const MEMORY_RATIO: usize = 8;
/// Allowed in any case.
const MEMORY_MIN: usize = 64 << 10;

/// The body is not an export request in OTLP/JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    reason: String,
    path: Option<String>,
}

impl DecodeError {
    /// Where it happened, such as `resourceSpans[0].scopeSpans[0].spans[3].name`; absent when the
    /// top level is wrong.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "not a valid OTLP/JSON export request: {}",
            self.reason
        )?;
        match &self.path {
            Some(path) => write!(formatter, " in {path}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Malformed {
            message: error.to_string(),
            field: error.path,
        }
    }
}

/// Decodes the body of a trace export.
///
/// # Errors
/// The body is not such a request. Invalid identifiers are no error here.
pub fn decode(body: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    decode_message(body)
}

/// Decodes the body of a log export.
///
/// # Errors
/// The body is not such a request. Invalid identifiers are no error here.
pub fn decode_logs(body: &[u8]) -> Result<ExportLogsServiceRequest, DecodeError> {
    decode_message(body)
}

/// Decodes the body of a metric export.
///
/// # Errors
/// The body is not such a request. Invalid data points are no error here.
pub fn decode_metrics(body: &[u8]) -> Result<ExportMetricsServiceRequest, DecodeError> {
    decode_message(body)
}

fn decode_message<M: Message>(body: &[u8]) -> Result<M, DecodeError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    // Checked up front, so that what is not UTF-8 in a decoded string must be a lone surrogate.
    let text = std::str::from_utf8(body).map_err(|error| DecodeError {
        reason: format!("invalid UTF-8 at byte {}", error.valid_up_to()),
        path: locate::path(body, error.valid_up_to()),
    })?;
    let memory = Memory::for_body(text.len());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Object::<M>::decode(&mut deserializer, &memory)
        .and_then(|request| deserializer.end().map(|()| request))
        .map_err(|error| DecodeError {
            path: locate::path(body, locate::offset(body, error.line(), error.column())),
            reason: locate::shown(&error),
        })
}

/// What decoded lists may still take.
struct Memory {
    left: Cell<usize>,
}

impl Memory {
    fn for_body(length: usize) -> Self {
        Self {
            left: Cell::new(length.saturating_mul(MEMORY_RATIO).max(MEMORY_MIN)),
        }
    }

    fn take<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(E::custom("too many nearly empty list elements")),
        }
    }
}
