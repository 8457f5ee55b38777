//! The list of spans, and what lists share: pages that are counted: `total` is how many there are.
//!
//! The store's lists go on by cursor; here they are walked from the newest on, past the offset,
//! through the page, and on to the end for the number. If the time of a query is up by then, what
//! was counted so far is the number, and a header says so.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query as Parameters, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};

use super::super::Shared;
use super::answer::{self, Refused};
use super::caller::Keyed;
use super::load;
use super::query::{Dates, Query, Window};
use super::record::kind_of;
use crate::model::ProjectId;
use crate::receivers::pulse::schema::{KINDS, SOURCES, STATUSES};
use crate::receivers::pulse::{ids, names};
use crate::storage::query::{AttributeEquals, Fact};
use crate::storage::{self, Page, PageRequest, SpanFilter, SpanSummary, StatusFilter, TimeRange};

/// Says that `total` counts only what could be counted in time.
const TOTAL_INCOMPLETE: HeaderName = HeaderName::from_static("x-total-incomplete");
/// Items asked of the store at once.
pub(super) const STEP: usize = 1000;
/// Names of traces that may consist of nothing but the beginning and end of a session.
pub(super) const OF_SESSIONS: [&str; 3] =
    ["agent.session_lifecycle", "session_start", "session_end"];

/// The kind of a session's events.
const SESSION: &str = "session";
/// Names of those which are neither its beginning nor its end.
const STOPS: [&str; 2] = ["stop", "agent.stop"];

/// Whether a span may be the beginning or end of a session, as far as columns know: only the event
/// it holds tells.
pub(super) fn may_be_of_session(span: &SpanSummary) -> bool {
    let name = span.name.as_str();
    OF_SESSIONS.contains(&name) || span.operation == SESSION && !STOPS.contains(&name)
}

pub(super) type Pairs = Parameters<Vec<(String, String)>>;

/// Some items of a list, and how many it has.
pub(super) struct Counted<T> {
    pub(super) items: Vec<T>,
    pub(super) total: usize,
    is_complete: bool,
}

impl<T> Counted<T> {
    pub(super) fn new() -> Self {
        Self {
            items: Vec::new(),
            total: 0,
            is_complete: true,
        }
    }

    pub(super) fn add(&mut self, item: T, window: Window) {
        if self.total >= window.offset && self.items.len() < window.limit {
            self.items.push(item);
        }
        self.total += 1;
    }

    /// What a question that failed means: nothing, once the page is full and time is up.
    pub(super) fn end(&mut self, window: Window, error: storage::Error) -> Result<(), Refused> {
        if self.items.len() < window.limit || !matches!(error, storage::Error::Timeout) {
            return Err(error.into());
        }
        self.is_complete = false;
        Ok(())
    }

    pub(super) fn answer(&self, key: &str, rendered: &[String], window: Window) -> Response {
        let body = format!(
            "{{\"{key}\":[{}],\"total\":{},\"limit\":{},\"offset\":{}}}",
            rendered.join(","),
            self.total,
            window.limit,
            window.offset
        );
        let mut response = answer::written(StatusCode::OK, body);
        if !self.is_complete {
            let headers = response.headers_mut();
            headers.insert(TOTAL_INCOMPLETE, HeaderValue::from_static("true"));
        }
        response
    }
}

/// Walks a list of the store, page by page, until its end or the deadline.
pub(super) async fn walk<T, F, E>(
    deadline: Instant,
    mut ask: impl FnMut(PageRequest) -> F,
    mut each: impl FnMut(T) -> Result<(), E>,
) -> Result<Result<(), storage::Error>, E>
where
    F: Future<Output = Result<Page<T>, storage::Error>>,
{
    let mut after = None;
    loop {
        if Instant::now() >= deadline {
            return Ok(Err(storage::Error::Timeout));
        }
        let page = match ask(PageRequest { limit: STEP, after }).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        for item in page.items {
            each(item)?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Ok(())),
        }
    }
}

/// The starts that lie within both dates, each of which is a millisecond; `None` when none does.
pub(super) fn range(dates: Dates) -> Option<TimeRange> {
    let end = dates.to.map(|to| to.saturating_add(1_000_000));
    if end.is_some_and(|end| end <= 0) {
        return None;
    }
    let unsigned = |time: i128| u64::try_from(time.max(0)).unwrap_or(u64::MAX);
    let (start, end) = (dates.from.map(unsigned), end.map(unsigned));
    let is_empty = start.is_some_and(|start| end.is_some_and(|end| start >= end));
    (!is_empty).then_some(TimeRange {
        start_unix_nano: start,
        end_unix_nano: end,
    })
}

pub(super) fn of_status(status: Option<&str>) -> Option<StatusFilter> {
    status.map(|status| match status {
        "error" => StatusFilter::Error,
        _ => StatusFilter::Ok,
    })
}

pub(super) fn of_source(source: String) -> AttributeEquals {
    AttributeEquals {
        key: names::SOURCE.to_owned(),
        // What says nothing is an SDK's.
        or_absent: source == "sdk",
        value: source,
    }
}

/// Every source that must be named, with the filter for it.
pub(super) fn named_sources() -> impl Iterator<Item = (&'static str, AttributeEquals)> {
    let named = SOURCES.iter().filter(|source| **source != "sdk");
    named.map(|source| (*source, of_source((*source).to_owned())))
}

/// Until when a list is walked to count it.
pub(super) fn count_until(shared: &Shared) -> Instant {
    Instant::now() + shared.config.query_timeout.0 / 2
}

/// Whether a span is the one of a trace of the first generation, which was no span then.
pub(super) fn is_first_generation(span: &SpanSummary) -> bool {
    ids::only_span_id(span.trace_id) == span.span_id
}

/// `GET /v1/spans`.
pub(super) async fn spans(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Parameters(pairs): Pairs,
) -> Result<Response, Refused> {
    let mut query = Query::new(pairs);
    let source = query.one_of("source", SOURCES);
    let kind = query.one_of("kind", KINDS);
    let status = query.one_of("status", STATUSES);
    let window = query.window();
    query.checked()?;
    let range = range(query.dates()?);
    let session = query.text("session_id");
    let mut filter = SpanFilter {
        session_id: session.clone(),
        service: query.text("service"),
        status: of_status(status.as_deref()),
        trace_id: query.text("trace_id").map(|name| ids::trace_id(&name)),
        attributes: source.map(of_source).into_iter().collect(),
        facts: query
            .text("tool_name")
            .map(Fact::Tool)
            .into_iter()
            .collect(),
        ..SpanFilter::default()
    };
    let _turn = load::turn(&shared).await?;
    let mut found = Counted::new();
    if let Some(range) = range {
        filter.range = range;
        let question = Question {
            project: keyed.project,
            kind,
            window,
            deadline: count_until(&shared),
        };
        found = question.ask(&shared, &filter, false).await?;
        // Spans without a session are in one that is called as their trace.
        let called = session.map(|session| ids::trace_id(&session));
        let called = called.filter(|called| filter.trace_id.is_none_or(|id| id == *called));
        if let Some(called) = called.filter(|_| found.total == 0) {
            filter.session_id = None;
            filter.trace_id = Some(called);
            found = question.ask(&shared, &filter, true).await?;
        }
    }
    let items = found.items.iter();
    let spans: Vec<_> = items.map(|it| (it.trace_id, it.span_id)).collect();
    let deadline = load::deadline(&shared);
    let rendered = load::spans(&shared, keyed.project, &spans, deadline).await?;
    Ok(found.answer("spans", &rendered, window))
}

/// What is asked of the list of spans beyond the store's filters.
struct Question {
    project: ProjectId,
    kind: Option<String>,
    window: Window,
    deadline: Instant,
}

impl Question {
    async fn ask(
        &self,
        shared: &Shared,
        filter: &SpanFilter,
        without_session: bool,
    ) -> Result<Counted<SpanSummary>, Refused> {
        let mut found = Counted::new();
        let ask = |page: PageRequest| async move {
            shared.reader.list_spans(self.project, filter, &page).await
        };
        let each = |span: SpanSummary| {
            let kind = self.kind.as_deref();
            let is_meant = kind.is_none_or(|kind| kind == kind_of(&span))
                && !(without_session && span.session_id.is_some())
                && !is_first_generation(&span);
            if is_meant {
                found.add(span, self.window);
            }
            Ok::<(), Refused>(())
        };
        if let Err(error) = walk(self.deadline, ask, each).await? {
            found.end(self.window, error)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        limit: 2,
        offset: 1,
    };

    #[test]
    fn a_page_is_cut_out_and_everything_is_counted() {
        let mut found = Counted::new();
        for item in 0..5 {
            found.add(item, WINDOW);
        }
        assert_eq!((found.items.as_slice(), found.total), (&[1, 2][..], 5));
        let answer = found.answer("items", &["1".to_owned(), "2".to_owned()], WINDOW);
        assert!(!answer.headers().contains_key(TOTAL_INCOMPLETE));
    }

    #[test]
    fn an_early_end_matters_only_to_a_page_that_is_not_full() {
        let mut found = Counted::new();
        found.add(0, WINDOW);
        assert!(found.end(WINDOW, storage::Error::Timeout).is_err());
        found.add(1, WINDOW);
        found.add(2, WINDOW);
        let corrupt = storage::Error::Corrupt {
            context: String::new(),
        };
        assert!(found.end(WINDOW, corrupt).is_err());
        assert_eq!(found.end(WINDOW, storage::Error::Timeout), Ok(()));
        let answer = found.answer("items", &[], WINDOW);
        assert_eq!(answer.headers()[TOTAL_INCOMPLETE], "true");
    }

    #[test]
    fn both_dates_are_within_the_range() {
        let range = |from, to| range(Dates { from, to });
        let ms = 1_000_000;
        let one = range(Some(5 * ms), Some(5 * ms)).unwrap();
        assert_eq!(
            (one.start_unix_nano, one.end_unix_nano),
            (Some(5_000_000), Some(6_000_000))
        );
        assert_eq!(range(Some(6 * ms), Some(5 * ms)), None);
        assert_eq!(range(None, Some(-ms)), None);
        let early = range(Some(-ms), None).unwrap();
        assert_eq!(
            (early.start_unix_nano, early.end_unix_nano),
            (Some(0), None)
        );
        assert_eq!(range(None, None), Some(TimeRange::default()));
    }
}
