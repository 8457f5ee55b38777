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
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

use super::super::super::Shared;
use super::super::super::pieces::{self, Text};
use super::super::super::tail::{
    Filter, Form, NoSeat, Notice, Place, Right, Told, Wanted, Watcher, event_stream, until_over,
};
use super::super::answer::Answer;
use super::{Owner, SERVER, no_project, unauthorized};
use crate::auth::{Held, Who};
use crate::model::ProjectId;
use crate::model::event::EventSource;
use crate::receivers::pulse::json::Json;
use crate::storage::EventFilter;

pub(in crate::gateway::family) use engine::{poll, post};
pub(in crate::gateway) use session::Sessions;

/// Events a second that a client is told of at most.
const RATE: u32 = 1000;

/// Follows what PulseBoard's SDK sends to a project of somebody's. Who follows is let in by their token;
/// from then on it counts that the project is theirs, and the password that of the token.
async fn follow(shared: &Arc<Shared>, held: Held, project: ProjectId) -> Result<Watcher, NoSeat> {
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
        who: Who::User(held.user.id.as_str().into()),
        right: Right::Owner(held),
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
    let watcher = follow(&shared, owner.held, project).await;
    let watcher = watcher.map_err(|none| busy(&none))?;
    let frames = pieces::told_in(watcher.into_stream(), move |told| frame(project, told));
    let cached = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let stream = event_stream(until_over(frames));
    Ok(([cached], stream).into_response())
}

/// What is told as its server was meant to say it: events without names or ids. What it had no word
/// for is a comment.
fn frame(project: ProjectId, told: Told) -> Text {
    match told.what {
        Notice::Following => {
            let id = ("projectId", Json::text(project.to_string()));
            let connected = Json::map([("type", Json::text("connected")), id]);
            format!("data: {connected}\n\n").into()
        }
        Notice::Alive => ": alive\n\n".into(),
        Notice::Missed(missed) => Text::new(": missed ", missed.json().into(), "\n\n"),
        Notice::Stored(_, json) => Text::new("data: ", json, "\n\n"),
    }
}

/// As many follow as may, or the store does not answer.
fn busy(none: &NoSeat) -> Answer {
    SERVER.unsuccessful(StatusCode::SERVICE_UNAVAILABLE, reason(none))
}

const fn reason(none: &NoSeat) -> &'static str {
    match none {
        NoSeat::OfPerson => "Too many live streams of yours",
        NoSeat::AtAll | NoSeat::Store(_) => "Live events are not available now",
    }
}
