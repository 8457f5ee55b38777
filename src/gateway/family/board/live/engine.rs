//! `/socket.io/`: how packets travel, by Engine.IO v4: requests that wait, or a WebSocket, which a session
//! begins with or goes over to.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::super::super::super::Shared;
use super::super::super::super::websocket::{self, Closing, Handshake, Heard, Socket};
use super::packet::{NOOP, PROBED, Packet, SEPARATOR};
use super::session::{Session, Transport};
use crate::receivers::pulse::json::Json;

/// Bytes of a body of packets at most, either way; and how many they may be.
pub(super) const BODY_MAX: usize = 64 << 10;
const PACKETS_MAX: usize = 64;
/// Longest time a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes given to a WebSocket at once.
const SENT_TOGETHER: usize = 256 << 10;

/// What is wrong with a request, as Engine.IO says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Transport,
    Session,
    Method,
    Request,
    Version,
    /// As many are here as may be.
    Busy,
}

impl axum::response::IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let (code, message) = match self {
            Self::Transport => (0, "Transport unknown"),
            Self::Session => (1, "Session ID unknown"),
            Self::Method => (2, "Bad handshake method"),
            Self::Request => (3, "Bad request"),
            Self::Busy => (4, "Forbidden"),
            Self::Version => (5, "Unsupported protocol version"),
        };
        let status = match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Json::map([
            ("code", Json::count(code)),
            ("message", Json::text(message)),
        ]);
        let json = HeaderValue::from_static("application/json");
        (status, [(CONTENT_TYPE, json)], body.to_string()).into_response()
    }
}

/// What the query of a request says.
struct Asked {
    is_websocket: bool,
    session: Option<String>,
}

fn asked(request: &Request) -> Result<Asked, Wrong> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let Query(pairs) = pairs.map_err(|_| Wrong::Request)?;
    let get = |name: &str| {
        let pair = pairs.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    };
    let is_websocket = match get("transport") {
        Some("polling") => false,
        Some("websocket") => true,
        _ => return Err(Wrong::Transport),
    };
    if get("EIO") != Some("4") {
        return Err(Wrong::Version);
    }
    if is_websocket != websocket::is_asked_for(request) {
        return Err(Wrong::Request);
    }
    Ok(Asked {
        is_websocket,
        session: get("sid").map(str::to_owned),
    })
}

/// `GET /socket.io/`: begins a session, waits for packets, or becomes a WebSocket.
pub(in crate::gateway::family) async fn poll(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response {
    match answer(&shared, request).await {
        Ok(response) => response,
        Err(wrong) => wrong.into_response(),
    }
}

async fn answer(shared: &Arc<Shared>, mut request: Request) -> Result<Response, Wrong> {
    let asked = asked(&request)?;
    let found = match &asked.session {
        Some(id) => Some(shared.live.get(id).ok_or(Wrong::Session)?),
        None => None,
    };
    if !asked.is_websocket {
        let session = match found {
            Some(session) => session,
            None => Session::begin(shared, request.headers(), Transport::Polling)
                .await
                .ok_or(Wrong::Busy)?,
        };
        return wait(&session).await;
    }
    let handshake = Handshake::of(&mut request).map_err(|_| Wrong::Request)?;
    let (session, is_new) = match found {
        Some(session) if session.change(Transport::Polling, Transport::Upgrading) => {
            (session, false)
        }
        Some(_) => return Err(Wrong::Request),
        None => {
            let begun = Session::begin(shared, request.headers(), Transport::WebSocket);
            (begun.await.ok_or(Wrong::Busy)?, true)
        }
    };
    let serve = move |socket| serve(socket, session, is_new);
    Ok(handshake.answer(shared.tail.tasks(), websocket::LISTENER, serve))
}

/// Waits for packets, and answers them. One request may wait at a time.
async fn wait(session: &Session) -> Result<Response, Wrong> {
    if session.transport() == Transport::WebSocket {
        return Err(Wrong::Request);
    }
    let Ok(_turn) = session.poll.try_lock() else {
        session.close();
        return Err(Wrong::Request);
    };
    if !session.ready().await {
        return Err(Wrong::Session);
    }
    let packets = session.take(BODY_MAX);
    let mut body = BytesMut::new();
    for packet in packets {
        if !body.is_empty() {
            body.put_u8(SEPARATOR);
        }
        packet.put(&mut body);
    }
    let text = HeaderValue::from_static("text/plain; charset=UTF-8");
    Ok(([(CONTENT_TYPE, text)], body.freeze()).into_response())
}

/// `POST /socket.io/`: packets of a client.
pub(in crate::gateway::family) async fn post(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response {
    match receive(&shared, request).await {
        Ok(()) => {
            let text = HeaderValue::from_static("text/html");
            ([(CONTENT_TYPE, text)], "ok").into_response()
        }
        Err(wrong) => wrong.into_response(),
    }
}

async fn receive(shared: &Shared, request: Request) -> Result<(), Wrong> {
    let id = asked(&request)?.session.ok_or(Wrong::Method)?;
    let session = shared.live.get(&id).ok_or(Wrong::Session)?;
    if session.transport() == Transport::WebSocket {
        return Err(Wrong::Request);
    }
    let Some(body) = read(request.into_body()).await else {
        session.close();
        return Err(Wrong::Request);
    };
    let text = std::str::from_utf8(&body).map_err(|_| Wrong::Request)?;
    for (number, text) in text.split(char::from(SEPARATOR)).enumerate() {
        match Packet::read(text) {
            Some(Packet::Message(_) | Packet::Pong | Packet::Noop) if number < PACKETS_MAX => {
                session.receive(text);
            }
            Some(Packet::Close) => session.close(),
            _ => {
                session.close();
                return Err(Wrong::Request);
            }
        }
    }
    Ok(())
}

async fn read(body: Body) -> Option<Bytes> {
    let read = Limited::new(body, BODY_MAX).collect();
    let read = tokio::time::timeout(READ_TIMEOUT, read).await;
    Some(read.ok()?.ok()?.to_bytes())
}

/// Passes packets on, either way, over a WebSocket. One that is tried out begins to count when the
/// client says so; until then the session goes on by polling.
async fn serve(mut socket: Socket, session: Arc<Session>, mut is_open: bool) {
    // Each costs the session a packet, which nobody may have come for yet.
    let mut is_probed = false;
    let closing = loop {
        tokio::select! {
            heard = socket.hear() => {
                let text = match heard {
                    Ok(Heard::Text(text)) => text,
                    Err(closing) => break closing,
                };
                match Packet::read(&text) {
                    Some(Packet::Ping("probe")) if !is_open && !is_probed => {
                        is_probed = true;
                        if let Err(closing) = probed(&mut socket, &session).await {
                            break closing;
                        }
                    }
                    Some(Packet::Upgrade) if !is_open => {
                        session.change(Transport::Upgrading, Transport::WebSocket);
                        is_open = true;
                    }
                    Some(Packet::Message(_) | Packet::Pong | Packet::Noop) if is_open => {
                        session.receive(&text);
                    }
                    Some(Packet::Close) => break Closing::Done,
                    _ => break Closing::Unusable,
                }
            }
            is_going = session.ready(), if is_open => {
                if !is_going {
                    break Closing::Done;
                }
                if let Err(closing) = send(&mut socket, &session).await {
                    break closing;
                }
            }
            () = session.closed(), if !is_open => break Closing::Done,
        }
    };
    if is_open {
        session.close();
    } else {
        session.change(Transport::Upgrading, Transport::Polling);
    }
    socket.close(closing).await;
}

async fn probed(socket: &mut Socket, session: &Session) -> Result<(), Closing> {
    socket.add(PROBED).await?;
    socket.flush().await?;
    // The request that waits ends, so that nothing is answered there any more.
    session.add(NOOP);
    Ok(())
}

async fn send(socket: &mut Socket, session: &Session) -> Result<(), Closing> {
    for packet in session.take(SENT_TOGETHER) {
        socket.add(packet).await?;
    }
    socket.flush().await
}
