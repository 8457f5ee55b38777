//! Whole traces, sessions and spans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::future::try_join_all;
use http::StatusCode;
use tokio::sync::SemaphorePermit;

use super::super::Shared;
use super::answer::{self, Refused};
use super::caller::Keyed;
use super::lists::{STEP, is_first_generation};
use super::record::Record;
use super::render;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::receivers::pulse::ids;
use crate::receivers::pulse::json::Json;
use crate::storage::{PageRequest, StoredSpan};

/// Bytes of one answer at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of one trace in lists at most, so that one alone can be answered, whatever its texts become
/// in JSON.
const LISTED_BYTES_MAX: usize = 8 << 20;
/// What a span takes beside its message, in bytes.
const SPAN_BYTES: usize = 1 << 10;
/// Questions to the store at once.
const QUESTIONS_AT_ONCE: usize = 4;
/// Longest search for a span by its id alone: there is no index of those.
const FIND_TIMEOUT: Duration = Duration::from_secs(2);
/// Traces of a session that are answered at most.
const TRACES_OF_SESSION_MAX: usize = 10_000;
/// Spans read at once to see whether a trace tells of a session only.
const SPANS_LOOKED_AT: usize = 32;
/// Events that make no trace.
const OF_SESSION: [&str; 2] = ["session_start", "session_end"];

/// Waits for a turn: what these routes read is bounded for each request, and so is their number.
pub(super) async fn turn(shared: &Shared) -> Result<SemaphorePermit<'_>, Refused> {
    let wait = shared.config.query_timeout.0;
    match tokio::time::timeout(wait, shared.pulse_permits.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => {
            let sentence = "Other questions are being answered; try again";
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, sentence))
        }
    }
}

/// When a question that begins now must have its answer.
pub(super) fn deadline(shared: &Shared) -> Instant {
    Instant::now() + shared.config.query_timeout.0
}

/// `GET /v1/traces/{id}`.
pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let _turn = turn(&shared).await?;
    let deadline = deadline(&shared);
    let trace_id = ids::trace_id(&id);
    let records = records(&shared, keyed.project, trace_id, deadline).await?;
    if records.is_empty() || ids::is_unnamed(trace_id) {
        return Err(Refused::missing("Trace not found"));
    }
    let trace = render::trace(&records, &keyed.project.to_string()).to_string();
    bounded(trace.len())?;
    Ok(answer::written(StatusCode::OK, trace))
}

/// `GET /v1/spans/{id}`.
pub(super) async fn span(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let missing = || Refused::missing("Span not found");
    let span_id = ids::span_id(&id);
    let _turn = turn(&shared).await?;
    let find = shared.reader.find_span(keyed.project, span_id);
    let trace_id = tokio::time::timeout(FIND_TIMEOUT, find).await;
    let trace_id = trace_id.map_err(|_elapsed| answer::out_of_time())??;
    let trace_id = trace_id.ok_or_else(missing)?;
    let found = shared.reader.span(keyed.project, trace_id, span_id).await?;
    let found = found.filter(|it| !is_first_generation(&it.summary));
    let record = Record::of(&found.ok_or_else(missing)?);
    let body = render::span(&record, &keyed.project.to_string());
    Ok(answer::json(StatusCode::OK, &body))
}

/// `GET /v1/sessions/{id}`.
pub(super) async fn session(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let _turn = turn(&shared).await?;
    let deadline = deadline(&shared);
    let mut traces: Vec<(String, Json)> = Vec::new();
    let mut bytes = 0;
    let project = keyed.project.to_string();
    for trace_id in traces_of(&shared, keyed.project, &id, deadline).await? {
        let mut records = records(&shared, keyed.project, trace_id, deadline).await?;
        records.retain(|it| it.session_id.as_deref() == Some(&*id));
        if ids::is_unnamed(trace_id) || is_only_of_session(&records) {
            continue;
        }
        let trace = render::trace(&records, &project);
        bytes += trace.to_string().len();
        bounded(bytes)?;
        let at = trace.get("timestamp").and_then(Json::as_text);
        traces.push((at.unwrap_or_default().to_owned(), trace));
    }
    if traces.is_empty() {
        return Err(Refused::missing("Session not found"));
    }
    traces.sort_by(|(one, _), (other, _)| one.cmp(other));
    let traces = traces.into_iter().map(|(_, trace)| trace).collect();
    let body = Json::map([
        ("sessionId", Json::text(id)),
        ("traces", Json::List(traces)),
    ]);
    Ok(answer::json(StatusCode::OK, &body))
}

/// `GET /v1/sessions/{id}/spans`.
pub(super) async fn session_spans(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let _turn = turn(&shared).await?;
    let deadline = deadline(&shared);
    let mut found: Vec<(u64, String)> = Vec::new();
    let mut bytes = 0;
    let project = keyed.project.to_string();
    for trace_id in traces_of(&shared, keyed.project, &id, deadline).await? {
        for stored in whole(&shared, keyed.project, trace_id, deadline).await? {
            let record = Record::of(&stored);
            let is_meant = record.session_id.as_deref() == Some(&*id);
            if is_meant && !is_first_generation(&stored.summary) {
                let span = render::span(&record, &project).to_string();
                bytes += span.len();
                bounded(bytes)?;
                found.push((stored.summary.start_unix_nano, span));
            }
        }
    }
    if found.is_empty() {
        return Err(Refused::missing("Session not found"));
    }
    found.sort_by_key(|(start, _)| *start);
    let spans: Vec<_> = found.into_iter().map(|(_, span)| span).collect();
    let body = format!(
        "{{\"sessionId\":{},\"spans\":[{}]}}",
        Json::text(id),
        spans.join(",")
    );
    Ok(answer::written(StatusCode::OK, body))
}

/// The traces with a span of a session; where there is none, the trace whose spans name no session
/// and so are in one that is called as the trace.
async fn traces_of(
    shared: &Shared,
    project: ProjectId,
    session: &str,
    deadline: Instant,
) -> Result<Vec<TraceId>, Refused> {
    let mut traces = Vec::new();
    let mut after = None;
    loop {
        in_time(deadline)?;
        let page = PageRequest { limit: STEP, after };
        let Some(found) = shared.reader.session(project, session, &page).await? else {
            break;
        };
        traces.extend(found.traces.iter().map(|trace| trace.trace_id));
        if traces.len() > TRACES_OF_SESSION_MAX {
            bounded(usize::MAX)?;
        }
        match found.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if traces.is_empty() {
        traces.push(ids::trace_id(session));
    }
    Ok(traces)
}

/// Traces as lists answer them, in the order given; those that are gone are left out, and those
/// that tell of a session only.
pub(super) async fn traces(
    shared: &Shared,
    project: ProjectId,
    wanted: &[TraceId],
    deadline: Instant,
) -> Result<Vec<String>, Refused> {
    let mut rendered = Vec::new();
    let mut bytes = 0;
    for trace_id in wanted {
        let read = beginning(shared, project, *trace_id, deadline).await?;
        let records: Vec<_> = read.spans.iter().map(Record::of).collect();
        if is_only_of_session(&records) {
            continue;
        }
        let trace = render::trace(&records, &project.to_string());
        let trace = if read.is_cut {
            render::partial(trace)
        } else {
            trace
        };
        let trace = trace.to_string();
        bytes += trace.len();
        bounded(bytes)?;
        rendered.push(trace);
    }
    Ok(rendered)
}

/// What is stored of some spans, in their order.
pub(super) async fn stored(
    shared: &Shared,
    project: ProjectId,
    wanted: &[(TraceId, SpanId)],
) -> Result<Vec<Option<StoredSpan>>, Refused> {
    let mut found = Vec::with_capacity(wanted.len());
    for wanted in wanted.chunks(QUESTIONS_AT_ONCE) {
        let mut asked = Vec::with_capacity(wanted.len());
        for (trace_id, span_id) in wanted {
            asked.push(shared.reader.span(project, *trace_id, *span_id));
        }
        found.extend(try_join_all(asked).await?);
    }
    Ok(found)
}

/// Spans as they are answered, in the order given; those that are gone are left out.
pub(super) async fn spans(
    shared: &Shared,
    project: ProjectId,
    wanted: &[(TraceId, SpanId)],
    deadline: Instant,
) -> Result<Vec<String>, Refused> {
    let mut rendered = Vec::new();
    let mut bytes = 0;
    for wanted in wanted.chunks(QUESTIONS_AT_ONCE) {
        in_time(deadline)?;
        for stored in stored(shared, project, wanted).await?.iter().flatten() {
            let span = render::span(&Record::of(stored), &project.to_string()).to_string();
            bytes += span.len();
            bounded(bytes)?;
            rendered.push(span);
        }
    }
    Ok(rendered)
}

/// Whether a trace tells of nothing but the beginning and end of a session.
pub(super) async fn is_of_session(
    shared: &Shared,
    project: ProjectId,
    trace_id: TraceId,
) -> Result<bool, Refused> {
    let mut page = PageRequest {
        limit: SPANS_LOOKED_AT,
        after: None,
    };
    loop {
        let trace = shared.reader.trace(project, trace_id, &page).await?;
        let Some(trace) = trace else {
            return Ok(true);
        };
        let records: Vec<_> = trace.spans.iter().map(Record::of).collect();
        if !is_only_of_session(&records) {
            return Ok(false);
        }
        match trace.next {
            Some(next) => page.after = Some(next),
            None => return Ok(true),
        }
    }
}

fn is_only_of_session(records: &[Record]) -> bool {
    records.iter().all(is_event_of_session)
}

/// Whether a span is the beginning or end of a session, which makes no trace.
pub(super) fn is_event_of_session(record: &Record) -> bool {
    record.has_event && OF_SESSION.contains(&record.event_type.as_str())
}

async fn records(
    shared: &Shared,
    project: ProjectId,
    trace_id: TraceId,
    deadline: Instant,
) -> Result<Vec<Record>, Refused> {
    let stored = whole(shared, project, trace_id, deadline).await?;
    Ok(stored.iter().map(Record::of).collect())
}

/// All spans of a trace in the order of time; refused when they are more than an answer may have.
async fn whole(
    shared: &Shared,
    project: ProjectId,
    trace_id: TraceId,
    deadline: Instant,
) -> Result<Vec<StoredSpan>, Refused> {
    let all = (usize::MAX, ANSWER_BYTES_MAX);
    let spans = first(shared, project, trace_id, deadline, all).await?;
    if spans.is_cut {
        bounded(usize::MAX)?;
    }
    Ok(spans.spans)
}

/// Spans of a trace in the order of time.
pub(super) struct Spans {
    pub(super) spans: Vec<StoredSpan>,
    /// Whether the trace has more.
    is_cut: bool,
}

/// The spans of a trace as far as lists show them.
pub(super) async fn beginning(
    shared: &Shared,
    project: ProjectId,
    trace_id: TraceId,
    deadline: Instant,
) -> Result<Spans, Refused> {
    let most = usize::try_from(shared.config.trace_spans_max).unwrap_or(usize::MAX);
    let most = (most, LISTED_BYTES_MAX);
    first(shared, project, trace_id, deadline, most).await
}

/// Spans of a trace in the order of time, until there are so many or they have so many bytes.
async fn first(
    shared: &Shared,
    project: ProjectId,
    trace_id: TraceId,
    deadline: Instant,
    (most, bytes_max): (usize, usize),
) -> Result<Spans, Refused> {
    let mut spans: Vec<StoredSpan> = Vec::new();
    let mut bytes = 0;
    let mut after = None;
    let is_cut = loop {
        in_time(deadline)?;
        let limit = STEP.min(most.saturating_sub(spans.len()));
        let page = PageRequest { limit, after };
        let Some(trace) = shared.reader.trace(project, trace_id, &page).await? else {
            break false;
        };
        for span in trace.spans {
            bytes += span.message.len() + SPAN_BYTES;
            if bytes > bytes_max && !spans.is_empty() {
                return Ok(Spans {
                    spans,
                    is_cut: true,
                });
            }
            spans.push(span);
        }
        match trace.next {
            None => break false,
            Some(_) if spans.len() >= most => break true,
            Some(next) => after = Some(next),
        }
    };
    Ok(Spans { spans, is_cut })
}

pub(super) fn in_time(deadline: Instant) -> Result<(), Refused> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(answer::out_of_time())
    }
}

fn bounded(bytes: usize) -> Result<(), Refused> {
    if bytes <= ANSWER_BYTES_MAX {
        return Ok(());
    }
    let sentence = "The answer would be too large; ask for less, or page through /v1/spans";
    Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
