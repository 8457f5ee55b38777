//! Server-sent events (WHATWG HTML §9.2), as bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use crate::storage::feed::FeedPosition;

/// How long a client waits before it connects again, ms.
const RETRY_MS: u32 = 2000;

/// What is sent first, so that a client knows that it is connected.
pub(super) fn hello(position: FeedPosition) -> Bytes {
    format!("retry: {RETRY_MS}\nid: {position}\n: following\n\n").into()
}

/// Keeps the connection open, and moves the place at which the client goes on, which is no event.
pub(super) fn alive(position: FeedPosition) -> Bytes {
    format!("id: {position}\n: alive\n\n").into()
}

/// What went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Missed {
    /// Spans that were stored while the client was too slow, whether or not they match; absent when
    /// it is not known how many.
    pub(super) unseen: Option<u64>,
    /// Spans that match and were left out to keep to the rate.
    pub(super) over_rate: u64,
}

impl Missed {
    /// Nothing went by.
    pub(super) const NOTHING: Self = Self {
        unseen: Some(0),
        over_rate: 0,
    };
}

/// Adds the event of a span.
pub(super) fn span(frames: &mut BytesMut, position: FeedPosition, json: &[u8]) {
    event(frames, "span", position, json);
}

/// Adds the event that tells of what went by.
pub(super) fn missed(frames: &mut BytesMut, position: FeedPosition, missed: Missed) {
    // Numbers always serialize.
    let json = serde_json::to_vec(&missed).unwrap_or_default();
    event(frames, "missed", position, &json);
}

fn event(frames: &mut BytesMut, name: &str, position: FeedPosition, json: &[u8]) {
    frames.put_slice(format!("event: {name}\nid: {position}\ndata: ").as_bytes());
    // JSON of ours has no line breaks.
    frames.put_slice(json);
    frames.put_slice(b"\n\n");
}
