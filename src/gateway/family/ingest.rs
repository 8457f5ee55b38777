//! From a body to the log.

use axum::body::Body;
use axum::extract::Request;
use http::request::Parts;
use prost::Message as _;

use super::super::Shared;
use super::super::pulse::body::{self, Taken};
use crate::auth::random;
use crate::model::ProjectId;
use crate::model::event::EventSource;
use crate::otlp::{Failure, Signal};
use crate::pipeline::Transport;
use crate::receivers::family::identity::Identities;
use crate::receivers::family::record::{self, Draft};

/// Head and body of a request.
pub(super) fn parts(request: Request) -> (Parts, Body) {
    request.into_parts()
}

/// Reads a body.
///
/// # Errors
/// As the OTLP routes.
pub(super) async fn read(shared: &Shared, parts: Parts, body: Body) -> Result<Taken<'_>, Failure> {
    let request = Request::from_parts(parts, body);
    body::read(shared, Transport::HttpJson, request).await
}

/// Reads a body of some bytes at most.
///
/// # Errors
/// As the OTLP routes.
pub(super) async fn read_up_to(
    shared: &Shared,
    parts: Parts,
    body: Body,
    bytes_max: usize,
) -> Result<Taken<'_>, Failure> {
    let request = Request::from_parts(parts, body);
    body::read_up_to(shared, Transport::HttpJson, request, bytes_max).await
}

/// Gives the events of a body their identities.
///
/// # Errors
/// [`Failure::Internal`] when the system has no random numbers.
pub(super) fn identities(project: ProjectId) -> Result<Identities, Failure> {
    let salt = random::bytes().map_err(|error| {
        tracing::error!(%error, "can't tell new events apart");
        Failure::Internal
    })?;
    Ok(Identities::new(project, salt))
}

/// Makes events durable.
///
/// # Errors
/// As the OTLP routes; [`Failure::Internal`] when one of them can't be stored.
pub(super) async fn append(
    taken: &mut Taken<'_>,
    project: ProjectId,
    source: EventSource,
    drafts: Vec<Draft>,
) -> Result<(), Failure> {
    if drafts.is_empty() {
        return Ok(());
    }
    let payload = record::request(source, drafts).encode_to_vec();
    taken.admission.reserve(payload.len())?;
    let (ingest, admission) = (taken.ingest, &mut taken.admission);
    let appended = ingest.export(admission, Signal::Logs, project, payload.into());
    let accepted = appended.await?;
    if accepted.rejected > 0 {
        let reason = accepted.error_message;
        tracing::error!(reason, "log records made of valid events were rejected");
        return Err(Failure::Internal);
    }
    Ok(())
}
