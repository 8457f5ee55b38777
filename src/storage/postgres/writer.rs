//! The writing side: one batch, one transaction.

mod attributes;
pub(super) mod block_id;
mod checkpoint;
mod clean;
mod copy;
mod dimensions;
mod event_rows;
mod events;
mod issues;
mod metric_series;
mod metrics;
pub(super) mod params;
mod refused;
mod remap;
mod sampled;
mod span_row;
mod span_writer;
mod spans;
mod stored;
mod sums;
#[cfg(test)]
mod tests;
mod trace_rows;
mod trace_services;
mod traces;

use deadpool_postgres::Pool;

use super::config::Config;
use super::connect::{self, Purpose};
use super::error::sqlstate;
use super::migrate;
use super::partitions::{Arrivals, Partitions, Table};
use super::retention;
use super::transaction::{Settings, Transaction};
use crate::model::sampling::SampledOut;
use crate::queue::Position;
use crate::storage::content::Packer;
use crate::storage::metrics::directory::Known;
use crate::storage::rollup::Crowd;
use crate::storage::summary::clamp_time;
use crate::storage::write::{Batch, WriteReport};
use crate::storage::{Error, RetentionConfig, RetentionReport};
pub(super) use clean::clean_text;
pub(super) use metric_series::series_of;

use clean::CleanBatch;
use dimensions::Remembered;
use traces::Group;

/// A writer writes, and now and then maintains partitions; one connection more lets it begin anew
/// while a lost one is still being given up.
const CONNECTIONS: usize = 2;

/// For how many batches it is remembered that another writer made the same traces: who runs services
/// that send at the same time pays for a failed attempt now and then, not each time.
const SHARED_BATCHES: u32 = 32;

/// SQLSTATE of a key that is there already.
const UNIQUE_VIOLATION: &str = "23505";

/// Writes to a Postgres database.
pub struct PostgresWriter {
    pool: Pool,
    config: Config,
    settings: Settings,
    retention: RetentionConfig,
    packer: Packer,
    remembered: Remembered,
    partitions: Partitions,
    event_partitions: Partitions,
    metric_partitions: Partitions,
    /// Series that are stored.
    known: Known,
    /// When partitions were last looked after, ns; 0 when they have not been.
    maintained: i64,
    /// For how many batches more others are expected to make the same traces.
    shared: u32,
    /// How long spans that are sampled out are remembered, ns, once a batch has told.
    remember_ns: Option<i64>,
}

impl std::fmt::Debug for PostgresWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresWriter")
            .field("url", &self.config.url)
            .finish_non_exhaustive()
    }
}

/// How a batch is written: what is cheapest goes by what is usual, and fails with a unique violation
/// where it is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Nobody else makes the rows of the same traces at the same time, and what is not in a trace
    /// is not in a partition either.
    Alone,
    /// Others may make the same traces.
    Shared,
    /// And rows left behind by deleted traces may stand in the way.
    LookForLeftovers,
}

impl Care {
    const fn more(self) -> Option<Self> {
        match self {
            Self::Alone => Some(Self::Shared),
            Self::Shared => Some(Self::LookForLeftovers),
            Self::LookForLeftovers => None,
        }
    }
}

/// A batch, ready to be written.
struct Ready<'b> {
    batch: &'b CleanBatch<'b>,
    ids: dimensions::Ids,
    received: i64,
    log: [u8; 16],
    log_partition: u32,
    next: Position,
    remember_ns: Option<i64>,
}

/// What a transaction did.
struct Done {
    stored: u64,
    sampled_out: SampledOut,
    events_stored: u64,
    arrivals: Arrivals,
    event_arrivals: Arrivals,
    points: metrics::Written,
}

impl PostgresWriter {
    /// Makes a writer. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn new(config: &Config, retention: RetentionConfig) -> Result<Self, Error> {
        let packer = Packer::new().map_err(|source| Error::Unavailable {
            context: "set up compression",
            source: Box::new(source),
        })?;
        Ok(Self {
            pool: connect::pool(config, Purpose::Write, CONNECTIONS)?,
            settings: Settings::of(config),
            partitions: Partitions::new(config, Table::Span),
            event_partitions: Partitions::new(config, Table::Event),
            metric_partitions: Partitions::new(config, Table::MetricChunk),
            known: Known::default(),
            config: config.clone(),
            retention,
            packer,
            remembered: Remembered::default(),
            maintained: 0,
            shared: 0,
            remember_ns: None,
        })
    }

    /// Brings the schema up to date, or checks that it is, and makes the partitions that will be
    /// needed.
    ///
    /// # Errors
    /// What the migrations answer; [`Error::OlderSchema`] when they are switched off and needed;
    /// [`Error::Unavailable`].
    pub async fn prepare(&mut self, now_unix_nano: u64) -> Result<(), Error> {
        let now = clamp_time(now_unix_nano);
        if self.config.migrate_on_start {
            migrate::migrate(&self.pool, &self.config, now).await?;
        } else {
            migrate::check(&self.pool, &self.config).await?;
        }
        self.maintain(now).await
    }

    /// First position of a log's partition that is not stored yet; 1 when nothing is known of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn checkpoint(&self, log: [u8; 16], partition: u32) -> Result<Position, Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let found = checkpoint::read(&transaction, log, partition).await?;
        transaction.commit("read the log checkpoint").await?;
        Ok(found.unwrap_or(Position(1)))
    }

    /// Makes partitions ahead of time. What can't be made now is tried again at the next call.
    async fn maintain(&mut self, now: i64) -> Result<(), Error> {
        let mut maintained = Ok(());
        for partitions in [
            &mut self.partitions,
            &mut self.event_partitions,
            &mut self.metric_partitions,
        ] {
            if maintained.is_ok() {
                maintained = partitions.maintain(&self.pool, &self.config, now).await;
            }
        }
        match maintained {
            Ok(()) => {}
            // The server answers, so writing can go on: there is the default partition.
            Err(error) if sqlstate(&error).is_some() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "can't make partitions ahead of time now, will try again"
                );
            }
            Err(error) => return Err(error),
        }
        self.maintained = now;
        Ok(())
    }

    async fn write_now(&mut self, batch: &Batch<'_>) -> Result<WriteReport, Error> {
        let texts = clean::texts(batch);
        let batch_clean = clean::clean(batch, &texts);
        let received = clamp_time(batch.received_unix_nano());
        self.remember_ns = batch.remember_ns.or(self.remember_ns);
        if self.maintained == 0 && received > 0 {
            self.maintain(received).await?;
        }
        self.make_partitions(&batch_clean).await?;
        let options = dimensions::Options {
            now: received,
            attributes: self.config.attributes_jsonb,
        };
        let ids = dimensions::store(
            &self.pool,
            &self.settings,
            &mut self.remembered,
            &batch_clean,
            options,
        )
        .await?;
        let ready = Ready {
            batch: &batch_clean,
            ids,
            received,
            log: batch.log_id.0,
            log_partition: batch.partition,
            next: batch.next,
            remember_ns: batch.remember_ns,
        };
        let done = self.attempts(&ready).await?;
        self.partitions.noted(&done.arrivals);
        self.event_partitions.noted(&done.event_arrivals);
        self.metric_partitions.noted(&done.points.arrivals);
        self.known.remember(done.points.known);
        Ok(WriteReport {
            spans_stored: done.stored,
            spans_duplicate: batch.spans.len() as u64 - done.stored - done.sampled_out.total(),
            spans_sampled_out: done.sampled_out,
            events_stored: done.events_stored,
            events_duplicate: batch.events.len() as u64 - done.events_stored,
            points_stored: done.points.added.stored,
            points_duplicate: batch.metrics.points.len() as u64 - done.points.added.stored,
            points_overflow: done.points.added.overflow,
        })
    }

    async fn make_partitions(&mut self, batch: &CleanBatch<'_>) -> Result<(), Error> {
        let spans = batch
            .spans
            .iter()
            .map(|span| (span.start_unix_nano, span.received_unix_nano));
        let events = batch
            .events
            .iter()
            .map(|event| (event.id.unix_nano, event.received_unix_nano));
        let (pool, config) = (&self.pool, &self.config);
        self.partitions.make_for(pool, config, spans).await?;
        self.event_partitions.make_for(pool, config, events).await?;
        let points = batch.metrics.points.iter();
        let points = points.map(|row| (row.point.time_unix_nano, row.received_unix_nano));
        self.metric_partitions.make_for(pool, config, points).await
    }

    /// Writes a batch with as much care as it needs.
    async fn attempts(&mut self, ready: &Ready<'_>) -> Result<Done, Error> {
        let mut care = Care::Alone;
        if self.shared > 0 {
            self.shared -= 1;
            care = Care::Shared;
        }
        loop {
            let done = self.attempt(ready, care).await;
            // Another writer made a trace of ours, or leftovers, or a block id that another batch of
            // the same millisecond has.
            let more = match &done {
                Err(error) if sqlstate(error) == Some(UNIQUE_VIOLATION) => care.more(),
                _ => None,
            };
            let Some(more) = more else { return done };
            care = more;
            self.shared = SHARED_BATCHES;
        }
    }

    async fn attempt(&mut self, ready: &Ready<'_>, care: Care) -> Result<Done, Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let batch = ready.batch;
        let crowd = Crowd::of(&batch.spans, &batch.resources);
        let told = sampled::tell(&transaction, ready, &crowd).await?;
        let (counted, groups) = ((batch, &crowd), (told.kept, &told.unstored));
        let fresh = traces::save(&transaction, counted, groups, ready.received, care).await?;
        let arrivals = self.note_arrivals(&transaction, &fresh).await?;
        if care == Care::LookForLeftovers {
            spans::delete_leftovers(&transaction, &fresh).await?;
        }
        let source = spans::Source {
            batch: ready.batch,
            ids: &ready.ids,
            received: ready.received,
            attributes: self.config.attributes_jsonb,
        };
        spans::save(&transaction, &source, &mut self.packer, &fresh).await?;
        sums::save(&transaction, counted, (&fresh, &told.out), care).await?;
        let (events_stored, event_arrivals) = events::write(
            &transaction,
            &source,
            &mut self.packer,
            &self.event_partitions,
        )
        .await?;
        let points = metrics::write(
            &transaction,
            batch.metrics,
            &self.known,
            &self.metric_partitions,
        )
        .await?;
        checkpoint::save(&transaction, ready).await?;
        let stored = fresh.iter().map(|group| group.spans.len() as u64).sum();
        match transaction.commit("commit a batch").await {
            Ok(()) => {}
            // Whether it took place is not known, but the checkpoint tells.
            Err(error) if !self.took_place(ready).await => return Err(error),
            Err(_) => tracing::info!("a commit whose answer was lost took place"),
        }
        Ok(Done {
            stored,
            sampled_out: told.counts,
            events_stored,
            arrivals,
            event_arrivals,
            points,
        })
    }

    /// Whether a batch is stored: the checkpoint is written with it, and with nothing before it.
    async fn took_place(&self, ready: &Ready<'_>) -> bool {
        if ready.next == Position(0) {
            return false;
        }
        let Ok(transaction) = Transaction::begin(&self.pool, &self.settings).await else {
            return false;
        };
        let found = checkpoint::read(&transaction, ready.log, ready.log_partition).await;
        found.is_ok_and(|found| found.is_some_and(|found| found >= ready.next))
    }

    /// Notes the arrival of spans in their partitions. Before they are copied in: who drops
    /// partitions locks the note first, and then the partition.
    async fn note_arrivals(
        &self,
        transaction: &Transaction,
        fresh: &[Group<'_>],
    ) -> Result<Arrivals, Error> {
        let mut arrivals = Arrivals::of(Table::Span);
        for span in fresh.iter().flat_map(|group| &group.spans) {
            let start = clamp_time(span.start_unix_nano);
            let received = clamp_time(span.received_unix_nano);
            self.partitions.note(&mut arrivals, start, received);
        }
        arrivals.save(transaction).await?;
        Ok(arrivals)
    }

    async fn enforce_retention_now(
        &mut self,
        now_unix_nano: u64,
    ) -> Result<RetentionReport, Error> {
        self.maintain(clamp_time(now_unix_nano)).await?;
        // Dimensions may be among what is deleted.
        self.remembered.forget();
        self.known.forget();
        let (pool, config, retention) = (&self.pool, &self.config, &self.retention);
        retention::enforce(pool, config, retention, now_unix_nano, self.remember_ns).await
    }
}
