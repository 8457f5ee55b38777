//! The read side of the embedded store.
//!
//! A fixed number of threads, each with its own read-only connection, takes queries from a bounded
//! queue. Every query runs in one read transaction, so that what it answers belongs together, and
//! ends when its time is up or when nobody waits for it any more.
//!
//! Lists walk an index in the order of their answer and test the remaining filters row by row.
//! They stop when the page is full or the scan budget is used up, and answer where to go on: no
//! list sorts or walks the whole history at once.

mod analytics;
mod blocks;
mod column_test;
mod conversation;
mod event_feed;
mod events;
mod events_load;
mod failure;
mod feed;
mod keys;
mod lists;
mod metrics;
mod pool;
mod scan;
mod search;
mod search_events;
mod span_sums;
mod spans;
mod trace;
mod traces;
mod users;
mod walk;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::Connection;

use super::Config;
use crate::model::event::EventId;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::event_feed::{EventFeed, EventPage};
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest};
use crate::storage::metrics::query::{
    MetricAnswer, MetricFilter, MetricQuery, MetricReader, MetricSummary, NoAnswer,
};
use crate::storage::query::{
    AnalyticsAnswer, AnalyticsQuery, DeadLetter, StoredSession, UsersAnswer, UsersQuery,
};
use crate::storage::search::{EventSearch, FoundEvent, SearchPage, SearchQuery, Searchers, within};
use crate::storage::{
    Error, EventFilter, EventReader, Page, PageRequest, ServiceSummary, SessionFilter,
    SessionSummary, SpanEvents, SpanFilter, SpanReader, SpanSummary, StoreUsage, StoredEvent,
    StoredSpan, StoredTrace, TraceFilter, TraceSummary,
};
use failure::read_error;
use pool::Pool;

/// Answers queries from the embedded store.
#[derive(Debug)]
pub struct SqliteReader {
    pool: Pool,
    searchers: Arc<Searchers>,
    query_timeout: Duration,
    /// Read once: it does not change for the life of the store.
    cursor_key: [u8; 32],
}

impl SqliteReader {
    /// Opens the read connections. The file must exist and have the current schema, which
    /// opening the writer first sees to.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file can't be opened or a thread can't be started,
    /// [`Error::Corrupt`] when it is not a store.
    pub fn open(path: &Path, config: &Config, query_timeout: Duration) -> Result<Self, Error> {
        let connections = (0..config.readers.max(1))
            .map(|_| pool::connect(path, config))
            .collect::<Result<Vec<_>, _>>()?;
        let cursor_key = connections
            .first()
            .ok_or_else(|| corrupt("no read connection"))
            .and_then(read_cursor_key)?;
        let pool = Pool::start(connections, query_timeout)?;
        Ok(Self {
            pool,
            searchers: Arc::new(Searchers::start(config.search_threads)?),
            query_timeout,
            cursor_key,
        })
    }
}

impl SpanReader for SqliteReader {
    fn list_traces<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a TraceFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<TraceSummary>, Error>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.pool
            .run(move |session| traces::list(session, project, &filter, &page))
            .boxed()
    }

    fn trace<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredTrace>, Error>> {
        let page = page.clone();
        self.pool
            .run(move |session| trace::load(session, project, trace_id, &page))
            .boxed()
    }

    fn list_spans<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SpanFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SpanSummary>, Error>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.pool
            .run(move |session| spans::list(session, project, &filter, &page))
            .boxed()
    }

    fn search<'a>(
        &'a self,
        project: ProjectId,
        query: &'a SearchQuery,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage, Error>> {
        let deadline = Instant::now() + within(query.time_limit, self.query_timeout);
        let (query, page) = (query.clone(), page.clone());
        let searchers = Arc::clone(&self.searchers);
        self.pool
            .run(move |session| {
                search::search(session, project, &query, &page, &searchers, deadline)
            })
            .boxed()
    }

    fn feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        self.pool.run(feed::end).boxed()
    }

    fn feed<'a>(
        &'a self,
        project: ProjectId,
        request: &'a FeedRequest,
    ) -> BoxFuture<'a, Result<FeedPage, Error>> {
        let request = *request;
        self.pool
            .run(move |session| feed::page(session, project, &request))
            .boxed()
    }

    fn span(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, Error>> {
        self.pool
            .run(move |session| trace::load_span(session, project, trace_id, span_id))
            .boxed()
    }

    fn find_span(
        &self,
        project: ProjectId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<TraceId>, Error>> {
        self.pool
            .run(move |session| keys::find_span(session, project, span_id))
            .boxed()
    }

    fn list_services<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<ServiceSummary>, Error>> {
        let page = page.clone();
        self.pool
            .run(move |session| lists::services(session, project, &page))
            .boxed()
    }

    fn list_sessions<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SessionFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SessionSummary>, Error>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.pool
            .run(move |session| lists::sessions(session, project, &filter, &page))
            .boxed()
    }

    fn session<'a>(
        &'a self,
        project: ProjectId,
        session_id: &'a str,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredSession>, Error>> {
        let (session_id, page) = (session_id.to_owned(), page.clone());
        self.pool
            .run(move |session| conversation::load(session, project, &session_id, &page))
            .boxed()
    }

    fn model_calls<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredSpan>, Error>> {
        let page = page.clone();
        self.pool
            .run(move |session| trace::load_calls(session, project, trace_id, &page))
            .boxed()
    }

    fn list_users<'a>(
        &'a self,
        project: ProjectId,
        query: &'a UsersQuery,
    ) -> BoxFuture<'a, Result<UsersAnswer, Error>> {
        let query = query.clone();
        self.pool
            .run(move |session| users::list(session, project, &query))
            .boxed()
    }

    fn analytics<'a>(
        &'a self,
        project: ProjectId,
        query: &'a AnalyticsQuery,
    ) -> BoxFuture<'a, Result<AnalyticsAnswer, Error>> {
        let query = query.clone();
        self.pool
            .run(move |session| analytics::analytics(session, project, &query))
            .boxed()
    }

    fn list_dead_letters<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<DeadLetter>, Error>> {
        let page = page.clone();
        self.pool
            .run(move |session| lists::dead_letters(session, project, &page))
            .boxed()
    }

    fn cursor_key(&self) -> [u8; 32] {
        self.cursor_key
    }

    fn usage(&self) -> BoxFuture<'_, Result<StoreUsage, Error>> {
        self.pool.run(lists::usage).boxed()
    }
}

impl MetricReader for SqliteReader {
    fn list_metrics<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a MetricFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<MetricSummary>, Error>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.pool
            .run(move |session| metrics::list(session, project, &filter, &page))
            .boxed()
    }

    fn metric<'a>(
        &'a self,
        project: ProjectId,
        query: &'a MetricQuery,
    ) -> BoxFuture<'a, Result<Result<MetricAnswer, NoAnswer>, Error>> {
        let query = query.clone();
        self.pool
            .run(move |session| metrics::answer(session, project, &query))
            .boxed()
    }
}

impl EventReader for SqliteReader {
    fn list_events<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a EventFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredEvent>, Error>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.pool
            .run(move |session| events::list(session, project, &filter, &page))
            .boxed()
    }

    fn search_events<'a>(
        &'a self,
        project: ProjectId,
        query: &'a EventSearch,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage<FoundEvent>, Error>> {
        let deadline = Instant::now() + within(query.time_limit, self.query_timeout);
        let (query, page) = (query.clone(), page.clone());
        let searchers = Arc::clone(&self.searchers);
        self.pool
            .run(move |session| {
                search_events::search(session, project, &query, &page, &searchers, deadline)
            })
            .boxed()
    }

    fn event(
        &self,
        project: ProjectId,
        id: EventId,
    ) -> BoxFuture<'_, Result<Option<StoredEvent>, Error>> {
        self.pool
            .run(move |session| events::one(session, project, id))
            .boxed()
    }

    fn events_of(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: Option<SpanId>,
    ) -> BoxFuture<'_, Result<SpanEvents, Error>> {
        self.pool
            .run(move |session| events::of(session, project, trace_id, span_id))
            .boxed()
    }
}

impl EventFeed for SqliteReader {
    fn event_feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        self.pool.run(event_feed::end).boxed()
    }

    fn event_feed(
        &self,
        project: ProjectId,
        after: FeedPosition,
        events_min: usize,
    ) -> BoxFuture<'_, Result<EventPage, Error>> {
        self.pool
            .run(move |session| event_feed::page(session, project, after, events_min))
            .boxed()
    }
}

fn read_cursor_key(connection: &Connection) -> Result<[u8; 32], Error> {
    let key: Vec<u8> = connection
        .query_row(
            "SELECT value FROM setting WHERE name = 'cursor_key'",
            [],
            |row| row.get(0),
        )
        .map_err(read_error("read the cursor key"))?;
    key.try_into()
        .map_err(|_| corrupt("the cursor key does not have 32 bytes"))
}

/// What is stored can't be what it should be.
fn corrupt(context: impl Into<String>) -> Error {
    Error::Corrupt {
        context: context.into(),
    }
}

/// A stored time or count. None is ever written below zero.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A time or count as it is stored: clamped to 63 bits.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
