//! One client that follows feeds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use http::{HeaderMap, Uri};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::frames::{Missed, Notice, Told};
use super::hub::{Batch, Form};
use super::lane::{Caught, Filter, Lane, Looked};
use super::place::Place;
use super::seats::NoSeat;
use crate::auth::{Denied, Gate, Held, Who};
use crate::gateway::pieces::PIECE_MAX;
use crate::model::ProjectId;
use crate::model::access::Scope;

/// A client hears something at least this often.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How often it is looked up whether a client may still watch: a key that is revoked is of no use
/// five seconds later, what the gate remembers included.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Over which the rate is kept.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// What a client was let in for.
#[derive(Debug)]
pub(in crate::gateway) enum Right {
    /// The credential of its request, which may read.
    Credential(HeaderMap, Uri),
    /// The same at the gate of another listener.
    CredentialAt(Gate, HeaderMap, Uri),
    /// The project is theirs, and the token that they came with is of the password that they have.
    Owner(Held),
}

/// What a client wants.
#[derive(Debug)]
pub(in crate::gateway) struct Wanted {
    pub(in crate::gateway) project: ProjectId,
    /// One or two, of different feeds.
    pub(in crate::gateway) filters: Vec<Filter>,
    pub(in crate::gateway) form: Form,
    /// Events a second.
    pub(in crate::gateway) rate: u32,
    /// Where to go on, instead of now.
    pub(in crate::gateway) resume: Place,
    /// Who it is, for whom there may be only so many.
    pub(in crate::gateway) who: Who,
    pub(in crate::gateway) right: Right,
}

/// Why a client is told no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Over {
    /// The daemon drains.
    Draining,
    /// The client may not watch any more.
    NotAllowed(Denied),
}

/// A client.
pub(in crate::gateway) struct Watcher {
    shared: Arc<Shared>,
    check_at: Instant,
    project: ProjectId,
    rate: u32,
    right: Right,
    lanes: Vec<Lane>,
    shutdown: CancellationToken,
    missed: Missed,
    window: Window,
    alive_at: Instant,
    said_hello: bool,
    /// What is told next, and in between whether the client may still watch is looked up.
    found: VecDeque<Told>,
}

/// Events of a second.
#[derive(Debug)]
struct Window {
    until: Instant,
    events: u32,
}

impl Watcher {
    /// Takes its seats.
    pub(in crate::gateway) async fn begin(
        shared: &Arc<Shared>,
        wanted: Wanted,
    ) -> Result<Self, NoSeat> {
        let hub = &shared.tail;
        let client = hub.enter(wanted.project, &wanted.who)?;
        let mut lanes = Vec::with_capacity(wanted.filters.len());
        for filter in wanted.filters {
            let kind = filter.kind();
            let key = (wanted.project, kind);
            let seat = hub.sit(key, filter.needs_whole(), Arc::clone(&client));
            let seat = seat.await?;
            let resume = match wanted.resume.of(kind) {
                // Another process may have told of it before this one hears of it; what the store does
                // not have is a place in another database.
                Some(place) if place > seat.reached.position => {
                    let end = hub.end_of(kind).await?;
                    (place <= end).then_some(place)
                }
                place => place,
            };
            lanes.push(Lane::new(
                (wanted.project, filter, wanted.form),
                seat,
                resume,
            ));
        }
        let now = Instant::now();
        Ok(Self {
            shutdown: hub.tasks().shutdown_token(),
            shared: Arc::clone(shared),
            check_at: now + CHECK_EVERY,
            project: wanted.project,
            rate: wanted.rate,
            right: wanted.right,
            lanes,
            missed: Missed::NOTHING,
            window: Window {
                until: now + RATE_WINDOW,
                events: 0,
            },
            alive_at: now + ALIVE_EVERY,
            said_hello: false,
            found: VecDeque::new(),
        })
    }

    /// What the client is told, and last why there is no more. Nothing is lost when nobody waits for
    /// the next item for a while, or for ever.
    pub(in crate::gateway) fn into_stream(self) -> impl Stream<Item = Result<Vec<Told>, Over>> {
        stream::unfold(Some(self), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(told) => Some((Ok(told), Some(watcher))),
                Err(over) => Some((Err(over), None)),
            }
        })
    }

    /// Where the client is in all that it follows.
    fn place(&self) -> Place {
        let mut place = Place::default();
        for lane in &self.lanes {
            place.set(lane.kind(), lane.position);
        }
        place
    }

    fn told(&self, what: Notice) -> Told {
        Told {
            id: self.place(),
            what,
        }
    }

    async fn next(&mut self) -> Result<Vec<Told>, Over> {
        if !self.said_hello {
            self.said_hello = true;
            return Ok(vec![self.told(Notice::Following)]);
        }
        loop {
            if self.shutdown.is_cancelled() {
                return Err(Over::Draining);
            }
            self.check().await.map_err(Over::NotAllowed)?;
            let told = self.some_found();
            if !told.is_empty() {
                self.alive_at = Instant::now() + ALIVE_EVERY;
                return Ok(told);
            }
            let mut told = Vec::new();
            if let Some(number) = self.lanes.iter().position(Lane::is_behind) {
                self.catch_up(number, &mut told).await;
                self.found = told.into();
                continue;
            }
            let until = self.window.until.min(self.alive_at);
            let shutdown = self.shutdown.clone();
            tokio::select! {
                (number, page) = next_page(&mut self.lanes) => match page {
                    Some(batch) => self.take(number, &batch, &mut told),
                    None => return Err(Over::Draining),
                },
                () = tokio::time::sleep_until(until) => self.on_time(&mut told),
                () = shutdown.cancelled() => return Err(Over::Draining),
            }
            self.found = told.into();
        }
    }

    /// Takes of what was found as much as is told at once: about a piece.
    fn some_found(&mut self) -> Vec<Told> {
        let mut bytes = 0;
        let mut fits = |told: &Told| {
            let is_first = bytes == 0;
            bytes += told.what.bytes();
            is_first || bytes <= PIECE_MAX
        };
        let count = self.found.iter().map_while(|it| fits(it).then_some(()));
        let count = count.count();
        self.found.drain(..count).collect()
    }

    /// Whether the client may still watch. While that can't be found out, it may.
    async fn check(&mut self) -> Result<(), Denied> {
        let now = Instant::now();
        if now < self.check_at {
            return Ok(());
        }
        self.check_at = now + CHECK_EVERY;
        let gate = &self.shared.gate;
        let admitted = match &self.right {
            Right::Credential(headers, uri) => {
                let admitted = gate.admit(headers, uri, Scope::Read).await;
                admitted.map(|principal| principal.project)
            }
            Right::CredentialAt(gate, headers, uri) => {
                let admitted = gate.admit(headers, uri, Scope::Read).await;
                admitted.map(|principal| principal.project)
            }
            Right::Owner(held) => {
                let owner = gate.still_owner_lately(held, self.project).await;
                owner.map(|()| self.project)
            }
        };
        match admitted {
            // Their project is another one now.
            Ok(project) if project != self.project => Err(Denied::Unknown),
            Ok(_) | Err(Denied::Unavailable) => Ok(()),
            Err(denied) => Err(denied),
        }
    }

    fn on_time(&mut self, told: &mut Vec<Told>) {
        let now = Instant::now();
        self.turn_window(now);
        self.tell_missed(told);
        if told.is_empty() && now >= self.alive_at {
            told.push(self.told(Notice::Alive));
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

    fn tell_missed(&mut self, told: &mut Vec<Told>) {
        if self.missed != Missed::NOTHING {
            let missed = std::mem::replace(&mut self.missed, Missed::NOTHING);
            told.push(self.told(Notice::Missed(missed)));
        }
    }

    /// Takes a page of a feed.
    fn take(&mut self, number: usize, batch: &Batch, told: &mut Vec<Told>) {
        let Some(lane) = self.lanes.get_mut(number) else {
            return;
        };
        let went_by = lane.begin_page(batch);
        self.missed.unseen = self.missed.unseen.map(|unseen| unseen + went_by);
        self.turn_window(Instant::now());
        if self.missed.unseen != Some(0) {
            self.tell_missed(told);
        }
        let before = self.place();
        let left = self.rate.saturating_sub(self.window.events);
        let Some(lane) = self.lanes.get_mut(number) else {
            return;
        };
        let (kind, looked) = (lane.kind(), lane.take(batch, left));
        let count = u32::try_from(looked.told.len()).unwrap_or(u32::MAX);
        self.window.events = self.window.events.saturating_add(count);
        self.missed.over_rate += looked.over;
        tell(told, before, kind, looked);
    }

    /// Reads a piece of what was stored while the client was away.
    async fn catch_up(&mut self, number: usize, told: &mut Vec<Told>) {
        let before = self.place();
        let shared = Arc::clone(&self.shared);
        let Some(lane) = self.lanes.get_mut(number) else {
            return;
        };
        let (kind, caught) = (lane.kind(), lane.catch_up(&shared).await);
        match caught {
            Caught::Some(looked) => {
                self.missed.over_rate += looked.over;
                tell(told, before, kind, looked);
            }
            Caught::GaveUp(looked) => {
                // How much is beyond what was read is not known.
                self.missed.unseen = None;
                tell(told, before, kind, looked);
                self.tell_missed(told);
            }
            Caught::Nothing => tokio::time::sleep(RATE_WINDOW).await,
        }
    }
}

/// Adds what was found, each with the place after it.
fn tell(told: &mut Vec<Told>, mut id: Place, kind: super::hub::Kind, looked: Looked) {
    for (position, said) in looked.told {
        id.set(kind, position);
        let what = Notice::Stored(kind, said);
        told.push(Told { id, what });
    }
}

/// The next page of any feed, and of which.
async fn next_page(lanes: &mut [Lane]) -> (usize, Option<Arc<Batch>>) {
    match lanes {
        [one] => (0, one.next_page().await),
        [one, other] => tokio::select! {
            page = one.next_page() => (0, page),
            page = other.next_page() => (1, page),
        },
        // Nobody follows nothing, or more than there is.
        _ => (0, None),
    }
}
