//! A reader that answers the same few rows, or fails as told, and notes what it was asked.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use prost::Message as _;

use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Totals, Usage};
use crate::model::histogram::Histogram;
use crate::model::span::{Kind, Status, TimeMarks};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::query::{
    AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, DeadLetter, FirstError, Measures, SpanSummary,
    StoredResource, StoredScope, StoredSpan, StoredTrace,
};
use crate::storage::search::{Found, Match, SearchPage, SearchQuery};
use crate::storage::{
    Cursor, Error, Page, PageRequest, ServiceSummary, SessionFilter, SessionSummary, SpanFilter,
    SpanReader, StoreUsage, TraceFilter, TraceSummary,
};

pub(super) const TRACE: TraceId = TraceId([0xab; 16]);
pub(super) const SPAN: SpanId = SpanId([0xcd; 8]);

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
    Spans(SpanFilter, PageRequest),
    Span(TraceId, SpanId),
    /// The matcher as it shows itself.
    Search(SpanFilter, String, std::time::Duration, PageRequest),
    Services(PageRequest),
    Sessions(SessionFilter, PageRequest),
    DeadLetters(PageRequest),
    Analytics(AnalyticsQuery),
}

#[derive(Debug)]
pub(super) struct Stub {
    pub(super) mood: Mood,
    asked: Mutex<Vec<(ProjectId, Asked)>>,
}

impl Stub {
    pub(super) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood,
            asked: Mutex::new(Vec::new()),
        })
    }

    /// The last question, which must have been about the default project.
    pub(super) fn last_asked(&self) -> Asked {
        let asked = self.asked.lock().unwrap();
        let (project, asked) = asked.last().unwrap();
        assert_eq!(*project, ProjectId::DEFAULT);
        asked.clone()
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

fn one<T>(item: T) -> Page<T> {
    Page {
        items: vec![item],
        next: Some(Cursor {
            unix_nano: 5,
            key: vec![1, 2],
        }),
    }
}

fn trace_summary() -> TraceSummary {
    TraceSummary {
        trace_id: TRACE,
        name: "GET /".to_owned(),
        service_name: "api".to_owned(),
        root_span_id: Some(SPAN),
        start_unix_nano: 1_700_000_000_000_000_001,
        end_unix_nano: 1_700_000_000_000_000_011,
        span_count: 1,
        error_count: 1,
        genai_span_count: 0,
        totals: totals(),
        services: vec!["api".to_owned()],
        models: vec!["m".to_owned()],
        session_id: None,
        user_id: Some("u".to_owned()),
        first_error: Some(FirstError {
            span_id: SPAN,
            name: "GET /".to_owned(),
            error_type: None,
            message: "no".to_owned(),
        }),
    }
}

fn totals() -> Totals {
    Totals {
        llm_calls: 2,
        input_tokens: 30,
        output_tokens: 4,
        cache_read_tokens: 10,
        cost_nano_usd: 5_000_000_000,
    }
}

fn genai() -> GenAi<'static> {
    GenAi {
        dialect: Some("otel".into()),
        response_id: Some("r-1".into()),
        streaming: Some(true),
        time_to_first_token_ns: Some(7),
        agent_name: Some("writer".into()),
        tags: vec!["beta".into(), "a,b".into()],
        usage: Usage {
            input: Some(15),
            output: Some(0),
            ..Usage::default()
        },
        cost: Cost {
            total: Some(2_500_000_000),
            source: Some(CostSource::Computed),
            price_version: Some("2026-11".into()),
            ..Cost::default()
        },
        is_model_call: true,
        ..GenAi::default()
    }
}

fn measures() -> Measures {
    let mut durations = Histogram::default();
    for duration in [0, 100, 200, 1000] {
        durations.record(duration);
    }
    Measures {
        span_count: 4,
        error_count: 1,
        duration_sum_ns: 1300,
        durations,
        totals: totals(),
    }
}

fn span_summary() -> SpanSummary {
    SpanSummary {
        trace_id: TRACE,
        span_id: SPAN,
        parent_span_id: None,
        name: "GET /".to_owned(),
        kind: Kind::Server,
        status: Status::Error,
        status_message: "no".to_owned(),
        service_name: "api".to_owned(),
        start_unix_nano: 1_700_000_000_000_000_001,
        duration_ns: 10,
        time_marks: TimeMarks(1),
        operation: "http".to_owned(),
        genai: Some(Box::new(genai())),
        provider: None,
        request_model: None,
        response_model: None,
        session_id: None,
        user_id: None,
        error_type: Some("500".to_owned()),
        error_kind: Some(ErrorKind::Server),
        http_method: Some("GET".to_owned()),
        http_route: Some("/".to_owned()),
        http_status_code: Some(500),
        db_system: None,
        db_operation: None,
        rpc_system: None,
        rpc_service: None,
        rpc_method: None,
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(super) fn message() -> Span {
    Span {
        trace_id: TRACE.0.to_vec(),
        span_id: SPAN.0.to_vec(),
        name: "GET /".to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_001,
        end_time_unix_nano: 1_700_000_000_000_000_011,
        attributes: vec![attribute("k", Value::IntValue(7))],
        events: vec![span::Event {
            name: "exception".to_owned(),
            time_unix_nano: 1_700_000_000_000_000_002,
            ..span::Event::default()
        }],
        links: vec![span::Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            ..span::Link::default()
        }],
        ..Span::default()
    }
}

fn stored_span() -> StoredSpan {
    StoredSpan {
        summary: span_summary(),
        resource: Arc::new(StoredResource {
            message: Vec::new(),
            schema_url: "https://example.com/1".to_owned(),
            service_name: "api".to_owned(),
        }),
        scope: Arc::new(StoredScope {
            message: Vec::new(),
            schema_url: String::new(),
        }),
        message: message().encode_to_vec(),
        received_unix_nano: 1_700_000_001_000_000_000,
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

    fn span(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> BoxFuture<'_, Result<Option<StoredSpan>, Error>> {
        let found = (span_id == SPAN).then(stored_span);
        self.answer(project, Asked::Span(trace_id, span_id), found)
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
        let session = SessionSummary {
            session_id: "s".to_owned(),
            user_id: None,
            start_unix_nano: 1,
            end_unix_nano: 4,
            trace_count: 1,
            span_count: 2,
            error_count: 0,
            totals: totals(),
        };
        let asked = Asked::Sessions(filter.clone(), page.clone());
        self.answer(project, asked, one(session))
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

/// A stored chat, in the OpenTelemetry GenAI conventions.
pub(super) fn chat() -> StoredSpan {
    let text = |text: &str| Value::StringValue(text.to_owned());
    let messages = r#"[{"role":"user","content":"Hi"}]"#;
    let span = Span {
        attributes: vec![
            attribute("gen_ai.operation.name", text("chat")),
            attribute("gen_ai.input.messages", text(messages)),
        ],
        ..message()
    };
    StoredSpan {
        message: span.encode_to_vec(),
        ..stored_span()
    }
}
