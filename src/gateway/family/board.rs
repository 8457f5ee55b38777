//! PulseBoard's routes for people: accounts, and what the owner of a project does with it. A person
//! there is a person here, a project is a project, and its key a key. Who administers a project owns
//! it; to everybody else it is not there.

pub(super) mod account;
pub(super) mod later;
pub(super) mod live;
pub(super) mod projects;
pub(super) mod report;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::super::Shared;
use super::answer::{Answer, Server};
use crate::auth::{Denied, Held, Principal};
use crate::model::ProjectId;
use crate::otlp::Failure;
use crate::receivers::family::schema::{Field, Item, check};
use crate::receivers::pulse::json::Json;
use crate::storage::access::User;

const SERVER: Server = Server::PulseBoard;
/// Largest body, in bytes: names and passwords.
const BODY_MAX: usize = 64 << 10;
/// Longest time a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a path is one of those that pages of allowed origins may use.
pub(in crate::gateway) fn is_for_people(path: &str) -> bool {
    path == "/projects"
        || ["/auth/", "/projects/", "/realtime/", "/socket.io/"]
            .iter()
            .any(|it| path.starts_with(it))
}

/// Reads a small body that fits a schema, whatever it says it is.
async fn body(request: Request, fields: &[Field]) -> Result<Item, Answer> {
    let read = Limited::new(request.into_body(), BODY_MAX).collect();
    let bytes = match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::TooLarge {
            limit_bytes: BODY_MAX as u64,
        }),
        Ok(Err(_)) => Err(malformed()),
        Err(_) => Err(Failure::RequestTimeout),
    };
    let bytes = bytes.map_err(|failure| SERVER.refused(&failure))?;
    if bytes.is_empty() {
        return Err(SERVER.empty_body());
    }
    let json = Json::parse(&bytes).map_err(|_| SERVER.refused(&malformed()))?;
    check("body", fields, json).map_err(|message| SERVER.invalid(&message))
}

fn malformed() -> Failure {
    Failure::Malformed {
        message: "Invalid JSON body".to_owned(),
        field: None,
    }
}

/// What is answered when all went well.
fn succeeded(status: StatusCode, more: impl IntoIterator<Item = (&'static str, Json)>) -> Answer {
    let entries = std::iter::once(("success", Json::Bool(true))).chain(more);
    SERVER.answer(status, &Json::map(entries))
}

/// Why somebody is not let in.
fn refused(denied: Denied) -> Answer {
    match denied {
        Denied::Missing | Denied::Unknown | Denied::Revoked | Denied::Expired => unauthorized(),
        Denied::NotAMember => no_project(),
        other => SERVER.denied(other),
    }
}

fn unauthorized() -> Answer {
    SERVER.unsuccessful(StatusCode::UNAUTHORIZED, "Unauthorized")
}

fn no_project() -> Answer {
    SERVER.unsuccessful(StatusCode::NOT_FOUND, "Project not found")
}

/// The holder of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder(User);

impl FromRequestParts<Arc<Shared>> for Holder {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Answer> {
        let holder = shared.gate.holder(&parts.headers).await;
        holder.map(|held| Self(held.user)).map_err(refused)
    }
}

/// The holder of an access token who owns the project that the path names (`{id}`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    held: Held,
    principal: Principal,
}

impl FromRequestParts<Arc<Shared>> for Owner {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Answer> {
        let held = shared.gate.holder(&parts.headers).await;
        let held = held.map_err(refused)?;
        let named = RawPathParams::from_request_parts(parts, shared).await;
        let named = named.map_err(|_| no_project())?;
        let named = named.iter().find(|(name, _)| *name == "id");
        let project = named.and_then(|(_, id)| id.parse().ok().map(ProjectId));
        let project = project.ok_or_else(no_project)?;
        let principal = shared.gate.owner(&held.user, project).await;
        let principal = principal.map_err(refused)?;
        Ok(Self { held, principal })
    }
}
