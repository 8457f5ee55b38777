//! `POST /webhook/event`: what DebugQueue sends to TracePulse.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::super::{Shared, window};
use super::answer::{Answer, Server};
use super::{caller, ingest};
use crate::auth::Denied;
use crate::model::ProjectId;
use crate::model::access::Scope;
use crate::model::event::EventSource;
use crate::receivers::family::tracepulse::{self, Refusal};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;

const KEY_HEADER: &str = "x-api-key";
const SERVER: Server = Server::TracePulse;

async fn admit(shared: &Shared, parts: &Parts) -> Result<ProjectId, Answer> {
    let key = caller::shown(parts, KEY_HEADER).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| SERVER.denied(Denied::Missing))?;
    let admitted = caller::admit(shared, parts, key, Scope::Ingest).await;
    admitted.map_err(|denied| SERVER.denied(denied))
}

/// Takes events.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (parts, body) = ingest::parts(request);
    let project = admit(&shared, &parts).await?;
    let refused = |failure| SERVER.refused(&failure);
    let mut taken = ingest::read(&shared, parts, body).await.map_err(refused)?;
    let json = taken.json().await.map_err(refused)?;
    let mut identities = ingest::identities(project).map_err(refused)?;
    let now = window::now();
    let drafts = tracepulse::events(&json, now, &mut identities).map_err(invalid)?;
    drop(json);
    let count = drafts.len();
    ingest::append(&mut taken, project, EventSource::TracePulse, drafts)
        .await
        .map_err(refused)?;
    let body = Json::map([
        ("status", Json::text("accepted")),
        ("message", Json::text(format!("Processing {count} events"))),
        ("timestamp", Json::text(scalar::iso(i128::from(now)))),
    ]);
    Ok(SERVER.answer(StatusCode::OK, &body))
}

/// What was planned, to ask for what was found out of events: nothing stands behind it.
pub(super) async fn later(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (parts, _) = ingest::parts(request);
    admit(&shared, &parts).await?;
    let body = Json::map([
        ("error", Json::text("Not implemented")),
        (
            "message",
            Json::text("Analysis of events is not available on this server"),
        ),
    ]);
    Ok(SERVER.answer(StatusCode::NOT_IMPLEMENTED, &body))
}

fn invalid(refusal: Refusal) -> Answer {
    let texts = |messages: Vec<String>| Json::List(messages.into_iter().map(Json::Text).collect());
    let fields = [
        ("events", refusal.events),
        ("environment", refusal.environment),
    ];
    let fields = fields
        .into_iter()
        .filter(|(_, messages)| !messages.is_empty());
    let fields = Json::map(fields.map(|(field, messages)| (field, texts(messages))));
    let details = [("formErrors", texts(refusal.form)), ("fieldErrors", fields)];
    let body = Json::map([
        ("error", Json::text("Invalid payload")),
        ("details", Json::map(details)),
    ]);
    SERVER.answer(StatusCode::BAD_REQUEST, &body)
}

/// `GET /webhook/event`.
pub(super) async fn wrong_method(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Answer> {
    let (parts, _) = ingest::parts(request);
    admit(&shared, &parts).await?;
    let body = Json::map([
        ("error", Json::text("Method not allowed")),
        ("message", Json::text("Use POST to send events")),
    ]);
    let answer = SERVER.answer(StatusCode::METHOD_NOT_ALLOWED, &body);
    let mut response = answer.into_response();
    let allow = HeaderValue::from_static("POST");
    response.headers_mut().insert(ALLOW, allow);
    Ok(response)
}
