//! Answering queries about events.

use std::time::Instant;

use futures_util::future::BoxFuture;

use super::{PostgresReader, event_feed, events, feed, search_events};
use crate::model::event::EventId;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::event_feed::{EventFeed, EventPage};
use crate::storage::feed::FeedPosition;
use crate::storage::search::{EventSearch, FoundEvent, SearchPage, within};
use crate::storage::{Error, EventFilter, EventReader, Page, PageRequest, SpanEvents, StoredEvent};

impl EventReader for PostgresReader {
    fn list_events<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a EventFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredEvent>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = events::list(&session, project, filter, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn search_events<'a>(
        &'a self,
        project: ProjectId,
        query: &'a EventSearch,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage<FoundEvent>, Error>> {
        let limit = within(query.time_limit, self.sessions.query_timeout());
        let deadline = Instant::now() + limit;
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let asked = search_events::Asked {
                project,
                query,
                page,
                searchers: &self.searchers,
                deadline,
            };
            let answer = search_events::search(&session, &asked).await?;
            session.end();
            Ok(answer)
        })
    }

    fn event(
        &self,
        project: ProjectId,
        id: EventId,
    ) -> BoxFuture<'_, Result<Option<StoredEvent>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = events::one(&session, project, id).await?;
            session.end();
            Ok(answer)
        })
    }

    fn events_of(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: Option<SpanId>,
    ) -> BoxFuture<'_, Result<SpanEvents, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = events::of(&session, project, trace_id, span_id).await?;
            session.end();
            Ok(answer)
        })
    }
}

impl EventFeed for PostgresReader {
    fn event_feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        self.limited(async move {
            let session = feed::begin(&self.sessions).await?;
            let answer = feed::end(&session).await?;
            session.end();
            Ok(answer)
        })
    }

    fn event_feed(
        &self,
        project: ProjectId,
        after: FeedPosition,
        events_min: usize,
    ) -> BoxFuture<'_, Result<EventPage, Error>> {
        self.limited(async move {
            let session = feed::begin(&self.sessions).await?;
            let answer = event_feed::page(&session, project, after, events_min).await?;
            session.end();
            Ok(answer)
        })
    }
}
