//! Finds the placeholders in an encoded `ExportTraceServiceRequest` by walking its fields.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::{Patch, PatchKind, span_patch, string_patches, trace_slot};

pub(super) fn encode(message: &ExportTraceServiceRequest) -> (Vec<u8>, Vec<Patch>) {
    let bytes = message.encode_to_vec();
    let mut patches = Vec::new();
    // ExportTraceServiceRequest.resource_spans = 1, ResourceSpans.scope_spans = 2,
    // ScopeSpans.spans = 2
    for resource_spans in fields(&bytes, 0, 1) {
        for scope_spans in fields(resource_spans.bytes, resource_spans.offset, 2) {
            for span in fields(scope_spans.bytes, scope_spans.offset, 2) {
                span_patches(span, &mut patches);
            }
        }
    }
    (bytes, patches)
}

/// A field of a message and where its value is in the whole.
#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    number: u64,
    offset: usize,
    bytes: &'a [u8],
}

fn span_patches(span: Field<'_>, patches: &mut Vec<Patch>) {
    let mut trace = 0;
    for field in Walk::new(span.bytes, span.offset) {
        let kind = match field.number {
            1 => {
                trace = trace_slot(field.bytes).unwrap_or(0);
                Some(PatchKind::TraceId)
            }
            2 | 4 => span_patch(field.bytes),
            7 | 8 => time_patch(field.bytes),
            9 => {
                value_patches(field, trace, patches);
                None
            }
            11 => {
                for time in fields(field.bytes, field.offset, 1) {
                    patches.extend(time_patch(time.bytes).map(|kind| Patch {
                        offset: time.offset,
                        trace,
                        kind,
                    }));
                }
                None
            }
            _ => None,
        };
        patches.extend(kind.map(|kind| Patch {
            offset: field.offset,
            trace,
            kind,
        }));
    }
}

/// `KeyValue.value` = 2, `AnyValue.string_value` = 1.
fn value_patches(attribute: Field<'_>, trace: u32, patches: &mut Vec<Patch>) {
    for value in fields(attribute.bytes, attribute.offset, 2) {
        for text in fields(value.bytes, value.offset, 1) {
            string_patches(text.bytes, text.offset, trace, patches);
        }
    }
}

/// Placeholder times are one more than the offset, because zero is not encoded.
fn time_patch(bytes: &[u8]) -> Option<PatchKind> {
    let placeholder = u64::from_le_bytes(bytes.try_into().ok()?);
    Some(PatchKind::Time(placeholder.checked_sub(1)?))
}

fn fields(bytes: &[u8], offset: usize, number: u64) -> impl Iterator<Item = Field<'_>> {
    Walk::new(bytes, offset).filter(move |field| field.number == number)
}

/// The fields of a message, in order. Ends early where the bytes are no message, which does not
/// happen to what prost encoded.
struct Walk<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Walk<'a> {
    const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            rest: bytes,
            offset,
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let before = self.rest.len();
        let value = prost::encoding::decode_varint(&mut self.rest).ok()?;
        self.offset += before - self.rest.len();
        Some(value)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(length)?;
        self.rest = tail;
        self.offset += length;
        Some(head)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let (offset, bytes) = match key & 7 {
            0 => {
                let offset = self.offset;
                self.varint()?;
                (offset, [].as_slice())
            }
            1 => (self.offset, self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                (self.offset, self.take(length)?)
            }
            5 => (self.offset, self.take(4)?),
            _ => return None,
        };
        Some(Field {
            number: key >> 3,
            offset,
            bytes,
        })
    }
}
