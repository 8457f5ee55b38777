//! Streams of HTTP/2 connections: a task each, given up when the peer takes nothing of the answer.
//!
//! A peer that grants no window blocks no socket, and hyper does not ask a body for more while a part of
//! it waits for window: neither the connection nor the body would ever know. So it is noted here when a
//! body hands over a part and when it is asked for the next. A stream where too much time lies between
//! is dropped: that resets it, and lets go of what its body holds.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::listener::Limits;
use crate::service::tasks::Tasks;

tokio::task_local! {
    /// When the body of this stream handed over a part, while it was not asked for more.
    static HANDED_OVER: Cell<Option<Instant>>;
}

/// Notes that the body of this stream handed over a part, if this is one.
pub(super) fn handed_over() {
    HANDED_OVER.try_with(|at| at.set(Some(Instant::now()))).ok();
}

/// Notes that the body of this stream is asked for more, if this is one.
pub(super) fn asked() {
    HANDED_OVER.try_with(|at| at.set(None)).ok();
}

/// How long a peer may take nothing, ever and while the daemon drains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    stall: Duration,
    grace: Duration,
}

impl Patience {
    pub(super) const fn of(limits: &Limits) -> Self {
        Self {
            stall: limits.stall_timeout,
            grace: limits.close_grace,
        }
    }

    /// When to give up a peer that has taken nothing since a moment.
    pub(super) fn ends(self, since: Instant, draining: Option<Instant>) -> Instant {
        let stalled = since + self.stall;
        draining.map_or(stalled, |at| stalled.min(since.max(at) + self.grace))
    }
}

/// Runs the streams of HTTP/2 connections as named tasks.
#[derive(Clone)]
pub(super) struct StreamTasks {
    tasks: Tasks,
    drain: Arc<CancellationToken>,
    patience: Patience,
}

impl StreamTasks {
    pub(super) fn new(tasks: Tasks, limits: &Limits) -> Self {
        Self {
            drain: Arc::new(tasks.shutdown_token()),
            patience: Patience::of(limits),
            tasks,
        }
    }
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let stream = while_taken(Box::pin(future), Arc::clone(&self.drain), self.patience);
        let stream = HANDED_OVER.scope(Cell::new(None), stream);
        self.tasks.spawn("http2 stream", stream);
    }
}

/// Serves a stream until it ends, or is given up.
async fn while_taken<F>(mut stream: Pin<Box<F>>, drain: Arc<CancellationToken>, patience: Patience)
where
    F: Future<Output = ()>,
{
    let mut drain = pin!(drain.cancelled());
    let mut draining = None;
    let mut timer = pin!(tokio::time::sleep_until(Instant::now()));
    poll_fn(move |context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Ok(Some(since)) = HANDED_OVER.try_with(Cell::get) else {
            return Poll::Pending;
        };
        if draining.is_none() && drain.as_mut().poll(context).is_ready() {
            draining = Some(Instant::now());
        }
        let at = patience.ends(since, draining);
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        let given_up = timer.as_mut().poll(context);
        if given_up.is_ready() {
            tracing::debug!("a stream whose answer is not taken is reset");
        }
        given_up
    })
    .await;
}

#[cfg(test)]
mod tests;
