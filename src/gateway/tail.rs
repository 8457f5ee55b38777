//! `GET /api/v1/tail`: what is stored, as it is stored, as server-sent events.
//!
//! The store is asked once for all watchers of a project, by one task that lives as long as there
//! are any (`hub`); each watcher looks at what that task found, at its own pace (`watcher`). Who is
//! too slow for what is kept is told how much went by; writers never wait for anybody who watches.

mod frames;
mod hub;
mod watcher;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::caller::Caller;
use super::params::Params;
use super::problem::{Code, Problem};
use super::{Shared, spans};
use crate::storage::feed::FeedPosition;
pub(super) use hub::Hub;
use watcher::{Wanted, Watcher};

/// Events a second when the client does not say, and at most.
const RATE_DEFAULT: u32 = 100;
const RATE_MAX: u32 = 1000;

/// What a browser sends when it connects again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies to pass events on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /api/v1/tail`.
pub(super) async fn tail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let filter = spans::filter(&mut params);
    let rate = params.whole("rate", RATE_DEFAULT, RATE_MAX);
    let resume = position(&mut params, &headers);
    params.finish()?;
    let wanted = Wanted {
        project: caller.project,
        filter,
        rate,
        resume,
        credentials: (headers, uri),
    };
    let watcher = Watcher::begin(&shared, wanted).await?;
    let body = Body::from_stream(watcher.into_stream().map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

/// Where to go on: the parameter, which a first request can have, or the header.
fn position(params: &mut Params, headers: &HeaderMap) -> Option<FeedPosition> {
    let given = params.text("last_event_id");
    let sent = headers.get(LAST_EVENT_ID);
    let sent = sent.map(|value| value.to_str().unwrap_or_default().to_owned());
    // A browser repeats the parameter for ever; the header is newer.
    let text = sent.filter(|sent| !sent.is_empty()).or(given)?;
    let position = text.parse().ok();
    if position.is_none() {
        params.reject("last_event_id", "is not the id of an event of this server");
    }
    position
}

/// Too many watch.
fn busy() -> Problem {
    let detail = "as many clients follow the feed as may; see gateway.max_tail_watchers";
    Problem::new(Code::StorageUnavailable, detail)
}
