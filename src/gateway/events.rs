//! Events: the list, one, and those of a trace.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, Problem};
use super::{Shared, render};
use crate::storage::EventFilter;

/// Events of a page at most; each comes with its body.
const EVENTS_MAX: u32 = 500;

/// `GET /api/v1/events`: newest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let filter = EventFilter {
        range: params.range(),
        service: params.text("service"),
        environment: params.text("environment"),
        severity_min: params.severity_min(),
        name: params.text("name"),
        trace_id: params.trace_id(),
        span_id: params.span_id(),
        session_id: params.text("session_id"),
        source: None,
        attributes: params.attributes(),
    };
    let limit_max = shared.config.page_size_max.min(EVENTS_MAX);
    let (page, binding) = params.finish_page(&shared, PAGE_SIZE_DEFAULT, limit_max)?;
    let found = shared.reader.list_events(caller.project, &filter, &page);
    let found = found.await?;
    let next = found.next.as_ref();
    let next_cursor = next.map(|cursor| shared.cursors().seal(&binding, cursor));
    let items = found.items.into_iter().map(render::EventDetail::new);
    let items = items.collect::<Result<_, _>>()?;
    Ok(Json(render::List { items, next_cursor }).into_response())
}

/// `GET /api/v1/events/{event_id}`.
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(event_id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let event_id = params.path_id("event_id", &event_id);
    params.finish()?;
    let event_id = event_id.ok_or_else(Problem::internal)?;
    let found = shared.reader.event(caller.project, event_id).await?;
    let event = found.ok_or_else(|| Problem::new(Code::NotFound, "no such event"))?;
    Ok(Json(render::EventDetail::new(event)?).into_response())
}
