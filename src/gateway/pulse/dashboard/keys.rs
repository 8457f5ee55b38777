//! Keys of a project, for its admins. A key is shown when it is made and never again.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;

use super::super::super::Shared;
use super::super::answer::{self, Refused};
use super::super::asked::{self, time};
use super::{change, changed, done, within};
use crate::auth::key::MASK;
use crate::auth::{Principal, issue, names};
use crate::model::ProjectId;
use crate::receivers::pulse::json::Json;
use crate::storage::access::{ApiKey, NewKey, Refusal};
use crate::storage::{Cursor, PageRequest};

/// What a key without a name is called.
const UNNAMED: &str = "API Key";

fn missing() -> Refused {
    Refused::missing("API key not found")
}

/// The name of a project.
async fn name_of(shared: &Shared, project: ProjectId) -> Result<String, Refused> {
    let page = PageRequest {
        limit: 1,
        after: project.0.checked_sub(1).map(|before| Cursor {
            unix_nano: before.into(),
            key: Vec::new(),
        }),
    };
    let found = within(shared, shared.access.projects(page)).await?;
    let named = found.items.into_iter().find(|found| found.id == project);
    Ok(named.map_or_else(String::new, |found| found.name))
}

fn shown(key: &ApiKey, project_name: &str) -> Json {
    let mut entries = vec![
        ("id", Json::text(&key.id)),
        ("projectId", Json::text(key.project.to_string())),
        ("projectName", Json::text(project_name)),
        ("key", Json::text(format!("{}{MASK}", key.prefix))),
        ("name", Json::text(&key.name)),
    ];
    entries.extend(key.last_used_unix_nano.map(|at| ("lastUsedAt", time(at))));
    entries.push(("createdAt", time(key.created_unix_nano)));
    Json::map(entries)
}

/// `GET /dashboard/api/api-keys`: masked.
pub(in crate::gateway::pulse) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(admin): Extension<Principal>,
) -> Result<Response, Refused> {
    let name = name_of(&shared, admin.project).await?;
    let keys = within(&shared, shared.access.live_keys(admin.project)).await?;
    let keys = keys.iter().map(|key| shown(key, &name)).collect();
    let body = Json::map([("keys", Json::List(keys))]);
    Ok(answer::json(StatusCode::OK, &body))
}

/// `POST /dashboard/api/api-keys`: the only answer that holds the key.
pub(in crate::gateway::pulse) async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(admin): Extension<Principal>,
    request: Request,
) -> Result<Response, Refused> {
    let invalid = || Refused::bad("Invalid request body");
    let body = asked::json(request).await?.ok_or_else(invalid)?;
    let name = match body.get("name") {
        None | Some(Json::Null) => UNNAMED,
        Some(name) => name.as_text().ok_or_else(invalid)?,
    };
    let name = match names::name(name) {
        Ok(name) => name,
        Err(names::Error::Empty) => UNNAMED.to_owned(),
        Err(_) => return Err(invalid()),
    };
    let (key, stored) = issue::older(&name).map_err(|error| {
        tracing::error!(%error, "can't make a key");
        Refused::internal()
    })?;
    let stored = NewKey {
        project: admin.project,
        ..stored
    };
    let creating = shared.access.create_key(stored, change(&admin));
    changed(&shared, creating)
        .await?
        .map_err(|refusal| match refusal {
            Refusal::Unknown => missing(),
            Refusal::Taken | Refusal::TooMany => {
                Refused::new(StatusCode::CONFLICT, "Too many API keys")
            }
        })?;
    let body = Json::map([("apiKey", Json::text(key.reveal()))]);
    Ok(answer::json(StatusCode::CREATED, &body))
}

/// A key that is not revoked: those that are count as deleted here.
async fn live(shared: &Shared, admin: &Principal, id: &str) -> Result<(), Refused> {
    let found = shared.access.key_by_id(admin.project, id.to_owned());
    let found = within(shared, found).await?;
    let is_live = found.is_some_and(|key| key.revoked_unix_nano.is_none());
    if is_live { Ok(()) } else { Err(missing()) }
}

/// `PATCH /dashboard/api/api-keys/{id}`: another name.
pub(in crate::gateway::pulse) async fn rename(
    State(shared): State<Arc<Shared>>,
    Extension(admin): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let body = asked::json(request).await?;
    let body = body.ok_or_else(|| Refused::bad("Invalid request body"))?;
    let name = body.get("name").and_then(Json::as_text);
    let name = name.and_then(|name| names::name(name).ok());
    let name = name.ok_or_else(|| Refused::bad("Missing or invalid 'name' field"))?;
    live(&shared, &admin, &id).await?;
    let renaming = shared
        .access
        .rename_key(admin.project, id, name, change(&admin));
    changed(&shared, renaming).await?.map_err(|_| missing())?;
    Ok(answer::json(StatusCode::OK, &done()))
}

/// `DELETE /dashboard/api/api-keys/{id}`: revokes it.
pub(in crate::gateway::pulse) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Extension(admin): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    live(&shared, &admin, &id).await?;
    let revoking = shared.access.revoke_key(admin.project, id, change(&admin));
    changed(&shared, revoking).await?.map_err(|_| missing())?;
    Ok(answer::json(StatusCode::OK, &done()))
}
