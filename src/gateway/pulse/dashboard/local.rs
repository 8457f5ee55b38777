//! Opening the dashboard from the command line on this machine, with a link that is good once.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::super::super::Shared;
use super::super::account::{refused_plainly, sent_on};
use super::super::answer::{self, Refused};
use super::super::asked::{self, Asked, filled, time};
use crate::auth::people::Refused as NotTaken;
use crate::auth::{Principal, page};
use crate::model::access::Scope;
use crate::receivers::pulse::json::Json;

/// Longest address to go to.
const URL_BYTES_MAX: usize = 2048;

/// The name the client calls us by, which must be one of this machine's own.
fn local_host(asked: &Asked) -> Result<String, Refused> {
    let direct = asked.host().filter(|_| !page::is_proxied(&asked.headers));
    let host = direct.filter(|host| {
        let parsed = host.parse::<Authority>();
        parsed.is_ok_and(|parsed| page::is_loopback_name(parsed.host()))
    });
    host.ok_or_else(|| {
        let error = "Local login token endpoint is only available on loopback hosts";
        Refused::new(StatusCode::FORBIDDEN, error)
    })
}

/// An address to go to on this machine.
fn local_url(text: &str) -> Result<(), Refused> {
    let url = text.parse::<Uri>().ok().filter(|url| {
        let is_web = matches!(url.scheme_str(), Some("http" | "https"));
        let plain = text.len() <= URL_BYTES_MAX && !text.contains('\\');
        let host = url
            .authority()
            .filter(|authority| !authority.as_str().contains('@'));
        plain && is_web && host.is_some_and(|host| page::is_loopback_name(host.host()))
    });
    url.map(|_| ()).ok_or_else(|| {
        Refused::bad("redirect_url must use a loopback host (localhost or 127.0.0.1)")
    })
}

/// Who holds a key that may read, of the project that is named if one is.
async fn holder(
    shared: &Shared,
    asked: &Asked,
    key: &str,
    project: Option<&str>,
) -> Result<Principal, Refused> {
    let wrong = || Refused::new(StatusCode::UNAUTHORIZED, WRONG_KEY);
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| wrong())?;
    headers.insert(header::AUTHORIZATION, bearer);
    let holder = shared.gate.admit(&headers, &asked.uri, Scope::Read).await;
    let holder = holder.map_err(|denied| match denied {
        crate::auth::Denied::Unavailable => super::refused(denied),
        _ => wrong(),
    })?;
    let is_meant = project.is_none_or(|project| project == holder.project.to_string());
    if is_meant { Ok(holder) } else { Err(wrong()) }
}

const WRONG_KEY: &str = "Invalid local API key or project";

/// `POST /dashboard/api/local-login-token`.
pub(in crate::gateway::pulse) async fn ticket(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Refused> {
    let host = local_host(&asked)?;
    let body = asked::json(request).await?;
    let body = body.ok_or_else(|| Refused::bad("Invalid JSON body"))?;
    let missing = || Refused::bad("Missing required field: redirect_url");
    let url = filled(&body, "redirect_url").ok_or_else(missing)?;
    local_url(&url)?;
    let people = asked::people(&shared)?;
    let project = filled(&body, "project_id");
    let credentials = ["api_key", "email", "password"].map(|key| filled(&body, key));
    let made = match credentials {
        [Some(key), ..] => {
            let holder = holder(&shared, &asked, &key, project.as_deref()).await?;
            people.ticket_of_key(&holder, url).await
        }
        [None, Some(email), Some(_)] => {
            let password = body.get("password").and_then(Json::as_text);
            let password = password.unwrap_or_default();
            let asking = people.ticket_of_person(&email, password, &asked.client, url);
            let made = asking.await;
            return Ok(created(&asked, &host, &made.map_err(refused_plainly)?));
        }
        _ => {
            return Err(Refused::bad(
                "Missing required fields: api_key or email/password",
            ));
        }
    };
    let made = made.map_err(|why| match why {
        NotTaken::Wrong => Refused::new(StatusCode::UNAUTHORIZED, WRONG_KEY),
        other => refused_plainly(other),
    })?;
    Ok(created(&asked, &host, &made))
}

fn created(asked: &Asked, host: &str, ticket: &crate::auth::people::Ticket) -> Response {
    let scheme = if asked.is_secure { "https" } else { "http" };
    let token = &ticket.token;
    let url = format!("{scheme}://{host}/dashboard/api/local-login?token={token}");
    let body = Json::map([
        ("login_url", Json::text(url)),
        ("expires_at", time(ticket.expires_unix_nano)),
    ]);
    answer::json(StatusCode::CREATED, &body)
}

/// `GET /dashboard/api/local-login`.
pub(in crate::gateway::pulse) async fn redeem(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    local_host(&asked)?;
    let token = pairs.into_iter().find(|(name, _)| name == "token");
    let token = token.filter(|(_, token)| !token.is_empty());
    let (_, token) = token.ok_or_else(|| Refused::bad("Missing token query parameter"))?;
    let redeeming = asked::people(&shared)?.redeem(&token, &asked.client, asked.is_secure);
    let (signed_in, url) = redeeming.await.map_err(|why| match why {
        NotTaken::Wrong => Refused::bad("Token is invalid or expired"),
        other => refused_plainly(other),
    })?;
    let location = HeaderValue::try_from(url).map_err(|_| Refused::internal())?;
    Ok(sent_on(signed_in, location))
}
