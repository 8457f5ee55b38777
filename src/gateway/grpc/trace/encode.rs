//! Spans in protobuf, grouped by resource and scope again. Resources and scopes are the bytes that came.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::span;
use crate::storage::{Error, SpanEvents, StoredSpan};

/// `GetTraceResponse.resource_spans`.
const RESOURCE_SPANS: u32 = 2;
/// The parts of `ResourceSpans`, and of `ScopeSpans`: the resource or scope, what is of it, the schema.
const ORIGIN: u32 = 1;
const PARTS: u32 = 2;
const SCHEMA_URL: u32 = 3;

/// Spans of an answer.
pub(super) struct Encoded {
    /// Fields of the answer.
    pub(super) resource_spans: Vec<u8>,
    /// Spans in it.
    pub(super) spans: usize,
}

/// A resource or a scope with what is of it.
struct Group<T> {
    /// The fields of the group but for its parts.
    head: Vec<u8>,
    parts: Vec<T>,
}

impl<T> Group<T> {
    fn new(message: &[u8], schema_url: &str) -> Self {
        let mut head = Vec::with_capacity(message.len() + schema_url.len() + 16);
        put(&mut head, ORIGIN, message);
        if !schema_url.is_empty() {
            put(&mut head, SCHEMA_URL, schema_url.as_bytes());
        }
        Self {
            head,
            parts: Vec::new(),
        }
    }
}

/// Encoded spans of scopes of resources. Spans of one answer share their resource and scope, so that
/// these are told apart by address.
#[derive(Default)]
struct Groups {
    resources: Vec<Group<Group<Vec<u8>>>>,
    resource_places: HashMap<usize, usize>,
    scope_places: HashMap<(usize, usize), usize>,
}

impl Groups {
    fn has_place_for(&self, span: &StoredSpan) -> bool {
        self.scope_places.contains_key(&addresses(span))
    }

    fn add(&mut self, span: &StoredSpan, message: Vec<u8>) {
        let (resource, scope) = (&span.resource, &span.scope);
        let addresses = addresses(span);
        let resources = &mut self.resources;
        let place = *self.resource_places.entry(addresses.0).or_insert_with(|| {
            resources.push(Group::new(&resource.message, &resource.schema_url));
            resources.len() - 1
        });
        let Some(group) = resources.get_mut(place) else {
            return;
        };
        let scopes = &mut group.parts;
        let place = *self.scope_places.entry(addresses).or_insert_with(|| {
            scopes.push(Group::new(&scope.message, &scope.schema_url));
            scopes.len() - 1
        });
        if let Some(group) = scopes.get_mut(place) {
            group.parts.push(message);
        }
    }
}

fn addresses(span: &StoredSpan) -> (usize, usize) {
    let resource = Arc::as_ptr(&span.resource).addr();
    (resource, Arc::as_ptr(&span.scope).addr())
}

/// Encodes spans until the answer has `bytes_max` of them, though always one. Groups and spans keep the
/// order of the spans.
///
/// # Errors
/// [`Error::Corrupt`] when a stored message is not what it should be.
pub(super) fn spans(
    spans: &[StoredSpan],
    events: &SpanEvents,
    bytes_max: usize,
) -> Result<Encoded, Error> {
    let mut groups = Groups::default();
    let (mut bytes, mut taken) = (0, 0);
    for stored in spans {
        let message = span::native(stored, events)?.encode_to_vec();
        let (resource, scope) = (&stored.resource, &stored.scope);
        // As if it came with its own resource and scope: never less than it adds.
        let origins = resource.message.len() + resource.schema_url.len();
        let origins = origins + scope.message.len() + scope.schema_url.len();
        let is_new = !groups.has_place_for(stored);
        // Each length in front of something has five bytes at most, its number one.
        let more = field_len(message.len()) + if is_new { origins + 36 } else { 0 };
        if taken > 0 && bytes + more > bytes_max {
            break;
        }
        bytes += more;
        taken += 1;
        groups.add(stored, message);
    }
    let mut resource_spans = Vec::with_capacity(bytes);
    for resource in groups.resources {
        let scopes = resource
            .parts
            .into_iter()
            .map(|scope| whole(scope.head, &scope.parts));
        let scopes: Vec<_> = scopes.collect();
        put(
            &mut resource_spans,
            RESOURCE_SPANS,
            &whole(resource.head, &scopes),
        );
    }
    Ok(Encoded {
        resource_spans,
        spans: taken,
    })
}

/// A group with its parts.
fn whole(head: Vec<u8>, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = head;
    whole.reserve(parts.iter().map(|part| field_len(part.len())).sum());
    for part in parts {
        put(&mut whole, PARTS, part);
    }
    whole
}

/// Bytes of a field with a low number.
fn field_len(bytes: usize) -> usize {
    key_len(PARTS) + encoded_len_varint(bytes as u64) + bytes
}

fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
