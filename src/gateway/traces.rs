//! Traces: the list, and one with its spans.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, Problem};
use super::{Shared, list_answer, render};
use crate::storage::TraceFilter;

/// `GET /api/v1/traces`: newest start first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let range = params.range();
    let (duration_min_ns, duration_max_ns) = params.durations();
    let filter = TraceFilter {
        range,
        service: params.text("service"),
        name: params.text("name"),
        status: params.status(),
        duration_min_ns,
        duration_max_ns,
        session_id: params.text("session_id"),
        attributes: params.attributes(),
    };
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let answer = shared.reader.list_traces(caller.project, &filter, &page);
    let found = answer.await?;
    Ok(list_answer::<_, render::TraceSummary>(
        &shared, &binding, found,
    ))
}

/// `GET /api/v1/traces/{trace_id}`: the trace and its spans in start order.
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(trace_id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let trace_id = params.path_id("trace_id", &trace_id);
    let spans_max = shared.config.trace_spans_max;
    let (page, binding) = params.finish_page(&shared, spans_max, spans_max)?;
    let trace_id = trace_id.ok_or_else(Problem::internal)?;
    let waited = tokio::time::timeout(
        shared.config.query_timeout.0,
        shared.trace_permits.acquire(),
    );
    let Ok(Ok(_permit)) = waited.await else {
        return Err(Problem::new(
            Code::StorageUnavailable,
            "too many traces are being read",
        ));
    };
    let found = shared.reader.trace(caller.project, trace_id, &page).await?;
    let trace = found.ok_or_else(|| Problem::new(Code::NotFound, "no such trace"))?;
    let next = trace.next.as_ref();
    let next_cursor = next.map(|cursor| shared.cursors.seal(&binding, cursor));
    let json = render_apart(move || render::write_trace(trace, next_cursor.as_deref())).await?;
    let content_type = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, content_type)], json).into_response())
}

/// Runs the rendering of a large answer beside the threads that serve everybody else. How many
/// run at once is bounded by the trace permits.
async fn render_apart<F>(render: F) -> Result<Vec<u8>, Problem>
where
    F: FnOnce() -> Result<Vec<u8>, crate::storage::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(render).await {
        Ok(rendered) => Ok(rendered?),
        Err(_) => Err(Problem::internal()),
    }
}
