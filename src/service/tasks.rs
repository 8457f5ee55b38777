//! The one place where async tasks are spawned: each has a name, is waited for at the end, and ends the
//! process when it panics, rather than leaving half a daemon.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks and waits for them.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    /// Names of tasks that panicked; the service waits on the other end.
    panicked: mpsc::UnboundedSender<&'static str>,
}

/// Hears which task panicked.
pub type Panics = mpsc::UnboundedReceiver<&'static str>;

impl Tasks {
    /// Makes an empty set of tasks and the receiver of their panics.
    #[must_use]
    pub fn new() -> (Self, Panics) {
        let (panicked, panics) = mpsc::unbounded_channel();
        let tasks = Self {
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            panicked,
        };
        (tasks, panics)
    }

    /// Runs a task under a name.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let panicked = self.panicked.clone();
        self.tracker.spawn(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                tracing::error!(task = name, "task panicked");
                // The receiver is gone only when the process is ending already.
                panicked.send(name).ok();
            }
        });
    }

    /// Token that is cancelled when the daemon starts to drain.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts the drain: cancels the token and accepts the end of all tasks.
    pub fn start_shutdown(&self) {
        self.shutdown.cancel();
        self.tracker.close();
    }

    /// Waits until every task has ended. Call [`Tasks::start_shutdown`] first.
    pub async fn wait(&self) {
        self.tracker.wait().await;
    }
}
