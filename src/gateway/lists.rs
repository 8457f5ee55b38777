//! The short lists: services, sessions, spans the store refused.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::Problem;
use super::{Shared, list_answer, render};
use crate::storage::SessionFilter;

/// `GET /api/v1/services`: by name.
pub(super) async fn services(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let found = shared.reader.list_services(caller.project, &page).await?;
    Ok(list_answer::<_, render::Service>(&shared, &binding, found))
}

/// `GET /api/v1/sessions`: latest activity first.
pub(super) async fn sessions(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let filter = SessionFilter {
        range: params.range(),
        user_id: params.text("user_id"),
    };
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let answer = shared.reader.list_sessions(caller.project, &filter, &page);
    let found = answer.await?;
    Ok(list_answer::<_, render::Session>(&shared, &binding, found))
}

/// `GET /api/v1/dead-letters`: newest first.
pub(super) async fn dead_letters(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let answer = shared.reader.list_dead_letters(caller.project, &page);
    let found = answer.await?;
    Ok(list_answer::<_, render::RefusedSpan>(
        &shared, &binding, found,
    ))
}
