//! Who sends, and into which project: decided from the head of a request, before its body is read.

use http::{HeaderMap, Request, Uri};

use crate::auth::{Denied, Gate};
use crate::model::ProjectId;
use crate::model::access::Scope;
use crate::otlp::Failure;

/// The project that a request may send telemetry to.
///
/// # Errors
/// [`Failure::Unauthenticated`], [`Failure::PermissionDenied`], [`Failure::Throttled`],
/// [`Failure::OverQuota`], and [`Failure::Overloaded`] while that can't be told.
pub(super) async fn project<B>(gate: &Gate, request: &Request<B>) -> Result<ProjectId, Failure> {
    project_of(gate, request.headers(), request.uri()).await
}

/// As [`project`], of the parts of a head.
pub(super) async fn project_of(
    gate: &Gate,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<ProjectId, Failure> {
    match gate.admit(headers, uri, Scope::Ingest).await {
        Ok(principal) => Ok(principal.project),
        Err(denied) => Err(failure(denied)),
    }
}

fn failure(denied: Denied) -> Failure {
    let message = denied.to_string();
    match denied {
        Denied::Missing | Denied::Unknown | Denied::Revoked | Denied::Expired => {
            Failure::Unauthenticated { message }
        }
        Denied::NotAllowed(_)
        | Denied::ForeignHost
        | Denied::ForeignPage
        | Denied::NoProject
        | Denied::NotAMember => Failure::PermissionDenied { message },
        Denied::OverQuota(exceeded) => exceeded.into(),
        Denied::Unavailable => Failure::Overloaded {
            message,
            retry_after: denied.retry_after().unwrap_or_default(),
        },
    }
}
