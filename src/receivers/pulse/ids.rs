//! From ids that are any text to ids that OTLP has: the same text always gives the same id.

use sha2::{Digest as _, Sha256};

use super::scalar::{hex_bytes, uuid_bytes};
use crate::model::{SpanId, TraceId};

/// How the ids of traces end that nobody named: they hold the spans of a session that came without
/// a trace.
const UNNAMED: [u8; 8] = *b"-session";

/// The id of a trace by its name: a UUID gives its bytes, hex digits of the right length give
/// theirs, all other texts a hash.
#[must_use]
pub fn trace_id(name: &str) -> TraceId {
    let bytes = uuid_bytes(name).or_else(|| hex_bytes(name.as_bytes()));
    let named = bytes.and_then(|bytes| TraceId::from_bytes(&bytes));
    named.unwrap_or_else(|| TraceId(hash("pulse.trace_id", name)))
}

/// The id of a span by its name: hex digits of the right length give theirs, all other texts a hash.
#[must_use]
pub fn span_id(name: &str) -> SpanId {
    let bytes: Option<[u8; SpanId::LENGTH]> = hex_bytes(name.as_bytes());
    let named = bytes.and_then(|bytes| SpanId::from_bytes(&bytes));
    named.unwrap_or_else(|| SpanId(hash("pulse.span_id", name)))
}

/// The id of the one span of a trace of the first generation.
#[must_use]
pub fn only_span_id(trace_id: TraceId) -> SpanId {
    SpanId(hash("pulse.trace", &trace_id.to_string()))
}

/// The id of the trace that holds the spans of a session that came without a trace.
#[must_use]
pub fn unnamed_trace_id(source: &str, session: &str) -> TraceId {
    let of_session: [u8; 8] = hash("pulse.session", &format!("{source}\0{session}"));
    let mut id = [0; TraceId::LENGTH];
    for (byte, value) in id.iter_mut().zip(of_session.into_iter().chain(UNNAMED)) {
        *byte = value;
    }
    TraceId(id)
}

/// Whether a trace is one that nobody named.
#[must_use]
pub fn is_unnamed(trace_id: TraceId) -> bool {
    trace_id.0.ends_with(&UNNAMED)
}

/// A new UUID, for what came without an id. `seed` and `number` together are never used twice.
#[must_use]
pub fn new_uuid(seed: u128, number: usize) -> String {
    let mut bytes: [u8; 16] = hash("pulse.new", &format!("{seed}\0{number}"));
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let hex = TraceId(bytes).to_string();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// The first bytes of a hash over a text, apart from those of other uses.
fn hash<const N: usize>(domain: &str, text: &str) -> [u8; N] {
    let mut hasher = Sha256::new();
    hasher.update(domain.as_bytes());
    hasher.update([0]);
    hasher.update(text.as_bytes());
    let mut out = [0; N];
    for (byte, value) in out.iter_mut().zip(hasher.finalize()) {
        *byte = value;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::receivers::pulse::scalar::is_uuid;

    #[test]
    fn uuids_and_hex_keep_their_bytes() {
        let uuid = trace_id("0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11");
        assert_eq!(uuid.to_string(), "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11");
        assert_eq!(uuid, trace_id("0D5F6C0E8D0C4F7E9D556A3C1F0F9A11"));
        assert_eq!(span_id("00F067AA0BA902B7").to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn other_texts_keep_apart() {
        let zero = "00000000-0000-0000-0000-000000000000";
        assert_ne!(trace_id(zero), TraceId([0; 16]));
        assert_ne!(trace_id("a"), trace_id("b"));
        assert_ne!(only_span_id(trace_id("a")), only_span_id(trace_id("b")));
        assert!(is_unnamed(unnamed_trace_id("codex", "s")));
        assert!(!is_unnamed(trace_id("s")));
        assert_ne!(unnamed_trace_id("a", "s"), unnamed_trace_id("b", "s"));
    }

    #[test]
    fn new_ids_are_uuids_and_differ() {
        let [one, two] = [new_uuid(1, 1), new_uuid(1, 2)];
        assert!(is_uuid(&one) && is_uuid(&two), "{one} {two}");
        assert_ne!(one, two);
    }

    proptest! {
        // Scenario: any text is an id.
        // Guarantees: an id that OTLP takes, the same each time.
        #[test]
        fn any_text_has_an_id(name in any::<String>()) {
            prop_assert_ne!(trace_id(&name).0, [0; 16]);
            prop_assert_ne!(span_id(&name).0, [0; 8]);
            prop_assert_eq!(span_id(&name), span_id(&name));
        }
    }
}
