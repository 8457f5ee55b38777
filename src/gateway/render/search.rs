//! What a search found.

use serde::Serialize;

use super::time;
use crate::gateway::search::{Item as Found, Merged};
use crate::model::{SpanId, TraceId};
use crate::storage::search;

/// A page of a search.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct SearchPage {
    items: Vec<Item>,
    /// Where to go on; `null` at the end.
    next_cursor: Option<String>,
    /// Whether the page ended because it was full or nothing was left, not because the time was up.
    complete: bool,
    searched_to: String,
    searched_to_unix_nano: String,
    searched_spans: u64,
    searched_events: u64,
    searched_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Item {
    Span(Box<Span>),
    Event(Box<Event>),
}

/// A span that was found.
#[derive(Debug, Serialize)]
struct Span {
    trace_id: TraceId,
    span_id: SpanId,
    name: String,
    service_name: String,
    start_time: String,
    start_time_unix_nano: String,
    duration_ns: u64,
    status: &'static str,
    operation: String,
    /// The one that answered, else the one asked for.
    model: Option<String>,
    matches: Vec<Match>,
}

/// An event that was found, with the names of an event of the list.
#[derive(Debug, Serialize)]
struct Event {
    event_id: String,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    name: Option<String>,
    service_name: String,
    time: Option<String>,
    time_unix_nano: Option<String>,
    severity_number: Option<u8>,
    severity_text: Option<String>,
    model: Option<String>,
    session_id: Option<String>,
    matches: Vec<Match>,
}

/// Where a term was found.
#[derive(Debug, Serialize)]
struct Match {
    event: Option<String>,
    field: String,
    snippet: String,
    offset: usize,
    length: usize,
}

impl SearchPage {
    pub(in crate::gateway) fn new(page: Merged, next_cursor: Option<String>) -> Self {
        Self {
            items: page.items.into_iter().map(Item::from).collect(),
            next_cursor,
            complete: page.complete,
            searched_to: time(page.searched_to_unix_nano),
            searched_to_unix_nano: page.searched_to_unix_nano.to_string(),
            searched_spans: page.searched_spans,
            searched_events: page.searched_events,
            searched_bytes: page.searched_bytes,
        }
    }
}

impl From<Found> for Item {
    fn from(found: Found) -> Self {
        match found {
            Found::Span(found) => Self::Span(Box::new(found.into())),
            Found::Event(found) => Self::Event(Box::new(found.into())),
        }
    }
}

impl From<search::Found> for Span {
    fn from(found: search::Found) -> Self {
        let span = found.span;
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            name: span.name,
            service_name: span.service_name,
            start_time: time(span.start_unix_nano),
            start_time_unix_nano: span.start_unix_nano.to_string(),
            duration_ns: span.duration_ns,
            status: span.status.as_str(),
            operation: span.operation,
            model: span.response_model.or(span.request_model),
            matches: found.matches.into_iter().map(Match::from).collect(),
        }
    }
}

impl From<search::FoundEvent> for Event {
    fn from(found: search::FoundEvent) -> Self {
        let event = found.event;
        let (time, time_unix_nano) = super::event::known(event.id.unix_nano);
        let text = |text: Option<std::borrow::Cow<'static, str>>| text.map(Into::into);
        Self {
            event_id: event.id.to_string(),
            trace_id: event.trace_id,
            span_id: event.span_id,
            name: text(event.facts.name),
            service_name: event.service_name,
            time,
            time_unix_nano,
            severity_number: (event.severity > 0).then_some(event.severity),
            severity_text: event.severity_text,
            model: text(event.facts.model),
            session_id: text(event.facts.session_id),
            matches: found.matches.into_iter().map(Match::from).collect(),
        }
    }
}

impl From<search::Match> for Match {
    fn from(found: search::Match) -> Self {
        Self {
            event: found.event,
            field: found.field,
            snippet: found.snippet,
            offset: found.offset,
            length: found.length,
        }
    }
}
