//! Asks the store on behalf of all watchers of a project.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, broadcast};

use crate::gateway::render;
use crate::model::ProjectId;
use crate::service::tasks::Tasks;
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest, FeedSpan};
use crate::storage::{Error, SpanReader};

/// Between two questions to the store while nothing is new.
const POLL: Duration = Duration::from_millis(200);
/// After the store did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// A page ends with the block in which it gets this many spans.
const SPANS_MIN: usize = 500;
/// Clients that read what they missed at once; others wait.
const CATCH_UPS_AT_ONCE: usize = 2;
/// Pages kept for watchers that are behind.
const PAGES_KEPT: usize = 16;

/// A span that was found, with its JSON once somebody needed that.
pub(super) struct Found {
    pub(super) span: FeedSpan,
    json: OnceLock<Bytes>,
}

impl Found {
    /// The span as the span list answers it.
    pub(super) fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            let summary = render::SpanSummary::from(self.span.summary.clone());
            // Strings and numbers always serialize.
            serde_json::to_vec(&summary).unwrap_or_default().into()
        })
    }
}

/// A page of the feed.
pub(super) struct Batch {
    /// Spans of the project that were found before these, since the task was started.
    pub(super) before: u64,
    pub(super) spans: Vec<Found>,
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
    /// Spans found.
    pub(super) spans: u64,
    /// How often positions began again, which they do when a store has lost its newest blocks.
    pub(super) epoch: u64,
}

/// The feed of a project.
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
    _permit: OwnedSemaphorePermit,
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
    channels: Mutex<HashMap<ProjectId, Arc<Channel>>>,
    seats: Arc<Semaphore>,
    /// Seats that one project may have.
    seats_of_one: usize,
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
        let seats = usize::try_from(watchers_max).unwrap_or(usize::MAX);
        Self {
            reader,
            tasks,
            channels: Mutex::new(HashMap::new()),
            seats: Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS))),
            // The last tenth is for others.
            seats_of_one: seats - seats / 10,
            turns: Semaphore::new(CATCH_UPS_AT_ONCE),
        }
    }

    /// A turn to read what was missed.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Cancelled when the daemon drains.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Takes a seat; `None` when all are taken, or all that the project may have.
    pub(super) async fn sit(
        self: &Arc<Self>,
        project: ProjectId,
        whole: bool,
    ) -> Result<Option<Seat>, Error> {
        let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() else {
            return Ok(None);
        };
        if let Some(channel) = lock(&self.channels).get(&project) {
            let is_free = channel.pages.receiver_count() < self.seats_of_one;
            return Ok(is_free.then(|| seat(channel, whole, permit)));
        }
        let position = self.reader.feed_end().await?;
        let mut channels = lock(&self.channels);
        // Somebody else may have begun meanwhile.
        let channel = channels.entry(project).or_insert_with(|| {
            let channel = Arc::new(Channel {
                pages: broadcast::Sender::new(PAGES_KEPT),
                reached: Mutex::new(Reached {
                    position,
                    spans: 0,
                    epoch: 0,
                }),
                whole: AtomicUsize::new(0),
            });
            let follow = follow(Arc::clone(self), project, Arc::clone(&channel));
            self.tasks.spawn("tail", follow);
            channel
        });
        Ok(Some(seat(channel, whole, permit)))
    }

    /// Ends a feed that nobody watches; answers whether it did.
    fn end(&self, project: ProjectId, channel: &Channel) -> bool {
        let mut channels = lock(&self.channels);
        let is_over = channel.pages.receiver_count() == 0;
        if is_over {
            channels.remove(&project);
        }
        is_over
    }
}

fn seat(channel: &Arc<Channel>, whole: bool, permit: OwnedSemaphorePermit) -> Seat {
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
        _permit: permit,
    }
}

/// Follows the feed of a project while it is watched.
async fn follow(hub: Arc<Hub>, project: ProjectId, channel: Arc<Channel>) {
    let shutdown = hub.tasks.shutdown_token();
    while !shutdown.is_cancelled() && !hub.end(project, &channel) {
        let request = FeedRequest {
            after: lock(&channel.reached).position,
            whole: channel.whole.load(Ordering::Relaxed) > 0,
            spans_min: SPANS_MIN,
        };
        let pause = match hub.reader.feed(project, &request).await {
            Ok(page) => {
                let pause = if page.more { Duration::ZERO } else { POLL };
                channel.send(page, request.whole);
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
    fn send(&self, page: FeedPage, whole: bool) {
        let mut reached = lock(&self.reached);
        if page.next < reached.position {
            reached.epoch += 1;
        }
        reached.position = page.next;
        if page.spans.is_empty() {
            return;
        }
        let batch = Batch {
            before: reached.spans,
            end: page.next,
            whole,
            epoch: reached.epoch,
            spans: page.spans.into_iter().map(Found::from).collect(),
        };
        reached.spans += batch.spans.len() as u64;
        // The last watcher may have gone.
        self.pages.send(Arc::new(batch)).ok();
    }
}

impl From<FeedSpan> for Found {
    fn from(span: FeedSpan) -> Self {
        Self {
            span,
            json: OnceLock::new(),
        }
    }
}
