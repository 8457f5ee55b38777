//! WebSockets (RFC 6455): the handshake, and a socket with limits of size and time. The framing is
//! tungstenite's.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::pieces::{PIECE_MAX, Pieces, Text};
use crate::service::tasks::Tasks;

/// Name of the tasks of clients that follow.
pub(super) const LISTENER: &str = "websocket";

/// Time for the connection to become a WebSocket.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a message of the client at most.
const MESSAGE_MAX: usize = 64 << 10;
/// Without a sign of the client for this long it is asked for one, and without for so much longer it
/// is gone.
const PING_AFTER: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(40);
/// How long a client may take for a piece of what is sent.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a client to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// Bytes gathered before they are sent. A piece more is in memory at most: the next one waits until
/// they are.
const BUFFER: usize = 32 << 10;
const BUFFER_MAX: usize = 4 * PIECE_MAX;

/// Whether a request asks for a WebSocket instead of an answer.
pub(super) fn is_asked_for(request: &Request) -> bool {
    request.method() == Method::GET && names(request.headers(), &UPGRADE, "websocket")
}

/// Whether a header that is a list has a word.
fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        let words = value.to_str().unwrap_or_default().split(',');
        words.map(str::trim).any(|it| it.eq_ignore_ascii_case(word))
    })
}

/// A request that can become a WebSocket.
#[derive(Debug)]
pub(super) struct Handshake {
    upgrade: OnUpgrade,
    accept: HeaderValue,
}

impl Handshake {
    /// Reads the handshake of a request that asks for it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(request: &mut Request) -> Result<Self, &'static str> {
        let headers = request.headers();
        if request.version() != Version::HTTP_11 || !names(headers, &CONNECTION, "upgrade") {
            return Err("a WebSocket begins with HTTP/1.1 and connection: upgrade");
        }
        if headers
            .get(SEC_WEBSOCKET_VERSION)
            .is_none_or(|it| it != "13")
        {
            return Err("sec-websocket-version is not 13");
        }
        let key = headers.get(SEC_WEBSOCKET_KEY);
        let key = key.ok_or("sec-websocket-key is missing")?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
        let accept = accept.map_err(|_| "sec-websocket-key can't be used")?;
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or("this connection can't become a WebSocket")?;
        Ok(Self { upgrade, accept })
    }

    /// Says yes, and serves the socket in a task of its own.
    pub(super) fn answer<F, S>(self, tasks: &Tasks, name: &'static str, serve: F) -> Response
    where
        F: FnOnce(Socket) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let upgrade = self.upgrade;
        let drain = tasks.shutdown_token();
        tasks.spawn(name, async move {
            match tokio::time::timeout(UPGRADE_WITHIN, upgrade).await {
                Ok(Ok(upgraded)) => serve(Socket::new(upgraded, drain).await).await,
                Ok(Err(error)) => tracing::debug!(%error, "no WebSocket"),
                Err(_) => tracing::debug!("no WebSocket in time"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        response
    }
}

/// Why a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// The client has gone, or said goodbye.
    Gone,
    /// The client takes nothing, or gives no sign.
    Silent,
    /// What the client said is too large.
    TooLarge,
    /// What the client said is not what it may say.
    Unusable,
    /// The client may not be here any more.
    NotAllowed,
    /// All that was to be said was said.
    Done,
    /// The daemon drains.
    Draining,
}

impl Closing {
    /// What is said of it, where the client may still hear it.
    fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Gone => return None,
            Self::Silent => (CloseCode::Policy, "no sign of the client"),
            Self::TooLarge => (CloseCode::Size, "the message is too large"),
            Self::Unusable => (CloseCode::Unsupported, "nothing of the kind is expected"),
            Self::NotAllowed => (CloseCode::Policy, "the credential is not good any more"),
            Self::Done => (CloseCode::Normal, "done"),
            Self::Draining => (CloseCode::Away, "the server stops"),
        };
        Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        })
    }
}

/// Something that a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Text(Utf8Bytes),
}

/// A WebSocket.
pub(super) struct Socket {
    stream: Box<WebSocketStream<TokioIo<Upgraded>>>,
    /// When the client was last heard.
    heard_at: Instant,
    /// When it was asked for a sign, if it has not given one since.
    pinged_at: Option<Instant>,
    /// When sending ends, once the daemon drains.
    drain_ends: Option<Instant>,
    /// Cancelled when the daemon drains.
    drain: CancellationToken,
}

impl Socket {
    async fn new(upgraded: Upgraded, drain: CancellationToken) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX))
            .read_buffer_size(4 << 10)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(BUFFER_MAX);
        let io = TokioIo::new(upgraded);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self {
            stream: Box::new(stream),
            heard_at: Instant::now(),
            pinged_at: None,
            drain_ends: None,
            drain,
        }
    }

    /// What the client says next. Asks it for a sign now and then. Nothing is lost when nobody waits
    /// for the answer any more.
    ///
    /// # Errors
    /// Why the socket is over.
    pub(super) async fn hear(&mut self) -> Result<Heard, Closing> {
        loop {
            let due = match self.pinged_at {
                // From when it was sent: before, something long may have been.
                Some(pinged_at) => pinged_at + PONG_WITHIN,
                None => self.heard_at + PING_AFTER,
            };
            let message = tokio::select! {
                // What was said is heard before it is missed.
                biased;
                message = self.stream.next() => message,
                () = tokio::time::sleep_until(due) => {
                    if self.pinged_at.is_some() {
                        return Err(Closing::Silent);
                    }
                    self.pinged_at = Some(Instant::now());
                    self.ping("").await?;
                    self.flush().await?;
                    self.pinged_at = Some(Instant::now());
                    continue;
                }
            };
            self.heard_at = Instant::now();
            self.pinged_at = None;
            match message {
                Some(Ok(Message::Text(text))) => return Ok(Heard::Text(text)),
                // Pings are answered by the library, with what is sent or read next.
                Some(Ok(Message::Ping(_))) => self.flush().await?,
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                    return Err(Closing::TooLarge);
                }
                Some(Ok(Message::Binary(_)) | Err(Error::Utf8(_) | Error::Protocol(_))) => {
                    return Err(Closing::Unusable);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Closing::Gone),
            }
        }
    }

    /// Adds a text to what is sent, a long one in fragments.
    ///
    /// # Errors
    /// Why the socket is over.
    pub(super) async fn add(&mut self, text: impl Into<Text>) -> Result<(), Closing> {
        let mut pieces = Pieces::default();
        pieces.add(text.into());
        let mut kind = Data::Text;
        while let Some(piece) = pieces.next() {
            let is_last = pieces.len() == 0;
            let frame = Frame::message(piece, OpCode::Data(kind), is_last);
            let sending = self.stream.feed(Message::Frame(frame));
            within(sending, &self.drain, &mut self.drain_ends).await?;
            kind = Data::Continue;
        }
        Ok(())
    }

    /// Adds a ping with a few bytes that say something to who looks.
    ///
    /// # Errors
    /// Why the socket is over.
    pub(super) async fn ping(&mut self, said: &str) -> Result<(), Closing> {
        let said = Bytes::copy_from_slice(said.as_bytes());
        let sending = self.stream.feed(Message::Ping(said));
        within(sending, &self.drain, &mut self.drain_ends).await
    }

    /// Sends what was added.
    ///
    /// # Errors
    /// Why the socket is over.
    pub(super) async fn flush(&mut self) -> Result<(), Closing> {
        within(self.stream.flush(), &self.drain, &mut self.drain_ends).await
    }

    /// Says goodbye, and waits a little for the client to do so, too.
    pub(super) async fn close(mut self, closing: Closing) {
        let goodbye = async {
            let frame = closing.frame();
            if WebSocketStream::close(&mut self.stream, frame)
                .await
                .is_ok()
            {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        // Who does not listen is left.
        tokio::time::timeout(GOODBYE_WITHIN, goodbye).await.ok();
    }
}

/// Waits for a client to take what is sent, so long and no longer. `ends`: when all sending does, once
/// the daemon drains.
async fn within(
    sending: impl Future<Output = Result<(), Error>>,
    drain: &CancellationToken,
    ends: &mut Option<Instant>,
) -> Result<(), Closing> {
    let drained = async {
        drain.cancelled().await;
        let at = *ends.get_or_insert_with(|| Instant::now() + GOODBYE_WITHIN);
        tokio::time::sleep_until(at).await;
    };
    tokio::select! {
        biased;
        sent = sending => sent.map_err(|_| Closing::Gone),
        () = tokio::time::sleep(STALL_MAX) => Err(Closing::Silent),
        () = drained => Err(Closing::Draining),
    }
}
