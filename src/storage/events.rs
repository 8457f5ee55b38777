//! What a store is asked about events, and what it answers.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Error;
use super::query::{
    AttributeEquals, Cursor, Page, PageRequest, StoredResource, StoredScope, TimeRange,
};
use super::search::{EventSearch, FoundEvent, SearchPage};
use crate::model::event::{EventFacts, EventId, EventSource};
use crate::model::{ProjectId, SpanId, TraceId};

/// Most events of one trace, and bytes of their messages, that are answered at once.
pub const EVENTS_OF_TRACE_MAX: usize = 1000;
/// See [`EVENTS_OF_TRACE_MAX`].
pub const EVENT_BYTES_MAX: usize = 8 << 20;

/// Filters of the event list. All given ones must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// When it happened.
    pub range: TimeRange,
    /// Service it is of.
    pub service: Option<String>,
    /// Deployment environment it is of.
    pub environment: Option<String>,
    /// Least severity.
    pub severity_min: Option<u8>,
    /// Its name.
    pub name: Option<String>,
    /// Trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// Span it belongs to.
    pub span_id: Option<SpanId>,
    /// Session it names.
    pub session_id: Option<String>,
    /// Where it comes from.
    pub source: Option<EventSource>,
    /// Attributes it (with its resource) must all have.
    pub attributes: Vec<AttributeEquals>,
}

/// An event as it came, after limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its columns.
    pub columns: EventColumns,
    /// Its resource; events of one answer share it.
    pub resource: Arc<StoredResource>,
    /// Its scope; events of one answer share it.
    pub scope: Arc<StoredScope>,
    /// Encoded OTLP `LogRecord` message.
    pub message: Vec<u8>,
}

/// What is known of an event without reading its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventColumns {
    /// Identity, with the time.
    pub id: EventId,
    /// When it was collected, ns since the Unix epoch; zero when unknown.
    pub observed_unix_nano: u64,
    /// When it was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
    /// Severity, 1 to 24; zero when unknown.
    pub severity: u8,
    /// What the source calls the severity.
    pub severity_text: Option<String>,
    /// Trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// Span of that trace.
    pub span_id: Option<SpanId>,
    /// Where it comes from.
    pub source: EventSource,
    /// Service name.
    pub service_name: String,
    /// Deployment environment.
    pub environment: Option<String>,
    /// Version of the service.
    pub release: Option<String>,
    /// What it says of itself.
    pub facts: EventFacts<'static>,
}

impl EventColumns {
    /// Where a list goes on after it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            unix_nano: self.id.unix_nano,
            key: self.id.digest.to_vec(),
        }
    }

    /// Whether all filters but those of time and attributes hold.
    #[must_use]
    pub fn matches(&self, filter: &EventFilter) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        same(&filter.service, Some(&self.service_name))
            && same(&filter.environment, self.environment.as_deref())
            && same(&filter.name, self.facts.name.as_deref())
            && same(&filter.session_id, self.facts.session_id.as_deref())
            && filter
                .severity_min
                .is_none_or(|least| self.severity >= least)
            && filter.trace_id.is_none_or(|id| self.trace_id == Some(id))
            && filter.span_id.is_none_or(|id| self.span_id == Some(id))
            && filter.source.is_none_or(|source| self.source == source)
    }
}

/// Events of a trace or a span, in the order they happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanEvents {
    /// The first of them.
    pub events: Vec<StoredEvent>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// Answers queries about events. Every call names the project.
pub trait EventReader {
    /// Events, newest first.
    fn list_events<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a EventFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<StoredEvent>, Error>>;

    /// Events that say something, newest first. What is searched is everything that the filter
    /// leaves; when the time is up before the page is full, the page says so.
    fn search_events<'a>(
        &'a self,
        project: ProjectId,
        query: &'a EventSearch,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<SearchPage<FoundEvent>, Error>>;

    /// One event.
    fn event(
        &self,
        project: ProjectId,
        id: EventId,
    ) -> BoxFuture<'_, Result<Option<StoredEvent>, Error>>;

    /// The events of a trace, or of one span of it, that happened first: at most
    /// [`EVENTS_OF_TRACE_MAX`], and some [`EVENT_BYTES_MAX`] bytes.
    fn events_of(
        &self,
        project: ProjectId,
        trace_id: TraceId,
        span_id: Option<SpanId>,
    ) -> BoxFuture<'_, Result<SpanEvents, Error>>;
}
