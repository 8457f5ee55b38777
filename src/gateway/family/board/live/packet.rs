//! Packets of Engine.IO v4 and, within its messages, of Socket.IO v5, as texts. Pure.

use std::time::Duration;

use bytes::Bytes;

use super::super::super::super::pieces::Text;
use crate::receivers::pulse::json::Json;

/// Between the packets of one body.
pub(super) const SEPARATOR: u8 = 0x1e;
/// The connection is closed.
pub(super) const CLOSE: &str = "1";
/// Asks for a sign.
pub(super) const PING: &str = "2";
/// Answers the ping that tries out a WebSocket.
pub(super) const PROBED: &str = "3probe";
/// Nothing, so that a waiting request ends.
pub(super) const NOOP: &str = "6";

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'t> {
    Close,
    /// With what is to be sent back.
    Ping(&'t str),
    Pong,
    Message(&'t str),
    /// The WebSocket is used from now on.
    Upgrade,
    Noop,
}

impl<'t> Packet<'t> {
    /// Reads a packet; `None` when it is none that a client sends.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        let mut rest = text.chars();
        let kind = rest.next()?;
        Some(match (kind, rest.as_str()) {
            ('1', "") => Self::Close,
            ('2', said) => Self::Ping(said),
            ('3', _) => Self::Pong,
            ('4', message) => Self::Message(message),
            ('5', "") => Self::Upgrade,
            ('6', "") => Self::Noop,
            _ => return None,
        })
    }
}

/// The first packet of a session.
pub(super) fn open(
    id: &str,
    upgrades: &[&str],
    (every, within): (Duration, Duration),
    payload_max: usize,
) -> String {
    let ms = |time: Duration| Json::Number(time.as_secs_f64() * 1000.0);
    let upgrades = upgrades.iter().map(|it| Json::text(*it)).collect();
    let opened = Json::map([
        ("sid", Json::text(id)),
        ("upgrades", Json::List(upgrades)),
        ("pingInterval", ms(every)),
        ("pingTimeout", ms(within)),
        ("maxPayload", Json::count(payload_max)),
    ]);
    format!("0{opened}")
}

/// What a message of a client says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// It connects to a namespace, with something to show for it.
    Connect {
        namespace: String,
        token: Option<String>,
    },
    Disconnect,
    /// An event, with its first argument where that is a text or a number.
    Event {
        name: String,
        argument: Option<String>,
    },
    /// Nothing that is answered: an acknowledgement, an event elsewhere.
    Nothing,
}

/// The namespace that everybody uses.
pub(super) const ROOT: &str = "/";

impl Said {
    /// Reads a message; `None` when it is malformed or binary.
    pub(super) fn read(message: &str) -> Option<Self> {
        let mut rest = message.chars();
        let kind = rest.next()?;
        let rest = rest.as_str();
        let (namespace, rest) = match rest.starts_with('/') {
            true => rest.split_once(',').unwrap_or((rest, "")),
            false => (ROOT, rest),
        };
        // The number of an acknowledgement, which is never given.
        let rest = rest.trim_start_matches(|it: char| it.is_ascii_digit());
        let json = match rest {
            "" => None,
            rest => Some(Json::parse(rest.as_bytes()).ok()?),
        };
        match kind {
            '0' => Some(Self::Connect {
                namespace: namespace.to_owned(),
                token: json.and_then(|it| Some(it.get("token")?.as_text()?.to_owned())),
            }),
            '1' => Some(Self::Disconnect),
            '2' if namespace == ROOT => Self::event(&json?),
            '2' | '3' => Some(Self::Nothing),
            _ => None,
        }
    }

    fn event(json: &Json) -> Option<Self> {
        let list = json.as_list()?;
        let argument = match list.get(1) {
            Some(Json::Text(text)) => Some(text.clone()),
            Some(number @ Json::Number(_)) => Some(number.to_string()),
            _ => None,
        };
        Some(Self::Event {
            name: list.first()?.as_text()?.to_owned(),
            argument,
        })
    }
}

/// A client is connected to the root.
pub(super) fn connected(id: &str) -> String {
    format!("40{}", Json::map([("sid", Json::text(id))]))
}

/// A client is not connected to a namespace.
pub(super) fn not_connected(namespace: &str, message: &str) -> String {
    let error = Json::map([("message", Json::text(message))]);
    match namespace {
        ROOT => format!("44{error}"),
        namespace => format!("44{namespace},{error}"),
    }
}

/// An event with one argument, which is JSON.
pub(super) fn event(name: &str, argument: Bytes) -> Text {
    Text::new(format!("42[{},", Json::text(name)), argument, "]")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_read() {
        for (text, expected) in [
            ("1", Some(Packet::Close)),
            ("2probe", Some(Packet::Ping("probe"))),
            ("3", Some(Packet::Pong)),
            ("40", Some(Packet::Message("0"))),
            ("5", Some(Packet::Upgrade)),
            ("6", Some(Packet::Noop)),
            ("", None),
            ("0{}", None),
            ("bAQID", None),
            ("11", None),
        ] {
            assert_eq!(Packet::read(text), expected, "{text}");
        }
    }

    #[test]
    fn messages_are_read() {
        let connect = |namespace: &str, token: Option<&str>| Said::Connect {
            namespace: namespace.to_owned(),
            token: token.map(str::to_owned),
        };
        let event = |argument: Option<&str>| Said::Event {
            name: "subscribe".to_owned(),
            argument: argument.map(str::to_owned),
        };
        for (text, expected) in [
            ("0", Some(connect("/", None))),
            (r#"0{"token":"t"}"#, Some(connect("/", Some("t")))),
            ("0/admin,{}", Some(connect("/admin", None))),
            ("0/admin", Some(connect("/admin", None))),
            ("1", Some(Said::Disconnect)),
            (r#"2["subscribe","7"]"#, Some(event(Some("7")))),
            (r#"212["subscribe",7]"#, Some(event(Some("7")))),
            (r#"2["subscribe",{}]"#, Some(event(None))),
            (r#"2/x,["subscribe","7"]"#, Some(Said::Nothing)),
            ("31[]", Some(Said::Nothing)),
            ("2", None),
            ("2[]", None),
            ("2{", None),
            (r#"51-["a",{"_placeholder":true,"num":0}]"#, None),
            ("", None),
        ] {
            assert_eq!(Said::read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_said_is_as_clients_read_it() {
        let times = (Duration::from_secs(25), Duration::from_secs(20));
        assert_eq!(
            open("a", &["websocket"], times, 1000),
            r#"0{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}"#
        );
        assert_eq!(connected("b"), r#"40{"sid":"b"}"#);
        assert_eq!(not_connected("/", "no"), r#"44{"message":"no"}"#);
        assert_eq!(not_connected("/x", "no"), r#"44/x,{"message":"no"}"#);
        let mut out = bytes::BytesMut::new();
        event("event", Bytes::from_static(b"{}")).put(&mut out);
        assert_eq!(out, r#"42["event",{}]"#);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            if let Some(Packet::Message(message)) = Packet::read(&text) {
                drop(Said::read(message));
            }
            drop(Said::read(&text));
        }
    }
}
