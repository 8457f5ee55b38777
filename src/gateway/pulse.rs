//! The data routes of the older Pulse servers, so that their SDKs and their command line work with
//! nothing changed but a URL.
//!
//! What they send becomes OTLP (`receivers::pulse`) and is stored like all else; what they ask for
//! is answered from all that is stored, whichever way it came. Errors are theirs too, not
//! `problem`s: these routes promise what those servers did, byte by byte.

mod answer;
pub(super) mod body;
mod caller;
pub(super) mod dates;
mod ingest;
mod lists;
mod load;
mod otlp;
mod query;
mod record;
mod render;
mod sums;
mod values;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any};
use http::StatusCode;

use super::Shared;
use crate::receivers::pulse::json::Json;
use caller::Keyed;

/// One of these routes.
#[derive(Debug)]
pub(super) struct PulseRoute {
    /// Its path, with `{name}` for variable segments.
    pub(super) path: &'static str,
    /// Its methods, beside HEAD where there is GET.
    #[cfg(test)]
    pub(super) methods: &'static [&'static str],
    /// Makes its handler.
    pub(super) serve: fn() -> MethodRouter<Arc<Shared>>,
}

macro_rules! routes {
    ($($path:literal $methods:expr => $serve:expr;)*) => {
        &[$(PulseRoute {
            path: $path,
            #[cfg(test)]
            methods: &$methods,
            serve: || $serve,
        }),*]
    };
}

/// All of them.
pub(super) static ROUTES: &[PulseRoute] = routes! {
    "/health" ["GET"] => methods().get(health);
    "/v1/auth/login" ["POST"] => methods().post(login);
    "/v1/traces" ["GET", "POST"] => methods().get(lists::traces).post(otlp::export);
    "/v1/traces/batch" ["POST"] => methods().post(ingest::traces_batch);
    "/v1/traces/async" ["POST"] => methods().post(ingest::traces_async);
    "/v1/traces/{id}" ["GET"] => methods().get(load::trace);
    "/v1/sessions/{id}" ["GET"] => methods().get(load::session);
    "/v1/sessions/{id}/spans" ["GET"] => methods().get(load::session_spans);
    "/v1/spans" ["GET"] => methods().get(lists::spans);
    "/v1/spans/batch" ["POST"] => methods().post(ingest::spans_batch);
    "/v1/spans/async" ["POST"] => methods().post(ingest::spans_async);
    "/v1/spans/{id}" ["GET"] => methods().get(load::span);
    "/v1/analytics" ["GET"] => methods().get(sums::calls);
    "/v1/analytics/spans" ["GET"] => methods().get(sums::spans);
};

/// Whether a path is answered in the words of the older servers.
pub(super) fn is_ours(path: &str) -> bool {
    path.starts_with("/v1/") || path == "/v1" || path.starts_with("/dashboard/api/")
}

/// Nothing is served there, or not with that method.
pub(super) fn not_found() -> Response {
    answer::not_found()
}

/// The handler failed.
pub(super) fn failed() -> Response {
    answer::Refused::internal().into_response()
}

/// No methods yet. The older servers did not tell a wrong method from a wrong path, nor named those
/// that are right.
fn methods() -> MethodRouter<Arc<Shared>> {
    any(async || not_found())
}

async fn health() -> Response {
    let body = Json::map([
        ("status", Json::text("ok")),
        ("service", Json::text("pulse")),
    ]);
    answer::json(StatusCode::OK, &body)
}

/// Tells whether a key is valid.
async fn login(State(_): State<Arc<Shared>>, keyed: Option<Keyed>) -> Response {
    let body = Json::map([("authenticated", Json::Bool(keyed.is_some()))]);
    answer::json(StatusCode::OK, &body)
}
