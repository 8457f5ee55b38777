//! Members of a project, for its admins.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::super::super::Shared;
use super::super::account::refused_plainly;
use super::super::answer::{self, Refused};
use super::super::asked::{self, filled, time};
use super::{change, changed, role, within};
use crate::auth::people::Refused as NotTaken;
use crate::auth::{Principal, issue, names};
use crate::gateway::window;
use crate::model::access::Role;
use crate::receivers::pulse::json::Json;
use crate::storage::access::people::NewMember;
use crate::storage::access::{Member, Refusal, User};

/// Said to who would add somebody new without what is needed.
const NEEDED: &str = "Missing required fields for new user: name, password";

fn shown(member: &Member) -> Json {
    Json::map([
        ("userId", Json::text(&member.user.id)),
        ("name", Json::text(&member.user.name)),
        ("email", Json::text(&member.user.email)),
        ("role", role(member.role)),
        ("createdAt", time(member.user.created_unix_nano)),
    ])
}

/// `GET /dashboard/api/users`.
pub(in crate::gateway::pulse) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(admin): Extension<Principal>,
) -> Result<Response, Refused> {
    let members = within(&shared, shared.access.members(admin.project)).await?;
    let members = members.iter().map(shown).collect();
    let body = Json::map([("users", Json::List(members))]);
    Ok(answer::json(StatusCode::OK, &body))
}

/// `POST /dashboard/api/users`: lets somebody in, who is added if they are not known.
pub(in crate::gateway::pulse) async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(admin): Extension<Principal>,
    request: Request,
) -> Result<Response, Refused> {
    let body = asked::json(request).await?;
    let body = body.ok_or_else(|| Refused::bad("Invalid JSON body"))?;
    let missing = || Refused::bad("Missing required field: email");
    let email = filled(&body, "email").ok_or_else(missing)?;
    let email = names::email(&email).map_err(|error| refused_plainly(error.into()))?;
    let given = match body.get("role").and_then(Json::as_text) {
        Some("admin") => Role::Admin,
        Some("viewer") => Role::Viewer,
        _ => Role::Member,
    };
    let known = within(&shared, shared.access.user(email.clone())).await?;
    let (name, password) = match known {
        Some((user, _)) => (user.name, None),
        None => {
            let password = filled(&body, "password").and(body.get("password"));
            let password = password.and_then(Json::as_text).map(str::to_owned);
            let (Some(name), Some(password)) = (filled(&body, "name"), password) else {
                return Err(Refused::bad(NEEDED));
            };
            let name = names::name(&name).map_err(|error| refused_plainly(error.into()))?;
            let hashed = asked::people(&shared)?.hash_for(password).await;
            (name, Some(hashed.map_err(refused_plainly)?))
        }
    };
    let id = issue::user_id().map_err(|error| refused_plainly(NotTaken::Random(error)))?;
    let wanted = NewMember {
        project: admin.project,
        user: User {
            id,
            email,
            name,
            created_unix_nano: window::now(),
        },
        password,
        role: given,
    };
    let adding = shared.access.add_member(wanted, change(&admin));
    let added = changed(&shared, adding).await?;
    let member = added.map_err(|refusal| match refusal {
        Refusal::Taken => {
            let error = "User is already a member of this project";
            Refused::new(StatusCode::CONFLICT, error)
        }
        Refusal::Unknown => Refused::bad(NEEDED),
        Refusal::TooMany => Refused::new(StatusCode::CONFLICT, "Too many people"),
    })?;
    let body = Json::map([("user", shown(&member))]);
    Ok(answer::json(StatusCode::CREATED, &body))
}
