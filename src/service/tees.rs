//! The threads that send what is stored to another backend as well.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Error;
use crate::config::Config;
use crate::exporters::otlp::{Health, Sender, Worker};
use crate::pipeline::clock::Clock;
use crate::queue::{Hold, Tee};
use crate::telemetry::metrics::Metrics;

/// Starts the threads, where there is a backend.
#[derive(Debug)]
pub(super) struct Tees {
    sending: Option<(Arc<Sender>, Hold)>,
    clock: Arc<dyn Clock>,
    abandon: CancellationToken,
    runtime: Handle,
    threads: TaskTracker,
}

/// When a thread ends.
#[derive(Debug)]
pub(super) enum Until {
    /// When all of the log is sent that this process appends to; without retries once told so.
    Closed(CancellationToken),
    /// When told so, at once when told the second.
    Told(CancellationToken, CancellationToken),
}

impl Tees {
    /// Makes the starter. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::Exporter`].
    pub(super) fn new(
        config: &Config,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, Error> {
        let sending = config.exporters.otlp.as_ref().map(|otlp| {
            let health = Health::new(&otlp.endpoint, metrics.clone());
            let hold = otlp.sending_queue.of_one_in(config.log_partitions());
            Ok::<_, Error>((Arc::new(Sender::new(otlp, health)?), hold))
        });
        Ok(Arc::new(Self {
            sending: sending.transpose()?,
            clock: Arc::clone(clock),
            abandon: CancellationToken::new(),
            runtime: Handle::current(),
            threads: TaskTracker::new(),
        }))
    }

    /// What a partition may hold back; `None` when nothing is sent.
    pub(super) fn hold(&self) -> Option<Hold> {
        self.sending.as_ref().map(|(_, hold)| *hold)
    }

    /// A token that ends a thread at once, by itself or with all others.
    pub(super) fn abandon_token(&self) -> CancellationToken {
        self.abandon.child_token()
    }

    /// Starts a thread, if there is something to send to.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(super) fn spawn(
        &self,
        partition: u32,
        tee: Option<Tee>,
        until: Until,
    ) -> Result<(), Error> {
        let (Some((sender, _)), Some(tee)) = (&self.sending, tee) else {
            return Ok(());
        };
        let (stop, abandon, reads_to_end) = match until {
            Until::Closed(stop) => (stop, self.abandon_token(), true),
            Until::Told(stop, abandon) => (stop, abandon, false),
        };
        let worker = Worker {
            partition,
            tee,
            sender: Arc::clone(sender),
            clock: Arc::clone(&self.clock),
            stop,
            reads_to_end,
            abandon,
        };
        let watch = Watch {
            partition,
            _thread: self.threads.token(),
        };
        let runtime = self.runtime.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("pulse-tee-{partition}"))
            .spawn(move || {
                let _watch = watch;
                worker.run(&runtime);
            });
        spawned.map(drop).map_err(|source| Error::System {
            what: "start the thread that sends to exporters.otlp",
            source,
        })
    }

    /// Lets the threads give up: the log keeps what has not been sent.
    pub(super) fn abandon(&self) {
        self.abandon.cancel();
    }

    /// Waits until all threads have ended.
    pub(super) async fn ended(&self) {
        self.threads.close();
        self.threads.wait().await;
    }
}

/// Tells of the end of a thread that panicked: the store goes on without it.
struct Watch {
    partition: u32,
    _thread: TaskTrackerToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let partition = self.partition;
            tracing::error!(
                partition,
                "exporters.otlp ends in this partition; a restart goes on"
            );
        }
    }
}
