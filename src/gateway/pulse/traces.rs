//! `GET /v1/traces`. A trace is listed when one span of it passes all filters of rows: source,
//! service, session and dates; its status and its place in the list are those of such spans.
//!
//! Without these filters the store's list of traces is walked. With them the columns of the spans
//! that pass are, newest first, and put together by trace; traces of which columns can't tell
//! whether they are meant are read, in the order of the list. What isn't exact: once the time of
//! a walk is up or it has found [`TRACES_MAX`] traces, a trace that goes on further back has the
//! place of the earliest span seen; `x-total-incomplete` says so. A span that its name calls the
//! beginning or end of a session has no say in a trace that has others.

mod filter;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query as Parameters, State};
use axum::response::Response;

use super::super::Shared;
use super::answer::Refused;
use super::caller::Keyed;
use super::lists::{Counted, OF_SESSIONS, Pairs, STEP, count_until, of_status, range, walk};
use super::load;
use super::query::{Query, Window};
use crate::model::{ProjectId, TraceId};
use crate::receivers::pulse::ids;
use crate::receivers::pulse::schema::{SOURCES, STATUSES};
use crate::storage::{self, PageRequest, SpanFilter, SpanSummary, TraceFilter};
use filter::{Filter, Group};

/// Traces put together from their spans at most.
const TRACES_MAX: usize = 200_000;

/// The route.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Parameters(pairs): Pairs,
) -> Result<Response, Refused> {
    let mut query = Query::new(pairs);
    let session = query.uuid("session_id");
    let source = query.one_of("source", SOURCES);
    let status = query.one_of("status", STATUSES);
    let window = query.window();
    query.checked()?;
    let dates = query.dates()?;
    let filter = Filter {
        source,
        service: query.text("service"),
        session,
        dates,
        status: of_status(status.as_deref()),
        provider: query.text("provider"),
        model: query.text("model"),
    };
    let _turn = load::turn(&shared).await?;
    let mut found = Counted::new();
    if range(dates).is_some() {
        let asked = Asked {
            shared: &shared,
            project: keyed.project,
            filter: &filter,
            window,
        };
        found = if filter.is_of_spans() {
            asked.by_spans().await?
        } else {
            asked.by_start().await?
        };
    }
    // Counting may have used up its time; what was found is answered all the same.
    let deadline = load::deadline(&shared);
    let rendered = load::traces(&shared, keyed.project, &found.items, deadline).await?;
    Ok(found.answer("traces", &rendered, window))
}

/// More traces than are put together.
struct TooMany;

/// What is asked of the list.
struct Asked<'a> {
    shared: &'a Shared,
    project: ProjectId,
    filter: &'a Filter,
    window: Window,
}

impl Asked<'_> {
    /// All traces, or those of a status.
    async fn by_start(&self) -> Result<Counted<TraceId>, Refused> {
        let deadline = count_until(self.shared);
        let filter = TraceFilter {
            status: self.filter.status,
            ..TraceFilter::default()
        };
        let mut found = Counted::new();
        let mut after = None;
        loop {
            if Instant::now() >= deadline {
                return found.ended(self.window, storage::Error::Timeout);
            }
            let request = PageRequest { limit: STEP, after };
            let reader = &self.shared.reader;
            let page = match reader.list_traces(self.project, &filter, &request).await {
                Ok(page) => page,
                Err(error) => return found.ended(self.window, error),
            };
            for trace in page.items {
                if Instant::now() >= deadline {
                    return found.ended(self.window, storage::Error::Timeout);
                }
                let id = trace.trace_id;
                let is_doubtful = OF_SESSIONS.contains(&trace.name.as_str());
                let is_hidden = ids::is_unnamed(id)
                    || is_doubtful && load::is_of_session(self.shared, self.project, id).await?;
                if !is_hidden {
                    found.add(id, self.window);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Traces with a span that passes.
    async fn by_spans(&self) -> Result<Counted<TraceId>, Refused> {
        let until = count_until(self.shared);
        // What has to be read has its time too.
        let for_reading = self.shared.config.query_timeout.0 / 4;
        let reads = if self.filter.is_read() {
            for_reading
        } else {
            Duration::ZERO
        };
        let walk_until = until.checked_sub(reads).unwrap_or(until);
        let (groups, is_whole) = self.groups(walk_until).await?;
        let mut traces: Vec<_> = groups.into_iter().collect();
        traces.sort_by_key(|(id, group)| (Reverse(group.start()), *id));
        let mut found = Counted::new();
        for (id, group) in traces {
            if !self.filter.may_mean(&group) {
                continue;
            }
            if self.filter.must_read(&group) {
                if Instant::now() >= until {
                    return found.ended(self.window, storage::Error::Timeout);
                }
                if !self.is_meant(id).await? {
                    continue;
                }
            }
            found.add(id, self.window);
        }
        if is_whole {
            Ok(found)
        } else {
            found.ended(self.window, storage::Error::Timeout)
        }
    }

    /// The traces of spans that pass by their columns, and whether these are all.
    async fn groups(&self, until: Instant) -> Result<(HashMap<TraceId, Group>, bool), Refused> {
        let mut filter = self.filter.of_store();
        let (mut groups, is_whole) = self.walk(&filter, until, false).await?;
        if let Some(called) = self.filter.session.as_deref().filter(|_| groups.is_empty()) {
            // Spans without a session are in one that is called as their trace.
            filter.session_id = None;
            filter.trace_id = Some(ids::trace_id(called));
            (groups, _) = self.walk(&filter, until, true).await?;
        }
        Ok((groups, is_whole))
    }

    async fn walk(
        &self,
        filter: &SpanFilter,
        until: Instant,
        without_session: bool,
    ) -> Result<(HashMap<TraceId, Group>, bool), Refused> {
        let mut groups: HashMap<TraceId, Group> = HashMap::new();
        let reader = &self.shared.reader;
        let ask =
            |page: PageRequest| async move { reader.list_spans(self.project, filter, &page).await };
        let each = |span: SpanSummary| {
            let is_meant = self.filter.may_pass(&span)
                && !(without_session && span.session_id.is_some())
                && !ids::is_unnamed(span.trace_id);
            if !is_meant {
                return Ok(());
            }
            let count = groups.len();
            match groups.entry(span.trace_id) {
                Entry::Vacant(_) if count >= TRACES_MAX => return Err(TooMany),
                Entry::Vacant(entry) => entry.insert(Group::default()),
                Entry::Occupied(entry) => entry.into_mut(),
            }
            .add(&span, self.filter);
            Ok(())
        };
        let is_whole = match walk(until, ask, each).await {
            Ok(Ok(())) => true,
            Ok(Err(storage::Error::Timeout)) | Err(TooMany) => false,
            Ok(Err(error)) => return Err(error.into()),
        };
        Ok((groups, is_whole))
    }

    /// Whether a trace is meant, by all that its spans say.
    async fn is_meant(&self, id: TraceId) -> Result<bool, Refused> {
        let deadline = load::deadline(self.shared);
        let read = load::beginning(self.shared, self.project, id, deadline).await?;
        Ok(self.filter.means(&read.spans))
    }
}

impl Counted<TraceId> {
    /// What was found until a question failed, if that is enough.
    fn ended(mut self, window: Window, error: storage::Error) -> Result<Self, Refused> {
        self.end(window, error)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn what_is_found_when_time_is_up_is_enough_or_not() {
        let window = Window {
            limit: 1,
            offset: 0,
        };
        let mut found = Counted::new();
        assert!(
            Counted::new()
                .ended(window, storage::Error::Timeout)
                .is_err()
        );
        found.add(ids::trace_id("a"), window);
        let found = found.ended(window, storage::Error::Timeout).unwrap();
        let answer = found.answer("traces", &[], window);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["x-total-incomplete"], "true");
    }
}
