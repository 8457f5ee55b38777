//! `/api/auth/*`: signing up, in and out, as the library of the older servers answered; and the
//! sign-up of their dashboard.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::super::Shared;
use super::answer::{self, Refused};
use super::asked::{self, Asked, filled, people, time};
use crate::auth::people::{Person, Refused as NotTaken, SignedIn, Wanted};
use crate::auth::{cookie, names, password};
use crate::receivers::pulse::json::Json;
use crate::storage::access::User;

/// What is said of an address that is none.
const NO_EMAIL: &str = "[body.email] Invalid email address";
/// What is said of one that somebody has.
const TAKEN: &str = "User already exists. Use another email.";

pub(super) fn bad(code: &str, message: &str) -> Refused {
    Refused::coded(StatusCode::BAD_REQUEST, code, message)
}

fn invalid(message: &str) -> Refused {
    bad("VALIDATION_ERROR", message)
}

fn signed_out() -> Refused {
    Refused::coded(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized")
}

/// Pages of other sites sign nobody in or out.
pub(super) fn foreign_page() -> Refused {
    Refused::coded(StatusCode::FORBIDDEN, "INVALID_ORIGIN", "Invalid origin")
}

/// A text of a body, as it is.
pub(super) fn text(json: &Json, key: &str) -> Result<String, Refused> {
    let found = json.get(key).and_then(Json::as_text);
    found
        .map(str::to_owned)
        .ok_or_else(|| invalid(&format!("[body.{key}] Invalid input: expected string")))
}

pub(super) async fn body(request: Request) -> Result<Json, Refused> {
    let json = asked::json(request).await?;
    json.ok_or_else(|| invalid("Invalid JSON body"))
}

/// Why somebody is not let in, in the words of these routes.
pub(super) fn refused(why: NotTaken) -> Refused {
    match why {
        NotTaken::Wrong => Refused::coded(
            StatusCode::UNAUTHORIZED,
            "INVALID_EMAIL_OR_PASSWORD",
            "Invalid email or password",
        ),
        NotTaken::TooOften(wait) => {
            let message = "Too many requests. Please try again later.";
            let status = StatusCode::TOO_MANY_REQUESTS;
            Refused::coded(status, "TOO_MANY_REQUESTS", message).after(wait)
        }
        NotTaken::Busy(_) => {
            let message = "Too many passwords are being checked; try again";
            Refused::coded(
                StatusCode::SERVICE_UNAVAILABLE,
                "SERVICE_UNAVAILABLE",
                message,
            )
        }
        NotTaken::Closed => bad(
            "EMAIL_PASSWORD_SIGN_UP_DISABLED",
            "Email and password sign up is not enabled",
        ),
        NotTaken::Taken => Refused::coded(
            StatusCode::UNPROCESSABLE_ENTITY,
            "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
            TAKEN,
        ),
        NotTaken::Password(password::Error::TooShort) => {
            bad("PASSWORD_TOO_SHORT", "Password too short")
        }
        NotTaken::Password(password::Error::TooLong) => {
            bad("PASSWORD_TOO_LONG", "Password too long")
        }
        NotTaken::Name(names::Error::NoEmail) => invalid(NO_EMAIL),
        NotTaken::Name(error) => invalid(&format!("[body.name] {error}")),
        NotTaken::NotTheirOwn => Refused::coded(
            StatusCode::FORBIDDEN,
            "SESSION_NOT_FRESH",
            "Sign in with your password first",
        ),
        NotTaken::TooMany => Refused::coded(
            StatusCode::CONFLICT,
            "CONFLICT",
            "There are too many people",
        ),
        NotTaken::NoInvite => Refused::coded(
            StatusCode::NOT_FOUND,
            "INVITATION_NOT_FOUND",
            "Invitation not found",
        ),
        NotTaken::Member => Refused::coded(
            StatusCode::CONFLICT,
            "USER_IS_ALREADY_A_MEMBER",
            "User is already a member of this project",
        ),
        NotTaken::Store(error) => error.into(),
        NotTaken::Password(error) => failed(&error),
        NotTaken::Random(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Refused {
    tracing::error!(%error, "can't keep a password");
    Refused::internal()
}

/// The same in the words of the dashboard.
pub(super) fn refused_plainly(why: NotTaken) -> Refused {
    match why {
        NotTaken::Wrong => Refused::new(StatusCode::UNAUTHORIZED, "Invalid email or password"),
        NotTaken::TooOften(wait) => {
            let error = "Too many attempts. Please try again later.";
            Refused::new(StatusCode::TOO_MANY_REQUESTS, error).after(wait)
        }
        NotTaken::Busy(_) => {
            let error = "Too many passwords are being checked; try again";
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, error)
        }
        NotTaken::Closed => Refused::new(StatusCode::FORBIDDEN, "Sign-up is closed"),
        NotTaken::Taken => Refused::bad(TAKEN),
        NotTaken::Password(password::Error::TooShort) => Refused::bad("Password too short"),
        NotTaken::Password(password::Error::TooLong) => Refused::bad("Password too long"),
        NotTaken::Name(names::Error::NoEmail) => Refused::bad(NO_EMAIL),
        NotTaken::Name(error) => Refused::bad(&format!("A name {error}")),
        NotTaken::TooMany => Refused::new(StatusCode::CONFLICT, "Too many people or projects"),
        other => refused(other),
    }
}

pub(super) fn user_json(user: &User) -> Json {
    Json::map([
        ("name", Json::text(&user.name)),
        ("email", Json::text(&user.email)),
        ("emailVerified", Json::Bool(false)),
        ("image", Json::Null),
        ("createdAt", time(user.created_unix_nano)),
        ("updatedAt", time(user.created_unix_nano)),
        ("id", Json::text(&user.id)),
    ])
}

fn session_json(person: &Person) -> Json {
    let login = &person.login;
    Json::map([
        ("expiresAt", time(login.expires_unix_nano)),
        ("token", Json::text(person.token.reveal())),
        ("createdAt", time(login.created_unix_nano)),
        ("updatedAt", time(login.seen_unix_nano)),
        ("ipAddress", Json::text(&login.address)),
        ("userAgent", Json::text(&login.user_agent)),
        ("userId", Json::text(&login.user_id)),
        ("id", Json::text(&login.id)),
    ])
}

/// An answer to somebody who is signed in from now on.
fn welcomed(first: Option<(&str, Json)>, signed_in: SignedIn) -> Response {
    let person = signed_in.person;
    let rest = [
        ("token", Json::text(person.token.reveal())),
        ("user", user_json(&person.user)),
    ];
    let body = Json::map(first.into_iter().chain(rest));
    let mut response = answer::json(StatusCode::OK, &body);
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, signed_in.cookie);
    response
}

/// `POST /api/auth/sign-in/email`.
pub(super) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Refused> {
    let body = body(request).await?;
    let (email, password) = (text(&body, "email")?, text(&body, "password")?);
    if names::email(&email).is_err() {
        return Err(bad("INVALID_EMAIL", "Invalid email"));
    }
    let signing_in = people(&shared)?.sign_in(&email, &password, &asked.client, asked.is_secure);
    let signed_in = signing_in.await.map_err(refused)?;
    Ok(welcomed(Some(("redirect", Json::Bool(false))), signed_in))
}

/// `POST /api/auth/sign-up/email`.
pub(super) async fn sign_up(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Refused> {
    let body = body(request).await?;
    let wanted = Wanted {
        name: text(&body, "name")?,
        email: text(&body, "email")?,
        password: text(&body, "password")?,
        project: None,
    };
    let people = people(&shared)?;
    let signing_up = people.sign_up(wanted, &asked.headers, &asked.uri, &asked.client);
    let (user, stored, _) = signing_up.await.map_err(refused)?;
    shared.gate.refresh().await;
    let welcoming = people.welcome(user, stored, &asked.client, asked.is_secure);
    Ok(welcomed(None, welcoming.await.map_err(refused)?))
}

/// `POST /api/auth/sign-out`.
pub(super) async fn sign_out(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Refused> {
    people(&shared)?.sign_out(&asked.headers).await?;
    let body = Json::map([("success", Json::Bool(true))]);
    let mut response = answer::json(StatusCode::OK, &body);
    for cleared in cookie::cleared(asked.is_secure) {
        response.headers_mut().append(header::SET_COOKIE, cleared);
    }
    Ok(response)
}

/// `GET /api/auth/get-session`.
pub(super) async fn session(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Refused> {
    let person = people(&shared)?.person(&asked.headers).await?;
    let body = person.map_or(Json::Null, |person| {
        Json::map([
            ("session", session_json(&person)),
            ("user", user_json(&person.user)),
        ])
    });
    Ok(answer::json(StatusCode::OK, &body))
}

/// `POST /api/auth/change-password`: ends all other sessions, whatever `revokeOtherSessions` says.
pub(super) async fn change_password(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Refused> {
    let people = people(&shared)?;
    let person = people.person(&asked.headers).await?;
    let person = person.ok_or_else(signed_out)?;
    let body = body(request).await?;
    let (current, new) = (text(&body, "currentPassword")?, text(&body, "newPassword")?);
    let changing = people.change_password(person, &current, new, &asked.client, asked.is_secure);
    let changed = changing.await.map_err(|why| match why {
        NotTaken::Wrong => bad("INVALID_PASSWORD", "Invalid password"),
        other => refused(other),
    })?;
    Ok(welcomed(None, changed))
}

/// `POST /dashboard/api/signup`.
pub(super) async fn dashboard_sign_up(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    request: Request,
) -> Result<Response, Refused> {
    let body = asked::json(request).await?;
    let body = body.ok_or_else(|| Refused::bad("Invalid JSON body"))?;
    let told = ["name", "email", "password", "projectName"].map(|key| filled(&body, key));
    let [Some(name), Some(email), Some(_), Some(project)] = told else {
        let error = "Missing required fields: name, email, password, projectName";
        return Err(Refused::bad(error));
    };
    let password = text(&body, "password")?;
    let wanted = Wanted {
        name,
        email,
        password,
        project: Some(project),
    };
    let signing_up = people(&shared)?.sign_up(wanted, &asked.headers, &asked.uri, &asked.client);
    signing_up.await.map_err(refused_plainly)?;
    shared.gate.refresh().await;
    let body = Json::map([("success", Json::Bool(true))]);
    Ok(answer::json(StatusCode::CREATED, &body))
}

/// An answer that sends a browser on, signed in.
pub(super) fn sent_on(signed_in: SignedIn, location: HeaderValue) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.append(header::SET_COOKIE, signed_in.cookie);
    response
}
