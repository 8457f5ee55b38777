//! One client that follows a feed.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, Uri};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::frames::{self, Missed};
use super::hub::{Batch, Found, Seat};
use super::{Shared, busy};
use crate::auth::Denied;
use crate::gateway::problem::Problem;
use crate::model::ProjectId;
use crate::model::access::Scope;
use crate::storage::SpanFilter;
use crate::storage::feed::{FeedPosition, FeedRequest, FeedTest};

/// A client hears something at least this often.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How often it is looked up whether a client may still watch: a key that is revoked is of no use
/// five seconds later, what the gate remembers included.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Over which the rate is kept.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Spans that are looked at for a client which connects again, and events sent to it, whatever its
/// rate; the rest went by.
const CATCH_UP_SPANS: usize = 50_000;
const CATCH_UP_EVENTS: u32 = 10_000;
/// Questions that the store may leave unanswered in a row before a client goes on with what is new.
const CATCH_UP_FAILURES: u32 = 10;
/// Spans read from the store at once for one client.
const CATCH_UP_PAGE: usize = 500;

/// What a client wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) project: ProjectId,
    pub(super) filter: SpanFilter,
    /// Events a second.
    pub(super) rate: u32,
    /// Where to go on, instead of now.
    pub(super) resume: Option<FeedPosition>,
    /// What the client was let in for.
    pub(super) credentials: (HeaderMap, Uri),
}

/// A client.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    check_at: Instant,
    wanted: Wanted,
    seat: Seat,
    shutdown: CancellationToken,
    /// Everything up to here was looked at.
    position: FeedPosition,
    /// See [`super::hub::Reached::epoch`].
    epoch: u64,
    /// Questions about what was missed that were not answered in a row.
    failures: u32,
    /// Number of the span of the feed that comes next, as its task counts them.
    expected: u64,
    /// What is read from the store before the feed is followed.
    catching_up: Option<CatchUp>,
    missed: Missed,
    window: Window,
    alive_at: Instant,
    said_hello: bool,
}

/// How far a client that connected again has got.
#[derive(Debug, Clone, Copy)]
struct CatchUp {
    /// Where the feed was when the client came.
    until: FeedPosition,
    spans_left: usize,
    events_left: u32,
}

impl CatchUp {
    const fn to(until: FeedPosition) -> Self {
        Self {
            until,
            spans_left: CATCH_UP_SPANS,
            events_left: CATCH_UP_EVENTS,
        }
    }
}

/// Events of a second.
#[derive(Debug)]
struct Window {
    until: Instant,
    events: u32,
}

impl Watcher {
    /// Takes a seat.
    pub(super) async fn begin(shared: &Arc<Shared>, wanted: Wanted) -> Result<Self, Problem> {
        let hub = &shared.tail;
        let whole = !wanted.filter.attributes.is_empty();
        let seat = hub.sit(wanted.project, whole).await?.ok_or_else(busy)?;
        let now = Instant::now();
        let until = seat.reached.position;
        // A position from the future is of another database.
        let resume = wanted.resume.filter(|position| *position < until);
        Ok(Self {
            shutdown: hub.tasks().shutdown_token(),
            shared: Arc::clone(shared),
            check_at: now + CHECK_EVERY,
            position: resume.unwrap_or(until),
            epoch: seat.reached.epoch,
            failures: 0,
            expected: seat.reached.spans,
            catching_up: resume.map(|_| CatchUp::to(until)),
            wanted,
            seat,
            missed: Missed::NOTHING,
            window: Window {
                until: now + RATE_WINDOW,
                events: 0,
            },
            alive_at: now + ALIVE_EVERY,
            said_hello: false,
        })
    }

    /// The bytes to send; ends when the daemon drains.
    pub(super) fn into_stream(self) -> impl Stream<Item = Bytes> {
        stream::unfold(self, |mut watcher| async move {
            let bytes = watcher.next().await?;
            Some((bytes, watcher))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if !self.said_hello {
            self.said_hello = true;
            return Some(frames::hello(self.position));
        }
        let mut frames = BytesMut::new();
        while frames.is_empty() {
            if self.shutdown.is_cancelled() || !self.may_watch().await {
                return None;
            }
            if self.catching_up.is_some() {
                self.catch_up(&mut frames).await;
                continue;
            }
            let until = self.window.until.min(self.alive_at);
            let shutdown = self.shutdown.clone();
            tokio::select! {
                page = self.seat.pages.recv() => match page {
                    Ok(batch) => self.take(&batch, &mut frames),
                    // The next page says how many spans went by.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(until) => self.on_time(&mut frames),
                () = shutdown.cancelled() => return None,
            }
        }
        self.alive_at = Instant::now() + ALIVE_EVERY;
        Some(frames.freeze())
    }

    /// Whether the client may still watch. While that can't be found out, it may.
    async fn may_watch(&mut self) -> bool {
        let now = Instant::now();
        if now < self.check_at {
            return true;
        }
        self.check_at = now + CHECK_EVERY;
        let (headers, uri) = &self.wanted.credentials;
        match self.shared.gate.admit(headers, uri, Scope::Read).await {
            Ok(principal) => principal.project == self.wanted.project,
            Err(Denied::Unavailable) => true,
            Err(_) => false,
        }
    }

    fn on_time(&mut self, frames: &mut BytesMut) {
        let now = Instant::now();
        self.turn_window(now);
        self.tell_missed(frames);
        if frames.is_empty() && now >= self.alive_at {
            frames.extend_from_slice(&frames::alive(self.position));
        }
    }

    fn turn_window(&mut self, now: Instant) {
        if now >= self.window.until {
            self.window = Window {
                until: now + RATE_WINDOW,
                events: 0,
            };
        }
    }

    fn tell_missed(&mut self, frames: &mut BytesMut) {
        if self.missed != Missed::NOTHING {
            let missed = std::mem::replace(&mut self.missed, Missed::NOTHING);
            frames::missed(frames, self.position, missed);
        }
    }

    /// Takes a page of the feed.
    fn take(&mut self, batch: &Batch, frames: &mut BytesMut) {
        if batch.before > self.expected {
            let more = batch.before - self.expected;
            self.missed.unseen = self.missed.unseen.map(|unseen| unseen + more);
        }
        self.expected = batch.before + batch.spans.len() as u64;
        if batch.epoch != self.epoch {
            self.epoch = batch.epoch;
            self.position = FeedPosition::before(0);
        }
        self.turn_window(Instant::now());
        if self.missed.unseen != Some(0) {
            self.tell_missed(frames);
        }
        if self.needs_whole() && !batch.whole {
            // Read before this client came.
            self.catching_up = Some(CatchUp::to(batch.end));
            return;
        }
        let left = self.wanted.rate.saturating_sub(self.window.events);
        let events = self.look_at(&batch.spans, left, frames);
        self.window.events = self.window.events.saturating_add(events);
        self.position = self.position.max(batch.end);
    }

    /// Whether columns are not enough to tell what matches.
    fn needs_whole(&self) -> bool {
        !self.wanted.filter.attributes.is_empty()
    }

    /// Sends what matches, so many events at most; answers how many.
    fn look_at(&mut self, spans: &[Found], events_max: u32, frames: &mut BytesMut) -> u32 {
        let mut events = 0;
        let mut test = FeedTest::new(&self.wanted.filter);
        for found in spans {
            let position = found.span.position;
            // What was read while catching up comes again.
            if position <= self.position || !test.matches(&found.span).unwrap_or(false) {
                continue;
            }
            if events >= events_max {
                self.missed.over_rate += 1;
                continue;
            }
            events += 1;
            frames::span(frames, position, found.json());
        }
        events
    }

    /// Reads a page of what was stored while the client was away.
    async fn catch_up(&mut self, frames: &mut BytesMut) {
        let Some(state) = self.catching_up else {
            return;
        };
        let request = FeedRequest {
            after: self.position,
            whole: self.needs_whole(),
            spans_min: CATCH_UP_PAGE,
        };
        let shared = Arc::clone(&self.shared);
        let turn = shared.tail.turn().await;
        let page = shared.reader.feed(self.wanted.project, &request).await;
        drop(turn);
        let Ok(page) = page else {
            self.failures += 1;
            if self.failures > CATCH_UP_FAILURES {
                self.give_up(frames);
            } else {
                tokio::time::sleep(RATE_WINDOW).await;
            }
            return;
        };
        self.failures = 0;
        let (next, more, count) = (page.next, page.more, page.spans.len());
        let spans: Vec<_> = page.spans.into_iter().map(Found::from).collect();
        let events = self.look_at(&spans, state.events_left, frames);
        self.position = self.position.max(next);
        let state = CatchUp {
            spans_left: state.spans_left.saturating_sub(count),
            events_left: state.events_left.saturating_sub(events),
            ..state
        };
        self.catching_up = Some(state);
        if !more && count == 0 || self.position >= state.until {
            self.caught_up();
        } else if state.spans_left == 0 || state.events_left == 0 {
            self.give_up(frames);
        }
    }

    /// Goes on with what is new, or reads on: pages that were found meanwhile may be gone.
    fn caught_up(&mut self) {
        let now = self.seat.reached();
        if self.position < now.position && now.epoch == self.epoch {
            if let Some(state) = &mut self.catching_up {
                state.until = now.position;
            }
            return;
        }
        let reached = self.seat.skip();
        self.expected = reached.spans;
        self.epoch = reached.epoch;
        // What was found between the two looks.
        self.catching_up =
            (self.position < reached.position).then(|| CatchUp::to(reached.position));
    }

    /// Goes on with what is new.
    fn give_up(&mut self, frames: &mut BytesMut) {
        if let Some(state) = self.catching_up.take() {
            self.position = self.position.max(state.until);
            self.missed.unseen = None;
            self.tell_missed(frames);
        }
    }
}
