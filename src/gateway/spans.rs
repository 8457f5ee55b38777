//! Spans: the list, and one with everything it came with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, Problem};
use super::{Shared, facts, list_answer, render};
use crate::storage::SpanFilter;

/// `GET /api/v1/spans`: newest start first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let filter = filter(&mut params);
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let answer = shared.reader.list_spans(caller.project, &filter, &page);
    let found = answer.await?;
    Ok(list_answer::<_, render::SpanSummary>(
        &shared, &binding, found,
    ))
}

/// Which spans are meant; what is wrong is noted in the parameters.
pub(super) fn filter(params: &mut Params) -> SpanFilter {
    let range = params.range();
    let (duration_min_ns, duration_max_ns) = params.durations();
    let (status, facts) = facts::read(params);
    SpanFilter {
        range,
        trace_id: params.trace_id(),
        service: params.text("service"),
        name: params.text("name"),
        status,
        duration_min_ns,
        duration_max_ns,
        session_id: params.text("session_id"),
        user_id: params.text("user_id"),
        tokens_min: params.tokens_min(),
        cost_min_nano_usd: params.cost_min_nano_usd(),
        facts,
        attributes: params.attributes(),
    }
}

/// `GET /api/v1/spans/{trace_id}/{span_id}`.
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((trace_id, span_id)): Path<(String, String)>,
    mut params: Params,
) -> Result<Response, Problem> {
    let trace_id = params.path_id("trace_id", &trace_id);
    let span_id = params.path_id("span_id", &span_id);
    params.finish()?;
    let (Some(trace_id), Some(span_id)) = (trace_id, span_id) else {
        return Err(Problem::internal());
    };
    let found = shared
        .reader
        .span(caller.project, trace_id, span_id)
        .await?;
    let span = found.ok_or_else(|| Problem::new(Code::NotFound, "no such span"))?;
    let events = shared
        .reader
        .events_of(caller.project, trace_id, Some(span_id))
        .await?;
    let detail = render::SpanDetail::with_messages(span, &events.events)?;
    Ok(Json(detail).into_response())
}
