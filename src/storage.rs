//! Where spans and events live. Two traits, [`SpanWriter`] and [`SpanReader`], and what a backend must
//! promise for them:
//!
//! - **Exactly once.** A span is identified by (project, trace id, span id). Writing it again, in
//!   the same batch, a later batch or after a replay of the log, changes nothing: rows, counts and
//!   rollups are as if it had been written once. The first one written wins. An event is identified
//!   by (project, [`crate::model::event::EventId`]), a data point of a metric by (project, series, time,
//!   start).
//! - **Atomic.** Rows, summaries, rollups and the log checkpoint of a batch are one transaction
//!   that is on stable storage when [`SpanWriter::write`] returns.
//! - **Order-independent.** Summaries and sums do not depend on the order in which spans arrive.
//! - **Separate.** Every row carries its project; no stored blob mixes projects.
//! - **Bounded.** A query touches what it returns, plus at most a scan budget; a list may then
//!   answer fewer items than asked with a cursor to go on from.
//!
//! This module and its parts are the only place with SQL.

pub mod access;
pub mod attributes;
pub mod calls;
#[cfg(test)]
pub(crate) mod conformance;
pub mod content;
mod error;
pub mod event_feed;
pub mod events;
pub mod feed;
pub mod issues;
pub mod metrics;
pub mod older;
pub mod postgres;
pub mod query;
pub mod quota;
pub mod remap;
pub mod rollup;
pub mod sampled;
pub mod search;
pub mod session;
pub mod settings;
pub mod sources;
pub mod sqlite;
pub mod summary;
pub mod tally;
pub mod users;
pub mod write;

use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Duration};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::queue::Position;

pub use error::Error;
pub use event_feed::EventFeed;
pub use events::{EventFilter, EventReader, SpanEvents, StoredEvent};
pub use metrics::query::MetricReader;
pub use query::{
    Cursor, Page, PageRequest, ServiceSummary, SessionFilter, SessionSummary, SpanFilter,
    SpanSummary, StatusFilter, StoredSpan, StoredTrace, TimeRange, TraceFilter, TraceSummary,
};
pub use write::{
    Batch, EventRow, MetricRows, PointRow, ResourceRow, ScopeRow, SeriesRow, SpanRow, WriteReport,
};

/// `storage`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which store is used.
    pub kind: Kind,
    /// The embedded store.
    pub sqlite: sqlite::Config,
    /// The Postgres store.
    pub postgres: postgres::Config,
    /// What is deleted, and when.
    pub retention: RetentionConfig,
}

/// Which store is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The embedded store: one file in the data directory.
    #[default]
    Sqlite,
    /// A Postgres database, which any number of collectors may share.
    Postgres,
}

impl Kind {
    /// Partitions of the log where none are configured.
    #[must_use]
    pub fn log_partitions(self) -> u32 {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 2,
        }
    }

    /// Whether several processes can write to it.
    #[must_use]
    pub fn is_shared(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::Postgres => true,
        }
    }
}

/// `storage.retention`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// A trace goes when it first arrived longer ago than this; zero keeps everything.
    pub max_age: Duration,
    /// The traces that arrived first go when the store holds more bytes than this; zero means no
    /// bound.
    pub max_size: ByteSize,
    /// How often retention runs.
    pub check_interval: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            max_age: Duration::days(30),
            max_size: ByteSize(0),
            check_interval: Duration::seconds(60),
        }
    }
}

/// Writes batches. One writer per log partition.
pub trait SpanWriter: Send {
    /// Writes rows, summaries, rollups and the checkpoint in one durable transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the same call may succeed later, [`Error::Poison`] when a row
    /// of the batch can never be stored. Nothing of the batch is stored in either case.
    fn write<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<WriteReport, Error>>;

    /// Stores a span that the store refused, with the reason, so that it is not lost.
    ///
    /// # Errors
    /// As [`SpanWriter::write`].
    fn quarantine<'a>(
        &'a mut self,
        span: &'a SpanRow<'a>,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Stores an event that the store refused, with the reason, so that it is not lost.
    ///
    /// # Errors
    /// As [`SpanWriter::write`].
    fn quarantine_event<'a>(
        &'a mut self,
        event: &'a EventRow<'a>,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Stores a data point that the store refused, with the reason, so that it is not lost. `rows` is
    /// what the point is of.
    ///
    /// # Errors
    /// As [`SpanWriter::write`].
    fn quarantine_point<'a>(
        &'a mut self,
        rows: &'a MetricRows<'a>,
        point: &'a PointRow,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes the columns of some stored spans anew, in one transaction, if a job to do so is under
    /// way; answers how far it is then.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the same call may succeed later. Nothing is changed then.
    fn remap_step<'a>(
        &'a mut self,
        mapper: &'a dyn remap::Mapper,
    ) -> BoxFuture<'a, Result<Option<remap::Job>, Error>>;

    /// Deletes what retention says must go, in short transactions; answers the number of traces
    /// deleted and whether more remains to be deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn enforce_retention<'a>(
        &'a mut self,
        now_unix_nano: u64,
    ) -> BoxFuture<'a, Result<RetentionReport, Error>>;
}

/// What one retention step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionReport {
    /// Traces deleted.
    pub traces_deleted: u64,
    /// Whether another step would delete more.
    pub more: bool,
}

/// Answers queries. Every call names the project; no answer holds another's bytes.
pub trait SpanReader: EventReader + EventFeed + MetricReader + Send + Sync {
    /// Trace summaries, newest start first.
    fn list_traces<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a TraceFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<TraceSummary>, Error>>;

    /// One trace with its spans in start order, at most `page.limit` of them from the cursor on.
    fn trace<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredTrace>, Error>>;

    /// Span summaries, newest start first.
    fn list_spans<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SpanFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SpanSummary>, Error>>;

    /// Spans that say something, newest start first. What is searched is everything that the
    /// filter leaves; when the time is up before the page is full, the page says so.
    fn search<'a>(
        &'a self,
        project: ProjectId,
        query: &'a search::SearchQuery,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<search::SearchPage, Error>>;

    /// Where the feed of what is stored ends now.
    fn feed_end(&self) -> BoxFuture<'_, Result<feed::FeedPosition, Error>>;

    /// What became visible after a position, in that order.
    fn feed<'a>(
        &'a self,
        project: ProjectId,
        request: &'a feed::FeedRequest,
    ) -> BoxFuture<'a, Result<feed::FeedPage, Error>>;

    /// One span.
    fn span(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, Error>>;

    /// The trace of the span with this id, of several the one of the latest start that is found
    /// first. No index leads from a span's id to its trace: the keys of spans are walked newest
    /// first, for as long as a query may take.
    fn find_span(
        &self,
        project: ProjectId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<TraceId>, Error>>;

    /// The services seen, by name.
    fn list_services<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<ServiceSummary>, Error>>;

    /// Session summaries, latest activity first.
    fn list_sessions<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SessionFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SessionSummary>, Error>>;

    /// A session with its traces in (start, trace id) order, at most `page.limit` of them from the
    /// cursor on, which [`query::TraceSummary::cursor`] makes.
    fn session<'a>(
        &'a self,
        project: ProjectId,
        session_id: &'a str,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<query::StoredSession>, Error>>;

    /// The model calls of a trace in start order, at most `page.limit` of them from the cursor on;
    /// none when there is no such trace.
    fn model_calls<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredSpan>, Error>>;

    /// The users of traces of some time. Traces are looked at newest first, as far as the work that
    /// a query may do suffices.
    fn list_users<'a>(
        &'a self,
        project: ProjectId,
        query: &'a query::UsersQuery,
    ) -> BoxFuture<'a, Result<query::UsersAnswer, Error>>;

    /// Sums over time by dimensions. From rollups, where they have what is asked for: the store
    /// reads the coarsest that answer the question exactly. Else from the columns of spans, newest
    /// first, as far as the work that a query may do suffices.
    fn analytics<'a>(
        &'a self,
        project: ProjectId,
        query: &'a query::AnalyticsQuery,
    ) -> BoxFuture<'a, Result<query::AnalyticsAnswer, Error>>;

    /// Spans the store refused, newest first.
    fn list_dead_letters<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<query::DeadLetter>, Error>>;

    /// Key that signs page cursors; the same for the life of the store, once any call was answered.
    fn cursor_key(&self) -> [u8; 32];

    /// Makes the key known to a process that has not asked the store for anything yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store can't be reached.
    fn load_cursor_key(&self) -> BoxFuture<'_, Result<(), Error>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Bytes the store holds on disk and spans stored, for metrics.
    fn usage(&self) -> BoxFuture<'_, Result<StoreUsage, Error>>;
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreUsage {
    /// Bytes in use, without free pages.
    pub bytes: u64,
}

/// Where the embedded store's file is, given the data directory.
#[must_use]
pub fn sqlite_path(config: &sqlite::Config, data_dir: &std::path::Path) -> PathBuf {
    if config.path.as_os_str().is_empty() {
        data_dir.join("pulse.db")
    } else {
        config.path.clone()
    }
}

/// Position after which the log has not been stored yet, per partition.
pub type Checkpoint = Position;
