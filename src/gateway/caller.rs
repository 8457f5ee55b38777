//! Who asks, and for which project.
//!
//! The only place in the gateway that names a project. Every route is guarded by [`guard`], which
//! turns the credential of a request into a principal before anything else is done with it; what is
//! open to everybody is listed here, so that a route that was forgotten is closed.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http::request::Parts;

use super::Shared;
use super::problem::{Code, Problem};
use super::routes::Route;
use crate::auth::{Denied, Principal};
use crate::model::ProjectId;
use crate::model::access::Scope;

/// What probes and tools ask before they have a key.
const OPEN: [&str; 2] = ["/api/v1/health", "/openapi.json"];

/// What only admins see: projects, keys, and what was changed.
const ADMIN: [&str; 3] = ["/api/v1/projects", "/api/v1/keys", "/api/v1/audit"];

/// What members may change, not only admins.
const ISSUES: &str = "/api/v1/issues/";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The project all answers are taken from.
    pub(super) project: ProjectId,
    /// Who it is, and what that one may do.
    pub(super) principal: Principal,
}

/// What a request to a route needs; nothing where it is open.
fn needed(path: &str, method: &Method) -> Option<Scope> {
    if OPEN.contains(&path) {
        return None;
    }
    let is_question = *method == Method::GET || *method == Method::HEAD;
    // What people say of issues changes nothing that was sent; see `may_change`.
    let is_said = *method == Method::PATCH && path.starts_with(ISSUES);
    Some(if (is_question || is_said) && !is_administrative(path) {
        Scope::Read
    } else {
        Scope::Admin
    })
}

/// Whether a route is for admins, whatever the method.
pub(super) fn is_administrative(path: &str) -> bool {
    ADMIN.iter().any(|admin| path.starts_with(admin))
}

/// Lets those change what members may change: who may both read and send, and admins.
pub(super) fn may_change(caller: &Caller) -> Result<(), Problem> {
    let principal = &caller.principal;
    if principal.may(Scope::Ingest) || principal.may(Scope::Admin) {
        return Ok(());
    }
    Err(Denied::NotAllowed(Scope::Ingest).into())
}

/// Lets a request through to its route, or not.
pub(super) async fn guard(
    State((shared, route)): State<(Arc<Shared>, &'static Route)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(scope) = needed(route.path, request.method()) {
        let admitted = shared
            .gate
            .admit(request.headers(), request.uri(), scope)
            .await?;
        request.extensions_mut().insert(admitted);
    }
    Ok(next.run(request).await)
}

/// The project of a request that was let through. Where a route is open to everybody there is none
/// to speak of.
pub(super) fn project(parts: &Parts) -> ProjectId {
    let principal = parts.extensions.get::<Principal>();
    principal.map_or(ProjectId::DEFAULT, |principal| principal.project)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>().cloned();
        // A route that asks who is there is never open.
        let principal = principal.ok_or_else(Problem::internal)?;
        Ok(Self {
            project: principal.project,
            principal,
        })
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Missing | Denied::Unknown | Denied::Revoked | Denied::Expired => {
                Code::Unauthenticated
            }
            // Nothing is sent to these routes; were it, this is what it comes to.
            Denied::OverQuota(_)
            | Denied::NotAllowed(_)
            | Denied::ForeignHost
            | Denied::ForeignPage
            | Denied::NotAMember => Code::Forbidden,
            Denied::NoProject => Code::InvalidRequest,
            Denied::Unavailable => Code::StorageUnavailable,
        };
        Self::new(code, denied.to_string())
    }
}
