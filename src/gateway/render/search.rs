//! What a search found.

use serde::Serialize;

use super::time;
use crate::model::{SpanId, TraceId};
use crate::storage::search;

/// A page of a search.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct SearchPage {
    items: Vec<Found>,
    /// Where to go on; `null` at the end.
    next_cursor: Option<String>,
    /// Whether the page ended because it was full or nothing was left, not because the time was up.
    complete: bool,
    searched_to: String,
    searched_to_unix_nano: String,
    searched_spans: u64,
    searched_bytes: u64,
}

/// A span that was found.
#[derive(Debug, Serialize)]
struct Found {
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
    pub(in crate::gateway) fn new(page: search::SearchPage, next_cursor: Option<String>) -> Self {
        Self {
            items: page.items.into_iter().map(Found::from).collect(),
            next_cursor,
            complete: page.complete,
            searched_to: time(page.searched_to_unix_nano),
            searched_to_unix_nano: page.searched_to_unix_nano.to_string(),
            searched_spans: page.searched_spans,
            searched_bytes: page.searched_bytes,
        }
    }
}

impl From<search::Found> for Found {
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
