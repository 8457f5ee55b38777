//! Searching what spans and events say.

mod merge;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::{Params, invalid_cursor};
use super::problem::{Code, Problem};
use super::{Shared, render, spans};
use crate::semconv::messages::holds_messages;
use crate::storage::search::{
    EventSearch, Found, FoundEvent, Matcher, Scope, SearchPage, SearchQuery,
};
use crate::storage::{Cursor, EventFilter, PageRequest, SpanFilter};
use merge::{Position, Positions, merge};

pub(super) use merge::{Item, Merged};

/// Spans of a page when the client does not say, and at most.
const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;
/// How long a page may take when the client does not say, and at most.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Which texts are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Messages,
    Name,
    Attributes,
}

const IN: [(&str, In); 3] = [
    ("messages", In::Messages),
    ("name", In::Name),
    ("attributes", In::Attributes),
];

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Span,
    Event,
}

pub(super) const KINDS: [(&str, Kind); 2] = [("span", Kind::Span), ("event", Kind::Event)];

/// Filters that events know nothing of.
pub(super) const OF_SPANS_ONLY: [&str; 13] = [
    "status",
    "min_duration",
    "max_duration",
    "user_id",
    "min_tokens",
    "min_cost",
    "operation",
    "provider",
    "model",
    "agent",
    "tool",
    "tag",
    "error_kind",
];

/// `GET /api/v1/search`: newest first.
pub(super) async fn search(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let terms = params.terms();
    let scope = scope(&mut params);
    let kinds = kinds(&mut params);
    let filter = spans::filter(&mut params);
    let time_limit = params.timeout(TIMEOUT_DEFAULT, TIMEOUT_MAX);
    let limit_max = LIMIT_MAX.min(shared.config.page_size_max);
    let (page, binding) = params.finish_page(&shared, LIMIT_DEFAULT, limit_max)?;
    let Some(terms) = terms else {
        return Err(Problem::internal());
    };
    let before = begin(&kinds, page.after.as_ref())?;
    let permit = tokio::time::timeout(time_limit, shared.search_permits.acquire()).await;
    let Ok(Ok(_permit)) = permit else {
        let detail = "other searches are running; try again, or narrow them";
        return Err(Problem::new(Code::StorageUnavailable, detail));
    };
    let is_both = before.spans != Position::End && before.events != Position::End;
    let asked = Asked {
        matcher: Arc::new(Matcher::new(terms, scope)),
        filter,
        // One after the other: a search holds one connection to the store.
        time_limit: if is_both { time_limit / 2 } else { time_limit },
        limit: page.limit,
    };
    let spans = asked.spans(&shared, &caller, &before.spans).await?;
    let events = asked.events(&shared, &caller, &before.events).await?;
    let found = merge(before, spans, events, page.limit);
    let next = found.next.cursor(found.searched_to_unix_nano);
    let next_cursor = next.map(|cursor| shared.cursors().seal(&binding, &cursor));
    Ok(Json(render::SearchPage::new(found, next_cursor)).into_response())
}

fn scope(params: &mut Params) -> Scope {
    let chosen = params.repeated_choices("in", &IN);
    let has = |text| chosen.as_ref().is_none_or(|chosen| chosen.contains(&text));
    Scope {
        name: has(In::Name),
        messages: has(In::Messages),
        attributes: has(In::Attributes),
        holds_messages,
    }
}

/// What is searched: what is asked for, else all that the filters leave.
fn kinds(params: &mut Params) -> Vec<Kind> {
    let of_spans = OF_SPANS_ONLY.into_iter().find(|name| params.has(name));
    let chosen = params.repeated_choices("kind", &KINDS);
    match (chosen, of_spans) {
        (Some(chosen), Some(name)) if chosen.contains(&Kind::Event) => {
            params.reject("kind", format!("events can't be filtered by {name}"));
            chosen
        }
        (Some(chosen), _) => chosen,
        (None, Some(_)) => vec![Kind::Span],
        (None, None) => vec![Kind::Span, Kind::Event],
    }
}

/// Where the searches go on.
fn begin(kinds: &[Kind], after: Option<&Cursor>) -> Result<Positions, Problem> {
    let start = |kind| match kinds.contains(&kind) {
        true => Position::Start,
        false => Position::End,
    };
    match after {
        None => Ok(Positions {
            spans: start(Kind::Span),
            events: start(Kind::Event),
        }),
        Some(cursor) => Positions::of(cursor).ok_or_else(invalid_cursor),
    }
}

/// What both searches are asked.
struct Asked {
    matcher: Arc<Matcher>,
    filter: SpanFilter,
    time_limit: Duration,
    limit: usize,
}

impl Asked {
    async fn spans(
        &self,
        shared: &Shared,
        caller: &Caller,
        position: &Position,
    ) -> Result<Option<SearchPage<Found>>, Problem> {
        let Some(after) = position.after() else {
            return Ok(None);
        };
        let query = SearchQuery {
            filter: self.filter.clone(),
            matcher: Arc::clone(&self.matcher),
            time_limit: self.time_limit,
        };
        let page = self.page(after);
        let found = shared.reader.search(caller.project, &query, &page).await?;
        Ok(Some(found))
    }

    async fn events(
        &self,
        shared: &Shared,
        caller: &Caller,
        position: &Position,
    ) -> Result<Option<SearchPage<FoundEvent>>, Problem> {
        let Some(after) = position.after() else {
            return Ok(None);
        };
        let filter = &self.filter;
        let query = EventSearch {
            filter: EventFilter {
                range: filter.range,
                service: filter.service.clone(),
                name: filter.name.clone(),
                trace_id: filter.trace_id,
                session_id: filter.session_id.clone(),
                attributes: filter.attributes.clone(),
                ..EventFilter::default()
            },
            matcher: Arc::clone(&self.matcher),
            time_limit: self.time_limit,
        };
        let page = self.page(after);
        let found = shared.reader.search_events(caller.project, &query, &page);
        Ok(Some(found.await?))
    }

    const fn page(&self, after: Option<Cursor>) -> PageRequest {
        PageRequest {
            limit: self.limit,
            after,
        }
    }
}
