//! Projects, keys, and what was changed, for admins.
//!
//! Admins of the project `default` administer all projects; those of another see and change that
//! one alone, and are told that others are not known.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Deserialize;

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, FieldError, Problem};
use super::render::control::{AuditEntry, CreatedKey, Key, Project};
use super::{Shared, body, list_answer, window};
use crate::auth::{ApiKey, issue, names};
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::storage::access::{Change, Done, Refusal};
use crate::storage::{self, Cursor, Page, PageRequest};

/// Bytes of a body at most: names and times.
pub(super) const BODY_BYTES_MAX: usize = 16 << 10;

pub(super) fn change(caller: &Caller) -> Change {
    Change {
        by: caller.principal.who.to_string(),
        at_unix_nano: window::now(),
    }
}

pub(super) fn not_found(what: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no such {what}"))
}

pub(super) fn wrong(path: &str, message: impl Into<String>) -> FieldError {
    FieldError {
        path: path.to_owned(),
        message: message.into(),
    }
}

/// The project that is meant: the caller's, or for operators any.
pub(super) fn meant(caller: &Caller, project: Option<u32>) -> Result<ProjectId, Problem> {
    match project.map(ProjectId) {
        None => Ok(caller.project),
        Some(project) if project == caller.project => Ok(project),
        Some(project) if caller.principal.is_operator() => Ok(project),
        Some(_) => Err(not_found("project")),
    }
}

fn project_parameter(caller: &Caller, params: &mut Params) -> Result<ProjectId, Problem> {
    let text = params.text("project_id");
    let number = text.as_ref().map(|text| text.parse::<u32>());
    match number.transpose() {
        Ok(number) => meant(caller, number),
        Err(_) => {
            params.reject("project_id", "is not the number of a project");
            Ok(caller.project)
        }
    }
}

/// Waits for a change, makes it count on this node at once, and says what came of it.
pub(super) async fn changed<T>(
    shared: &Shared,
    what: &str,
    change: impl Future<Output = Done<T>>,
) -> Result<T, Problem> {
    let done = within(shared, change).await?;
    shared.gate.refresh().await;
    done.map_err(|refusal| match refusal {
        Refusal::Unknown => not_found(what),
        Refusal::Taken => Problem::new(Code::Conflict, format!("the {what} is taken")),
        Refusal::TooMany => Problem::new(
            Code::Conflict,
            format!("there are as many {what}s as there may be"),
        ),
    })
}

pub(super) async fn within<T>(
    shared: &Shared,
    work: impl Future<Output = Result<T, storage::Error>>,
) -> Result<T, Problem> {
    let done = tokio::time::timeout(shared.config.query_timeout.0, work).await;
    Ok(done.unwrap_or(Err(storage::Error::Timeout))?)
}

pub(super) async fn project_of(
    shared: &Shared,
    id: ProjectId,
) -> Result<Page<storage::access::Project>, Problem> {
    let page = PageRequest {
        limit: 1,
        after: id.0.checked_sub(1).map(|before| Cursor {
            unix_nano: before.into(),
            key: Vec::new(),
        }),
    };
    let mut found = within(shared, shared.access.projects(page)).await?;
    found.items.retain(|project| project.id == id);
    found.next = None;
    Ok(found)
}

/// `GET /api/v1/projects`: by number.
pub(super) async fn projects(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let found = if caller.principal.is_operator() {
        within(&shared, shared.access.projects(page)).await?
    } else {
        project_of(&shared, caller.project).await?
    };
    Ok(list_answer::<_, Project>(&shared, &binding, found))
}

/// `GET /api/v1/projects/{project_id}`.
pub(super) async fn project(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let id = id.parse().map_err(|_| not_found("project"))?;
    let found = project_of(&shared, meant(&caller, Some(id))?).await?;
    let project = found.items.into_iter().next();
    let project = project.ok_or_else(|| not_found("project"))?;
    Ok(Json(Project::from(project)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedProject {
    name: String,
}

/// `POST /api/v1/projects`: for operators.
pub(super) async fn create_project(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    params.finish()?;
    only_operators(&caller)?;
    let limit = shared.config.query_timeout.0;
    let wanted: WantedProject = body::json(request, BODY_BYTES_MAX, limit).await?;
    let name = names::name(&wanted.name).map_err(|error| {
        let fields = vec![wrong("name", error.to_string())];
        Problem::fields(Code::InvalidParameter, fields)
    })?;
    let creating = shared.access.create_project(name, change(&caller));
    let project = changed(&shared, "project", creating).await?;
    Ok((StatusCode::CREATED, Json(Project::from(project))).into_response())
}

pub(super) fn only_operators(caller: &Caller) -> Result<(), Problem> {
    if caller.principal.is_operator() {
        return Ok(());
    }
    let detail = "this needs a key of the project default with the scope \"admin\"";
    Err(Problem::new(Code::Forbidden, detail))
}

/// `DELETE /api/v1/projects/{project_id}`: for operators.
pub(super) async fn delete_project(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let id = id.parse().map_err(|_| not_found("project"))?;
    let id = meant(&caller, Some(id))?;
    only_operators(&caller)?;
    if id == ProjectId::DEFAULT {
        let detail = "the project default can't be deleted";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let found = project_of(&shared, id).await?.items.into_iter().next();
    let found = found.ok_or_else(|| not_found("project"))?;
    let deleting = shared.access.delete_project(id, change(&caller));
    changed(&shared, "project", deleting).await?;
    Ok(Json(Project::from(found)).into_response())
}

/// `GET /api/v1/keys`: newest first, revoked and expired ones too.
pub(super) async fn keys(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = project_parameter(&caller, &mut params)?;
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let found = within(&shared, shared.access.keys(project, page)).await?;
    Ok(list_answer::<_, Key>(&shared, &binding, found))
}

/// `GET /api/v1/keys/{key_id}`.
pub(super) async fn key(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = project_parameter(&caller, &mut params)?;
    params.finish()?;
    let found = within(&shared, shared.access.key_by_id(project, id)).await?;
    let found = found.ok_or_else(|| not_found("key"))?;
    Ok(Json(Key::from(found)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedKey {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires_time: Option<String>,
    #[serde(default)]
    project_id: Option<u32>,
}

impl WantedKey {
    /// Name, scopes and when it stops.
    fn check(&self) -> Result<(String, Scopes, Option<u64>), Problem> {
        let mut fields = Vec::new();
        let name = names::name(&self.name).unwrap_or_else(|error| {
            fields.push(wrong("name", error.to_string()));
            String::new()
        });
        let mut scopes = Scopes::NONE;
        for (number, text) in self.scopes.iter().enumerate() {
            match text.parse::<Scope>() {
                Ok(scope) => scopes = scopes.with(scope),
                Err(error) => fields.push(wrong(&format!("scopes[{number}]"), error.to_string())),
            }
        }
        if self.scopes.is_empty() {
            fields.push(wrong("scopes", "must name at least one"));
        }
        let expires = self.expires_time.as_ref().map(|text| {
            let time = text.parse::<jiff::Timestamp>().ok();
            let nanos = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
            nanos.filter(|at| *at > window::now())
        });
        if expires == Some(None) {
            let message = "is not a time to come, such as 2027-01-01T00:00:00Z";
            fields.push(wrong("expires_time", message));
        }
        if fields.is_empty() {
            Ok((name, scopes, expires.flatten()))
        } else {
            Err(Problem::fields(Code::InvalidParameter, fields))
        }
    }
}

/// `POST /api/v1/keys`: the only answer that holds the key.
pub(super) async fn create_key(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    params.finish()?;
    let limit = shared.config.query_timeout.0;
    let wanted: WantedKey = body::json(request, BODY_BYTES_MAX, limit).await?;
    let (name, scopes, expires) = wanted.check()?;
    let project = meant(&caller, wanted.project_id)?;
    let no_randomness = |error| {
        tracing::error!(%error, "can't make a key");
        Problem::internal()
    };
    let made = ApiKey::generate().map_err(no_randomness)?;
    let stored = issue::stored(&made, project, name, scopes, expires).map_err(no_randomness)?;
    let creating = shared.access.create_key(stored, change(&caller));
    let key = changed(&shared, "project", creating).await?;
    let answer = CreatedKey::new(&made, key);
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `DELETE /api/v1/keys/{key_id}`: revokes it.
pub(super) async fn revoke_key(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = project_parameter(&caller, &mut params)?;
    params.finish()?;
    let revoking = shared.access.revoke_key(project, id, change(&caller));
    let revoked = changed(&shared, "key", revoking).await?;
    Ok(Json(Key::from(revoked)).into_response())
}

/// `GET /api/v1/audit`: what was changed, newest first.
pub(super) async fn audit(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let names_one = params.has("project_id");
    let project = project_parameter(&caller, &mut params)?;
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let sees_all = caller.principal.is_operator() && !names_one;
    let project = (!sees_all).then_some(project);
    let found = within(&shared, shared.access.audit(project, page)).await?;
    Ok(list_answer::<_, AuditEntry>(&shared, &binding, found))
}
