//! The writing side of the embedded store.

use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::error::storage_error;
use super::insert::{self, Memory};
use super::{Config, migrate, remap, retention};
use crate::queue::Position;
use crate::storage::content::Packer;
use crate::storage::metrics::Refused;
use crate::storage::remap::{Job, Mapper};
use crate::storage::summary::clamp_time;
use crate::storage::write::{Batch, EventRow, MetricRows, PointRow, SpanRow, WriteReport};
use crate::storage::{Error, RetentionConfig, RetentionReport, SpanWriter};

/// Larger pages than the default hold a part or two, so that few overflow, and a block is a dozen
/// writes. Half of it costs a twentieth more CPU time, twice as much a fifth more disk for small spans.
/// A store that was made with other pages keeps them.
const PAGE_BYTES: u32 = 16 << 10;

/// Bytes of the write-ahead file after which it is moved into the database. Larger than the
/// default, so that a page that many batches touch is moved once.
const AUTOCHECKPOINT_BYTES: u32 = 32 << 20;

/// Writes to the embedded store. Its futures do their blocking work when polled, so it lives on
/// the writer's own thread.
#[derive(Debug)]
pub struct SqliteWriter {
    connection: Connection,
    retention: RetentionConfig,
    packer: Packer,
    memory: Memory,
    /// How long spans that are sampled out are remembered, ns, once a batch has told.
    remember_ns: Option<i64>,
}

impl SqliteWriter {
    /// Opens the store, creating or migrating it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file can't be opened or written, or what the migrations
    /// answer.
    pub fn open(
        path: &Path,
        config: &Config,
        retention: RetentionConfig,
        now_unix_nano: u64,
    ) -> Result<Self, Error> {
        let failed = storage_error("open the embedded store");
        let mut connection = Connection::open(path).map_err(&failed)?;
        migrate::check(&connection)?;
        let cache_kib = config.cache_size.0 / 1024;
        connection
            .execute_batch(&format!(
                "PRAGMA page_size = {PAGE_BYTES};
                 PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA journal_size_limit = 67108864;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA busy_timeout = 5000;
                 PRAGMA cache_size = -{cache_kib};"
            ))
            .map_err(&failed)?;
        let page_bytes: u32 = connection
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .map_err(&failed)?;
        let pages = AUTOCHECKPOINT_BYTES / page_bytes.max(1);
        connection
            .execute_batch(&format!("PRAGMA wal_autocheckpoint = {pages}"))
            .map_err(&failed)?;
        connection.set_prepared_statement_cache_capacity(64);
        migrate::migrate(&mut connection, clamp_time(now_unix_nano))?;
        let packer = Packer::new().map_err(|source| Error::Unavailable {
            context: "set up compression",
            source: Box::new(source),
        })?;
        Ok(Self {
            connection,
            retention,
            packer,
            memory: Memory::new(),
            remember_ns: None,
        })
    }

    /// First log position of a partition that is not stored yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn checkpoint(&self, partition: u32) -> Result<Position, Error> {
        let found: Option<i64> = self
            .connection
            .query_row(
                "SELECT next_position FROM log_checkpoint WHERE partition = ?1",
                [partition],
                |row| row.get(0),
            )
            .optional()
            .map_err(storage_error("read the log checkpoint"))?;
        Ok(found.map_or(Position(1), |next| Position(next.cast_unsigned())))
    }

    fn write_now(&mut self, batch: &Batch<'_>) -> Result<WriteReport, Error> {
        let failed = storage_error("store a batch");
        let now = batch.received_unix_nano();
        self.remember_ns = batch.remember_ns.or(self.remember_ns);
        let result = (|| {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(&failed)?;
            let report = insert::insert(
                &transaction,
                batch,
                &mut self.packer,
                &mut self.memory,
                clamp_time(now),
            )?;
            transaction.commit().map_err(&failed)?;
            Ok(report)
        })();
        if result.is_err() {
            // What this transaction did was rolled back.
            self.memory.forget();
        }
        result
    }

    fn quarantine_now(&self, span: &SpanRow<'_>, reason: &str) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR IGNORE INTO dead_letter (project_id, trace_id, span_id, reason,
                    created_unix_nano, message)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    span.project.0,
                    span.trace_id.0,
                    span.span_id.0,
                    reason,
                    clamp_time(span.received_unix_nano),
                    span.message
                ],
            )
            .map_err(storage_error("quarantine a span"))?;
        Ok(())
    }

    fn quarantine_event_now(&self, event: &EventRow<'_>, reason: &str) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR IGNORE INTO dead_event (project_id, created_unix_nano, time_unix_nano,
                    digest, reason, message)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    event.project.0,
                    clamp_time(event.received_unix_nano),
                    clamp_time(event.id.unix_nano),
                    event.id.digest,
                    reason,
                    event.message
                ],
            )
            .map_err(storage_error("quarantine an event"))?;
        Ok(())
    }

    fn quarantine_point_now(
        &self,
        rows: &MetricRows<'_>,
        row: &PointRow,
        reason: &str,
    ) -> Result<(), Error> {
        let refused = Refused::of(rows, row)?;
        self.connection
            .execute(
                "INSERT OR IGNORE INTO dead_point (project_id, series_id, time_unix_nano,
                    start_unix_nano, created_unix_nano, name, reason, points)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    refused.project.0,
                    refused.series,
                    clamp_time(row.point.time_unix_nano),
                    clamp_time(row.point.start_unix_nano),
                    clamp_time(refused.received_unix_nano),
                    refused.name,
                    reason,
                    refused.points
                ],
            )
            .map_err(storage_error("quarantine a data point"))?;
        Ok(())
    }

    fn remap_step_now(&mut self, mapper: &dyn Mapper) -> Result<Option<Job>, Error> {
        let result = remap::step(&mut self.connection, &mut self.memory.sessions, mapper);
        if result.is_err() {
            // What this transaction did was rolled back.
            self.memory.forget();
        }
        result
    }

    fn enforce_retention_now(&mut self, now_unix_nano: u64) -> Result<RetentionReport, Error> {
        // Dimensions may be among what is deleted.
        self.memory.dimensions.forget();
        self.memory.series.forget();
        self.memory.sampled = None;
        retention::enforce(
            &mut self.connection,
            &self.retention,
            &mut self.memory.sessions,
            now_unix_nano,
            self.remember_ns,
        )
    }
}

impl SpanWriter for SqliteWriter {
    fn write<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<WriteReport, Error>> {
        ready(self.write_now(batch)).boxed()
    }

    fn quarantine<'a>(
        &'a mut self,
        span: &'a SpanRow<'a>,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(self.quarantine_now(span, reason)).boxed()
    }

    fn quarantine_event<'a>(
        &'a mut self,
        event: &'a EventRow<'a>,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(self.quarantine_event_now(event, reason)).boxed()
    }

    fn quarantine_point<'a>(
        &'a mut self,
        rows: &'a MetricRows<'a>,
        point: &'a PointRow,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(self.quarantine_point_now(rows, point, reason)).boxed()
    }

    fn remap_step<'a>(
        &'a mut self,
        mapper: &'a dyn Mapper,
    ) -> BoxFuture<'a, Result<Option<Job>, Error>> {
        ready(self.remap_step_now(mapper)).boxed()
    }

    fn enforce_retention<'a>(
        &'a mut self,
        now_unix_nano: u64,
    ) -> BoxFuture<'a, Result<RetentionReport, Error>> {
        ready(self.enforce_retention_now(now_unix_nano)).boxed()
    }
}
