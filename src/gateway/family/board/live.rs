//! PulseBoard's live stream: an event as it is stored, to whom the project belongs. By Socket.IO v4 on
//! `/socket.io/`, and as server-sent events at `/realtime/{id}/sse`, which its server was meant to have.
//!
//! Socket.IO is our own here: of its two small protocols (`packet`) a fraction is used, and what a crate
//! for it brings (rooms, adapters, sessions that nobody counts) would stand beside the gate, the feed
//! and the limits that all clients have.

mod engine;
mod packet;
mod session;
mod talk;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::{BufMut as _, BytesMut};
use futures_util::StreamExt as _;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

use super::super::super::Shared;
use super::super::super::problem::Problem;
use super::super::super::tail::{
    Filter, Form, Notice, Place, Right, Told, Wanted, Watcher, event_stream,
};
use super::super::answer::Answer;
use super::{Owner, SERVER, no_project, unauthorized};
use crate::model::ProjectId;
use crate::model::event::EventSource;
use crate::receivers::pulse::json::Json;
use crate::storage::EventFilter;
use crate::storage::access::User;

pub(in crate::gateway::family) use engine::{poll, post};
pub(in crate::gateway) use session::Sessions;

/// Events a second that a client is told of at most.
const RATE: u32 = 1000;

/// Follows what PulseBoard's SDK sends to a project of somebody's. Who follows is let in by their token;
/// from then on it counts that the project is theirs.
async fn follow(shared: &Arc<Shared>, user: User, project: ProjectId) -> Result<Watcher, Problem> {
    let filter = EventFilter {
        source: Some(EventSource::PulseBoard),
        ..EventFilter::default()
    };
    let wanted = Wanted {
        project,
        filters: vec![Filter::Events(Box::new(filter))],
        form: Form::PulseBoard,
        rate: RATE,
        resume: Place::default(),
        right: Right::Owner(user),
    };
    Watcher::begin(shared, wanted).await
}

/// `GET /realtime/{id}/sse`. Who does not own the project is refused in another way here.
pub(in crate::gateway::family) async fn events(
    State(shared): State<Arc<Shared>>,
    owner: Result<Owner, Answer>,
) -> Result<Response, Answer> {
    let owner = owner.map_err(|refused| match refused {
        refused if refused == no_project() => unauthorized(),
        refused => refused,
    })?;
    let project = owner.principal.project;
    let watcher = follow(&shared, owner.user, project).await;
    let watcher = watcher.map_err(|_| busy())?;
    let told = watcher.into_stream();
    let frames = told
        .take_while(|told| std::future::ready(told.is_ok()))
        .map(move |told| {
            let mut frames = BytesMut::new();
            for told in told.unwrap_or_default() {
                frame(&mut frames, project, &told);
            }
            Ok(frames.freeze())
        });
    let cached = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(([cached], event_stream(frames)).into_response())
}

/// Adds what is told as its server was meant to say it: events without names or ids. What it had no
/// word for is a comment.
fn frame(frames: &mut BytesMut, project: ProjectId, told: &Told) {
    match &told.what {
        Notice::Following => {
            let id = ("projectId", Json::text(project.to_string()));
            let connected = Json::map([("type", Json::text("connected")), id]);
            frames.put_slice(format!("data: {connected}\n\n").as_bytes());
        }
        Notice::Alive => frames.put_slice(b": alive\n\n"),
        Notice::Missed(missed) => {
            frames.put_slice(b": missed ");
            frames.put_slice(&missed.json());
            frames.put_slice(b"\n\n");
        }
        Notice::Stored(_, json) => {
            frames.put_slice(b"data: ");
            frames.put_slice(json);
            frames.put_slice(b"\n\n");
        }
    }
}

/// As many follow as may, or the store does not answer.
fn busy() -> Answer {
    let message = "Live events are not available now";
    SERVER.unsuccessful(StatusCode::SERVICE_UNAVAILABLE, message)
}
