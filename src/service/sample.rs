//! Looks at the daemon from outside, at intervals: resident memory for the limiter, the state of
//! the log for metrics and readiness, the size of the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::late_reader::{LateReader, QUERIES};
use super::tasks::Tasks;
use crate::exporters::storage::StoreHealth;
use crate::pipeline::Ingest;
use crate::processors::memory_limiter::MemoryLimiter;
use crate::queue::Partitions;
use crate::storage::SpanReader;
use crate::telemetry::health::Check;
use crate::telemetry::logs::chain;
use crate::telemetry::metrics::{Metrics, QueueSample};
use crate::telemetry::process;

/// How often the log is looked at.
const QUEUE_INTERVAL: Duration = Duration::from_millis(500);
/// How often the store is measured.
const STORE_INTERVAL: Duration = Duration::from_secs(10);
/// The same while it does not answer.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// One question that found all connections busy says nothing of the store.
const FAILURES_TOLD: u32 = 2;

/// What is looked at, and who is told.
pub(super) struct Sampled {
    pub(super) ingest: Ingest,
    pub(super) log: Partitions,
    pub(super) limiter: Arc<MemoryLimiter>,
    pub(super) metrics: Metrics,
    pub(super) queue_check: Check,
    pub(super) memory_check: Check,
    pub(super) memory_interval: Duration,
}

pub(super) fn spawn(sampled: Sampled, tasks: &Tasks) {
    sampled.queue();
    sampled.memory();
    let shutdown = tasks.shutdown_token();
    tasks.spawn("sampler", async move {
        let mut memory = interval(sampled.memory_interval);
        let mut queue = interval(QUEUE_INTERVAL);
        for timer in [&mut memory, &mut queue] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = memory.tick() => sampled.memory(),
                _ = queue.tick() => sampled.queue(),
                () = shutdown.cancelled() => return,
            }
        }
    });
}

/// On its own, because the store may be slow to answer, and the memory limiter must not wait for it.
///
/// Tells `health` whether the store answers: writers only know while there is something to write.
pub(super) fn spawn_store_sampler(
    reader: Arc<LateReader>,
    metrics: Metrics,
    health: StoreHealth,
    tasks: &Tasks,
) {
    let shutdown = tasks.shutdown_token();
    tasks.spawn("store-sampler", async move {
        let mut failures = 0;
        let sampling = async {
            loop {
                // Why it is out of reach is told by who tries to reach it.
                if reader.is_connected() {
                    match reader.usage().await {
                        Ok(usage) => {
                            failures = 0;
                            metrics.storage_bytes(usage.bytes);
                            health.works(QUERIES);
                        }
                        Err(error) => {
                            failures += 1;
                            tracing::debug!(%error, "cannot measure the store");
                            if failures >= FAILURES_TOLD {
                                health.fails(QUERIES, chain(&error));
                            }
                        }
                    }
                }
                let well = failures == 0 && reader.is_connected();
                sleep(if well { STORE_INTERVAL } else { STORE_RETRY }).await;
            }
        };
        tokio::select! {
            () = sampling => {}
            () = shutdown.cancelled() => {}
        }
    });
}

impl Sampled {
    fn memory(&self) {
        let resident = match process::rss_bytes("self") {
            Ok(resident) => resident,
            Err(error) => {
                tracing::debug!(%error, "cannot measure resident memory");
                return;
            }
        };
        if self.limiter.measured(resident) {
            self.memory_check
                .set(false, "the memory limit is reached; requests are refused");
        } else {
            self.memory_check.set(true, "");
        }
    }

    fn queue(&self) {
        // Requests that end at once may each report the other as open; this settles it.
        self.ingest.sample_in_flight();
        let stats = self.log.stats();
        self.metrics.queue(QueueSample {
            bytes: stats.bytes_used,
            capacity_bytes: stats.bytes_capacity,
            memory_bytes: stats.bytes_in_memory,
            unstored_records: stats.unstored_records,
            damaged_segments: stats.damaged_segments,
            lost_records: stats.lost_records,
        });
        let (held, held_max) = (stats.held_bytes, stats.held_bytes_max);
        self.metrics
            .exporter_queue(held, held_max, stats.given_up_records);
        if stats.writable {
            self.queue_check.set(true, "");
        } else {
            self.queue_check.set(
                false,
                "the log is full or can't be written; requests are refused",
            );
        }
    }
}
