//! What a client is told, and how server-sent events (WHATWG HTML §9.2) and WebSocket messages say it.

use bytes::Bytes;
use serde::Serialize;

use super::hub::Kind;
use super::place::Place;
use crate::gateway::pieces::Text;

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

impl Notice {
    /// Bytes of what a client is told, but for what is around it.
    pub(super) fn bytes(&self) -> usize {
        // What is around it is not nothing either.
        match self {
            Self::Stored(_, said) => said.len() + 64,
            _ => 64,
        }
    }
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

/// What is told as a server-sent event; a comment where only the place moves on.
pub(super) fn sent_event(told: Told) -> Text {
    let id = told.id;
    match told.what {
        Notice::Following => format!("retry: {RETRY_MS}\nid: {id}\n: following\n\n").into(),
        Notice::Alive => format!("id: {id}\n: alive\n\n").into(),
        Notice::Missed(missed) => event("missed", id, missed.json().into()),
        Notice::Stored(kind, json) => event(name(kind), id, json),
    }
}

/// JSON of ours has no line breaks.
fn event(name: &str, id: Place, json: Bytes) -> Text {
    Text::new(format!("event: {name}\nid: {id}\ndata: "), json, "\n\n")
}

/// What is told as the text of a message; `None` where nothing happened, which a ping says.
pub(super) fn message(told: Told) -> Option<Text> {
    let (name, json) = match told.what {
        Notice::Following => ("following", Bytes::from_static(b"null")),
        Notice::Alive => return None,
        Notice::Missed(missed) => ("missed", missed.json().into()),
        Notice::Stored(kind, json) => (name(kind), json),
    };
    // Neither names nor ids have anything to escape.
    let head = format!(r#"{{"event":"{name}","id":"{}","data":"#, told.id);
    Some(Text::new(head, json, "}"))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use serde_json::{Value, json};

    use super::*;

    fn whole(text: &Text) -> String {
        let mut out = BytesMut::new();
        text.put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

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
            let text = message(told.clone()).as_ref().map(whole);
            let said: Option<Value> = text.map(|it| serde_json::from_str(&it).unwrap());
            let expected = expected
                .map(|(name, data)| json!({"event": name, "id": "1.2.3~4.5.6", "data": data}));
            assert_eq!(said, expected);
            let frames = whole(&sent_event(told));
            assert!(frames.contains("id: 1.2.3~4.5.6\n") && frames.ends_with("\n\n"));
        }
    }
}
