//! `/auth/*`: signing up, in and out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::super::super::Shared;
use super::super::super::pulse::asked::Asked;
use super::super::answer::Answer;
use super::{SERVER, body, succeeded};
use crate::auth::people::{Refused, Wanted, Welcomed};
use crate::auth::refresh::{self, RefreshToken};
use crate::auth::{Denied, People, names, password};
use crate::receivers::family::schema::{Field, Rule, required};
use crate::receivers::pulse::json::Json;

/// `POST /auth/register`.
const REGISTER: &[Field] = &[
    required("name", Rule::TextOf(2)),
    required("email", Rule::Email),
    required("password", Rule::TextOf(password::CHARS_MIN)),
];

/// `POST /auth/login`.
const LOGIN: &[Field] = &[
    required("email", Rule::Text),
    required("password", Rule::Text),
];

/// Those who may sign in. Pages of other sites sign nobody in or out.
fn people<'s>(shared: &'s Shared, asked: &Asked) -> Result<&'s People, Answer> {
    let people = shared.gate.people().ok_or_else(|| SERVER.internal())?;
    if people.is_own_page(&asked.headers, &asked.uri) {
        Ok(people)
    } else {
        Err(SERVER.denied(Denied::ForeignPage))
    }
}

/// Why somebody is not let in.
fn refused(why: Refused) -> Answer {
    let said = |status, message| SERVER.unsuccessful(status, message);
    match why {
        Refused::Wrong => said(StatusCode::UNAUTHORIZED, "Invalid credentials"),
        Refused::TooOften(wait) => {
            let message = "Too many requests. Please try again later.";
            said(StatusCode::TOO_MANY_REQUESTS, message).after(wait)
        }
        Refused::Busy(_) => {
            let message = "Too many passwords are being checked; try again";
            said(StatusCode::SERVICE_UNAVAILABLE, message)
        }
        Refused::Closed => said(StatusCode::FORBIDDEN, "Sign-up is closed"),
        Refused::Taken => said(StatusCode::CONFLICT, "Email already registered"),
        Refused::TooMany => said(StatusCode::CONFLICT, "There are too many people"),
        Refused::NotTheirOwn => SERVER.denied(Denied::NotAMember),
        Refused::Store(error) => SERVER.store_failed(&error),
        other => not_taken(&other),
    }
}

/// What the schema let pass, but can't be taken.
fn not_taken(why: &Refused) -> Answer {
    match why {
        Refused::Password(password::Error::TooShort) => {
            SERVER.invalid("body/password must NOT have fewer than 8 characters")
        }
        Refused::Password(password::Error::TooLong) => {
            SERVER.invalid("body/password must NOT have more than 256 bytes")
        }
        Refused::Name(names::Error::NoEmail) => {
            SERVER.invalid("body/email must match format \"email\"")
        }
        Refused::Name(error) => SERVER.invalid(&format!("body/name {error}")),
        other => {
            tracing::error!(error = %other, "can't keep a password or make a token");
            SERVER.internal()
        }
    }
}

fn welcomed(status: StatusCode, welcomed: Welcomed) -> Response {
    let user = welcomed.user;
    let user = Json::map([
        ("id", Json::Text(user.id)),
        ("name", Json::Text(user.name)),
        ("email", Json::Text(user.email)),
    ]);
    let data = Json::map([
        ("accessToken", Json::Text(welcomed.access_token)),
        ("user", user),
    ]);
    let mut response = succeeded(status, [("data", data)]).into_response();
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, welcomed.cookie);
    response
}

/// `POST /auth/register`.
pub(in crate::gateway::family) async fn register(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Answer> {
    let people = people(&shared, &asked)?;
    let item = body(request, REGISTER).await?;
    let wanted = Wanted {
        name: item.text("name").to_owned(),
        email: item.text("email").to_owned(),
        password: item.text("password").to_owned(),
        project: None,
    };
    let signing_up = people.sign_up(wanted, &asked.headers, &asked.uri, &asked.client);
    let (user, stored, _) = signing_up.await.map_err(refused)?;
    shared.gate.refresh().await;
    let welcoming = people.welcome_to_board(user, stored, &asked.client, asked.is_secure);
    Ok(welcomed(
        StatusCode::CREATED,
        welcoming.await.map_err(refused)?,
    ))
}

/// `POST /auth/login`.
pub(in crate::gateway::family) async fn login(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Answer> {
    let people = people(&shared, &asked)?;
    let item = body(request, LOGIN).await?;
    let (email, password) = (item.text("email"), item.text("password"));
    let signing_in = people.sign_in_to_board(email, password, &asked.client, asked.is_secure);
    Ok(welcomed(StatusCode::OK, signing_in.await.map_err(refused)?))
}

/// `POST /auth/refresh`. A body is not looked at.
pub(in crate::gateway::family) async fn refresh(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Answer> {
    let people = people(&shared, &asked)?;
    let unauthorized = |message| SERVER.unsuccessful(StatusCode::UNAUTHORIZED, message);
    let wrong = || unauthorized("Invalid or expired refresh token");
    let shown = refresh::shown(&asked.headers).ok_or_else(|| unauthorized("No refresh token"))?;
    let shown = RefreshToken::parse(shown).ok_or_else(wrong)?;
    let renewing = people.renew_for_board(&shown, &asked.client, asked.is_secure);
    let renewed = renewing.await.map_err(|why| match why {
        Refused::Wrong => wrong(),
        other => refused(other),
    })?;
    Ok(welcomed(StatusCode::OK, renewed))
}

/// `POST /auth/logout`. A body is not looked at.
pub(in crate::gateway::family) async fn logout(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Answer> {
    let people = people(&shared, &asked)?;
    if let Some(shown) = refresh::shown(&asked.headers).and_then(RefreshToken::parse) {
        let signing_out = people.sign_out_of_board(&shown).await;
        signing_out.map_err(|error| SERVER.store_failed(&error))?;
    }
    let mut response = SERVER
        .answer(StatusCode::OK, &Json::Bool(true))
        .into_response();
    let headers = response.headers_mut();
    headers.extend(refresh::cleared(asked.is_secure).map(|it| (header::SET_COOKIE, it)));
    Ok(response)
}
