//! Requests that are encoded once and made unique in place.
//!
//! Encoding costs the generator more than the server pays for the whole request, so it is done
//! before the run: a template is the encoded bytes and the offsets of everything that must differ
//! between requests. Filling one in writes trace, span and parent ids, start, end and event times,
//! conversation ids and some of the words of long texts; nothing changes its length. It costs
//! about 30 µs for 512 small spans.

mod json;
mod protobuf;
#[cfg(test)]
mod tests;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::layout::{Ids, Rng, mix};
use super::words;

/// A string value that starts with this holds the id of the conversation in 16 hex digits.
pub(super) const CONVERSATION_PREFIX: &str = "conv_";

/// String values from this length on get other words in every request.
const LONG_TEXT_BYTES: usize = 256;

/// How bytes and numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// Something to write at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patch {
    offset: usize,
    /// Slot of the trace it belongs to.
    trace: u32,
    kind: PatchKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchKind {
    TraceId,
    /// Id of the span at this position of the trace.
    SpanId(u32),
    /// A time this many nanoseconds after the start of the trace.
    Time(u64),
    Conversation,
    /// A word of this length.
    Word(usize),
}

/// An encoded request and what must be written into it.
#[derive(Debug)]
pub(super) struct Template {
    body: Vec<u8>,
    patches: Vec<Patch>,
    encoding: Encoding,
    /// Bytes before the message: the frame header of gRPC.
    prefix: usize,
    /// Latest time of the message, ns since the start of its trace.
    extent_ns: u64,
}

/// What is written for one trace.
#[derive(Debug, Clone, Copy, Default)]
struct TraceValues {
    number: u64,
    id: [u8; 16],
    start_unix_nano: u64,
    /// Durations are stretched by this many 1024ths, so that they differ between requests.
    stretch: u64,
}

impl Template {
    /// Encodes a message and finds its placeholders. `header` comes before the message.
    pub(super) fn new(
        message: &ExportTraceServiceRequest,
        encoding: Encoding,
        header: impl FnOnce(usize) -> Vec<u8>,
    ) -> Self {
        let (encoded, mut patches) = match encoding {
            Encoding::Protobuf => protobuf::encode(message),
            Encoding::Json => json::encode(message),
        };
        let mut body = header(encoded.len());
        let prefix = body.len();
        body.extend_from_slice(&encoded);
        for patch in &mut patches {
            patch.offset += prefix;
        }
        let extent_ns = patches
            .iter()
            .filter_map(|patch| match patch.kind {
                PatchKind::Time(offset) => Some(offset),
                _ => None,
            })
            .max();
        Self {
            body,
            patches,
            encoding,
            prefix,
            extent_ns: extent_ns.unwrap_or(0),
        }
    }

    /// The bytes to copy before the first fill. Any buffer once copied from here, or filled
    /// before, can be filled again.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Where the message starts in the buffer.
    pub(super) const fn prefix(&self) -> usize {
        self.prefix
    }

    /// Makes the buffer the request with this number, as if its last span ended now.
    pub(super) fn fill(&self, buffer: &mut [u8], ids: &Ids, request: u64, now_unix_nano: u64) {
        let mut rng = Rng::new(mix(request ^ now_unix_nano));
        let traces: Vec<TraceValues> = (0..ids.layout.traces_per_request())
            .map(|slot| {
                let number = ids.layout.trace_number(request, slot);
                let stretch = 512 + rng.below(512);
                TraceValues {
                    number,
                    id: ids.trace_id(number).0,
                    start_unix_nano: now_unix_nano
                        .saturating_sub(stretched(self.extent_ns, stretch) + rng.below(20_000_000)),
                    stretch,
                }
            })
            .collect();
        for patch in &self.patches {
            let Some(trace) = traces.get(patch.trace as usize) else {
                continue;
            };
            let Some(target) = buffer.get_mut(patch.offset..) else {
                continue;
            };
            match patch.kind {
                PatchKind::TraceId => self.put_bytes(target, &trace.id),
                PatchKind::SpanId(position) => {
                    self.put_bytes(target, &ids.span_id(trace.number, position).0);
                }
                PatchKind::Time(offset) => {
                    self.put_time(
                        target,
                        trace.start_unix_nano + stretched(offset, trace.stretch),
                    );
                }
                PatchKind::Conversation => {
                    put_hex(target, &ids.conversation(trace.number).to_be_bytes());
                }
                PatchKind::Word(length) => {
                    if let Some(word) = words::of_length(length, rng.next()) {
                        put(target, word);
                    }
                }
            }
        }
    }

    fn put_bytes(&self, target: &mut [u8], bytes: &[u8]) {
        match self.encoding {
            Encoding::Protobuf => put(target, bytes),
            Encoding::Json => put_hex(target, bytes),
        }
    }

    fn put_time(&self, target: &mut [u8], unix_nano: u64) {
        match self.encoding {
            Encoding::Protobuf => put(target, &unix_nano.to_le_bytes()),
            Encoding::Json => put_decimal(target, unix_nano),
        }
    }
}

const fn stretched(offset_ns: u64, stretch: u64) -> u64 {
    offset_ns / 1024 * stretch
}

fn put(target: &mut [u8], bytes: &[u8]) {
    if let Some((head, _)) = target.split_at_mut_checked(bytes.len()) {
        head.copy_from_slice(bytes);
    }
}

fn put_hex(target: &mut [u8], bytes: &[u8]) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    for (pair, byte) in target.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Digits of a time: 19 until the year 2286.
const TIME_DIGITS: usize = 19;

fn put_decimal(target: &mut [u8], mut number: u64) {
    let Some((digits, _)) = target.split_at_mut_checked(TIME_DIGITS) else {
        return;
    };
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// What a string value asks for: the words of a long text, the id of a conversation. `encoded` is
/// the value as it is in the message, which starts at `offset`.
fn string_patches(encoded: &[u8], offset: usize, trace: u32, patches: &mut Vec<Patch>) {
    if encoded.starts_with(CONVERSATION_PREFIX.as_bytes()) {
        patches.push(Patch {
            offset: offset + CONVERSATION_PREFIX.len(),
            trace,
            kind: PatchKind::Conversation,
        });
    } else if encoded.len() >= LONG_TEXT_BYTES {
        patches.extend(words::replaced(encoded).map(|(start, length)| Patch {
            offset: offset + start,
            trace,
            kind: PatchKind::Word(length),
        }));
    }
}

/// Slot of the trace from a placeholder trace id.
fn trace_slot(placeholder: &[u8]) -> Option<u32> {
    let number = u128::from_be_bytes(placeholder.try_into().ok()?);
    u32::try_from(number).ok()
}

/// What a placeholder span id asks for.
fn span_patch(placeholder: &[u8]) -> Option<PatchKind> {
    let number = u64::from_be_bytes(placeholder.try_into().ok()?);
    u32::try_from(number).ok().map(PatchKind::SpanId)
}
