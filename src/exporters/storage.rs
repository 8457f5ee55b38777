//! Writes the log to the store: one thread per partition reads records in order, maps and batches
//! them, and commits rows and checkpoint together. The log is this process's or another's.
//!
//! What can't be written now is tried again until it can be; meanwhile the log is the queue. What
//! can never be written is narrowed down to single spans, which are quarantined with the reason.

mod anew;
pub mod assemble;
mod bisect;
mod health;
mod prices;
#[cfg(test)]
mod tests;
mod waiting;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::model::genai::CostSource;
use crate::pipeline::clock::Clock;
use crate::pricing;
use crate::processors::sampling::Sampler;
use crate::processors::{batch, limits};
use crate::queue::{LogId, Next, Reader, Record, Release};
use crate::storage::{self, SpanRow, SpanWriter, WriteReport};
use crate::telemetry::logs::chain;
use crate::telemetry::metrics::{Metrics, ModelCalls};

use crate::storage::settings::ProjectSettings;
use assemble::{Assembler, Sampling, Slice};
use prices::Prices;

pub use health::StoreHealth;
use waiting::{Verdicts, Waiting};

pub use waiting::Traces;

/// First and longest pause between two tries of one batch.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Shortest time retention gets between two batches while it has a backlog.
const RETENTION_SHARE_MIN: Duration = Duration::from_millis(50);

/// How long the reader waits for a record before retention and shutdown are looked at.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// Everything a writer thread needs.
pub struct StorageExporter {
    /// Which life of the log is read.
    pub log_id: LogId,
    /// Log partition.
    pub partition: u32,
    /// Where records come from.
    pub reader: Reader,
    /// Told what has been stored.
    pub release: Release,
    /// The store.
    pub writer: Box<dyn SpanWriter>,
    /// How spans are grouped.
    pub batch: batch::Config,
    /// What one span may carry.
    pub limits: limits::Config,
    /// What model calls cost where a project has settled nothing else.
    pub prices: pricing::Table,
    /// What projects have settled.
    pub settings: Arc<dyn ProjectSettings>,
    /// Which spans are not stored, where not all are.
    pub sampler: Option<Arc<Sampler>>,
    /// What is known of traces before it is decided about them: of all partitions, and how many
    /// those are.
    pub traces: Option<(Arc<Traces>, u32)>,
    /// Whether jobs that take columns anew are this thread's business.
    pub remaps: bool,
    /// How often retention runs.
    pub retention_interval: Duration,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Our own metrics.
    pub metrics: Metrics,
    /// Readiness of the store.
    pub health: StoreHealth,
    /// Cancelled when somebody else is to go on: end after the batch at hand.
    pub stop: CancellationToken,
    /// Cancelled when the drain deadline has passed: give up, the log keeps the rest.
    pub abandon: CancellationToken,
}

/// Why a writer thread ended before the log did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The drain deadline passed.
    #[error("gave up at the drain deadline; the log keeps what is not stored")]
    Abandoned,
}

/// Why a thread ends in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halt {
    Stopped,
    Abandoned,
}

/// Records that will be one transaction.
struct Pending {
    records: Vec<Record>,
    /// What becomes of their traces.
    verdicts: Verdicts,
    closed: bool,
}

impl StorageExporter {
    /// Runs until the log is closed and drained, or until told to stop. Blocks; call it on a thread
    /// of its own.
    ///
    /// # Errors
    /// [`Error::Abandoned`].
    pub fn run(mut self, runtime: &Handle) -> Result<(), Error> {
        let ended = self.work(runtime);
        self.health.works(self.partition);
        match ended {
            Ok(()) | Err(Halt::Stopped) => Ok(()),
            Err(Halt::Abandoned) => Err(Error::Abandoned),
        }
    }

    fn work(&mut self, runtime: &Handle) -> Result<(), Halt> {
        // One is enough for all partitions, and there is always a first.
        let keeps_retention = self.partition == 0;
        let mut retention_due = Instant::now();
        let mut prices = Prices::new(self.prices.clone(), Arc::clone(&self.settings));
        let mut remap = anew::Remap::new();
        let mut waiting = self.waiting();
        if waiting.is_some() {
            prices.refresh(self, runtime)?;
        }
        loop {
            let started = Instant::now();
            let idle_wait = remap.idle_wait();
            let pending = self.collect(runtime, idle_wait, (&mut waiting, prices.book()))?;
            if let (Some(first), Some(last)) = (pending.records.first(), pending.records.last()) {
                let positions = (first.position, last.position);
                prices.refresh(self, runtime)?;
                self.store(runtime, &pending, prices.book())?;
                tracing::trace!(?positions, "stored records");
            }
            // Also past what was found to be gone, which no record will speak of.
            let waits = waiting.as_ref().and_then(Waiting::position);
            self.release
                .upto(waits.unwrap_or_else(|| self.reader.position()));
            if pending.closed || self.stop.is_cancelled() {
                return Ok(());
            }
            if keeps_retention && Instant::now() >= retention_due {
                // A backlog gets as much time as writing took, so that deleting keeps up with it.
                let until = Instant::now() + started.elapsed().max(RETENTION_SHARE_MIN);
                let mut more = self.enforce_retention(runtime)?;
                while more && Instant::now() < until {
                    more = self.enforce_retention(runtime)?;
                }
                let pause = if more {
                    Duration::ZERO
                } else {
                    self.retention_interval
                };
                retention_due = Instant::now() + pause;
            }
            if self.remaps {
                let share = started.elapsed().max(RETENTION_SHARE_MIN);
                remap.work(self, &mut prices, runtime, share)?;
            }
        }
    }

    /// Reads records until a batch is full by rows or bytes, or old enough, or the log is quiet.
    /// A log that can't be read now is tried again.
    fn collect(
        &mut self,
        runtime: &Handle,
        idle_wait: Duration,
        (waiting, prices): (&mut Option<Waiting>, &pricing::Book),
    ) -> Result<Pending, Halt> {
        let mut pending = Pending {
            records: Vec::new(),
            verdicts: Verdicts::new(),
            closed: false,
        };
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        let mut deadline: Option<Instant> = None;
        loop {
            let left = deadline.map(|due| due.saturating_duration_since(Instant::now()));
            // However long a batch may take, whoever waits for the partition does not wait for it.
            let wait = left.map_or(idle_wait, |left| left.min(IDLE_WAIT));
            let next = match self.next(wait, waiting, (prices, &mut pending.verdicts)) {
                Ok(next) => next,
                Err(_) if !pending.records.is_empty() => return Ok(pending),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "can't read the log, will try again");
                    let reason = "the log can't be read".to_owned();
                    self.health.fails(self.partition, reason);
                    self.pause(runtime, RETRY_PAUSE_MAX)?;
                    continue;
                }
            };
            match next {
                Next::Record(record) => {
                    rows += assemble::count_items(&record.payload);
                    bytes += record.payload.len() as u64;
                    pending.records.push(record);
                    deadline.get_or_insert_with(|| Instant::now() + self.batch.timeout.0);
                }
                Next::Idle => {}
                Next::Closed => {
                    pending.closed = true;
                    return Ok(pending);
                }
            }
            let full = rows >= u64::from(self.batch.send_batch_size)
                || bytes >= self.batch.send_batch_bytes.0;
            let due = deadline.is_none_or(|due| Instant::now() >= due);
            if full || due || self.stop.is_cancelled() {
                return Ok(pending);
            }
        }
    }

    /// Writes the records, a bounded number of rows at a time.
    fn store(
        &mut self,
        runtime: &Handle,
        pending: &Pending,
        prices: &pricing::Book,
    ) -> Result<(), Halt> {
        let limits = self.limits.clone();
        let rows_max = usize::try_from(self.batch.send_batch_max_size).unwrap_or(usize::MAX);
        let sampler = self.sampler.clone();
        let sampling = sampler.as_deref().map(|sampler| Sampling {
            sampler,
            verdicts: Some(&pending.verdicts),
        });
        let assembler = Assembler::new(self.partition, &limits)
            .of_log(self.log_id)
            .priced(prices)
            .sampled(sampling);
        assembler.slices(&pending.records, rows_max, &mut |slice| {
            self.metrics.truncated_spans(slice.truncated);
            self.metrics.model_calls(model_calls(&slice.batch.spans));
            self.write(runtime, &slice)
        })
    }

    /// Writes one slice, however often that takes.
    fn write(&mut self, runtime: &Handle, slice: &Slice<'_>) -> Result<(), Halt> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let started = Instant::now();
            let abandon = self.abandon.clone();
            let writing = bisect::write(self.writer.as_mut(), &slice.batch);
            match until_abandoned(runtime, &abandon, writing)? {
                Ok(outcome) => {
                    self.committed(&outcome, slice, started.elapsed());
                    return Ok(());
                }
                Err(error) => {
                    self.failed(&error);
                    self.pause(runtime, pause)?;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        }
    }

    fn committed(&mut self, outcome: &bisect::Outcome, slice: &Slice<'_>, took: Duration) {
        self.release.upto(slice.batch.next);
        self.health.works(self.partition);
        let WriteReport {
            spans_stored,
            spans_duplicate,
            spans_sampled_out,
            events_stored,
            events_duplicate,
            points_stored,
            points_duplicate,
            points_overflow,
        } = outcome.report;
        self.metrics.writer_batch(
            (spans_stored, spans_duplicate),
            (events_stored, events_duplicate),
            (points_stored, points_duplicate),
            took,
        );
        self.metrics.writer_sampled_out(spans_sampled_out);
        self.metrics.writer_points_overflow(points_overflow);
        if outcome.quarantined > 0 {
            tracing::error!(
                rows = outcome.quarantined,
                "the store refused spans, events or data points; see dead letters"
            );
            self.metrics.writer_dead_letters(outcome.quarantined);
        }
        let now = self.clock.unix_nano();
        for record in slice.completed {
            let age = now.saturating_sub(record.received_unix_nano);
            self.metrics.ingest_to_visible(Duration::from_nanos(age));
        }
    }

    fn failed(&self, error: &storage::Error) {
        let reason = chain(error);
        tracing::error!(error = %reason, "can't write to the store, will try again");
        self.health.fails(self.partition, reason);
        self.metrics.writer_retry();
    }

    fn pause(&self, runtime: &Handle, pause: Duration) -> Result<(), Halt> {
        runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => Ok(()),
                () = self.stop.cancelled() => Err(Halt::Stopped),
                () = self.abandon.cancelled() => Err(Halt::Abandoned),
            }
        })
    }

    /// One step; answers whether another should follow soon.
    fn enforce_retention(&mut self, runtime: &Handle) -> Result<bool, Halt> {
        let now = self.clock.unix_nano();
        let abandon = self.abandon.clone();
        let enforcing = self.writer.enforce_retention(now);
        match until_abandoned(runtime, &abandon, enforcing)? {
            Ok(report) => {
                self.metrics.retention_deleted_traces(report.traces_deleted);
                Ok(report.more)
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "can't enforce retention, will try again");
                Ok(false)
            }
        }
    }
}

/// Waits for the store, which may not answer any more, until the drain deadline at most.
fn until_abandoned<T>(
    runtime: &Handle,
    abandon: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Halt> {
    let done = runtime.block_on(abandon.run_until_cancelled(work));
    done.ok_or(Halt::Abandoned)
}

/// The model calls among some spans, by where their cost comes from.
fn model_calls(spans: &[SpanRow<'_>]) -> ModelCalls {
    let mut counts = ModelCalls::default();
    let all = spans.iter().filter_map(|span| span.basics.genai.as_deref());
    for call in all.filter(|genai| genai.is_model_call) {
        let count = match call.cost.source {
            Some(CostSource::Reported) => &mut counts.reported,
            Some(CostSource::Computed) => &mut counts.computed,
            Some(CostSource::Unpriced) => &mut counts.unpriced,
            None => &mut counts.without_cost,
        };
        *count += 1;
    }
    counts
}
