//! Reading what the feed tells. Pure.

use serde::Deserialize;

/// What is of interest of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Span([u8; 16]),
    Missed(Missed),
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Missed {
    pub(super) unseen: Option<u64>,
    pub(super) over_rate: u64,
}

/// Reads an event. Spans are searched for their trace id rather than parsed: there are many, and this
/// must cost less than the server.
pub(super) fn event(bytes: &[u8]) -> Option<Event> {
    const TRACE_ID: &[u8] = b"\"trace_id\":\"";
    let data = memchr::memmem::find(bytes, b"data: ")?;
    let data = bytes.get(data + 6..)?;
    if bytes.starts_with(b"event: missed") {
        return Some(Event::Missed(serde_json::from_slice(data).ok()?));
    }
    let at = memchr::memmem::find(data, TRACE_ID)? + TRACE_ID.len();
    let text = std::str::from_utf8(data.get(at..at + 32)?).ok()?;
    let trace_id = u128::from_str_radix(text, 16).ok()?;
    Some(Event::Span(trace_id.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read() {
        let span = b"event: span\nid: 1.2.3\ndata: {\"trace_id\":\"000102030405060708090a0b0c0d0e0f\",\"name\":\"x\"}";
        let trace_id = std::array::from_fn(|place| u8::try_from(place).unwrap());
        assert_eq!(event(span), Some(Event::Span(trace_id)));
        let missed = b"event: missed\nid: 1.2.3\ndata: {\"unseen\":null,\"over_rate\":7}";
        let expected = Missed {
            unseen: None,
            over_rate: 7,
        };
        assert_eq!(event(missed), Some(Event::Missed(expected)));
        for other in [
            &b"id: 1.2.3\n: alive"[..],
            b"retry: 2000\nid: 1\n: following",
            b"data: {}",
        ] {
            assert_eq!(event(other), None);
        }
    }
}
