//! The data routes of the older Pulse servers, so that their SDKs and their command line work with
//! nothing changed but a URL.
//!
//! What they send becomes OTLP (`receivers::pulse`) and is stored like all else; what they ask for
//! is answered from all that is stored, whichever way it came. Errors are theirs too, not
//! `problem`s: these routes promise what those servers did, byte by byte.

mod account;
mod agent_sessions;
mod answer;
pub(super) mod asked;
pub(super) mod body;
mod caller;
mod dashboard;
pub(super) mod dates;
mod ingest;
mod invited;
mod lists;
mod load;
pub(super) mod origins;
mod otlp;
mod query;
mod record;
mod render;
mod sums;
mod traces;
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
    "/v1/traces" ["GET", "POST"] => methods().get(traces::list).post(otlp::export);
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

pub(super) use dashboard::guard;

/// A route for people, who are signed in by a cookie.
#[derive(Debug)]
pub(super) struct PeopleRoute {
    /// Path, methods and handler.
    pub(super) route: PulseRoute,
    /// Who may ask.
    pub(super) needs: Needs,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Anybody.
    Nobody,
    /// Somebody signed in.
    Person,
    /// A member of the project that is named: to write, one who may.
    Member,
    /// An admin of the project that is named.
    Admin,
}

macro_rules! people_routes {
    ($($needs:ident $path:literal $methods:expr => $serve:expr;)*) => {
        &[$(PeopleRoute {
            route: PulseRoute {
                path: $path,
                #[cfg(test)]
                methods: &$methods,
                serve: || $serve,
            },
            needs: Needs::$needs,
        }),*]
    };
}

/// All of those.
pub(super) static PEOPLE_ROUTES: &[PeopleRoute] = people_routes! {
    Nobody "/api/auth/sign-in/email" ["POST"] => methods().post(account::sign_in);
    Nobody "/api/auth/sign-up/email" ["POST"] => methods().post(account::sign_up);
    Nobody "/api/auth/sign-out" ["POST"] => methods().post(account::sign_out);
    Nobody "/api/auth/get-session" ["GET"] => methods().get(account::session);
    Nobody "/api/auth/change-password" ["POST"] => methods().post(account::change_password);
    Nobody "/api/auth/invites/accept" ["POST"] => methods().post(invited::accept);
    Nobody "/dashboard/api/signup" ["POST"] => methods().post(account::dashboard_sign_up);
    Nobody "/dashboard/api/local-login-token" ["POST"] => methods().post(dashboard::local::ticket);
    Nobody "/dashboard/api/local-login" ["GET"] => methods().get(dashboard::local::redeem);
    Person "/dashboard/api/projects" ["GET", "POST"] =>
        methods().get(dashboard::projects::list).post(dashboard::projects::create);
    Admin "/dashboard/api/api-keys" ["GET", "POST"] =>
        methods().get(dashboard::keys::list).post(dashboard::keys::create);
    Admin "/dashboard/api/api-keys/{id}" ["PATCH", "DELETE"] =>
        methods().patch(dashboard::keys::rename).delete(dashboard::keys::revoke);
    Admin "/dashboard/api/users" ["GET", "POST"] =>
        methods().get(dashboard::members::list).post(dashboard::members::add);
    Member "/dashboard/api/traces" ["GET"] => methods().get(traces::list);
    Member "/dashboard/api/traces/batch" ["POST"] => methods().post(ingest::traces_batch);
    Member "/dashboard/api/traces/{id}" ["GET"] => methods().get(load::trace);
    Member "/dashboard/api/sessions/{id}" ["GET"] => methods().get(load::session);
    Member "/dashboard/api/sessions/{id}/spans" ["GET"] => methods().get(load::session_spans);
    Member "/dashboard/api/agent-sessions" ["GET"] => methods().get(agent_sessions::list);
    Member "/dashboard/api/spans" ["GET"] => methods().get(lists::spans);
    Member "/dashboard/api/spans/batch" ["POST"] => methods().post(ingest::spans_batch);
    Member "/dashboard/api/spans/async" ["POST"] => methods().post(ingest::spans_async);
    Member "/dashboard/api/spans/{id}" ["GET"] => methods().get(load::span);
    Member "/dashboard/api/analytics" ["GET"] => methods().get(sums::calls);
    Member "/dashboard/api/analytics/spans" ["GET"] => methods().get(sums::spans);
};

/// Whether a path is answered in the words of the older servers.
pub(super) fn is_ours(path: &str) -> bool {
    let is_below = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|it| it.starts_with('/'))
    };
    let is_own = path == "/api/v1" || is_below("/api/v1");
    path == "/v1" || is_below("/v1") || is_below("/api") && !is_own || is_for_our_people(path)
}

/// Whether a path is one of those that cookies are for.
pub(super) fn is_for_people(path: &str) -> bool {
    is_for_our_people(path) || super::family::is_for_people(path)
}

/// Whether pages of other origins have rules of their own at a path.
pub(super) fn has_own_origins(path: &str) -> bool {
    is_for_people(path)
        || super::family::is_for_any_page(path)
        || super::family::is_of_board_sdk(path)
}

fn is_for_our_people(path: &str) -> bool {
    path.starts_with("/api/auth/") || path.starts_with("/dashboard/api/")
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
