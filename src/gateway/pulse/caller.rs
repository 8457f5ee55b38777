//! Which project a key of the older servers is for. The only place that decides it on these
//! routes; a request without a valid key is refused here.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{StatusCode, header};
use std::convert::Infallible;
use std::sync::Arc;

use super::super::Shared;
use super::super::caller::Caller;
use super::answer::Refused;
use crate::model::ProjectId;

/// How keys begin.
const KEY_PREFIX: &str = "pulse_sk_";

/// A caller with a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed {
    /// The project of the key.
    pub(super) project: ProjectId,
}

impl FromRequestParts<Arc<Shared>> for Keyed {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Refused> {
        let unauthorized = |error| Refused::new(StatusCode::UNAUTHORIZED, error);
        let key =
            bearer(parts).ok_or_else(|| unauthorized("Missing or invalid Authorization header"))?;
        // As long as there are no keys, any key is one of the default project.
        if !key.starts_with(KEY_PREFIX) {
            return Err(unauthorized("Invalid API key"));
        }
        let Ok(caller) = Caller::from_request_parts(parts, state).await;
        Ok(Self {
            project: caller.project,
        })
    }
}

impl OptionalFromRequestParts<Arc<Shared>> for Keyed {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<Shared>,
    ) -> Result<Option<Self>, Infallible> {
        let keyed = <Self as FromRequestParts<Arc<Shared>>>::from_request_parts(parts, state);
        Ok(keyed.await.ok())
    }
}

/// What follows `Bearer`, when header, scheme and the one space are exactly so.
fn bearer(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let mut words = header.split(' ');
    let words = [
        words.next()?,
        words.next()?,
        words.next().unwrap_or_default(),
    ];
    match words {
        ["Bearer", key, ""] if !key.is_empty() && header.matches(' ').count() == 1 => {
            Some(key.to_owned())
        }
        _ => None,
    }
}
