//! What a connection is doing now, shared by the parts that see it: the socket wrapper, the
//! service around each request, and the driver that decides when to close it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::streams;

/// Bytes of an answer handed over at once. What was handed over is out of sight: the request counts as
/// open while there is more, and a peer that takes this much of it is not stuck.
const PIECE_MAX: usize = 64 << 10;

/// A moment in milliseconds since the connection was accepted, plus one; zero means never.
type Moment = u64;

/// The state of one connection. All times are on tokio's clock.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// When the last request ended, or the connection was opened.
    idle_since: AtomicU64,
    /// When the first byte of a head that is not yet complete arrived.
    head_since: AtomicU64,
    /// Since when the peer takes no bytes although there are some.
    write_blocked_since: AtomicU64,
    /// The head took too long; the socket wrapper turns it into a refusal.
    head_expired: AtomicBool,
    /// Something of an answer was sent since it was asked last.
    answered: AtomicBool,
    /// The connection goes on with another protocol, which is none of ours to follow.
    switched: AtomicBool,
    /// The driver, to be woken when the last request ends on another task.
    driver: AtomicWaker,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            head_expired: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            driver: AtomicWaker::new(),
        })
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    fn now(&self) -> Moment {
        let millis = self.opened.elapsed().as_millis();
        u64::try_from(millis).map_or(u64::MAX, |millis| millis.saturating_add(1))
    }

    fn instant(&self, moment: &AtomicU64) -> Option<Instant> {
        let since = moment.load(Ordering::Relaxed).checked_sub(1)?;
        self.opened.checked_add(Duration::from_millis(since))
    }

    /// Counts a request until the value is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Since when no request is open; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.in_flight.load(Ordering::Acquire) == 0;
        is_idle.then(|| self.instant(&self.idle_since)).flatten()
    }

    /// Since when a head is arriving, while nothing else keeps the connection busy.
    pub(super) fn head_since(&self) -> Option<Instant> {
        // A pipelined head behind a slow request waits through no fault of the client.
        let head_since = self.instant(&self.head_since)?;
        Some(head_since.max(self.idle_since()?))
    }

    pub(super) fn head_started(&self) {
        if self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    pub(super) fn head_ended(&self) {
        self.head_since.store(0, Ordering::Relaxed);
    }

    pub(super) fn expire_head(&self) {
        self.head_expired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_head_expired(&self) -> bool {
        self.head_expired.load(Ordering::Relaxed)
    }

    /// Notes that the connection goes on with another protocol.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Release);
    }

    /// Whether the connection goes on with another protocol.
    pub(super) fn is_switched(&self) -> bool {
        self.switched.load(Ordering::Acquire)
    }

    /// Notes that a part of an answer is sent.
    pub(super) fn answered(&self) {
        // Looked at before it is written: most parts follow one that nobody has asked about.
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a part of an answer was sent since the last call.
    pub(super) fn take_answered(&self) -> bool {
        self.answered.swap(false, Ordering::Relaxed)
    }

    pub(super) fn write_blocked_since(&self) -> Option<Instant> {
        self.instant(&self.write_blocked_since)
    }

    pub(super) fn write_progress(&self, blocked: bool) {
        let was_blocked = self.write_blocked_since.load(Ordering::Relaxed) != 0;
        match (blocked, was_blocked) {
            (true, false) => self
                .write_blocked_since
                .store(self.now(), Ordering::Relaxed),
            (false, true) => self.write_blocked_since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    pub(super) fn watch(&self, context: &Context<'_>) {
        self.driver.register(context.waker());
    }
}

/// One open request.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// Notes that a part of its answer is sent.
    pub(super) fn answered(&self) {
        self.0.answered();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.0;
        activity.idle_since.store(activity.now(), Ordering::Relaxed);
        if activity.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            activity.driver.wake();
        }
    }
}

/// A response body that counts as an open request until it is sent or dropped, in small pieces.
#[derive(Debug)]
pub(super) struct TrackedBody<B> {
    inner: B,
    /// What is left of the part that the inner one gave last.
    rest: Bytes,
    in_flight: InFlight,
}

impl<B> TrackedBody<B> {
    pub(super) fn new(inner: B, in_flight: InFlight) -> Self {
        let rest = Bytes::new();
        Self {
            inner,
            rest,
            in_flight,
        }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(PIECE_MAX);
        Frame::data(self.rest.split_to(length))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TrackedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        streams::asked();
        let frame = if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.rest = data;
                        Some(Ok(self.piece()))
                    }
                    Err(other) => Some(Ok(other)),
                },
                end => end,
            }
        } else {
            Some(Ok(self.piece()))
        };
        self.in_flight.answered();
        streams::handed_over();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        // The upper one first: a lower bound is never above it.
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}
