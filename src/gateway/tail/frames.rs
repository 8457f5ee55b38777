//! What a client is told, and how server-sent events (WHATWG HTML §9.2) and WebSocket messages say it.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use super::hub::Kind;
use super::place::Place;

/// How long a client waits before it connects again, ms.
const RETRY_MS: u32 = 2000;

/// Something that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct Told {
    /// Where a client goes on that heard this.
    pub(in crate::gateway) id: Place,
    /// What it is.
    pub(in crate::gateway) what: Notice,
}

/// See [`Told`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) enum Notice {
    /// It is connected.
    Following,
    /// Nothing happened for a while.
    Alive,
    /// Something went by.
    Missed(Missed),
    /// Something was stored: as the client's [`super::Form`] says it.
    Stored(Kind, Bytes),
}

/// What went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(in crate::gateway) struct Missed {
    /// What was stored while the client was too slow, whether or not it matches; absent when it is
    /// not known how much.
    pub(in crate::gateway) unseen: Option<u64>,
    /// What matches and was left out to keep to the rate.
    pub(in crate::gateway) over_rate: u64,
}

impl Missed {
    /// Nothing went by.
    pub(super) const NOTHING: Self = Self {
        unseen: Some(0),
        over_rate: 0,
    };

    /// As JSON.
    pub(in crate::gateway) fn json(&self) -> Vec<u8> {
        // Numbers always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Spans => "span",
        Kind::Events => "event",
    }
}

/// Adds what is told as a server-sent event; a comment where only the place moves on.
pub(super) fn sent_event(frames: &mut BytesMut, told: &Told) {
    let id = &told.id;
    match &told.what {
        Notice::Following => {
            let hello = format!("retry: {RETRY_MS}\nid: {id}\n: following\n\n");
            frames.put_slice(hello.as_bytes());
        }
        Notice::Alive => frames.put_slice(format!("id: {id}\n: alive\n\n").as_bytes()),
        Notice::Missed(missed) => event(frames, "missed", id, &missed.json()),
        Notice::Stored(kind, json) => event(frames, name(*kind), id, json),
    }
}

fn event(frames: &mut BytesMut, name: &str, id: &Place, json: &[u8]) {
    frames.put_slice(format!("event: {name}\nid: {id}\ndata: ").as_bytes());
    // JSON of ours has no line breaks.
    frames.put_slice(json);
    frames.put_slice(b"\n\n");
}

/// What is told as the text of a message; `None` where nothing happened, which a ping says.
pub(super) fn message(told: &Told) -> Option<Bytes> {
    let missed;
    let (name, json): (_, &[u8]) = match &told.what {
        Notice::Following => ("following", b"null"),
        Notice::Alive => return None,
        Notice::Missed(it) => {
            missed = it.json();
            ("missed", &missed)
        }
        Notice::Stored(kind, json) => (name(*kind), json),
    };
    let mut text = BytesMut::with_capacity(json.len() + 128);
    // Neither names nor ids have anything to escape.
    let head = format!(r#"{{"event":"{name}","id":"{}","data":"#, told.id);
    text.put_slice(head.as_bytes());
    text.put_slice(json);
    text.put_u8(b'}');
    Some(text.freeze())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn messages_hold_what_events_say() {
        let id: Place = "1.2.3~4.5.6".parse().unwrap();
        let missed = Missed {
            unseen: None,
            over_rate: 3,
        };
        for (what, expected) in [
            (
                Notice::Stored(Kind::Events, Bytes::from_static(b"{\"a\":1}")),
                Some(("event", json!({"a": 1}))),
            ),
            (
                Notice::Missed(missed),
                Some(("missed", json!({"unseen": null, "over_rate": 3}))),
            ),
            (Notice::Following, Some(("following", Value::Null))),
            (Notice::Alive, None),
        ] {
            let told = Told { id, what };
            let text = message(&told);
            let said: Option<Value> = text.map(|it| serde_json::from_slice(&it).unwrap());
            let expected = expected
                .map(|(name, data)| json!({"event": name, "id": "1.2.3~4.5.6", "data": data}));
            assert_eq!(said, expected);
            let mut frames = BytesMut::new();
            sent_event(&mut frames, &told);
            let frames = String::from_utf8(frames.to_vec()).unwrap();
            assert!(frames.contains("id: 1.2.3~4.5.6\n") && frames.ends_with("\n\n"));
        }
    }
}
