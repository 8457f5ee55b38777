//! The routes by which the SDKs of PulseKit, PulseBoard and DebugQueue send events, so that they work
//! with nothing changed but a URL and a key.
//!
//! What they send becomes log records (`receivers::family`) and takes the way of all others; an
//! answer leaves when they are durable. Errors are in each server's words, byte by byte, and no
//! `problem`s.

mod answer;
mod board;
mod caller;
mod ingest;
mod pulseboard;
mod pulsekit;
mod tracepulse;

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any, get, post};
use bytes::Bytes;

use super::Shared;
use crate::model::ProjectId;
use crate::storage::StoredEvent;
use answer::Server;
pub(super) use board::is_for_people;
pub(super) use board::live::Sessions;

/// One of these routes.
#[derive(Debug)]
pub(super) struct FamilyRoute {
    /// Its path.
    pub(super) path: &'static str,
    /// Its methods. Our own API may have others at the same path.
    #[cfg(test)]
    pub(super) methods: &'static [&'static str],
    /// Whose words it speaks.
    server: Server,
    /// Makes its handler.
    pub(super) serve: fn() -> MethodRouter<Arc<Shared>>,
}

macro_rules! routes {
    ($($server:ident $path:literal $methods:expr => $serve:expr;)*) => {
        &[$(FamilyRoute {
            path: $path,
            #[cfg(test)]
            methods: &$methods,
            server: Server::$server,
            serve: || $serve,
        }),*]
    };
}

/// All of them.
pub(super) static ROUTES: &[FamilyRoute] = routes! {
    PulseKit "/api/v1/events" ["POST"] => post(pulsekit::event);
    PulseKit "/api/v1/events/batch" ["POST"] => post(pulsekit::batch);
    TracePulse "/webhook/event" ["GET", "POST"] => get(tracepulse::wrong_method).post(tracepulse::events);
    TracePulse "/chat" ["GET"] => get(tracepulse::later);
    TracePulse "/chat/feedback" ["POST"] => post(tracepulse::later);
    PulseBoard "/ingest" ["POST"] => others_not_found().post(pulseboard::event);
    PulseBoard "/events" ["GET"] => others_not_found().get(pulseboard::events);
    PulseBoard "/analytics/crash" ["POST"] => others_not_found().post(pulseboard::crash);
    PulseBoard "/analytics/session" ["POST"] => others_not_found().post(pulseboard::session);
    PulseBoard "/analytics/screen-view" ["POST"] => others_not_found().post(pulseboard::screen_view);
    PulseBoard "/analytics/api-call" ["POST"] => others_not_found().post(pulseboard::api_call);
    PulseBoard "/auth/register" ["POST"] => others_not_found().post(board::account::register);
    PulseBoard "/auth/login" ["POST"] => others_not_found().post(board::account::login);
    PulseBoard "/auth/refresh" ["POST"] => others_not_found().post(board::account::refresh);
    PulseBoard "/auth/logout" ["POST"] => others_not_found().post(board::account::logout);
    PulseBoard "/projects" ["GET", "POST"] =>
        others_not_found().get(board::projects::list).post(board::projects::create);
    PulseBoard "/projects/{id}" ["GET", "DELETE"] =>
        others_not_found().get(board::projects::one).delete(board::projects::delete);
    PulseBoard "/projects/{id}/events" ["DELETE"] =>
        others_not_found().delete(board::projects::delete_events);
    PulseBoard "/projects/{id}/analytics" ["GET"] => others_not_found().get(board::report::report);
    PulseBoard "/projects/{id}/ai-config" ["GET", "POST", "DELETE"] => others_not_found()
        .get(board::later::config)
        .post(board::later::config)
        .delete(board::later::config);
    PulseBoard "/projects/{id}/insights" ["GET"] => others_not_found().get(board::later::insights);
    PulseBoard "/projects/{id}/insights/trigger" ["POST"] =>
        others_not_found().post(board::later::insights);
    PulseBoard "/projects/{id}/insights/{insight}/read" ["PATCH"] =>
        others_not_found().patch(board::later::insights);
    PulseBoard "/realtime/{id}/sse" ["GET"] => others_not_found().get(board::live::events);
    PulseBoard "/socket.io/" ["GET", "POST"] =>
        others_not_found().get(board::live::poll).post(board::live::post);
};

/// No methods yet. PulseBoard's server did not tell a wrong method from a wrong path.
fn others_not_found() -> MethodRouter<Arc<Shared>> {
    any(pulseboard::no_route)
}

/// A stored event as PulseBoard's server said it; `None` for what is none of its events.
pub(super) fn board_event(event: &StoredEvent, project: ProjectId) -> Option<Bytes> {
    pulseboard::shown(event, project).map(Bytes::from)
}

/// Whether pages of every origin may use a path.
pub(super) fn is_for_any_page(path: &str) -> bool {
    path.starts_with("/webhook/")
}

/// Whether PulseBoard's SDK sends to a path or reads from it, with a key in the body or the query.
pub(super) fn is_of_board_sdk(path: &str) -> bool {
    path == "/ingest" || path == "/events" || path.starts_with("/analytics/")
}

/// Nothing is served at a path; `None` when none of these servers had anything like it.
pub(super) fn not_found(method: &http::Method, uri: &http::Uri) -> Option<Response> {
    let is_ours = pulseboard::is_ours(uri.path());
    is_ours.then(|| pulseboard::not_found(method, uri).into_response())
}

/// The handler of a path failed; `None` when it is none of these.
pub(super) fn failed(method: &http::Method, path: &str) -> Option<Response> {
    if pulseboard::is_ours(path) {
        return Some(Server::PulseBoard.failed());
    }
    let route = ROUTES.iter().find(|route| route.path == path)?;
    let is_own = super::routes::ROUTES.iter().any(|own| own.path == path);
    let is_ours = !is_own || *method == http::Method::POST;
    is_ours.then(|| route.server.failed())
}
