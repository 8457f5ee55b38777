//! `POST /ingest`, `GET /events` and `POST /analytics/…`: what PulseBoard's SDK sends, with its key in
//! the body or the query.
//!
//! What is asked for has a key that may read. The newest events are those that arrived last.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use http::request::Parts;
use http::{StatusCode, Uri};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::super::pulse::body::Taken;
use super::super::pulse::dates;
use super::super::{Shared, window};
use super::answer::{Answer, Server};
use super::{caller, ingest};
use crate::model::ProjectId;
use crate::model::access::Scope;
use crate::model::event::EventSource;
use crate::otlp::Failure;
use crate::receivers::family::pulseboard::{self, Told};
use crate::receivers::family::schema::{Field, Item, check};
use crate::receivers::family::{names, value};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;
use crate::storage::StoredEvent;

const SERVER: Server = Server::PulseBoard;
/// Bytes of a body at most: who it is from is known only when it was read.
const BODY_MAX: usize = 1 << 20;
/// Events that are answered.
const EVENTS_SHOWN: usize = 20;

fn refused(failure: &Failure) -> Answer {
    SERVER.refused(failure)
}

/// Reads a body that fits a schema, and lets it in by its key.
async fn take<'s>(
    shared: &'s Shared,
    request: Request,
    fields: &[Field],
) -> Result<(ProjectId, Taken<'s>, Item), Answer> {
    let (parts, body) = request.into_parts();
    let head = head_of(&parts);
    let mut taken = ingest::read_up_to(shared, parts, body, BODY_MAX)
        .await
        .map_err(|failure| refused(&failure))?;
    if taken.bytes.is_empty() {
        return Err(SERVER.empty_body());
    }
    let json = taken.json().await.map_err(|failure| refused(&failure))?;
    let item = check("body", fields, json).map_err(|message| SERVER.invalid(&message))?;
    let project = admit(shared, &head, item.text("apiKey"), Scope::Ingest).await?;
    Ok((project, taken, item))
}

/// What the gate looks at, without the body's length and the like.
fn head_of(parts: &Parts) -> Parts {
    let mut request = Request::new(());
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    request.into_parts().0
}

async fn admit(
    shared: &Shared,
    parts: &Parts,
    key: &str,
    scope: Scope,
) -> Result<ProjectId, Answer> {
    let admitted = caller::admit(shared, parts, key, scope).await;
    admitted.map_err(|denied| SERVER.denied(denied))
}

/// A time as JavaScript reads it, ns since the Unix epoch. A text of digits alone is a year.
fn time(text: &str) -> Result<i128, Answer> {
    let is_digits = text.bytes().all(|it| it.is_ascii_digit());
    let read = match text.len() {
        4 if is_digits => dates::read(&format!("{text}-01"), false),
        _ if is_digits => None,
        _ => dates::read(text, false),
    };
    read.ok_or_else(|| SERVER.failure("Invalid time value"))
}

fn optional_time(item: &Item, name: &str) -> Result<Option<i128>, Answer> {
    let sent = item.get(name).and_then(Json::as_text);
    sent.map(time).transpose()
}

/// `POST /ingest`.
pub(super) async fn event(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (project, mut taken, item) = take(&shared, request, pulseboard::INGEST).await?;
    let sent = optional_time(&item, "timestamp")?;
    let mut identities = ingest::identities(project).map_err(|failure| refused(&failure))?;
    let now = window::now();
    let (id, draft) = pulseboard::event(&item, sent, now, &mut identities);
    ingest::append(&mut taken, project, EventSource::PulseBoard, vec![draft])
        .await
        .map_err(|failure| refused(&failure))?;
    let shown = Shown {
        id,
        kind: item.text("type").to_owned(),
        name: item.text("name").to_owned(),
        payload: item.get("payload").cloned().unwrap_or(Json::Null),
        timestamp: scalar::iso(sent.unwrap_or(i128::from(now))),
        received: scalar::iso(i128::from(now)),
    };
    let body = Json::map([
        ("success", Json::Bool(true)),
        ("message", Json::text("Event ingested")),
        ("data", shown.json(project)),
    ]);
    Ok(SERVER.answer(StatusCode::CREATED, &body))
}

/// An event as it is answered.
struct Shown {
    id: String,
    kind: String,
    name: String,
    payload: Json,
    timestamp: String,
    received: String,
}

impl Shown {
    /// What is stored of an event.
    fn of(stored: &StoredEvent) -> Option<Self> {
        let record = LogRecord::decode(stored.message.as_slice()).ok()?;
        let (name, time) = (record.event_name, record.time_unix_nano);
        let mut attributes = record.attributes;
        let mut take = |key: &str| {
            let at = attributes.iter().position(|it| it.key == key)?;
            attributes.swap_remove(at).value?.value
        };
        let mut text = |key: &str| value::to_json(take(key)).as_text().map(str::to_owned);
        let early = text(names::TIMESTAMP);
        let (id, kind) = (text(names::EVENT_ID)?, text(names::EVENT_TYPE)?);
        Some(Self {
            id,
            kind,
            name,
            payload: value::to_json(take(names::DETAILS)),
            timestamp: early.unwrap_or_else(|| scalar::iso(i128::from(time))),
            received: scalar::iso(i128::from(stored.columns.received_unix_nano)),
        })
    }

    fn json(self, project: ProjectId) -> Json {
        Json::map([
            ("id", Json::Text(self.id)),
            ("projectId", Json::text(project.to_string())),
            ("type", Json::Text(self.kind)),
            ("name", Json::Text(self.name)),
            ("payload", self.payload),
            ("timestamp", Json::Text(self.timestamp)),
            ("receivedAt", Json::Text(self.received)),
        ])
    }
}

/// A stored event as `GET /events` answers it.
pub(super) fn shown(stored: &StoredEvent, project: ProjectId) -> Option<String> {
    Some(Shown::of(stored)?.json(project).to_string())
}

/// `GET /events`.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (parts, _) = request.into_parts();
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
    let key = pairs.into_iter().find(|(name, _)| name == "apiKey");
    let query = Json::map(key.map(|(_, key)| ("apiKey", Json::Text(key))));
    let checked = check("querystring", pulseboard::EVENTS, query);
    let item = checked.map_err(|message| SERVER.invalid(&message))?;
    let project = admit(&shared, &parts, item.text("apiKey"), Scope::Read).await?;
    let source = EventSource::PulseBoard;
    let asked = async {
        let mut shown = Vec::new();
        for id in shared.issues.latest(project, source, EVENTS_SHOWN).await? {
            let found = shared.reader.event(project, id).await?;
            shown.extend(found.as_ref().and_then(Shown::of));
        }
        Ok(shown)
    };
    let shown = SERVER.within(&shared, asked).await?;
    let data = shown.into_iter().map(|it| it.json(project)).collect();
    let body = Json::map([("success", Json::Bool(true)), ("data", Json::List(data))]);
    Ok(SERVER.answer(StatusCode::OK, &body))
}

/// Takes what the mobile SDK tells.
async fn tell(
    shared: &Shared,
    request: Request,
    told: Told,
    fields: &[Field],
) -> Result<(ProjectId, Item), Answer> {
    let (project, mut taken, item) = take(shared, request, fields).await?;
    let sent = optional_time(&item, "startedAt")?;
    optional_time(&item, "endedAt")?;
    let mut identities = ingest::identities(project).map_err(|failure| refused(&failure))?;
    let draft = pulseboard::told(told, &item, sent, window::now(), &mut identities);
    let source = EventSource::PulseBoardAnalytics;
    ingest::append(&mut taken, project, source, vec![draft])
        .await
        .map_err(|failure| refused(&failure))?;
    Ok((project, item))
}

fn done() -> Answer {
    let body = Json::map([("success", Json::Bool(true))]);
    SERVER.answer(StatusCode::CREATED, &body)
}

/// `POST /analytics/crash`.
pub(super) async fn crash(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    let (project, item) = tell(&shared, request, Told::Crash, pulseboard::CRASH).await?;
    let print = pulseboard::fingerprint(item.text("errorName"), item.text("stackTrace"));
    let group = pulseboard::group_id(project, &print);
    let data = Json::map([("crashGroupId", Json::Text(group))]);
    let body = Json::map([("success", Json::Bool(true)), ("data", data)]);
    Ok(SERVER.answer(StatusCode::CREATED, &body))
}

/// `POST /analytics/session`.
pub(super) async fn session(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    tell(&shared, request, Told::Session, pulseboard::SESSION).await?;
    Ok(done())
}

/// `POST /analytics/screen-view`.
pub(super) async fn screen_view(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    tell(&shared, request, Told::ScreenView, pulseboard::SCREEN_VIEW).await?;
    Ok(done())
}

/// `POST /analytics/api-call`.
pub(super) async fn api_call(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Answer, Answer> {
    tell(&shared, request, Told::ApiCall, pulseboard::API_CALL).await?;
    Ok(done())
}

/// Nothing is served there, or not with that method.
pub(super) async fn no_route(method: http::Method, uri: Uri) -> Answer {
    not_found(&method, &uri)
}

/// See [`no_route`].
pub(super) fn not_found(method: &http::Method, uri: &Uri) -> Answer {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let body = Json::map([
        (
            "message",
            Json::text(format!("Route {method}:{path} not found")),
        ),
        ("error", Json::text("Not Found")),
        ("statusCode", Json::Number(404.0)),
    ]);
    SERVER.answer(StatusCode::NOT_FOUND, &body)
}

/// Whether what is not served at a path is refused in this server's words.
pub(super) fn is_ours(path: &str) -> bool {
    path.starts_with("/analytics/") || super::board::is_for_people(path)
}
