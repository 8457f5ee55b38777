//! Which project a key of the older servers is for. The only place that decides it on these
//! routes; a request without a valid key is refused here, in their words.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};

use super::super::Shared;
use super::answer::Refused;
use crate::auth::key::PREFIX;
use crate::auth::page::PROXIED;
use crate::auth::{Denied, Principal};
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};

/// A caller with a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed {
    /// The project of the key.
    pub(super) project: ProjectId,
}

impl Keyed {
    async fn of(parts: &Parts, shared: &Shared, needed: &[Scope]) -> Result<Self, Refused> {
        let unauthorized = |error| Refused::new(StatusCode::UNAUTHORIZED, error);
        if bearer(&parts.headers).is_none() {
            return Err(unauthorized("Missing or invalid Authorization header"));
        }
        let mut denied = Denied::Unknown;
        for scope in needed {
            match admit(parts, shared, *scope).await {
                Ok(principal) => {
                    let project = principal.project;
                    return Ok(Self { project });
                }
                Err(why) => denied = why,
            }
        }
        Err(match denied {
            Denied::Missing | Denied::Unknown | Denied::Revoked | Denied::Expired => {
                unauthorized("Invalid API key")
            }
            Denied::NotAllowed(_)
            | Denied::ForeignHost
            | Denied::ForeignPage
            | Denied::NoProject
            | Denied::NotAMember => Refused::new(StatusCode::FORBIDDEN, "Forbidden"),
            Denied::OverQuota(exceeded) => Refused::over_quota(&exceeded.into()),
            Denied::Unavailable => {
                let error = "The key can't be looked up now";
                Refused::new(StatusCode::SERVICE_UNAVAILABLE, error)
            }
        })
    }
}

/// Who asks. While there are neither keys nor people, whoever works on this machine may use any key:
/// the older clients don't start without one.
async fn admit(parts: &Parts, shared: &Shared, scope: Scope) -> Result<Principal, Denied> {
    let admitted = shared.gate.admit(&parts.headers, &parts.uri, scope).await;
    let Err(Denied::Unknown) = admitted else {
        return admitted;
    };
    if !bearer(&parts.headers).is_some_and(|key| key.starts_with(PREFIX)) {
        return admitted;
    }
    let mut headers = HeaderMap::new();
    // What tells whose machine it is.
    for name in PROXIED.iter().chain([&header::HOST]) {
        for value in parts.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    match shared.gate.admit(&headers, &parts.uri, scope).await {
        Ok(anybody) if anybody.scopes == Scopes::ALL => Ok(anybody),
        Err(denied @ Denied::OverQuota(_)) => Err(denied),
        _ => Err(Denied::Unknown),
    }
}

impl FromRequestParts<Arc<Shared>> for Keyed {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Refused> {
        // A member of a project, whom the guard of the dashboard's routes has let in.
        if let Some(member) = parts.extensions.get::<Principal>() {
            let project = member.project;
            return Ok(Self { project });
        }
        let is_question = parts.method == Method::GET || parts.method == Method::HEAD;
        let needed = if is_question {
            Scope::Read
        } else {
            Scope::Ingest
        };
        Self::of(parts, state, &[needed]).await
    }
}

/// For who only asks whether a key is valid.
impl OptionalFromRequestParts<Arc<Shared>> for Keyed {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<Shared>,
    ) -> Result<Option<Self>, Infallible> {
        let any = [Scope::Read, Scope::Ingest, Scope::Admin];
        Ok(Self::of(parts, state, &any).await.ok())
    }
}

/// What follows `Bearer`, where scheme and one space are exactly as these servers want them.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let token = header.strip_prefix("Bearer ")?;
    (!token.is_empty() && !token.contains(' ')).then_some(token)
}
