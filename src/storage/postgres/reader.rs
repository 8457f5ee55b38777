//! The read side of the Postgres store.
//!
//! Every question is answered in one read-only transaction over one snapshot, on a connection of a
//! bounded pool, and has an end: the server's statement limit, and ours, at which the connection is
//! closed. A question whose asker has gone ends the same way.
//!
//! Lists walk an index in the order of their answer, in pieces: a piece is a bounded number of rows
//! of the index, of which the server sends those that match and the last one. They stop when the
//! page is full or the scan budget is used up, and answer where to go on: no list sorts or walks
//! the whole history at once.

mod analytics;
mod blocks;
pub(super) mod columns;
mod conversation;
mod event_feed;
mod event_reader;
mod events;
mod facts;
mod feed;
mod lists;
mod metrics;
mod scan;
mod search;
mod search_events;
mod session;
pub(super) mod slices;
mod span_sums;
mod spans;
mod trace;
mod traces;
mod users;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::config::Config;
use super::writer::clean_text;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest};
use crate::storage::query::{
    AnalyticsAnswer, AnalyticsQuery, DeadLetter, StoredSession, UsersAnswer, UsersQuery,
};
use crate::storage::search::{SearchPage, SearchQuery, Searchers, within};
use crate::storage::{
    Error, Page, PageRequest, ServiceSummary, SessionFilter, SessionSummary, SpanFilter,
    SpanReader, SpanSummary, StoreUsage, StoredSpan, StoredTrace, TraceFilter, TraceSummary,
};
use session::Sessions;

/// Answers queries from a Postgres database.
#[derive(Debug)]
pub struct PostgresReader {
    sessions: Sessions,
    searchers: Searchers,
}

impl PostgresReader {
    /// Prepares to ask. Connects to nothing yet, so that a daemon starts while its database does
    /// not answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used or a thread can't be started.
    pub fn open(config: &Config, query_timeout: Duration) -> Result<Self, Error> {
        Ok(Self {
            sessions: Sessions::new(config, query_timeout)?,
            searchers: Searchers::start(config.search_threads)?,
        })
    }

    /// Ends a question that takes too long.
    fn limited<'a, T, F>(&'a self, question: F) -> BoxFuture<'a, Result<T, Error>>
    where
        F: Future<Output = Result<T, Error>> + Send + 'a,
    {
        let limit = self.sessions.query_timeout();
        Box::pin(async move {
            match tokio::time::timeout(limit, question).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Timeout),
            }
        })
    }
}

impl SpanReader for PostgresReader {
    fn list_traces<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a TraceFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<TraceSummary>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = traces::list(&session, project, filter, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn trace<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredTrace>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = trace::load(&session, project, trace_id, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn list_spans<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SpanFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SpanSummary>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = spans::list(&session, project, filter, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn search<'a>(
        &'a self,
        project: ProjectId,
        query: &'a SearchQuery,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage, Error>> {
        let limit = within(query.time_limit, self.sessions.query_timeout());
        let deadline = Instant::now() + limit;
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let asked = search::Asked {
                project,
                query,
                page,
                searchers: &self.searchers,
                deadline,
            };
            let answer = search::search(&session, &asked).await?;
            session.end();
            Ok(answer)
        })
    }

    fn feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        self.limited(async move {
            let session = feed::begin(&self.sessions).await?;
            let answer = feed::end(&session).await?;
            session.end();
            Ok(answer)
        })
    }

    fn feed<'a>(
        &'a self,
        project: ProjectId,
        request: &'a FeedRequest,
    ) -> BoxFuture<'a, Result<FeedPage, Error>> {
        self.limited(async move {
            let session = feed::begin(&self.sessions).await?;
            let answer = feed::page(&session, project, request).await?;
            session.end();
            Ok(answer)
        })
    }

    fn span(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = trace::load_span(&session, project, trace_id, span_id).await?;
            session.end();
            Ok(answer)
        })
    }

    fn find_span(
        &self,
        project: ProjectId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<TraceId>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = trace::find_span(&session, project, span_id).await?;
            session.end();
            Ok(answer)
        })
    }

    fn list_services<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<ServiceSummary>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = lists::services(&session, project, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn list_sessions<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SessionFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SessionSummary>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = lists::sessions(&session, project, filter, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn session<'a>(
        &'a self,
        project: ProjectId,
        session_id: &'a str,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredSession>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = conversation::load(&session, project, session_id, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn model_calls<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredSpan>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = trace::load_calls(&session, project, trace_id, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn list_users<'a>(
        &'a self,
        project: ProjectId,
        query: &'a UsersQuery,
    ) -> BoxFuture<'a, Result<UsersAnswer, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = users::list(&session, project, query).await?;
            session.end();
            Ok(answer)
        })
    }

    fn analytics<'a>(
        &'a self,
        project: ProjectId,
        query: &'a AnalyticsQuery,
    ) -> BoxFuture<'a, Result<AnalyticsAnswer, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = analytics::analytics(&session, project, query).await?;
            session.end();
            Ok(answer)
        })
    }

    fn list_dead_letters<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<DeadLetter>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = lists::dead_letters(&session, project, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn cursor_key(&self) -> [u8; 32] {
        self.sessions.cursor_key()
    }

    fn load_cursor_key(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.limited(async move {
            if !self.sessions.knows_cursor_key() {
                self.sessions.begin().await?.end();
            }
            Ok(())
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<StoreUsage, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = lists::usage(&session).await?;
            session.end();
            Ok(answer)
        })
    }
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

/// A project as it is stored.
fn project_id(project: ProjectId) -> i64 {
    i64::from(project.0)
}

/// A text as it is stored, which Postgres can't do with every text.
fn stored_text(text: &str) -> String {
    clean_text(text).into_owned()
}
