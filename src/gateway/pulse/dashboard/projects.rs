//! Projects of a person.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::super::super::Shared;
use super::super::answer::{self, Refused};
use super::super::asked::{self, time};
use super::{change_of, changed, role, within};
use crate::auth::people::Person;
use crate::auth::{issue, names};
use crate::receivers::pulse::json::Json;
use crate::storage::access::Refusal;
use crate::storage::access::people::NewTenant;

/// `GET /dashboard/api/projects`.
pub(in crate::gateway::pulse) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(person): Extension<Person>,
) -> Result<Response, Refused> {
    let found = within(&shared, shared.access.projects_of(person.user.id)).await?;
    let only = person.login.project;
    let projects = found
        .into_iter()
        .filter(|(project, _)| only.is_none_or(|only| only == project.id))
        .map(|(project, of)| {
            Json::map([
                ("id", Json::text(project.id.to_string())),
                ("name", Json::text(project.name)),
                ("createdAt", time(project.created_unix_nano)),
                ("role", role(of)),
            ])
        });
    let body = Json::map([("projects", Json::List(projects.collect()))]);
    Ok(answer::json(StatusCode::OK, &body))
}

/// `POST /dashboard/api/projects`: whoever makes one is its admin.
pub(in crate::gateway::pulse) async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(person): Extension<Person>,
    request: Request,
) -> Result<Response, Refused> {
    if person.login.project.is_some() {
        let error = "Forbidden: this session was begun with an API key";
        return Err(Refused::new(StatusCode::FORBIDDEN, error));
    }
    // The older servers failed at what is no JSON.
    let body = asked::json(request).await?.ok_or_else(Refused::internal)?;
    let name = body.get("name").and_then(Json::as_text);
    let name = name.ok_or_else(|| Refused::bad("Missing required field: name"))?;
    let name = names::name(name).map_err(|error| match error {
        names::Error::Empty => Refused::bad("Project name cannot be empty"),
        other => Refused::bad(&format!("Project name {other}")),
    })?;
    let (key, stored) = issue::older(issue::DEFAULT_KEY).map_err(|error| {
        tracing::error!(%error, "can't make a key");
        Refused::internal()
    })?;
    let tenant = NewTenant { name, key: stored };
    let by = change_of(&person);
    let creating = shared.access.create_tenant(tenant, person.user.id, by);
    let project = changed(&shared, creating).await?;
    let project = project.map_err(|refusal| match refusal {
        Refusal::Unknown => Refused::new(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Refusal::Taken | Refusal::TooMany => {
            Refused::new(StatusCode::CONFLICT, "Too many projects")
        }
    })?;
    let body = Json::map([
        ("projectId", Json::text(project.id.to_string())),
        ("apiKey", Json::text(key.reveal())),
        ("name", Json::text(project.name)),
    ]);
    Ok(answer::json(StatusCode::CREATED, &body))
}
