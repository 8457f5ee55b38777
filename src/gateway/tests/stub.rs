//! A reader that answers the same few rows, or fails as told, and notes what it was asked.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::rows::{
    chat, measures, one, session_summary, span_summary, stored_event, stored_span, trace_summary,
    user_summary,
};
use crate::model::event::EventId;
use crate::model::metric::{MetricKind, Temporality};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::event_feed::{EventFeed, EventPage, FeedEvent};
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest, FeedSpan};
use crate::storage::metrics::query::{
    Aggregation, Group, MetricAnswer, MetricFilter, MetricKey, MetricQuery, MetricReader,
    MetricSummary, NoAnswer,
};
use crate::storage::query::{
    AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, DeadLetter, Measures, SpanSummary,
    StoredSession, StoredSpan, StoredTrace, UsersAnswer, UsersQuery,
};
use crate::storage::search::{EventSearch, Found, FoundEvent, Match, SearchPage, SearchQuery};
use crate::storage::settings::testing::Memory;
use crate::storage::settings::{ProjectSettings, Values};
use crate::storage::{
    Error, EventFilter, EventReader, Page, PageRequest, ServiceSummary, SessionFilter,
    SessionSummary, SpanEvents, SpanFilter, SpanReader, StoreUsage, StoredEvent, TraceFilter,
    TraceSummary,
};

pub(super) const TRACE: TraceId = TraceId([0xab; 16]);
pub(super) const SPAN: SpanId = SpanId([0xcd; 8]);
pub(super) const EVENT: EventId = EventId {
    unix_nano: 1_800_000_000_000_000_000,
    digest: [0xef; 16],
};
pub(super) const SESSION: &str = "a/b c";

/// How the stub answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Unavailable,
    Timeout,
    Corrupt,
    Panic,
    Silent,
}

/// What the stub was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Traces(TraceFilter, PageRequest),
    Trace(TraceId, PageRequest),
    Feed(FeedRequest),
    EventFeed(FeedPosition),
    Spans(SpanFilter, PageRequest),
    Span(TraceId, SpanId),
    Find(SpanId),
    /// The matcher as it shows itself.
    Search(SpanFilter, String, std::time::Duration, PageRequest),
    SearchEvents(EventFilter, String, std::time::Duration, PageRequest),
    Services(PageRequest),
    Sessions(SessionFilter, PageRequest),
    DeadLetters(PageRequest),
    Analytics(AnalyticsQuery),
    Session(String, PageRequest),
    Calls(TraceId, PageRequest),
    Users(UsersQuery),
    Events(EventFilter, PageRequest),
    Metrics(MetricFilter, PageRequest),
    Metric(MetricQuery),
    Event(EventId),
}

#[derive(Debug)]
pub(super) struct Stub {
    pub(super) mood: Mood,
    /// Whether a trace has more model calls than a page.
    calls_go_on: bool,
    asked: Mutex<Vec<(ProjectId, Asked)>>,
    settings: Memory,
}

impl Stub {
    pub(super) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood,
            calls_go_on: false,
            asked: Mutex::new(Vec::new()),
            settings: Memory::default(),
        })
    }

    /// Traces have more model calls than a page.
    pub(super) fn with_many_calls() -> Arc<Self> {
        Arc::new(Self {
            mood: Mood::Well,
            calls_go_on: true,
            asked: Mutex::new(Vec::new()),
            settings: Memory::default(),
        })
    }

    /// All questions so far.
    pub(super) fn all_asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, asked)| asked.clone()).collect()
    }

    /// The last question, which must have been about the default project.
    pub(super) fn last_asked(&self) -> Asked {
        let asked = self.asked.lock().unwrap();
        let (project, asked) = asked.last().unwrap();
        assert_eq!(*project, ProjectId::DEFAULT);
        asked.clone()
    }

    /// The projects that questions were about.
    pub(super) fn projects_asked(&self) -> Vec<ProjectId> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(project, _)| *project).collect()
    }

    pub(super) fn was_asked(&self) -> bool {
        !self.asked.lock().unwrap().is_empty()
    }

    fn answer<T: Send + 'static>(
        &self,
        project: ProjectId,
        asked: Asked,
        answer: T,
    ) -> BoxFuture<'_, Result<T, Error>> {
        self.asked.lock().unwrap().push((project, asked));
        self.in_mood(answer)
    }

    fn in_mood<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, Result<T, Error>> {
        match self.mood {
            Mood::Well => ready(Ok(answer)).boxed(),
            Mood::Unavailable => ready(Err(Error::Unavailable {
                context: "SECRET path",
                source: "SECRET cause".into(),
            }))
            .boxed(),
            Mood::Timeout => ready(Err(Error::Timeout)).boxed(),
            Mood::Corrupt => ready(Err(Error::Corrupt {
                context: "SECRET part".to_owned(),
            }))
            .boxed(),
            Mood::Panic => async { panic!("SECRET panic") }.boxed(),
            Mood::Silent => std::future::pending().boxed(),
        }
    }
}

impl ProjectSettings for Stub {
    fn get(
        &self,
        project: ProjectId,
        name: &'static str,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        let answer = self.settings.get(project, name).now_or_never();
        self.in_mood(answer.unwrap().unwrap())
    }

    fn all(&self, name: &'static str) -> BoxFuture<'_, Result<Values, Error>> {
        self.settings.all(name)
    }

    fn put(
        &self,
        project: ProjectId,
        name: &'static str,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), Error>> {
        match self.mood {
            Mood::Well => self.settings.put(project, name, value),
            _ => self.in_mood(()),
        }
    }
}

/// The name of the one metric that there is.
pub(super) const METRIC: &str = "tokens";

fn metric_key() -> MetricKey {
    MetricKey {
        name: METRIC.to_owned(),
        kind: MetricKind::Sum,
        temporality: Temporality::Delta,
        is_monotonic: true,
        unit: "{token}".to_owned(),
    }
}

impl MetricReader for Stub {
    fn list_metrics<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a MetricFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<MetricSummary>, Error>> {
        let asked = Asked::Metrics(filter.clone(), page.clone());
        let summary = MetricSummary {
            key: metric_key(),
            description: "d".to_owned(),
            services: vec!["api".to_owned()],
            series_count: 3,
            has_overflow: false,
            last_seen_unix_nano: 1_800_000_000_000_000_000,
        };
        self.answer(project, asked, one(summary))
    }

    fn metric<'a>(
        &'a self,
        project: ProjectId,
        query: &'a MetricQuery,
    ) -> BoxFuture<'a, Result<Result<MetricAnswer, NoAnswer>, Error>> {
        let answer = match query.name.as_str() {
            METRIC if query.aggregation == Some(Aggregation::Last) => {
                Err(NoAnswer::NotOf(MetricKind::Histogram))
            }
            METRIC => Ok(MetricAnswer {
                metrics: vec![metric_key()],
                aggregation: Aggregation::Increase,
                series_count: 3,
                groups: vec![Group {
                    values: query
                        .group_by
                        .iter()
                        .map(|it| Some(format!("{it}!")))
                        .collect(),
                    points: vec![
                        (1_800_000_000_000_000_000, 1.5),
                        (1_800_000_060_000_000_000, f64::NAN),
                    ],
                }],
                is_cut: false,
            }),
            _ => Err(NoAnswer::Unknown),
        };
        self.answer(project, Asked::Metric(query.clone()), answer)
    }
}

impl EventReader for Stub {
    fn list_events<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a EventFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredEvent>, Error>> {
        let asked = Asked::Events(filter.clone(), page.clone());
        self.answer(project, asked, one(stored_event()))
    }

    /// One event, and nothing left.
    fn search_events<'a>(
        &'a self,
        project: ProjectId,
        query: &'a EventSearch,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage<FoundEvent>, Error>> {
        let asked = Asked::SearchEvents(
            query.filter.clone(),
            format!("{:?}", query.matcher),
            query.time_limit,
            page.clone(),
        );
        let page = SearchPage {
            items: vec![FoundEvent {
                event: stored_event().columns,
                matches: Vec::new(),
            }],
            next: None,
            complete: true,
            searched_to_unix_nano: 0,
            searched_spans: 3,
            searched_bytes: 10,
        };
        self.answer(project, asked, page)
    }

    fn event(
        &self,
        project: ProjectId,
        id: EventId,
    ) -> BoxFuture<'_, Result<Option<StoredEvent>, Error>> {
        let found = (id == EVENT).then(stored_event);
        self.answer(project, Asked::Event(id), found)
    }

    /// Not noted: asked beside what a request is about.
    fn events_of(
        &self,
        _: ProjectId,
        _: TraceId,
        _: Option<SpanId>,
    ) -> BoxFuture<'_, Result<SpanEvents, Error>> {
        self.in_mood(SpanEvents {
            events: vec![stored_event()],
            is_cut: true,
        })
    }
}

impl EventFeed for Stub {
    fn event_feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        self.in_mood(FeedPosition::before(1))
    }

    /// One event, then nothing.
    fn event_feed(
        &self,
        project: ProjectId,
        after: FeedPosition,
        _events_min: usize,
    ) -> BoxFuture<'_, Result<EventPage, Error>> {
        let next = FeedPosition::after_block(1, 1);
        let events = (after < next).then(|| FeedEvent {
            position: FeedPosition { place: 1, ..next },
            event: stored_event(),
        });
        let page = EventPage {
            events: events.into_iter().collect(),
            next,
            more: false,
        };
        self.answer(project, Asked::EventFeed(after), page)
    }
}

impl SpanReader for Stub {
    fn list_traces<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a TraceFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<TraceSummary>, Error>> {
        let asked = Asked::Traces(filter.clone(), page.clone());
        self.answer(project, asked, one(trace_summary()))
    }

    fn trace<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredTrace>, Error>> {
        let found = (trace_id == TRACE).then(|| StoredTrace {
            summary: trace_summary(),
            spans: vec![stored_span(), stored_span()],
            next: one(()).next,
        });
        self.answer(project, Asked::Trace(trace_id, page.clone()), found)
    }

    fn list_spans<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SpanFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SpanSummary>, Error>> {
        let asked = Asked::Spans(filter.clone(), page.clone());
        self.answer(project, asked, one(span_summary()))
    }

    fn search<'a>(
        &'a self,
        project: ProjectId,
        query: &'a SearchQuery,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage, Error>> {
        let matcher = format!("{:?}", query.matcher);
        let asked = Asked::Search(
            query.filter.clone(),
            matcher,
            query.time_limit,
            page.clone(),
        );
        let page = SearchPage {
            items: vec![Found {
                span: span_summary(),
                cursor: one(()).next.unwrap(),
                matches: vec![Match {
                    event: Some("exception".to_owned()),
                    field: "exception.message".to_owned(),
                    snippet: "a word".to_owned(),
                    offset: 2,
                    length: 4,
                }],
            }],
            next: one(()).next,
            complete: false,
            searched_to_unix_nano: 1_700_000_000_000_000_000,
            searched_spans: 7,
            searched_bytes: 1000,
        };
        self.answer(project, asked, page)
    }

    fn feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>> {
        self.in_mood(FeedPosition::before(1))
    }

    /// One span, then nothing.
    fn feed<'a>(
        &'a self,
        project: ProjectId,
        request: &'a FeedRequest,
    ) -> BoxFuture<'a, Result<FeedPage, Error>> {
        let next = FeedPosition::after_block(1, 1);
        let spans = (request.after < next).then(|| FeedSpan {
            position: FeedPosition { place: 1, ..next },
            summary: span_summary(),
            whole: None,
        });
        let page = FeedPage {
            spans: spans.into_iter().collect(),
            next,
            more: false,
        };
        self.answer(project, Asked::Feed(*request), page)
    }

    fn span(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, Error>> {
        let found = (span_id == SPAN).then(stored_span);
        self.answer(project, Asked::Span(trace_id, span_id), found)
    }

    fn find_span(
        &self,
        project: ProjectId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<TraceId>, Error>> {
        let found = (span_id == SPAN).then_some(TRACE);
        self.answer(project, Asked::Find(span_id), found)
    }

    fn list_services<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<ServiceSummary>, Error>> {
        let service = ServiceSummary {
            name: "api".to_owned(),
            first_seen_unix_nano: 1,
            last_seen_unix_nano: 2,
            span_count: 3,
            error_count: 1,
        };
        self.answer(project, Asked::Services(page.clone()), one(service))
    }

    fn list_sessions<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a SessionFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<SessionSummary>, Error>> {
        let asked = Asked::Sessions(filter.clone(), page.clone());
        self.answer(project, asked, one(session_summary()))
    }

    fn session<'a>(
        &'a self,
        project: ProjectId,
        session_id: &'a str,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Option<StoredSession>, Error>> {
        let found = (session_id == SESSION).then(|| StoredSession {
            summary: session_summary(),
            traces: vec![trace_summary(), trace_summary()],
            next: Some(trace_summary().cursor()),
        });
        let asked = Asked::Session(session_id.to_owned(), page.clone());
        self.answer(project, asked, found)
    }

    fn model_calls<'a>(
        &'a self,
        project: ProjectId,
        trace_id: TraceId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredSpan>, Error>> {
        let calls = Page {
            items: vec![chat(), stored_span()],
            next: self.calls_go_on.then(|| one(()).next).flatten(),
        };
        self.answer(project, Asked::Calls(trace_id, page.clone()), calls)
    }

    fn list_users<'a>(
        &'a self,
        project: ProjectId,
        query: &'a UsersQuery,
    ) -> BoxFuture<'a, Result<UsersAnswer, Error>> {
        let answer = UsersAnswer {
            page: one(user_summary()),
            counted_from_unix_nano: Some(1_700_000_000_000_000_000),
        };
        self.answer(project, Asked::Users(query.clone()), answer)
    }

    fn analytics<'a>(
        &'a self,
        project: ProjectId,
        query: &'a AnalyticsQuery,
    ) -> BoxFuture<'a, Result<AnalyticsAnswer, Error>> {
        let row = |group: &str, measures| AnalyticsRow {
            bucket_minute: query.start_minute,
            group: query.group_by.iter().map(|_| group.to_owned()).collect(),
            measures,
        };
        let answer = AnalyticsAnswer {
            rows: vec![row("", Measures::default()), row("g", measures())],
            truncated: true,
            counted_from_unix_nano: query.is_of_spans().then_some(1_700_000_000_000_000_000),
        };
        self.answer(project, Asked::Analytics(query.clone()), answer)
    }

    fn list_dead_letters<'a>(
        &'a self,
        project: ProjectId,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<DeadLetter>, Error>> {
        let letter = DeadLetter {
            trace_id: TRACE,
            span_id: SPAN,
            reason: "too large".to_owned(),
            created_unix_nano: 9,
            message: vec![255],
        };
        self.answer(project, Asked::DeadLetters(page.clone()), one(letter))
    }

    fn cursor_key(&self) -> [u8; 32] {
        [3; 32]
    }

    fn usage(&self) -> BoxFuture<'_, Result<StoreUsage, Error>> {
        self.in_mood(StoreUsage { bytes: 4096 })
    }
}
