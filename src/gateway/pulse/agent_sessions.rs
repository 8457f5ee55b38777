//! `GET /dashboard/api/agent-sessions`: sessions of agents, each with what its spans add up to.
//!
//! The columns of all spans of the time asked for are walked once; what columns don't tell is read
//! of the few spans that begin and end sessions, and of the sessions on the page. Both are bounded by
//! the time of a query, and the walk by a number of sessions and traces.

mod sums;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query as Parameters, State};
use axum::response::Response;
use http::StatusCode;

use super::super::Shared;
use super::answer::{self, Refused};
use super::caller::Keyed;
use super::lists::{Pairs, is_first_generation, may_be_of_session, of_source, range, walk};
use super::load;
use super::query::Query;
use super::record::{Record, duration_of};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::receivers::pulse::ids;
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::schema::SOURCES;
use crate::storage::{PageRequest, SpanFilter, SpanSummary, TimeRange};
use sums::{Details, Session, Sessions, Sort};

/// Events that begin and end a session, and make no trace.
const START: &str = "session_start";
const END: &str = "session_end";
/// Spans read at once.
const READ_AT_ONCE: usize = 64;

/// The session that a span is in: one called as its trace, where it names none.
fn session_of(span: &SpanSummary) -> String {
    let named = span.session_id.clone();
    named.unwrap_or_else(|| span.trace_id.to_string())
}

/// The event that a span tells of, where it tells of one.
fn event_of(record: &Record) -> &str {
    let event = record.has_event.then_some(record.event_type.as_str());
    event.unwrap_or_default()
}

/// What is asked for, and until when it must be found.
struct Asked<'s> {
    shared: &'s Shared,
    project: ProjectId,
    range: TimeRange,
    deadline: Instant,
}

/// The route.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Parameters(pairs): Pairs,
) -> Result<Response, Refused> {
    let mut query = Query::new(pairs);
    let source = query.one_of("source", SOURCES);
    let sort = query.one_of("sort", Sort::NAMES);
    let window = query.window();
    query.checked()?;
    let range = range(query.dates()?);
    let sort = Sort::of(sort.as_deref());
    let _turn = load::turn(&shared).await?;
    let mut page = Vec::new();
    let mut total = 0;
    if let Some(range) = range {
        let asked = Asked {
            shared: &shared,
            project: keyed.project,
            range,
            deadline: load::deadline(&shared),
        };
        let sessions = asked.sessions(source).await?;
        let mut listed = sessions.listed();
        total = listed.len();
        listed.sort_by(|one, other| sort.compare(one, other));
        for session in listed.iter().skip(window.offset).take(window.limit) {
            let details = asked.details(session).await?;
            page.push(session.answer(&details));
        }
    }
    let count = |number: usize| Json::count(number);
    let body = Json::map([
        ("sessions", Json::List(page)),
        ("total", count(total)),
        ("limit", count(window.limit)),
        ("offset", count(window.offset)),
    ]);
    Ok(answer::json(StatusCode::OK, &body))
}

impl Asked<'_> {
    /// All sessions, or those with a span of a source.
    async fn sessions(&self, source: Option<String>) -> Result<Sessions, Refused> {
        let mut sessions = Sessions::default();
        let mut doubtful = Vec::new();
        self.walk(SpanFilter::default(), |span| {
            let session = session_of(&span);
            let is_doubtful = may_be_of_session(&span);
            let is_named = !ids::is_unnamed(span.trace_id);
            match span.name.as_str() {
                // Where nobody named a trace, spans came in JSON and are called as their event.
                END if !is_named => sessions.ended(&session, duration_of(&span))?,
                _ if is_named && is_doubtful => doubtful.push((span.trace_id, span.span_id)),
                _ => {}
            }
            let trace = (is_named && !is_doubtful).then_some(span.trace_id);
            sessions.add(&session, &span, trace)
        })
        .await?;
        self.look_at(&doubtful, &mut sessions).await?;
        if let Some(source) = source {
            let of_source = self.of_source(source).await?;
            sessions.keep(&of_source);
        }
        Ok(sessions)
    }

    /// Reads spans that may begin or end a session, or tell of something else.
    async fn look_at(
        &self,
        doubtful: &[(TraceId, SpanId)],
        sessions: &mut Sessions,
    ) -> Result<(), Refused> {
        for some in doubtful.chunks(READ_AT_ONCE) {
            load::in_time(self.deadline)?;
            for stored in load::stored(self.shared, self.project, some)
                .await?
                .iter()
                .flatten()
            {
                let (record, summary) = (Record::of(stored), &stored.summary);
                let session = session_of(summary);
                match event_of(&record) {
                    START => {}
                    END => sessions.ended(&session, record.duration_ms)?,
                    _ => sessions.trace(&session, summary.trace_id)?,
                }
            }
        }
        Ok(())
    }

    /// Sessions with a span of a source that makes a trace.
    async fn of_source(&self, source: String) -> Result<HashSet<String>, Refused> {
        let filter = SpanFilter {
            attributes: vec![of_source(source)],
            ..SpanFilter::default()
        };
        let mut found = HashSet::new();
        let mut doubtful = Vec::new();
        self.walk(filter, |span| {
            if ids::is_unnamed(span.trace_id) {
                return Ok(());
            }
            if may_be_of_session(&span) {
                doubtful.push((span.trace_id, span.span_id));
            } else {
                found.insert(session_of(&span));
            }
            Ok(())
        })
        .await?;
        for some in doubtful.chunks(READ_AT_ONCE) {
            load::in_time(self.deadline)?;
            for stored in load::stored(self.shared, self.project, some)
                .await?
                .iter()
                .flatten()
            {
                if ![START, END].contains(&event_of(&Record::of(stored))) {
                    found.insert(session_of(&stored.summary));
                }
            }
        }
        Ok(found)
    }

    /// What only the spans themselves tell of a session.
    async fn details(&self, session: &Session) -> Result<Details, Refused> {
        let mut details = Details::default();
        let traces: BTreeSet<_> = session.all_traces.iter().copied().collect();
        for trace in traces {
            let read = load::beginning(self.shared, self.project, trace, self.deadline);
            for stored in read.await?.spans {
                let summary = &stored.summary;
                let start = summary.start_unix_nano;
                let is_meant = !is_first_generation(summary)
                    && session_of(summary) == session.id
                    && self.range.start_unix_nano.is_none_or(|from| start >= from)
                    && self.range.end_unix_nano.is_none_or(|end| start < end);
                if is_meant {
                    details.add(Record::of(&stored));
                }
            }
        }
        Ok(details)
    }

    /// Walks spans; the older servers' first traces were none.
    async fn walk(
        &self,
        mut filter: SpanFilter,
        mut add: impl FnMut(SpanSummary) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        filter.range = self.range;
        let (reader, filter) = (&self.shared.reader, &filter);
        let ask =
            |page: PageRequest| async move { reader.list_spans(self.project, filter, &page).await };
        let each = |span: SpanSummary| {
            if is_first_generation(&span) {
                return Ok(());
            }
            add(span)
        };
        Ok(walk(self.deadline, ask, each).await??)
    }
}
