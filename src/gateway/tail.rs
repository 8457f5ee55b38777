//! `GET /api/v1/tail`: what is stored, as it is stored, as server-sent events or, where a client asks for
//! it, as messages of a WebSocket.
//!
//! The store is asked once for all watchers of a feed of a project, by one task that lives as long as
//! there are any (`hub`); each watcher looks at what that task found, at its own pace (`watcher`, with a
//! `lane` for each feed). Who is too slow for what is kept is told how much went by; writers never wait
//! for anybody who watches.

mod asked;
mod frames;
mod hub;
mod lane;
mod place;
mod seats;
mod socket;
mod watcher;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};

use super::caller::Caller;
use super::params::Params;
use super::pieces;
use super::problem::{Code, Problem};
use super::websocket::{self, Handshake};
use super::{Shared, spans};
pub(super) use asked::read;
pub(super) use frames::{Missed, Notice, Told};
pub(super) use hub::{Form, Hub};
pub(super) use lane::Filter;
pub(super) use place::Place;
pub(super) use seats::NoSeat;
pub(super) use watcher::{Over, Right, Wanted, Watcher};

/// Tells proxies to pass events on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /api/v1/tail`.
pub(super) async fn tail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
    mut request: Request,
) -> Result<Response, Problem> {
    let asked = read(&mut params, request.headers());
    params.finish()?;
    let handshake = match websocket::is_asked_for(&request) {
        true => Some(handshake(&shared, &mut request)?),
        false => None,
    };
    let wanted = Wanted {
        project: caller.project,
        filters: asked.filters,
        form: Form::Own,
        rate: asked.rate,
        resume: asked.resume,
        who: caller.principal.who,
        right: Right::Credential(request.headers().clone(), request.uri().clone()),
    };
    let watcher = Watcher::begin(&shared, wanted).await?;
    let Some(handshake) = handshake else {
        return Ok(event_stream(events(watcher)));
    };
    let serve = move |socket| socket::serve(socket, watcher);
    Ok(handshake.answer(shared.tail.tasks(), websocket::LISTENER, serve))
}

/// Browsers let pages of any site open a WebSocket and read from it: what they add by themselves, a
/// cookie or that they are on this machine, counts for pages of our own only.
fn handshake(shared: &Shared, request: &mut Request) -> Result<Handshake, Problem> {
    if !shared.gate.is_meant(request.headers(), request.uri()) {
        let detail = "a page of another site may not open a WebSocket without a key; \
            see gateway.allowed_origins";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Handshake::of(request).map_err(|why| Problem::new(Code::InvalidRequest, why))
}

/// What a client is told as server-sent events.
fn events(
    watcher: Watcher,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::convert::Infallible>> {
    until_over(pieces::told_in(watcher.into_stream(), frames::sent_event))
}

/// Nothing is said of why it is over.
pub(super) fn until_over<S>(
    frames: S,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::convert::Infallible>>
where
    S: futures_util::Stream<Item = Result<bytes::Bytes, Over>>,
{
    let frames = frames.take_while(|frame| std::future::ready(frame.is_ok()));
    frames.map(|frame| Ok(frame.unwrap_or_default()))
}

/// An answer that goes on.
pub(super) fn event_stream<S>(events: S) -> Response
where
    S: futures_util::Stream<Item = Result<bytes::Bytes, std::convert::Infallible>> + Send + 'static,
{
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(events)).into_response()
}
