//! Searching what spans say.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::Params;
use super::problem::{Code, Problem};
use super::{Shared, render, spans};
use crate::semconv::messages::holds_messages;
use crate::storage::search::{Matcher, Scope, SearchQuery};

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

/// `GET /api/v1/search`: newest start first.
pub(super) async fn search(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let terms = params.terms();
    let chosen = params.repeated_choices("in", &IN);
    let has = |text| chosen.as_ref().is_none_or(|chosen| chosen.contains(&text));
    let scope = Scope {
        name: has(In::Name),
        messages: has(In::Messages),
        attributes: has(In::Attributes),
        holds_messages,
    };
    let filter = spans::filter(&mut params);
    let time_limit = params.timeout(TIMEOUT_DEFAULT, TIMEOUT_MAX);
    let limit_max = LIMIT_MAX.min(shared.config.page_size_max);
    let (page, binding) = params.finish_page(&shared, LIMIT_DEFAULT, limit_max)?;
    let Some(terms) = terms else {
        return Err(Problem::internal());
    };
    let permit = tokio::time::timeout(time_limit, shared.search_permits.acquire()).await;
    let Ok(Ok(_permit)) = permit else {
        let detail = "other searches are running; try again, or narrow them";
        return Err(Problem::new(Code::StorageUnavailable, detail));
    };
    let query = SearchQuery {
        filter,
        matcher: Arc::new(Matcher::new(terms, scope)),
        time_limit,
    };
    let found = shared.reader.search(caller.project, &query, &page).await?;
    let next = found.next.as_ref();
    let next_cursor = next.map(|cursor| shared.cursors().seal(&binding, cursor));
    Ok(Json(render::SearchPage::new(found, next_cursor)).into_response())
}
