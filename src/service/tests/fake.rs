//! A database that several daemons share, as far as the service is concerned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::model::event::EventId;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::queue::{LogId, Position, Start};
use crate::service::store::Store;
use crate::storage::access::AccessStore;
use crate::storage::event_feed::{EventFeed, EventPage};
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest};
use crate::storage::issues::IssueStore;
use crate::storage::metrics::query::{
    MetricAnswer, MetricFilter, MetricQuery, MetricReader, MetricSummary, NoAnswer,
};
use crate::storage::query::{
    AnalyticsAnswer, AnalyticsQuery, DeadLetter, StoredSession, UsersAnswer, UsersQuery,
};
use crate::storage::search::{EventSearch, FoundEvent, SearchPage, SearchQuery};
use crate::storage::sqlite::SqliteAccess;
use crate::storage::sqlite::SqliteIssues;
use crate::storage::{
    Batch, Error, EventFilter, EventReader, EventRow, MetricRows, Page, PageRequest, PointRow,
    RetentionReport, ServiceSummary, SessionFilter, SessionSummary, SpanEvents, SpanFilter,
    SpanReader, SpanRow, SpanSummary, SpanWriter, StoreUsage, StoredEvent, StoredSpan, StoredTrace,
    TraceFilter, TraceSummary, WriteReport,
};

#[derive(Debug)]
struct State {
    reachable: bool,
    too_new: bool,
    partitions_max: u32,
    spans: BTreeSet<[u8; 8]>,
    checkpoints: BTreeMap<(LogId, u32), Position>,
    /// Which clients have stored something.
    writers: BTreeSet<String>,
}

/// The database.
#[derive(Debug, Clone)]
pub(super) struct Database(Arc<Mutex<State>>);

impl Default for Database {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            reachable: true,
            too_new: false,
            partitions_max: u32::MAX,
            spans: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            writers: BTreeSet::new(),
        })))
    }
}

impl Database {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The store of one daemon.
    pub(super) fn client(&self, name: &str) -> Client {
        Client {
            database: self.clone(),
            name: name.to_owned(),
        }
    }

    pub(super) fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
    }

    pub(super) fn set_too_new(&self, too_new: bool) {
        self.state().too_new = too_new;
    }

    pub(super) fn set_partitions_max(&self, partitions: u32) {
        self.state().partitions_max = partitions;
    }

    pub(super) fn has(&self, id: [u8; 8]) -> bool {
        self.state().spans.contains(&id)
    }

    pub(super) fn spans(&self) -> usize {
        self.state().spans.len()
    }

    pub(super) fn wrote(&self, client: &str) -> bool {
        self.state().writers.contains(client)
    }

    fn connect(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        if !state.reachable {
            return Err(Error::Unavailable {
                context: "connect",
                source: "out of reach".into(),
            });
        }
        if state.too_new {
            return Err(Error::NewerSchema { found: 9, known: 1 });
        }
        Ok(state)
    }
}

/// One daemon's way to the database.
#[derive(Debug, Clone)]
pub(super) struct Client {
    database: Database,
    name: String,
}

impl Store for Client {
    fn describe(&self) -> String {
        "test (memory)".to_owned()
    }

    fn partitions_max(&self) -> u32 {
        self.database.state().partitions_max
    }

    fn start(&self, _partition: u32) -> Start {
        Start::Noted
    }

    fn settings(&self) -> Result<Arc<dyn crate::storage::settings::ProjectSettings>, Error> {
        Ok(Arc::new(
            crate::storage::settings::testing::Memory::default(),
        ))
    }

    fn issues(&self) -> Result<Arc<dyn IssueStore>, Error> {
        Ok(Arc::new(SqliteIssues::in_memory()))
    }

    fn access(&self) -> Result<Arc<dyn AccessStore>, Error> {
        Ok(Arc::new(SqliteAccess::in_memory()))
    }

    fn first_unstored(
        &self,
        log_id: LogId,
        partition: u32,
    ) -> BoxFuture<'_, Result<Position, Error>> {
        let position = self.database.connect().map(|state| {
            let checkpoint = state.checkpoints.get(&(log_id, partition));
            checkpoint.copied().unwrap_or(Position(1))
        });
        ready(position).boxed()
    }

    fn writer(&self, _partition: u32) -> BoxFuture<'_, Result<Box<dyn SpanWriter>, Error>> {
        let connected = self.database.connect().map(drop);
        let writer = Box::new(self.clone()) as Box<dyn SpanWriter>;
        ready(connected.map(|()| writer)).boxed()
    }

    fn reader(&self) -> BoxFuture<'_, Result<Arc<dyn SpanReader>, Error>> {
        let connected = self.database.connect().map(drop);
        let reader = Arc::new(self.clone()) as Arc<dyn SpanReader>;
        ready(connected.map(|()| reader)).boxed()
    }
}

impl SpanWriter for Client {
    fn write<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<WriteReport, Error>> {
        let report = self.database.connect().map(|mut state| {
            let checkpoint = state.checkpoints.entry((batch.log_id, batch.partition));
            let checkpoint = checkpoint.or_default();
            *checkpoint = (*checkpoint).max(batch.next);
            let mut report = WriteReport::default();
            for span in &batch.spans {
                if state.spans.insert(span.span_id.0) {
                    report.spans_stored += 1;
                } else {
                    report.spans_duplicate += 1;
                }
            }
            if report.spans_stored > 0 {
                state.writers.insert(self.name.clone());
            }
            report
        });
        ready(report).boxed()
    }

    fn quarantine<'a>(
        &'a mut self,
        _span: &'a SpanRow<'a>,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn quarantine_event<'a>(
        &'a mut self,
        _event: &'a EventRow<'a>,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn quarantine_point<'a>(
        &'a mut self,
        _rows: &'a MetricRows<'a>,
        _point: &'a PointRow,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn remap_step<'a>(
        &'a mut self,
        _mapper: &'a dyn crate::storage::remap::Mapper,
    ) -> BoxFuture<'a, Result<Option<crate::storage::remap::Job>, Error>> {
        ready(Ok(None)).boxed()
    }

    fn enforce_retention<'a>(
        &'a mut self,
        _now_unix_nano: u64,
    ) -> BoxFuture<'a, Result<RetentionReport, Error>> {
        ready(Ok(RetentionReport::default())).boxed()
    }
}

fn nothing<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Error>> {
    ready(Err(Error::Timeout)).boxed()
}

impl MetricReader for Client {
    fn list_metrics<'a>(
        &'a self,
        _project: ProjectId,
        _filter: &'a MetricFilter,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<MetricSummary>, Error>> {
        nothing()
    }

    fn metric<'a>(
        &'a self,
        _project: ProjectId,
        _query: &'a MetricQuery,
    ) -> BoxFuture<'a, Result<Result<MetricAnswer, NoAnswer>, Error>> {
        ready(Ok(Err(NoAnswer::Unknown))).boxed()
    }
}

impl EventReader for Client {
    fn list_events<'a>(
        &'a self,
        _project: ProjectId,
        _filter: &'a EventFilter,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredEvent>, Error>> {
        nothing()
    }

    fn search_events<'a>(
        &'a self,
        _project: ProjectId,
        _query: &'a EventSearch,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage<FoundEvent>, Error>> {
        nothing()
    }

    fn event(
        &self,
        _project: ProjectId,
        _id: EventId,
    ) -> BoxFuture<'_, Result<Option<StoredEvent>, Error>> {
        nothing()
    }

    fn events_of(
        &self,
        _project: ProjectId,
        _trace_id: TraceId,
        _span_id: Option<SpanId>,
    ) -> BoxFuture<'_, Result<SpanEvents, Error>> {
        nothing()
    }
}

impl EventFeed for Client {
    fn event_feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        nothing()
    }

    fn event_feed(
        &self,
        _project: ProjectId,
        _after: FeedPosition,
        _events_min: usize,
    ) -> BoxFuture<'_, Result<EventPage, Error>> {
        nothing()
    }
}

impl SpanReader for Client {
    fn list_traces<'a>(
        &'a self,
        _project: ProjectId,
        _filter: &'a TraceFilter,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<TraceSummary>, Error>> {
        nothing()
    }

    fn trace<'a>(
        &'a self,
        _project: ProjectId,
        _trace_id: TraceId,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredTrace>, Error>> {
        nothing()
    }

    fn list_spans<'a>(
        &'a self,
        _project: ProjectId,
        _filter: &'a SpanFilter,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SpanSummary>, Error>> {
        nothing()
    }

    fn search<'a>(
        &'a self,
        _project: ProjectId,
        _query: &'a SearchQuery,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage, Error>> {
        nothing()
    }

    fn feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        nothing()
    }

    fn feed<'a>(
        &'a self,
        _project: ProjectId,
        _request: &'a FeedRequest,
    ) -> BoxFuture<'a, Result<FeedPage, Error>> {
        nothing()
    }

    fn span(
        &self,
        _project: ProjectId,
        _trace_id: TraceId,
        _span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, Error>> {
        nothing()
    }

    fn find_span(
        &self,
        _project: ProjectId,
        _span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<TraceId>, Error>> {
        nothing()
    }

    fn list_services<'a>(
        &'a self,
        _project: ProjectId,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<ServiceSummary>, Error>> {
        nothing()
    }

    fn list_sessions<'a>(
        &'a self,
        _project: ProjectId,
        _filter: &'a SessionFilter,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SessionSummary>, Error>> {
        nothing()
    }

    fn session<'a>(
        &'a self,
        _project: ProjectId,
        _session_id: &'a str,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredSession>, Error>> {
        nothing()
    }

    fn model_calls<'a>(
        &'a self,
        _project: ProjectId,
        _trace_id: TraceId,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredSpan>, Error>> {
        nothing()
    }

    fn list_users<'a>(
        &'a self,
        _project: ProjectId,
        _query: &'a UsersQuery,
    ) -> BoxFuture<'a, Result<UsersAnswer, Error>> {
        nothing()
    }

    fn analytics<'a>(
        &'a self,
        _project: ProjectId,
        _query: &'a AnalyticsQuery,
    ) -> BoxFuture<'a, Result<AnalyticsAnswer, Error>> {
        nothing()
    }

    fn list_dead_letters<'a>(
        &'a self,
        _project: ProjectId,
        _page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<DeadLetter>, Error>> {
        nothing()
    }

    fn cursor_key(&self) -> [u8; 32] {
        [1; 32]
    }

    fn usage(&self) -> BoxFuture<'_, Result<StoreUsage, Error>> {
        ready(self.database.connect().map(|_| StoreUsage::default())).boxed()
    }
}
