//! The writer threads: each stores one partition of the log, of this process or of another.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Error;
use super::store::Store;
use crate::config::Config;
use crate::exporters::storage::{StorageExporter, StoreHealth, Traces};
use crate::pipeline::clock::Clock;
use crate::processors::sampling::Sampler;
use crate::queue::{LogId, Reader, Release};
use crate::storage;
use crate::telemetry::logs::chain;
use crate::telemetry::metrics::Metrics;

/// Pause between two tries to reach the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Hears when a writer thread ended that must not.
pub(super) type Failures = mpsc::UnboundedReceiver<()>;

/// Starts writer threads.
#[derive(Debug)]
pub(super) struct Writers {
    config: Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    sampler: Option<Arc<Sampler>>,
    traces: Option<(Arc<Traces>, u32)>,
    metrics: Metrics,
    health: StoreHealth,
    abandon: CancellationToken,
    runtime: Handle,
    threads: TaskTracker,
    failed: mpsc::UnboundedSender<()>,
}

/// What a thread has to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) log_id: LogId,
    pub(super) partition: u32,
    pub(super) reader: Reader,
    pub(super) release: Release,
    /// Cancelled when the partition is to be left to others.
    pub(super) stop: CancellationToken,
    /// Whether it may end before the daemon does, by itself.
    pub(super) may_end: bool,
}

/// Why a thread ended in the middle.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Exporter(#[from] crate::exporters::storage::Error),
    #[error("processors.pricing")]
    Prices(#[from] crate::pricing::Error),
    #[error("the store can't be used")]
    Store(#[source] storage::Error),
    #[error("gave up at the drain deadline; the log keeps what is not stored")]
    Abandoned,
}

impl Writers {
    /// Makes the starter, and what hears of failures. Must be called within a Tokio runtime.
    pub(super) fn new(
        config: &Config,
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
        health: &StoreHealth,
    ) -> (Arc<Self>, Failures) {
        let (failed, failures) = mpsc::unbounded_channel();
        let sampler = config.processors.sampling.compile().map(Arc::new);
        let tail = sampler.as_ref().and_then(|sampler| sampler.tail.as_ref());
        let traces = tail.map(|tail| (Arc::new(Traces::new(tail)), config.log_partitions()));
        let writers = Self {
            config: config.clone(),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            sampler,
            traces,
            metrics: metrics.clone(),
            health: health.clone(),
            abandon: CancellationToken::new(),
            runtime: Handle::current(),
            threads: TaskTracker::new(),
            failed,
        };
        (Arc::new(writers), failures)
    }

    /// Starts a thread; the answer resolves when it has ended.
    pub(super) fn spawn(self: &Arc<Self>, work: Work) -> Result<oneshot::Receiver<()>, Error> {
        let (ended, end) = oneshot::channel();
        let partition = work.partition;
        if let Some((traces, _)) = &self.traces {
            traces.expect(partition);
        }
        let watch = Watch {
            writers: Arc::clone(self),
            partition,
            may_end: false,
            _ended: ended,
            _thread: self.threads.token(),
        };
        std::thread::Builder::new()
            .name(format!("pulse-writer-{partition}"))
            .spawn(move || {
                let mut watch = watch;
                let may_end = work.may_end;
                match watch.writers.run(work) {
                    Ok(()) => watch.may_end = may_end,
                    Err(error) => {
                        tracing::error!(partition, error = %chain(&error), "the writer ended");
                    }
                }
                watch.writers.health.works(partition);
            })
            .map_err(|source| Error::System {
                what: "start the writer thread",
                source,
            })?;
        Ok(end)
    }

    /// Whether a trace is decided about by all that is known of it.
    pub(super) const fn sample_by_tail(&self) -> bool {
        self.traces.is_some()
    }

    /// Lets the threads give up: the log keeps what is not stored.
    pub(super) fn abandon(&self) {
        self.abandon.cancel();
    }

    /// Waits until all threads have ended.
    pub(super) async fn ended(&self) {
        self.threads.close();
        self.threads.wait().await;
    }

    fn run(&self, work: Work) -> Result<(), Ended> {
        let Work {
            log_id,
            partition,
            mut reader,
            mut release,
            stop,
            ..
        } = work;
        let connect = || self.store.writer(partition);
        let Some(writer) = self.reach((partition, &stop, &reader), connect)? else {
            return Ok(());
        };
        let ask = || self.store.first_unstored(log_id, partition);
        let Some(first_unstored) = self.reach((partition, &stop, &reader), ask)? else {
            return Ok(());
        };
        // Whoever stored it may have died before it could say so.
        release.upto(reader.skip_stored(first_unstored));
        self.health.works(partition);
        let exporter = StorageExporter {
            log_id,
            partition,
            reader,
            release,
            writer,
            batch: self.config.processors.batch.clone(),
            limits: self.config.processors.limits.clone(),
            prices: self.config.processors.pricing.table()?,
            settings: self.store.settings().map_err(Ended::Store)?,
            sampler: self.sampler.clone(),
            traces: self.traces.clone(),
            // Where several processes write, whoever begins a job does it.
            remaps: partition == 0 && !self.config.storage.kind.is_shared(),
            retention_interval: self.config.storage.retention.check_interval.0,
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            stop,
            abandon: self.abandon.clone(),
        };
        Ok(exporter.run(&self.runtime)?)
    }

    /// Asks the store until it answers; `None` when the thread is to stop, or has nothing to store any
    /// more.
    fn reach<'a, T>(
        &'a self,
        (partition, stop, reader): (u32, &CancellationToken, &Reader),
        ask: impl Fn() -> BoxFuture<'a, Result<T, storage::Error>>,
    ) -> Result<Option<T>, Ended> {
        let mut complained = false;
        let answered = async {
            loop {
                match ask().await {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(error @ (storage::Error::Unavailable { .. } | storage::Error::Timeout)) => {
                        let reason = chain(&error);
                        if !std::mem::replace(&mut complained, true) {
                            tracing::error!(
                                partition, error = %reason,
                                "can't reach the store, will try again; the log keeps everything"
                            );
                        }
                        self.health.fails(partition, reason);
                        if reader.has_ended() {
                            return Ok(None);
                        }
                    }
                    Err(error) => return Err(Ended::Store(error)),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                answer = answered => answer,
                () = stop.cancelled() => Ok(None),
                () = self.abandon.cancelled() => Err(Ended::Abandoned),
            }
        })
    }
}

/// Tells of the end of a thread, also when it panicked.
struct Watch {
    writers: Arc<Writers>,
    partition: u32,
    may_end: bool,
    /// Dropped with the rest.
    _ended: oneshot::Sender<()>,
    _thread: TaskTrackerToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((traces, _)) = &self.writers.traces {
            // Also where it ended before it read anything.
            traces.expect_no_more(self.partition);
        }
        if !self.may_end {
            // Nobody listens when the daemon is ending anyway.
            self.writers.failed.send(()).ok();
        }
    }
}
