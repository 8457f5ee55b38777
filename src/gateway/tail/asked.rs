//! What a request asks for.

use http::{HeaderMap, HeaderName};

use super::lane::Filter;
use super::place::Place;
use super::{Params, spans};
use crate::gateway::search;
use crate::storage::{EventFilter, SpanFilter};

/// Events a second when the client does not say, and at most.
const RATE_DEFAULT: u32 = 100;
const RATE_MAX: u32 = 1000;

/// What a browser sends when it connects again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Filters that spans know nothing of.
const OF_EVENTS_ONLY: [&str; 3] = ["environment", "min_severity", "span_id"];

/// What a request asks for.
pub(in crate::gateway) struct Asked {
    pub(in crate::gateway) filters: Vec<Filter>,
    /// Events a second.
    pub(in crate::gateway) rate: u32,
    /// Where to go on, instead of now.
    pub(in crate::gateway) resume: Place,
}

/// Reads it; what is wrong is noted in the parameters.
pub(in crate::gateway) fn read(params: &mut Params, headers: &HeaderMap) -> Asked {
    let kinds = params.repeated_choices("kind", &search::KINDS);
    // Spans alone where nothing is said: that is what clients know that came before events did.
    let kinds = kinds.unwrap_or_else(|| vec![search::Kind::Span]);
    let spans = spans::filter(params);
    let events = EventFilter {
        environment: params.text("environment"),
        severity_min: params.severity_min(),
        span_id: params.span_id(),
        ..of_both(&spans)
    };
    let mut filters = Vec::new();
    if kinds.contains(&search::Kind::Span) {
        reject(
            params,
            &OF_EVENTS_ONLY,
            "spans can't be filtered by it; ask for kind=event",
        );
        filters.push(Filter::Spans(Box::new(spans)));
    }
    if kinds.contains(&search::Kind::Event) {
        reject(
            params,
            &search::OF_SPANS_ONLY,
            "events can't be filtered by it",
        );
        filters.push(Filter::Events(Box::new(events)));
    }
    Asked {
        filters,
        rate: params.whole("rate", RATE_DEFAULT, RATE_MAX),
        resume: place(params, headers),
    }
}

fn reject(params: &mut Params, names: &[&str], message: &str) {
    for name in names {
        if params.has(name) {
            params.reject(name, message);
        }
    }
}

/// What spans and events can both be filtered by.
fn of_both(filter: &SpanFilter) -> EventFilter {
    EventFilter {
        range: filter.range,
        service: filter.service.clone(),
        name: filter.name.clone(),
        trace_id: filter.trace_id,
        session_id: filter.session_id.clone(),
        attributes: filter.attributes.clone(),
        ..EventFilter::default()
    }
}

/// Where to go on: the parameter, which a first request can have, or the header.
fn place(params: &mut Params, headers: &HeaderMap) -> Place {
    let given = params.text("last_event_id");
    let sent = headers.get(LAST_EVENT_ID);
    let sent = sent.map(|value| value.to_str().unwrap_or_default().to_owned());
    // A browser repeats the parameter for ever; the header is newer.
    let Some(text) = sent.filter(|sent| !sent.is_empty()).or(given) else {
        return Place::default();
    };
    text.parse().unwrap_or_else(|_| {
        params.reject("last_event_id", "is not the id of an event of this server");
        Place::default()
    })
}
