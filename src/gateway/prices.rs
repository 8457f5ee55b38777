//! What model calls cost.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::params::Params;
use super::problem::Problem;
use super::render;
use super::{Shared, window};

/// `GET /api/v1/prices`: the configured entries, and what a model costs.
pub(super) async fn prices(
    State(shared): State<Arc<Shared>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let (provider, model) = (params.text("provider"), params.text("model"));
    let at = params.time("at").unwrap_or_else(window::now);
    if model.is_none() && (provider.is_some() || params.has("at")) {
        params.reject("model", "is needed to look a price up");
    }
    params.finish()?;
    let table = &shared.prices;
    let asked = model.map(|model| {
        let listed = table.look_up(provider.as_deref(), &model, at);
        (provider, model, listed)
    });
    Ok(Json(render::Prices::new(table, asked)).into_response())
}
