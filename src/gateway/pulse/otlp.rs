//! `POST /v1/traces`: OTLP/JSON with any ids, as the SDKs of the second generation send it, and
//! OTLP as everybody else sends it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message as _;

use super::super::{Shared, window};
use super::answer::{self, Refused};
use super::body;
use super::caller::Keyed;
use crate::model::ProjectId;
use crate::otlp::partial::Answer;
use crate::otlp::{Failure, Signal};
use crate::pipeline::{Accepted, Transport};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::otlp::{self, Missing, Refusal};

/// Said when nothing can be taken now.
const BUSY: &str = "Failed to enqueue span";
/// Spans are read one by one; beyond this many bytes that is too long for an async worker.
const INLINE_MAX: usize = 64 << 10;

/// Takes an export.
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    request: Request,
) -> Result<Response, Refused> {
    if is_protobuf(request.headers()) {
        let taken = protobuf(&shared, keyed.project, request).await;
        return Ok(binary(&taken));
    }
    let refused = |failure| body::refused(&failure, BUSY);
    let mut taken = body::read(&shared, Transport::HttpJson, request)
        .await
        .map_err(refused)?;
    let json = taken.json().await.map_err(refused)?;
    let missing = Missing {
        now_unix_nano: window::now(),
        seed: seed(),
    };
    let is_heavy = taken.bytes.len() > INLINE_MAX;
    let read = body::heavy(is_heavy, move || otlp::export(&json, missing));
    let mut export = read
        .await
        .map_err(refused)?
        .map_err(|refusal| match refusal {
            Refusal::MissingResourceSpans => Refused::bad("Missing resourceSpans"),
            Refusal::TooManySpans => Refused::bad("Export exceeds 1000 spans"),
        })?;
    if export.accepted > 0 {
        let payload = export.request.encode_to_vec();
        taken.admission.reserve(payload.len()).map_err(refused)?;
        let (ingest, admission) = (taken.ingest, &mut taken.admission);
        let appended = ingest.export(admission, Signal::Traces, keyed.project, payload.into());
        let accepted = appended.await.map_err(refused)?;
        let more = usize::try_from(accepted.rejected).unwrap_or(usize::MAX);
        if export.rejected == 0 {
            export.error_message = accepted.error_message;
        }
        export.rejected = export.rejected.saturating_add(more);
    }
    let body = if export.rejected == 0 {
        Json::map([])
    } else {
        let partial = Json::map([
            ("rejectedSpans", Json::count(export.rejected)),
            ("errorMessage", Json::text(export.error_message)),
        ]);
        Json::map([("partialSuccess", partial)])
    };
    Ok(answer::json(StatusCode::OK, &body))
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = named
        .and_then(|it| it.split(';').next())
        .unwrap_or_default();
    let known = ["application/x-protobuf", "application/protobuf"];
    known
        .iter()
        .any(|it| essence.trim().eq_ignore_ascii_case(it))
}

async fn protobuf(
    shared: &Shared,
    project: ProjectId,
    request: Request,
) -> Result<Accepted, Failure> {
    let mut taken = body::read(shared, Transport::HttpProtobuf, request).await?;
    let payload = taken.bytes.clone();
    let ingest = taken.ingest;
    ingest
        .export(&mut taken.admission, Signal::Traces, project, payload)
        .await
}

/// The answer to a protobuf export, as on the OTLP port.
fn binary(taken: &Result<Accepted, Failure>) -> Response {
    let (status, body): (StatusCode, Bytes) = match taken {
        Ok(accepted) => {
            let answer = Answer::new(Signal::Traces, accepted.rejected, &accepted.error_message);
            (StatusCode::OK, answer.protobuf())
        }
        Err(failure) => (failure.http_status(), failure.http_body(false)),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/x-protobuf");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if let Err(failure) = taken
        && let Some(after) = failure.retry_after()
    {
        let headers = response.headers_mut();
        headers.insert(http::header::RETRY_AFTER, after.as_secs().max(1).into());
    }
    response
}

/// A number that no other request has: chance and time.
fn seed() -> u128 {
    let chance = RandomState::new().build_hasher().finish();
    u128::from(chance) << 64 | u128::from(window::now())
}
