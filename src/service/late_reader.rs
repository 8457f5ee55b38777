//! A reader of a store that may be out of reach when the daemon starts: until then every query is
//! answered with "unavailable".

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio::time::{sleep, timeout};

use super::Error;
use super::store::Store;
use super::tasks::Tasks;
use crate::exporters::storage::StoreHealth;
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
use crate::storage::search::{EventSearch, FoundEvent, SearchPage, SearchQuery};
use crate::storage::{
    self, EventFilter, EventReader, Page, PageRequest, ServiceSummary, SessionFilter,
    SessionSummary, SpanEvents, SpanFilter, SpanReader, SpanSummary, StoreUsage, StoredEvent,
    StoredSpan, StoredTrace, TraceFilter, TraceSummary,
};
use crate::telemetry::logs::chain;

/// How long a start waits for the store.
const AT_START: Duration = Duration::from_secs(5);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What the reader is called where partitions are counted.
pub(super) const QUERIES: u32 = u32::MAX;

/// The reader, once there is one.
#[derive(Default)]
pub(super) struct LateReader {
    reader: OnceLock<Arc<dyn SpanReader>>,
}

impl std::fmt::Debug for LateReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connected = self.reader.get().is_some();
        formatter
            .debug_struct("LateReader")
            .field("connected", &connected)
            .finish()
    }
}

impl LateReader {
    /// Connects at once, or in the background.
    ///
    /// # Errors
    /// [`Error::Store`], when the store can never be read as it is.
    pub(super) async fn connect(
        store: &Arc<dyn Store>,
        health: &StoreHealth,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, Error> {
        let late = Arc::new(Self::default());
        let first = timeout(AT_START, store.reader()).await;
        match first.unwrap_or(Err(not_connected())) {
            Ok(reader) => late.arrived(reader, health),
            Err(error @ (storage::Error::Unavailable { .. } | storage::Error::Timeout)) => {
                tracing::warn!(
                    store = %store.describe(), error = %chain(&error),
                    "can't reach the store yet; requests are taken and kept in the log"
                );
                health.fails(QUERIES, chain(&error));
                let (waiting, shutdown) = (Arc::clone(&late), tasks.shutdown_token());
                let (store, health) = (Arc::clone(store), health.clone());
                tasks.spawn("store-connector", async move {
                    tokio::select! {
                        () = waiting.connect_later(&*store, &health) => {}
                        () = shutdown.cancelled() => {}
                    }
                });
            }
            Err(source) => {
                return Err(Error::Store {
                    store: store.describe(),
                    source,
                });
            }
        }
        Ok(late)
    }

    async fn connect_later(&self, store: &dyn Store, health: &StoreHealth) {
        loop {
            sleep(PAUSE).await;
            match store.reader().await {
                Ok(reader) => return self.arrived(reader, health),
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "can't reach the store yet");
                    health.fails(QUERIES, chain(&error));
                }
            }
        }
    }

    fn arrived(&self, reader: Arc<dyn SpanReader>, health: &StoreHealth) {
        self.reader.get_or_init(|| reader);
        health.works(QUERIES);
    }

    /// Whether the store has been reached since the start.
    pub(super) fn is_connected(&self) -> bool {
        self.reader.get().is_some()
    }

    /// Asks the reader, when there is one.
    fn ask<'a, T, F>(&'a self, question: F) -> BoxFuture<'a, Result<T, storage::Error>>
    where
        T: Send + 'a,
        F: FnOnce(&'a dyn SpanReader) -> BoxFuture<'a, Result<T, storage::Error>>,
    {
        match self.reader.get() {
            Some(reader) => question(&**reader),
            None => ready(Err(not_connected())).boxed(),
        }
    }
}

fn not_connected() -> storage::Error {
    storage::Error::Unavailable {
        context: "connect",
        source: "not reached since the start".into(),
    }
}

impl MetricReader for LateReader {
    fn list_metrics<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a MetricFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<MetricSummary>, storage::Error>> {
        self.ask(|reader| reader.list_metrics(project, filter, page))
    }

    fn metric<'a>(
        &'a self,
        project: ProjectId,
        query: &'a MetricQuery,
    ) -> BoxFuture<'a, Result<Result<MetricAnswer, NoAnswer>, storage::Error>> {
        self.ask(|reader| reader.metric(project, query))
    }
}

impl EventReader for LateReader {
    fn list_events<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a EventFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredEvent>, storage::Error>> {
        self.ask(|reader| reader.list_events(project, filter, page))
    }

    fn search_events<'a>(
        &'a self,
        project: ProjectId,
        query: &'a EventSearch,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage<FoundEvent>, storage::Error>> {
        self.ask(|reader| reader.search_events(project, query, page))
    }

    fn event(
        &self,
        project: ProjectId,
        id: EventId,
    ) -> BoxFuture<'_, Result<Option<StoredEvent>, storage::Error>> {
        self.ask(|reader| reader.event(project, id))
    }

    fn events_of(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: Option<SpanId>,
    ) -> BoxFuture<'_, Result<SpanEvents, storage::Error>> {
        self.ask(|reader| reader.events_of(project, trace_id, span_id))
    }
}

impl EventFeed for LateReader {
    fn event_feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, storage::Error>> {
        self.ask(|reader| reader.event_feed_end())
    }

    fn event_feed(
        &self,
        project: ProjectId,
        after: FeedPosition,
        events_min: usize,
    ) -> BoxFuture<'_, Result<EventPage, storage::Error>> {
        self.ask(|reader| reader.event_feed(project, after, events_min))
    }
}

impl SpanReader for LateReader {
    fn list_traces<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a TraceFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<TraceSummary>, storage::Error>> {
        self.ask(|reader| reader.list_traces(project, filter, page))
    }

    fn trace<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredTrace>, storage::Error>> {
        self.ask(|reader| reader.trace(project, trace_id, page))
    }

    fn list_spans<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SpanFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SpanSummary>, storage::Error>> {
        self.ask(|reader| reader.list_spans(project, filter, page))
    }

    fn search<'a>(
        &'a self,
        project: ProjectId,
        query: &'a SearchQuery,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage, storage::Error>> {
        self.ask(|reader| reader.search(project, query, page))
    }

    fn feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, storage::Error>> {
        self.ask(|reader| reader.feed_end())
    }

    fn feed<'a>(
        &'a self,
        project: ProjectId,
        request: &'a FeedRequest,
    ) -> BoxFuture<'a, Result<FeedPage, storage::Error>> {
        self.ask(|reader| reader.feed(project, request))
    }

    fn span(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, storage::Error>> {
        self.ask(|reader| reader.span(project, trace_id, span_id))
    }

    fn find_span(
        &self,
        project: ProjectId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<TraceId>, storage::Error>> {
        self.ask(|reader| reader.find_span(project, span_id))
    }

    fn list_services<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<ServiceSummary>, storage::Error>> {
        self.ask(|reader| reader.list_services(project, page))
    }

    fn list_sessions<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SessionFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SessionSummary>, storage::Error>> {
        self.ask(|reader| reader.list_sessions(project, filter, page))
    }

    fn list_dead_letters<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<DeadLetter>, storage::Error>> {
        self.ask(|reader| reader.list_dead_letters(project, page))
    }

    fn session<'a>(
        &'a self,
        project: ProjectId,
        session_id: &'a str,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredSession>, storage::Error>> {
        self.ask(|reader| reader.session(project, session_id, page))
    }

    fn model_calls<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredSpan>, storage::Error>> {
        self.ask(|reader| reader.model_calls(project, trace_id, page))
    }

    fn list_users<'a>(
        &'a self,
        project: ProjectId,
        query: &'a UsersQuery,
    ) -> BoxFuture<'a, Result<UsersAnswer, storage::Error>> {
        self.ask(|reader| reader.list_users(project, query))
    }

    fn analytics<'a>(
        &'a self,
        project: ProjectId,
        query: &'a AnalyticsQuery,
    ) -> BoxFuture<'a, Result<AnalyticsAnswer, storage::Error>> {
        self.ask(|reader| reader.analytics(project, query))
    }

    fn load_cursor_key(&self) -> BoxFuture<'_, Result<(), storage::Error>> {
        self.ask(|reader| reader.load_cursor_key())
    }

    fn cursor_key(&self) -> [u8; 32] {
        let reader = self.reader.get();
        reader.map_or([0; 32], |reader| reader.cursor_key())
    }

    fn usage(&self) -> BoxFuture<'_, Result<StoreUsage, storage::Error>> {
        self.ask(|reader| reader.usage())
    }
}
