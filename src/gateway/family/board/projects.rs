//! `/projects`: those of an owner.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;

use super::super::super::{Shared, window};
use super::super::answer::Answer;
use super::{Holder, Owner, SERVER, body, no_project, succeeded, unauthorized};
use crate::auth::issue;
use crate::auth::key::MASK;
use crate::auth::names;
use crate::model::ProjectId;
use crate::receivers::family::schema::{Field, Rule, required};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;
use crate::storage::access::board::Owned;
use crate::storage::access::people::NewTenant;
use crate::storage::access::{Change, Done, Project, Refusal, User};

/// `POST /projects`.
const CREATE: &[Field] = &[required("name", Rule::TextOf(1))];

/// A project as its owner sees it. A key is told once, when it is made; later its beginning is, which
/// is of no use but to tell it from others.
fn shown(project: &Project, key: &str, owner: &User) -> Json {
    let created = Json::text(scalar::iso(i128::from(project.created_unix_nano)));
    Json::map([
        ("id", Json::text(project.id.to_string())),
        ("name", Json::text(&project.name)),
        ("apiKey", Json::text(key)),
        ("userId", Json::text(&owner.id)),
        ("createdAt", created.clone()),
        // Nothing of a project changes.
        ("updatedAt", created),
    ])
}

fn masked(owned: &Owned, owner: &User) -> Json {
    let prefix = owned.key_prefix.as_deref();
    let key = prefix.map_or_else(String::new, |prefix| format!("{prefix}{MASK}"));
    shown(&owned.project, &key, owner)
}

fn change(owner: &User) -> Change {
    Change {
        by: format!("user {}", owner.id),
        at_unix_nano: window::now(),
    }
}

/// Waits for a change, and makes it count on this node at once.
async fn changed<T>(
    shared: &Shared,
    change: impl Future<Output = Done<T>>,
) -> Result<Result<T, Refusal>, Answer> {
    let done = SERVER.within(shared, change).await;
    shared.gate.refresh().await;
    done
}

/// `GET /projects`: the newest first.
pub(in crate::gateway::family) async fn list(
    State(shared): State<Arc<Shared>>,
    Holder(owner): Holder,
) -> Result<Answer, Answer> {
    let asked = shared.access.owned(owner.id.clone(), None);
    let owned = SERVER.within(&shared, asked).await?;
    let data = owned.iter().map(|owned| masked(owned, &owner)).collect();
    Ok(succeeded(StatusCode::OK, [("data", Json::List(data))]))
}

/// `POST /projects`: the only answer that tells the key.
pub(in crate::gateway::family) async fn create(
    State(shared): State<Arc<Shared>>,
    Holder(owner): Holder,
    request: Request,
) -> Result<Answer, Answer> {
    let item = body(request, CREATE).await?;
    let name = names::name(item.text("name")).map_err(|error| match error {
        names::Error::Empty => SERVER.invalid("body/name must NOT have fewer than 1 characters"),
        other => SERVER.invalid(&format!("body/name {other}")),
    })?;
    let (key, stored) = issue::older(issue::DEFAULT_KEY).map_err(|error| {
        tracing::error!(%error, "can't make a key");
        SERVER.internal()
    })?;
    let tenant = NewTenant { name, key: stored };
    let creating = shared
        .access
        .create_tenant(tenant, owner.id.clone(), change(&owner));
    let project = changed(&shared, creating).await?;
    let project = project.map_err(|refusal| match refusal {
        Refusal::Unknown => unauthorized(),
        Refusal::Taken | Refusal::TooMany => {
            SERVER.unsuccessful(StatusCode::CONFLICT, "Too many projects")
        }
    })?;
    let data = shown(&project, key.reveal(), &owner);
    Ok(succeeded(StatusCode::CREATED, [("data", data)]))
}

/// `GET /projects/{id}`.
pub(in crate::gateway::family) async fn one(
    State(shared): State<Arc<Shared>>,
    Owner { held, principal }: Owner,
) -> Result<Answer, Answer> {
    let asked = shared
        .access
        .owned(held.user.id.clone(), Some(principal.project));
    let owned = SERVER.within(&shared, asked).await?;
    let owned = owned.first().ok_or_else(no_project)?;
    Ok(succeeded(
        StatusCode::OK,
        [("data", masked(owned, &held.user))],
    ))
}

/// `DELETE /projects/{id}`: what it stored goes in the background.
pub(in crate::gateway::family) async fn delete(
    State(shared): State<Arc<Shared>>,
    Owner { held, principal }: Owner,
) -> Result<Answer, Answer> {
    let project = principal.project;
    if project == ProjectId::DEFAULT {
        let message = "The project default can't be deleted";
        return Err(SERVER.unsuccessful(StatusCode::CONFLICT, message));
    }
    let deleting = shared.access.delete_project(project, change(&held.user));
    changed(&shared, deleting)
        .await?
        .map_err(|_| no_project())?;
    let message = Json::text("Project deleted");
    Ok(succeeded(StatusCode::OK, [("message", message)]))
}

/// `DELETE /projects/{id}/events`: those that had been stored when it was asked for. One that is
/// acknowledged but not stored yet may still come. More than can be deleted in the time of a query
/// are deleted when it is asked for again.
pub(in crate::gateway::family) async fn delete_events(
    State(shared): State<Arc<Shared>>,
    Owner { held, principal }: Owner,
) -> Result<Answer, Answer> {
    let change = change(&held.user);
    let until = change.at_unix_nano;
    let deleting = async {
        let mut first = Some(change);
        let mut count = 0;
        loop {
            let step = shared
                .issues
                .delete_some(principal.project, until, first.take());
            match step.await? {
                0 => return Ok(count),
                deleted => count += deleted,
            }
        }
    };
    let count = SERVER.within(&shared, deleting).await?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let data = Json::map([("deletedCount", Json::count(count))]);
    let message = Json::text("All events deleted");
    let entries = [("message", message), ("data", data)];
    Ok(succeeded(StatusCode::OK, entries))
}
