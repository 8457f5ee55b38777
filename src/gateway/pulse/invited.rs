//! `POST /api/auth/invites/accept`: who holds an invitation joins its project, as somebody new or as
//! who they are signed in as.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, header};

use super::super::Shared;
use super::account::{body, refused, text, user_json};
use super::answer::{self, Refused};
use super::asked::{Asked, people};
use crate::auth::people::Invited;
use crate::receivers::pulse::json::Json;
use crate::storage::access::Member;

/// Longest token that is looked up, in bytes.
const TOKEN_BYTES_MAX: usize = 128;

fn member_json(member: &Member) -> [(&'static str, Json); 2] {
    let project = Json::map([
        ("id", Json::text(member.project.to_string())),
        ("role", Json::text(member.role.as_str())),
    ]);
    [("user", user_json(&member.user)), ("project", project)]
}

/// Takes an invitation. Who tells a password is new here, whoever is signed in.
pub(super) async fn accept(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Refused> {
    let people = people(&shared)?;
    let body = body(request).await?;
    let token = text(&body, "token")?;
    let token: String = token.chars().take(TOKEN_BYTES_MAX).collect();
    if body.get("password").is_none() {
        let person = people.person(&asked.headers).await?;
        if let Some(person) = person {
            let member = people.accept(&token, &person).await.map_err(refused)?;
            shared.gate.refresh().await;
            let answer = Json::map(member_json(&member));
            return Ok(answer::json(StatusCode::OK, &answer));
        }
    }
    let email = body
        .get("email")
        .map(|_| text(&body, "email"))
        .transpose()?;
    let invited = Invited {
        name: text(&body, "name")?,
        email,
        password: text(&body, "password")?,
    };
    let accepting = people.accept_as_new(&token, invited, &asked.client, asked.is_secure);
    let (signed_in, member) = accepting.await.map_err(refused)?;
    shared.gate.refresh().await;
    let token = [("token", Json::text(signed_in.person.token.reveal()))];
    let answer = Json::map(token.into_iter().chain(member_json(&member)));
    let mut response = answer::json(StatusCode::OK, &answer);
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, signed_in.cookie);
    Ok(response)
}
