//! Which project a key of these clients is for: the gate says it, wherever the key is shown. The only
//! place that decides it on these routes.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::super::Shared;
use crate::auth::Denied;
use crate::auth::page::PROXIED;
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};

/// Where a key is shown to the gate.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// The key that a header shows; empty when it is no text.
pub(super) fn shown<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    Some(parts.headers.get(name)?.to_str().unwrap_or_default())
}

/// The project of a key that may do something. While there are neither keys nor people, whoever works
/// on this machine may use any key: these clients don't start without one, and those that they come
/// with are not ours.
///
/// # Errors
/// [`Denied`]. Never [`Denied::Missing`].
pub(super) async fn admit(
    shared: &Shared,
    parts: &Parts,
    key: &str,
    scope: Scope,
) -> Result<ProjectId, Denied> {
    let mut headers = HeaderMap::new();
    // What tells whose machine it is.
    for name in PROXIED.iter().chain([&header::HOST]) {
        for value in parts.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    let unnamed = headers.clone();
    let value = HeaderValue::from_str(key).map_err(|_| Denied::Unknown)?;
    headers.insert(KEY_HEADER, value);
    match shared.gate.admit(&headers, &parts.uri, scope).await {
        Ok(principal) => Ok(principal.project),
        Err(Denied::Unknown) if !key.is_empty() => {
            match shared.gate.admit(&unnamed, &parts.uri, scope).await {
                Ok(anybody) if anybody.scopes == Scopes::ALL => Ok(anybody.project),
                Err(denied @ Denied::OverQuota(_)) => Err(denied),
                _ => Err(Denied::Unknown),
            }
        }
        Err(denied) => Err(denied),
    }
}
