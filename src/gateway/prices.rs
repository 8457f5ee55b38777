//! What model calls cost.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::body;
use super::caller::Caller;
use super::params::Params;
use super::problem::{Code, FieldError, Problem};
use super::render;
use super::{Shared, window};
use crate::model::ProjectId;
use crate::pricing::{Override, Table};
use crate::storage;
use crate::storage::settings::{PRICES, VALUE_BYTES_MAX};

/// Entries of a project at most.
const ENTRIES_MAX: usize = 1000;

/// `GET /api/v1/prices`: the configured entries, and what a model costs.
pub(super) async fn prices(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let (provider, model) = (params.text("provider"), params.text("model"));
    let at = params.time("at").unwrap_or_else(window::now);
    if model.is_none() && (provider.is_some() || params.has("at")) {
        params.reject("model", "is needed to look a price up");
    }
    params.finish()?;
    let own = read(&shared, caller.project).await?;
    // What can't be used is not used by the writer either.
    let table = shared.prices.before(&own);
    let table = table.unwrap_or_else(|_| shared.prices.clone());
    let asked = model.map(|model| {
        let listed = table.look_up(provider.as_deref(), &model, at);
        (provider, model, listed)
    });
    let configured = shared.prices.overrides();
    Ok(Json(render::Prices::new(&table, configured, &own, asked)).into_response())
}

/// `GET /api/v1/prices/overrides`: the entries of the project.
pub(super) async fn overrides(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let overrides = read(&shared, caller.project).await?;
    Ok(Json(render::PriceOverrides { overrides }).into_response())
}

/// What `PUT` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Read one by one, to say which of them is wrong.
    overrides: Vec<serde_json::Value>,
}

/// `PUT /api/v1/prices/overrides`: replaces the entries of the project. They are in use within
/// seconds, for calls that are stored from then on.
pub(super) async fn replace(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    params.finish()?;
    let limit = shared.config.query_timeout.0;
    let wanted: Wanted = body::json(request, VALUE_BYTES_MAX, limit).await?;
    let overrides = check(wanted.overrides)?;
    let value = serde_json::to_vec(&overrides).map_err(|_| Problem::internal())?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(body::too_large(VALUE_BYTES_MAX));
    }
    let value = (!overrides.is_empty()).then_some(value);
    let saved = shared.settings.put(caller.project, PRICES, value);
    within(limit, saved).await?;
    Ok(Json(render::PriceOverrides { overrides }).into_response())
}

fn check(wanted: Vec<serde_json::Value>) -> Result<Vec<Override>, Problem> {
    let wrong = |path: String, message: String| FieldError { path, message };
    if wanted.len() > ENTRIES_MAX {
        let message = format!(
            "holds {} entries, at most {ENTRIES_MAX} may be given",
            wanted.len()
        );
        let fields = vec![wrong("overrides".to_owned(), message)];
        return Err(Problem::fields(Code::InvalidParameter, fields));
    }
    let (mut overrides, mut fields) = (Vec::new(), Vec::new());
    for (number, value) in wanted.into_iter().enumerate() {
        let path = format!("overrides[{number}]");
        match serde_json::from_value::<Override>(value) {
            Err(error) => fields.push(wrong(path, error.to_string())),
            Ok(entry) => {
                if let Err(error) = Table::new(std::slice::from_ref(&entry)) {
                    fields.push(wrong(path, error.to_string()));
                }
                overrides.push(entry);
            }
        }
    }
    if fields.is_empty() {
        Ok(overrides)
    } else {
        Err(Problem::fields(Code::InvalidParameter, fields))
    }
}

async fn read(shared: &Shared, project: ProjectId) -> Result<Vec<Override>, Problem> {
    let limit = shared.config.query_timeout.0;
    let found = within(limit, shared.settings.get(project, PRICES)).await?;
    let Some(found) = found else {
        return Ok(Vec::new());
    };
    let entries = serde_json::from_slice(&found);
    entries.map_err(|error| {
        let context = format!("the prices of a project: {error}");
        storage::Error::Corrupt { context }.into()
    })
}

async fn within<T>(
    limit: std::time::Duration,
    work: impl Future<Output = Result<T, storage::Error>>,
) -> Result<T, Problem> {
    let done = tokio::time::timeout(limit, work).await;
    Ok(done.unwrap_or(Err(storage::Error::Timeout))?)
}
