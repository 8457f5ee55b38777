//! What a Socket.IO client says and is told: one task a session, however its packets travel.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::super::Shared;
use super::super::super::super::tail::{Notice, Over, Told};
use super::packet::{self, CLOSE, PING, ROOT, Said};
use super::session::{PING_EVERY, PONG_WITHIN, Place, Session};
use crate::auth::{Denied, Held};
use crate::model::ProjectId;
use crate::receivers::pulse::json::Json;

/// How long a client may take to connect to the namespace after its session began.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Projects that one client may follow.
const FOLLOWED_MAX: usize = 16;

const NOT_THEIRS: &str = "Project not found or access denied";

/// Who a client is.
pub(super) enum Who {
    User(Held),
    /// Nobody, for this reason.
    Nobody(&'static str),
}

impl Who {
    /// The holder of the token that a request shows.
    pub(super) async fn of(shared: &Shared, headers: &HeaderMap) -> Self {
        match shared.gate.holder(headers).await {
            Ok(held) => Self::User(held),
            Err(Denied::Missing) => Self::Nobody("Unauthorized - no token"),
            Err(Denied::Unavailable) => Self::Nobody("Unauthorized - try again later"),
            Err(_) => Self::Nobody("Unauthorized - invalid token"),
        }
    }
}

/// What comes of following a project.
type News = (ProjectId, Result<Vec<Told>, Over>);

/// The task of a session.
pub(super) struct Talk {
    shared: Arc<Shared>,
    session: Arc<Session>,
    id: String,
    who: Who,
    place: Place,
    is_connected: bool,
    followed: HashMap<ProjectId, CancellationToken>,
}

impl Talk {
    /// For a new session.
    pub(super) fn new(
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        id: String,
        (who, place): (Who, Place),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            session: Arc::clone(session),
            id,
            who,
            place,
            is_connected: false,
            followed: HashMap::new(),
        }
    }

    /// Hears what the client says, and tells it what is new, until either is over.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<String>) {
        let session = Arc::clone(&self.session);
        let mut news: SelectAll<BoxStream<'static, News>> = SelectAll::new();
        let mut due = Instant::now() + CONNECT_WITHIN;
        let mut is_pinged = false;
        loop {
            let has_room = !session.is_full();
            tokio::select! {
                // What a client says may be answered: who takes no answers is not heard.
                received = inbox.recv(), if has_room => {
                    let Some(text) = received else { break };
                    let was_connected = self.is_connected;
                    match packet::Packet::read(&text) {
                        Some(packet::Packet::Pong) if is_pinged => {
                            is_pinged = false;
                            due = Instant::now() + PING_EVERY;
                        }
                        Some(packet::Packet::Pong | packet::Packet::Noop) => {}
                        Some(packet::Packet::Message(message)) => {
                            if !self.hear(message, &mut news).await {
                                break;
                            }
                        }
                        _ => break,
                    }
                    if self.is_connected && !was_connected {
                        due = Instant::now() + PING_EVERY;
                    }
                }
                () = tokio::time::sleep_until(due) => {
                    if is_pinged || !self.is_connected {
                        break;
                    }
                    session.add(PING);
                    is_pinged = true;
                    due = Instant::now() + PONG_WITHIN;
                }
                Some((project, told)) = news.next(), if has_room && !news.is_empty() => {
                    self.tell(project, told);
                }
                () = session.room(), if !has_room => {}
                () = session.closed() => break,
            }
        }
        self.shared.live.remove(&self.id);
        session.add(CLOSE);
        session.close();
    }

    /// Hears a message; answers whether the session goes on.
    async fn hear(
        &mut self,
        message: &str,
        news: &mut SelectAll<BoxStream<'static, News>>,
    ) -> bool {
        match Said::read(message) {
            Some(Said::Connect { namespace, token }) => self.connect(&namespace, token).await,
            Some(Said::Event { name, argument }) if self.is_connected => {
                match name.as_str() {
                    "subscribe" => news.extend(self.subscribe(argument).await),
                    "unsubscribe" => self.unsubscribe(argument),
                    _ => {}
                }
                true
            }
            Some(Said::Nothing) => true,
            Some(Said::Event { .. } | Said::Disconnect) | None => false,
        }
    }

    async fn connect(&mut self, namespace: &str, token: Option<String>) -> bool {
        if namespace != ROOT {
            let refused = packet::not_connected(namespace, "Invalid namespace");
            self.session.add(refused);
            return true;
        }
        // Browsers can't add headers to a WebSocket: the token may come with what it connects with.
        if let (Who::Nobody(_), Some(token)) = (&self.who, token) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
                headers.insert(header::AUTHORIZATION, value);
            }
            self.who = match Who::of(&self.shared, &headers).await {
                who @ Who::User(_) => match self.shared.live.place(&who) {
                    Some(place) => {
                        self.place = place;
                        who
                    }
                    None => Who::Nobody("Too many clients; try again later"),
                },
                nobody @ Who::Nobody(_) => nobody,
            };
        }
        if let Who::Nobody(reason) = self.who {
            self.session.add(packet::not_connected(ROOT, reason));
            // The client hears of it, and goes; if not, its time to connect is soon over.
            return true;
        }
        self.is_connected = true;
        self.session.add(packet::connected(&self.id));
        true
    }

    fn emit(&self, name: &str, argument: &Json) {
        let argument = argument.to_string().into();
        self.session.add(packet::event(name, argument));
    }

    fn emit_error(&self, message: &str) {
        self.emit("error", &Json::map([("message", Json::text(message))]));
    }

    async fn subscribe(&mut self, project: Option<String>) -> Option<BoxStream<'static, News>> {
        let Who::User(held) = &self.who else {
            return None;
        };
        let held = held.clone();
        let named = project.as_deref().and_then(|it| it.parse().ok());
        let Some(project) = named.map(ProjectId) else {
            self.emit_error(NOT_THEIRS);
            return None;
        };
        match self.shared.gate.still_owner(&held, project).await {
            Ok(()) => {}
            Err(Denied::Unavailable) => {
                self.emit_error("Live events are not available now");
                return None;
            }
            Err(_) => {
                self.emit_error(NOT_THEIRS);
                return None;
            }
        }
        if self.followed.contains_key(&project) {
            self.emit("subscribed", &named_project(project));
            return None;
        }
        if self.followed.len() >= FOLLOWED_MAX {
            self.emit_error("Too many subscriptions");
            return None;
        }
        let watcher = match super::follow(&self.shared, held, project).await {
            Ok(watcher) => watcher,
            Err(none) => {
                self.emit_error(super::reason(&none));
                return None;
            }
        };
        let ended = CancellationToken::new();
        self.followed.insert(project, ended.clone());
        self.emit("subscribed", &named_project(project));
        let news = watcher.into_stream().map(move |told| (project, told));
        Some(news.take_until(ended.cancelled_owned()).boxed())
    }

    fn unsubscribe(&mut self, project: Option<String>) {
        let named = project.as_deref().and_then(|it| it.parse().ok());
        if let Some(project) = named.map(ProjectId) {
            self.end(project);
        }
        let said = project.map_or(Json::Null, Json::Text);
        self.emit("unsubscribed", &Json::map([("projectId", said)]));
    }

    fn end(&mut self, project: ProjectId) {
        if let Some(ended) = self.followed.remove(&project) {
            ended.cancel();
        }
    }

    fn tell(&mut self, project: ProjectId, told: Result<Vec<Told>, Over>) {
        let told = match told {
            Ok(told) => told,
            Err(Over::Draining) => return self.session.close(),
            Err(Over::NotAllowed(_)) => {
                self.end(project);
                self.emit_error(NOT_THEIRS);
                return self.emit("unsubscribed", &named_project(project));
            }
        };
        for told in told {
            match told.what {
                Notice::Following | Notice::Alive => {}
                Notice::Missed(missed) => {
                    let unseen = missed.unseen.map_or(Json::Null, number);
                    let missed = Json::map([
                        ("projectId", Json::text(project.to_string())),
                        ("unseen", unseen),
                        ("overRate", number(missed.over_rate)),
                    ]);
                    self.emit("missed", &missed);
                }
                Notice::Stored(_, json) => self.session.add(packet::event("event", json)),
            }
        }
    }
}

fn number(count: u64) -> Json {
    Json::count(usize::try_from(count).unwrap_or(usize::MAX))
}

fn named_project(project: ProjectId) -> Json {
    Json::map([("projectId", Json::text(project.to_string()))])
}
