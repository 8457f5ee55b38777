//! `POST /api/v1/events` and `POST /api/v1/events/batch`: what PulseKit's SDKs send.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::super::{Shared, window};
use super::answer::{Answer, Server};
use super::{caller, ingest};
use crate::auth::Denied;
use crate::gateway::pulse::body::Taken;
use crate::model::ProjectId;
use crate::model::access::Scope;
use crate::model::event::EventSource;
use crate::otlp::{Failure, Signal};
use crate::pipeline::Transport;
use crate::receivers::family::EVENTS_MAX;
use crate::receivers::family::pulsekit::{self, Wrong};
use crate::receivers::pulse::json::Json;
use crate::telemetry::metrics::Outcomes;

const KEY_HEADER: &str = "x-pulsekit-key";
const SERVER: Server = Server::PulseKit;

fn refused(failure: &Failure) -> Answer {
    SERVER.refused(failure)
}

/// Lets a request in and reads its body.
async fn take(shared: &Shared, request: Request) -> Result<(ProjectId, Taken<'_>, Value), Answer> {
    let (parts, body) = ingest::parts(request);
    let key = caller::shown(&parts, KEY_HEADER).ok_or_else(|| SERVER.denied(Denied::Missing))?;
    let admitted = caller::admit(shared, &parts, key, Scope::Ingest).await;
    let project = admitted.map_err(|denied| SERVER.denied(denied))?;
    let mut taken = ingest::read(shared, parts, body)
        .await
        .map_err(|failure| refused(&failure))?;
    if taken.bytes.is_empty() {
        return Ok((project, taken, Value::Null));
    }
    // Bounds levels and values; its numbers are not exact.
    let bounded = taken.json().await.map_err(|failure| refused(&failure))?;
    drop(bounded);
    let json = serde_json::from_slice(&taken.bytes).map_err(|_| {
        refused(&Failure::Malformed {
            message: String::new(),
            field: None,
        })
    })?;
    Ok((project, taken, json))
}

/// Takes one event.
pub(super) async fn event(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (project, mut taken, json) = take(&shared, request).await?;
    let mut identities = ingest::identities(project).map_err(|failure| refused(&failure))?;
    let read = pulsekit::event(&json, window::now(), &mut identities);
    let (told, draft) = read.map_err(|wrong| {
        count_rejected(&shared, 1);
        invalid(wrong)
    })?;
    ingest::append(&mut taken, project, EventSource::PulseKit, vec![draft])
        .await
        .map_err(|failure| refused(&failure))?;
    let event = Json::map([
        ("id", Json::text(told.id)),
        ("type", Json::text(told.kind)),
        ("level", Json::text(told.level)),
        ("timestamp", Json::text(seconds(told.unix_nano))),
    ]);
    let body = Json::map([("success", Json::Bool(true)), ("event", event)]);
    Ok(SERVER.answer(StatusCode::CREATED, &body))
}

/// Takes those events of a list that are valid.
pub(super) async fn batch(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (project, mut taken, json) = take(&shared, request).await?;
    let events = json.get("events").and_then(Value::as_array);
    let events = events.ok_or_else(|| no_list("Expected 'events' array in request body"))?;
    if events.len() > EVENTS_MAX {
        return Err(no_list("A batch may hold 10000 events"));
    }
    let mut identities = ingest::identities(project).map_err(|failure| refused(&failure))?;
    let now = window::now();
    let read = events
        .iter()
        .filter_map(|event| pulsekit::event(event, now, &mut identities).ok());
    let drafts: Vec<_> = read.map(|(_, draft)| draft).collect();
    let stored = drafts.len();
    count_rejected(&shared, events.len() - stored);
    ingest::append(&mut taken, project, EventSource::PulseKit, drafts)
        .await
        .map_err(|failure| refused(&failure))?;
    let body = Json::map([
        ("success", Json::Bool(true)),
        ("count", Json::count(stored)),
    ]);
    Ok(SERVER.answer(StatusCode::CREATED, &body))
}

/// Nothing is dropped without a sign: clients are not told, operators are.
fn count_rejected(shared: &Shared, events: usize) {
    let outcomes = Outcomes {
        rejected: events as u64,
        ..Outcomes::default()
    };
    let metrics = &shared.metrics;
    metrics.receiver_items(Signal::Logs, Transport::HttpJson, outcomes);
}

fn invalid(wrong: Vec<Wrong>) -> Answer {
    let fields = wrong
        .into_iter()
        .map(|(field, why)| (field, Json::List(vec![Json::text(why)])));
    let body = Json::map([
        ("success", Json::Bool(false)),
        ("errors", Json::map(fields)),
    ]);
    SERVER.answer(StatusCode::UNPROCESSABLE_ENTITY, &body)
}

fn no_list(message: &str) -> Answer {
    let body = Json::map([
        ("success", Json::Bool(false)),
        ("error", Json::text("Invalid request")),
        ("message", Json::text(message)),
    ]);
    SERVER.answer(StatusCode::BAD_REQUEST, &body)
}

/// A time, cut to seconds.
fn seconds(unix_nano: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(unix_nano));
    let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
