//! Asks the store on behalf of all watchers of a project.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast};

use super::seats::{Client, NoSeat, Seats};
use crate::auth::Who;
use crate::gateway::{family, grpc, render};
use crate::model::ProjectId;
use crate::service::tasks::Tasks;
use crate::storage::event_feed::{EventPage, FeedEvent};
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest, FeedSpan};
use crate::storage::{Error, SpanReader};

/// Between two questions to the store while nothing is new.
const POLL: Duration = Duration::from_millis(200);
/// After the store did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// A page ends with the block in which it gets this many spans or events.
const ITEMS_MIN: usize = 500;
/// Clients that read what they missed at once; others wait.
const CATCH_UPS_AT_ONCE: usize = 2;
/// Pages kept for watchers that are behind.
const PAGES_KEPT: usize = 16;

/// Which feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gateway) enum Kind {
    Spans,
    Events,
}

/// In whose words a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Form {
    /// As our lists answer it.
    Own,
    /// As PulseBoard's server said it.
    PulseBoard,
    /// An encoded `SpanSummary`.
    Protobuf,
}

/// What was stored.
pub(super) enum Entry {
    Span(Box<FeedSpan>),
    Event(Box<FeedEvent>),
}

/// Something that was found, and how it is said once somebody needed that.
pub(super) struct Found {
    pub(super) entry: Entry,
    json: OnceLock<Option<Bytes>>,
    board_json: OnceLock<Option<Bytes>>,
    protobuf: OnceLock<Option<Bytes>>,
}

impl Found {
    pub(super) fn of(entry: Entry) -> Self {
        Self {
            entry,
            json: OnceLock::new(),
            board_json: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// The position after it.
    pub(super) fn position(&self) -> FeedPosition {
        match &self.entry {
            Entry::Span(span) => span.position,
            Entry::Event(event) => event.position,
        }
    }

    /// As a list answers it; `None` for what can't be read, or not be said in these words.
    pub(super) fn said(&self, project: ProjectId, form: Form) -> Option<&Bytes> {
        let said = match form {
            Form::Own => self.json.get_or_init(|| own_json(&self.entry)),
            Form::PulseBoard => self.board_json.get_or_init(|| match &self.entry {
                Entry::Span(_) => None,
                Entry::Event(event) => family::board_event(&event.event, project),
            }),
            Form::Protobuf => self.protobuf.get_or_init(|| match &self.entry {
                Entry::Span(span) => Some(grpc::summary::encoded(&span.summary)),
                Entry::Event(_) => None,
            }),
        };
        said.as_ref()
    }
}

fn own_json(entry: &Entry) -> Option<Bytes> {
    // Strings and numbers always serialize.
    let json = match entry {
        Entry::Span(span) => serde_json::to_vec(&render::SpanSummary::from(span.summary.clone())),
        Entry::Event(event) => {
            serde_json::to_vec(&render::EventDetail::new(event.event.clone()).ok()?)
        }
    };
    json.ok().map(Bytes::from)
}

/// A page of the feed.
pub(super) struct Batch {
    /// What of the project was found before this, since the task was started.
    pub(super) before: u64,
    pub(super) items: Vec<Found>,
    /// The position after it.
    pub(super) end: FeedPosition,
    /// Whether the spans are whole.
    pub(super) whole: bool,
    /// See [`Reached::epoch`].
    pub(super) epoch: u64,
}

/// Where a feed is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    pub(super) position: FeedPosition,
    /// Spans or events found.
    pub(super) found: u64,
    /// How often positions began again, which they do when a store has lost its newest blocks.
    pub(super) epoch: u64,
}

/// One feed of a project.
pub(super) struct Channel {
    pages: broadcast::Sender<Arc<Batch>>,
    reached: Mutex<Reached>,
    /// Watchers that need whole spans.
    whole: AtomicUsize,
}

/// A place among the watchers of a project.
pub(super) struct Seat {
    pub(super) pages: broadcast::Receiver<Arc<Batch>>,
    /// Where the feed was when the seat was taken; the first page is of what comes after.
    pub(super) reached: Reached,
    channel: Arc<Channel>,
    whole: bool,
    _client: Arc<Client>,
}

impl Seat {
    /// Leaves out the pages that wait, and answers where the feed is now: the next page is of what
    /// comes after that.
    pub(super) fn skip(&mut self) -> Reached {
        let reached = lock(&self.channel.reached);
        self.pages = self.channel.pages.subscribe();
        *reached
    }

    /// Where the feed is now.
    pub(super) fn reached(&self) -> Reached {
        *lock(&self.channel.reached)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.whole {
            self.channel.whole.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// All feeds that are watched.
pub(in crate::gateway) struct Hub {
    reader: Arc<dyn SpanReader>,
    tasks: Tasks,
    channels: Mutex<HashMap<(ProjectId, Kind), Arc<Channel>>>,
    seats: Seats,
    /// Clients that came back and read what they missed, at once.
    turns: Semaphore,
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Nobody watches yet.
    pub(in crate::gateway) fn new(
        reader: Arc<dyn SpanReader>,
        tasks: Tasks,
        watchers_max: u32,
    ) -> Self {
        Self {
            reader,
            tasks,
            channels: Mutex::new(HashMap::new()),
            seats: Seats::new(watchers_max),
            turns: Semaphore::new(CATCH_UPS_AT_ONCE),
        }
    }

    /// A turn to read what was missed.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Cancelled when the daemon drains.
    pub(in crate::gateway) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Lets one more client in.
    pub(super) fn enter(&self, project: ProjectId, who: &Who) -> Result<Arc<Client>, NoSeat> {
        self.seats.take(project, who).map(Arc::new)
    }

    /// Where a feed ends in the store now.
    pub(super) async fn end_of(&self, kind: Kind) -> Result<FeedPosition, Error> {
        match kind {
            Kind::Spans => self.reader.feed_end().await,
            Kind::Events => self.reader.event_feed_end().await,
        }
    }

    /// Takes a seat in a feed.
    pub(super) async fn sit(
        self: &Arc<Self>,
        (project, kind): (ProjectId, Kind),
        whole: bool,
        client: Arc<Client>,
    ) -> Result<Seat, Error> {
        let key = (project, kind);
        if let Some(channel) = lock(&self.channels).get(&key) {
            return Ok(seat(channel, whole, client));
        }
        let position = self.end_of(kind).await?;
        let mut channels = lock(&self.channels);
        // Somebody else may have begun meanwhile.
        let channel = channels.entry(key).or_insert_with(|| {
            let channel = Arc::new(Channel {
                pages: broadcast::Sender::new(PAGES_KEPT),
                reached: Mutex::new(Reached {
                    position,
                    found: 0,
                    epoch: 0,
                }),
                whole: AtomicUsize::new(0),
            });
            let follow = follow(Arc::clone(self), key, Arc::clone(&channel));
            self.tasks.spawn("tail", follow);
            channel
        });
        Ok(seat(channel, whole, client))
    }

    /// Ends a feed that nobody watches; answers whether it did.
    fn end(&self, key: (ProjectId, Kind), channel: &Channel) -> bool {
        let mut channels = lock(&self.channels);
        let is_over = channel.pages.receiver_count() == 0;
        if is_over {
            channels.remove(&key);
        }
        is_over
    }
}

fn seat(channel: &Arc<Channel>, whole: bool, client: Arc<Client>) -> Seat {
    if whole {
        channel.whole.fetch_add(1, Ordering::Relaxed);
    }
    // Pages are sent under the same lock, so that the first is the one after this place.
    let reached = lock(&channel.reached);
    Seat {
        pages: channel.pages.subscribe(),
        reached: *reached,
        channel: Arc::clone(channel),
        whole,
        _client: client,
    }
}

/// A piece of either feed.
pub(super) struct Page {
    pub(super) items: Vec<Found>,
    pub(super) next: FeedPosition,
    pub(super) more: bool,
}

/// Reads a piece of a feed.
pub(super) async fn read(
    reader: &dyn SpanReader,
    (project, kind): (ProjectId, Kind),
    (after, whole, at_least): (FeedPosition, bool, usize),
) -> Result<Page, Error> {
    match kind {
        Kind::Spans => {
            let request = FeedRequest {
                after,
                whole,
                spans_min: at_least,
            };
            let FeedPage { spans, next, more } = reader.feed(project, &request).await?;
            let spans = spans.into_iter().map(Box::new);
            let items = spans.map(|it| Found::of(Entry::Span(it)));
            Ok(Page {
                items: items.collect(),
                next,
                more,
            })
        }
        Kind::Events => {
            let page = reader.event_feed(project, after, at_least).await?;
            let EventPage { events, next, more } = page;
            let events = events.into_iter().map(Box::new);
            Ok(Page {
                items: events.map(|it| Found::of(Entry::Event(it))).collect(),
                next,
                more,
            })
        }
    }
}

/// Follows a feed of a project while it is watched.
async fn follow(hub: Arc<Hub>, key: (ProjectId, Kind), channel: Arc<Channel>) {
    let shutdown = hub.tasks.shutdown_token();
    while !shutdown.is_cancelled() && !hub.end(key, &channel) {
        let after = lock(&channel.reached).position;
        // Events always come whole.
        let whole = key.1 == Kind::Events || channel.whole.load(Ordering::Relaxed) > 0;
        let pause = match read(&*hub.reader, key, (after, whole, ITEMS_MIN)).await {
            Ok(page) => {
                let pause = if page.more { Duration::ZERO } else { POLL };
                channel.send(page, whole);
                pause
            }
            // Watchers stay; what is stored meanwhile comes once the store answers again.
            Err(_) => RETRY,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

impl Channel {
    fn send(&self, page: Page, whole: bool) {
        let mut reached = lock(&self.reached);
        if page.next < reached.position {
            reached.epoch += 1;
        }
        reached.position = page.next;
        if page.items.is_empty() {
            return;
        }
        let batch = Batch {
            before: reached.found,
            end: page.next,
            whole,
            epoch: reached.epoch,
            items: page.items,
        };
        reached.found += batch.items.len() as u64;
        // The last watcher may have gone.
        self.pages.send(Arc::new(batch)).ok();
    }
}
