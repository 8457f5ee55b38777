//! `/dashboard/api/*`: what people do with the cookie of a session.

pub(super) mod keys;
pub(super) mod local;
pub(super) mod members;
pub(super) mod projects;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};

use super::super::Shared;
use super::answer::Refused;
use super::{Needs, account, asked};
use crate::auth::people::Person;
use crate::auth::{Denied, Principal};
use crate::gateway::window;
use crate::model::access::{Role, Scope};
use crate::receivers::pulse::json::Json;
use crate::storage::access::{Change, Done};
use crate::storage::{self, access::Refusal};

/// Lets a request through to its route, or not.
pub(in crate::gateway) async fn guard(
    State((shared, needs)): State<(Arc<Shared>, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    match check(&shared, needs, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Notes in a request who asks, and for which project, if that one may.
async fn check(shared: &Shared, needs: Needs, request: &mut Request) -> Result<(), Refused> {
    let is_question = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let scope = match needs {
        Needs::Admin => Some(Scope::Admin),
        Needs::Member if is_question => Some(Scope::Read),
        Needs::Member => Some(Scope::Ingest),
        Needs::Nobody | Needs::Person => None,
    };
    let (headers, uri) = (request.headers(), request.uri());
    let mut person = None;
    let mut member = None;
    if needs != Needs::Nobody {
        let found = shared.gate.person(headers).await.map_err(refused)?;
        if let Some(scope) = scope {
            let allowed = shared.gate.member(&found, headers, uri, scope).await;
            member = Some(allowed.map_err(refused)?);
        }
        person = Some(found);
    }
    if !is_question && !asked::people(shared)?.is_own_page(headers, uri) {
        let is_account = uri.path().starts_with("/api/auth/");
        return Err(if is_account {
            account::foreign_page()
        } else {
            refused(Denied::ForeignPage)
        });
    }
    let extensions = request.extensions_mut();
    if let Some(person) = person {
        extensions.insert(person);
    }
    if let Some(member) = member {
        extensions.insert(member);
    }
    Ok(())
}

/// Why somebody is not let in, in the words of the dashboard.
fn refused(denied: Denied) -> Refused {
    let forbidden = |error| Refused::new(StatusCode::FORBIDDEN, error);
    match denied {
        Denied::Missing | Denied::Unknown | Denied::Revoked | Denied::Expired => {
            Refused::new(StatusCode::UNAUTHORIZED, "Unauthorized")
        }
        Denied::NoProject => Refused::bad("Missing X-Project-Id header"),
        Denied::NotAMember => forbidden("Forbidden: no access to this project"),
        Denied::NotAllowed(Scope::Admin) => {
            forbidden("Forbidden: admin role required for this operation")
        }
        Denied::NotAllowed(_) => forbidden("Forbidden: this role does not allow it"),
        Denied::ForeignPage | Denied::ForeignHost => {
            forbidden("Forbidden: the request comes from a page of another site")
        }
        Denied::OverQuota(exceeded) => Refused::over_quota(&exceeded.into()),
        Denied::Unavailable => {
            let error = "The session can't be looked up now";
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, error)
        }
    }
}

/// Who changes something.
fn change(who: &Principal) -> Change {
    Change {
        by: who.who.to_string(),
        at_unix_nano: window::now(),
    }
}

/// Who changes what is of no project yet.
fn change_of(person: &Person) -> Change {
    Change {
        by: format!("user {}", person.user.id),
        at_unix_nano: window::now(),
    }
}

/// Waits for the store, for as long as a query may take.
async fn within<T>(
    shared: &Shared,
    work: impl Future<Output = Result<T, storage::Error>>,
) -> Result<T, Refused> {
    let done = tokio::time::timeout(shared.config.query_timeout.0, work).await;
    Ok(done.unwrap_or(Err(storage::Error::Timeout))?)
}

/// Waits for a change, and makes it count on this node at once.
async fn changed<T>(
    shared: &Shared,
    change: impl Future<Output = Done<T>>,
) -> Result<Result<T, Refusal>, Refused> {
    let done = within(shared, change).await;
    shared.gate.refresh().await;
    done
}

/// A role in the words of the dashboard, which knows admins and others; those who only read are
/// named as what they are.
fn role(role: Role) -> Json {
    Json::text(match role {
        Role::Admin => "admin",
        Role::Member => "user",
        Role::Viewer => "viewer",
    })
}

fn done() -> Json {
    Json::map([("success", Json::Bool(true))])
}
