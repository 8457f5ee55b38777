//! Invitations to a project, for its admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::control::{
    BODY_BYTES_MAX, change, changed, meant, not_found, project_of, within, wrong,
};
use super::params::Params;
use super::problem::{Code, Problem};
use super::render::time;
use super::{Shared, body, window};
use crate::auth::{issue, names};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::access;

/// An invitation, without its token.
#[derive(Serialize)]
struct Invite {
    id: String,
    project_id: u32,
    /// Who is invited; null: whoever holds the token.
    email: Option<String>,
    role: &'static str,
    expires_time: String,
    expires_time_unix_nano: String,
}

impl From<access::Invite> for Invite {
    fn from(invite: access::Invite) -> Self {
        Self {
            id: invite.id(),
            project_id: invite.project.0,
            role: invite.role.as_str(),
            expires_time: time(invite.expires_unix_nano),
            expires_time_unix_nano: invite.expires_unix_nano.to_string(),
            email: Some(invite.email).filter(|email| !email.is_empty()),
        }
    }
}

#[derive(Serialize)]
struct Created {
    /// Not shown again.
    token: String,
    #[serde(flatten)]
    invite: Invite,
}

#[derive(Serialize)]
struct List {
    items: Vec<Invite>,
}

/// The project of a path that the caller may administer.
async fn known(shared: &Shared, caller: &Caller, id: &str) -> Result<ProjectId, Problem> {
    let id = id.parse().map_err(|_| not_found("project"))?;
    let id = meant(caller, Some(id))?;
    if project_of(shared, id).await?.items.is_empty() {
        return Err(not_found("project"));
    }
    Ok(id)
}

/// `GET /api/v1/projects/{project_id}/invites`: those that have not ended, the first to end first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let one = params.text("invite_id");
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    let asking = shared.access.invites(project, window::now());
    let found = within(&shared, asking).await?.into_iter();
    let invites = found.filter(|invite| one.as_ref().is_none_or(|one| invite.id() == *one));
    let items = invites.map(Invite::from).collect();
    Ok(Json(List { items }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    role: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    expires_time: Option<String>,
}

impl Wanted {
    /// Role, address, and when it ends.
    fn check(&self) -> Result<(Role, Option<String>, u64), Problem> {
        let mut fields = Vec::new();
        let role = self.role.parse().unwrap_or_else(|_| {
            fields.push(wrong("role", "must be admin, member or viewer"));
            Role::Viewer
        });
        let email = self.email.as_deref().map(names::email).transpose();
        let email = email.unwrap_or_else(|error| {
            fields.push(wrong("email", error.to_string()));
            None
        });
        let now = window::now();
        let latest = now.saturating_add(issue::INVITE_NS_MAX);
        let expires = self.expires_time.as_ref().map(|text| {
            let time = text.parse::<jiff::Timestamp>().ok();
            let nanos = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
            nanos.filter(|at| (now + 1..=latest).contains(at))
        });
        if expires == Some(None) {
            let message = "is not a time to come within 30 days, such as 2027-01-01T00:00:00Z";
            fields.push(wrong("expires_time", message));
        }
        if !fields.is_empty() {
            return Err(Problem::fields(Code::InvalidParameter, fields));
        }
        let expires = expires.flatten();
        let expires = expires.unwrap_or_else(|| now.saturating_add(issue::INVITE_NS));
        Ok((role, email, expires))
    }
}

/// `POST /api/v1/projects/{project_id}/invites`: the only answer that holds the token.
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    let limit = shared.config.query_timeout.0;
    let wanted: Wanted = body::json(request, BODY_BYTES_MAX, limit).await?;
    let (role, email, expires) = wanted.check()?;
    let made = issue::invite(project, email, role, expires);
    let (token, invite) = made.map_err(|error| {
        tracing::error!(%error, "can't make an invitation");
        Problem::internal()
    })?;
    let creating = shared.access.create_invite(invite.clone(), change(&caller));
    changed(&shared, "invite", creating).await?;
    let invite = invite.into();
    let created = Json(Created { token, invite });
    Ok((StatusCode::CREATED, created).into_response())
}

/// `DELETE /api/v1/projects/{project_id}/invites?invite_id=…`: takes it back.
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let one = params.text("invite_id");
    if one.is_none() {
        params.reject("invite_id", "must name the invitation");
    }
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    let one = one.unwrap_or_default();
    let revoking = shared.access.revoke_invite(project, one, change(&caller));
    let revoked = changed(&shared, "invite", revoking).await?;
    Ok(Json(Invite::from(revoked)).into_response())
}
