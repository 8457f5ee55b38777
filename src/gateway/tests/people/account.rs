//! Signing up, in and out.

use super::*;

const WRONG: &str = r#"{"code":"INVALID_EMAIL_OR_PASSWORD","message":"Invalid email or password"}"#;

fn user_json(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","email":"{name}@x.org","emailVerified":false,"image":null,"createdAt":"2026-01-05T10:00:00.000Z","updatedAt":"2026-01-05T10:00:00.000Z","id":"id-of-{name}"}}"#
    )
}

// Scenario: somebody signs in, asks who they are, signs out and asks again; the session also ends
// by itself.
// Guarantees: every answer is the older servers', byte by byte; the store has no token.
#[tokio::test]
async fn a_session_begins_and_ends() {
    let case = Case::new();
    case.person("ada", &[]).await;
    let told = case.sign_in_as("ada", PASSWORD).await;
    let token = told.json()["token"].as_str().unwrap().to_owned();
    assert!(token.len() == 32 && token.bytes().all(|it| it.is_ascii_alphanumeric()));
    let user = user_json("ada");
    told.is(
        200,
        &format!(r#"{{"redirect":false,"token":"{token}","user":{user}}}"#),
    );
    assert_eq!(told.headers["cache-control"], "no-store");
    let cookie = told.cookie();
    let all = told.cookies()[0];
    assert!(cookie.starts_with(&format!("better-auth.session_token={token}.")));
    assert!(
        all.ends_with("; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"),
        "{all}"
    );

    case.pass(61);
    let session = async || {
        let cookie = format!("other=1; {cookie}");
        case.get("/api/auth/get-session", &[("cookie", &cookie)])
            .await
    };
    let told = session().await;
    let id = told.json()["session"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let begun = |updated| {
        format!(
            r#"{{"session":{{"expiresAt":"2026-01-12T10:00:00.000Z","token":"{token}","createdAt":"2026-01-05T10:00:00.000Z","updatedAt":"{updated}","ipAddress":"192.0.2.1","userAgent":"","userId":"id-of-ada","id":"{id}"}},"user":{user}}}"#
        )
    };
    told.is(200, &begun("2026-01-05T10:00:00.000Z"));
    session().await.is(200, &begun("2026-01-05T10:01:01.000Z"));
    case.pass(7 * 24 * 3600 - 62);
    assert_ne!(session().await.body, "null");
    case.pass(1);
    session().await.is(200, "null");

    let cookie = case.cookie("ada").await;
    let headers = [("cookie", cookie.as_str())];
    let out = case.post("/api/auth/sign-out", &headers, "{}").await;
    out.is(200, r#"{"success":true}"#);
    let cleared = ["session_token", "session_data", "dont_remember"]
        .map(|name| format!("better-auth.{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"));
    assert_eq!(out.cookies(), cleared);
    case.get("/api/auth/get-session", &headers)
        .await
        .is(200, "null");
    case.get("/api/auth/get-session", &[]).await.is(200, "null");
    let again = case.post("/api/auth/sign-out", &headers, "").await;
    again.is(200, r#"{"success":true}"#);
    let stored = format!("{:?}", case.access);
    assert!(!stored.contains(&token));
}

// Scenario: wrong passwords, unknown addresses, and bodies that are none.
// Guarantees: who is unknown gets the same answer as who is wrong.
#[tokio::test]
async fn nobody_signs_in_with_anything_else() {
    let case = Case::new();
    case.person("ada", &[]).await;
    case.sign_in_as("ada", "correct horsf").await.is(401, WRONG);
    case.sign_in_as("bob", PASSWORD).await.is(401, WRONG);
    let invalid = |message: &str| format!(r#"{{"code":"VALIDATION_ERROR","message":"{message}"}}"#);
    for (body, answer) in [
        ("", invalid("Invalid JSON body")),
        ("[]", invalid("[body.email] Invalid input: expected string")),
        (
            r#"{"email":"ada@x.org"}"#,
            invalid("[body.password] Invalid input: expected string"),
        ),
        (
            r#"{"email":"ada","password":"x"}"#,
            r#"{"code":"INVALID_EMAIL","message":"Invalid email"}"#.to_owned(),
        ),
    ] {
        let told = case.post("/api/auth/sign-in/email", &[], body).await;
        told.is(400, &answer);
        assert!(told.cookies().is_empty());
    }
    let large = format!(r#"{{"email":"{}"}}"#, "x".repeat(70_000));
    let told = case.post("/api/auth/sign-in/email", &[], &large).await;
    told.error(413, "Request body too large");
}

// Scenario: one address guesses the password of an account again and again.
// Guarantees: it is told to wait, also for an account that does not exist and with the right
// password; another address signs in.
#[tokio::test]
async fn who_guesses_waits() {
    let config = Config {
        trust_forwarded: true,
        ..Config::default()
    };
    let case = Case::with(&AuthConfig::default(), config, true);
    case.person("ada", &[]).await;
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            case.sign_in_as(name, "wrong").await.is(401, WRONG);
        }
        let told = case.sign_in_as(name, PASSWORD).await;
        let message = "Too many requests. Please try again later.";
        let body = format!(r#"{{"code":"TOO_MANY_REQUESTS","message":"{message}"}}"#);
        told.is(429, &body);
        assert_eq!(told.headers["retry-after"], "2");
    }
    let body = format!(r#"{{"email":"ada@x.org","password":"{PASSWORD}"}}"#);
    let elsewhere = [("x-forwarded-for", "192.0.2.1, 198.51.100.7")];
    let told = case
        .post("/api/auth/sign-in/email", &elsewhere, &body)
        .await;
    assert_eq!(told.status, 200);
    let cookie = told.cookie();
    let session = case
        .get("/api/auth/get-session", &[("cookie", &cookie)])
        .await;
    assert_eq!(session.json()["session"]["ipAddress"], "198.51.100.7");
    case.pass(1);
    assert_eq!(case.sign_in_as("ada", PASSWORD).await.status, 200);
    // All is forgotten.
    case.sign_in_as("ada", "wrong").await.is(401, WRONG);
}

// Scenario: a browser comes over TLS, through a proxy that is trusted and one that is not.
// Guarantees: the cookie is only for TLS where the client came by it.
#[tokio::test]
async fn cookies_of_tls_stay_on_tls() {
    let body = format!(r#"{{"email":"ada@x.org","password":"{PASSWORD}"}}"#);
    let https = [("x-forwarded-proto", "https")];
    for (trusted, headers, secure) in [
        (true, &https[..], true),
        (true, &[], false),
        (false, &https[..], false),
    ] {
        let config = Config {
            trust_forwarded: trusted,
            ..Config::default()
        };
        let case = Case::with(&AuthConfig::default(), config, true);
        case.person("ada", &[]).await;
        let told = case.post("/api/auth/sign-in/email", headers, &body).await;
        assert_eq!(told.cookies()[0].contains("; Secure; "), secure);
    }
}

// Scenario: cookies that were changed, signed by others, or of a session that is not stored.
// Guarantees: nobody is signed in by them, and the store is not asked about what was not signed here.
#[tokio::test]
async fn forged_cookies_are_nobodys() {
    let case = Case::new();
    case.person("ada", &[]).await;
    let cookie = case.cookie("ada").await;
    let other = Case::new();
    other.person("ada", &[]).await;
    let foreign = other.cookie("ada").await;
    let changed = cookie.replacen('.', ".AAAAA", 2).replacen(".AAAAA", ".", 1);
    let cut = cookie.split('.').take(2).collect::<Vec<_>>().join(".");
    for forged in [&foreign, &changed, &cut, "better-auth.session_token="] {
        let told = case
            .get("/api/auth/get-session", &[("cookie", forged)])
            .await;
        told.is(200, "null");
        let told = case
            .get("/dashboard/api/projects", &[("cookie", forged)])
            .await;
        told.error(401, "Unauthorized");
    }
    let secret = AuthConfig {
        session_secret: "01234567890123456789012345678901".into(),
        ..AuthConfig::default()
    };
    let configured = Case::with(&secret, Config::default(), true);
    configured.person("ada", &[]).await;
    let told = configured.sign_in_as("ada", PASSWORD).await;
    let token = told.json()["token"].as_str().unwrap().to_owned();
    let known = case
        .get("/api/auth/get-session", &[("cookie", &told.cookie())])
        .await;
    known.is(200, "null");
    let same = Case::with(&secret, Config::default(), true);
    assert!(told.cookie().contains(&token));
    same.get("/api/auth/get-session", &[("cookie", &told.cookie())])
        .await
        .is(200, "null");
}

// Scenario: people sign up by both routes, with all that may be wrong.
// Guarantees: each answer is the older servers'; who signs up for the dashboard has a project, a key
// and is its admin; every part is in the audit log.
#[tokio::test]
async fn people_sign_up() {
    let case = Case::new();
    let sign_up = async |body: &str| case.post("/dashboard/api/signup", &[], body).await;
    let body =
        r#"{"name":" Ada ","email":"Ada@X.org","password":"correct horse","projectName":" Shop "}"#;
    let told = sign_up(body).await;
    told.is(201, r#"{"success":true}"#);
    assert!(told.cookies().is_empty());
    let audit = case.audit().await;
    let actions: Vec<_> = audit.iter().map(|(_, action)| action.as_str()).collect();
    assert_eq!(
        actions,
        ["member.set", "key.create", "project.create", "user.create"]
    );
    assert!(
        audit
            .iter()
            .all(|(by, _)| by.starts_with("user ") && by.len() == 37)
    );

    let taken = "User already exists. Use another email.";
    sign_up(body).await.error(400, taken);
    sign_up("{").await.error(400, "Invalid JSON body");
    let missing = "Missing required fields: name, email, password, projectName";
    for key in ["name", "email", "password", "projectName"] {
        let full: Value = serde_json::from_str(body).unwrap();
        for value in [Value::Null, "  ".into(), 1.into()] {
            let mut wanted = full.clone();
            wanted[key] = value;
            sign_up(&wanted.to_string()).await.error(400, missing);
        }
        let mut wanted = full;
        wanted.as_object_mut().unwrap().remove(key);
        sign_up(&wanted.to_string()).await.error(400, missing);
    }
    sign_up("[]").await.error(400, missing);
    let short = body
        .replace("correct horse", "seven77")
        .replace("Ada@", "b@");
    sign_up(&short).await.error(400, "Password too short");
    let wrong = body.replace("Ada@X.org", "no address");
    sign_up(&wrong)
        .await
        .error(400, "[body.email] Invalid email address");
    assert_eq!(
        case.audit().await.len(),
        4,
        "what is refused changes nothing"
    );

    let cookie = case.cookie("ada").await;
    let told = case
        .get("/dashboard/api/projects", &[("cookie", &cookie)])
        .await;
    assert_eq!(told.json()["projects"][0]["name"], "Shop");
    assert_eq!(told.json()["projects"][0]["role"], "admin");
    let headers = [("cookie", cookie.as_str()), ("x-project-id", "2")];
    let keys = case.get("/dashboard/api/api-keys", &headers).await.json();
    assert_eq!(keys["keys"][0]["name"], "Default Key");
}

// Scenario: somebody signs up without a project, twice, and with too short a password.
// Guarantees: they are signed in at once, and have no project.
#[tokio::test]
async fn people_sign_up_without_a_project() {
    let case = Case::new();
    let auth = async |body: &str| case.post("/api/auth/sign-up/email", &[], body).await;
    let told = auth(r#"{"name":"Bob","email":"bob@x.org","password":"correct horse"}"#).await;
    let (token, id) = (
        told.json()["token"].clone(),
        told.json()["user"]["id"].clone(),
    );
    let (token, id) = (token.as_str().unwrap(), id.as_str().unwrap());
    assert_eq!(id.len(), 32);
    let user = user_json("bob").replace("\"name\":\"bob\"", "\"name\":\"Bob\"");
    let user = user.replace("id-of-bob", id);
    told.is(200, &format!(r#"{{"token":"{token}","user":{user}}}"#));
    let mine = case
        .get("/dashboard/api/projects", &[("cookie", &told.cookie())])
        .await;
    mine.is(200, r#"{"projects":[]}"#);
    let again = auth(r#"{"name":"Bob","email":"BOB@x.org","password":"correct horse"}"#).await;
    let taken = "User already exists. Use another email.";
    let code = "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL";
    again.is(422, &format!(r#"{{"code":"{code}","message":"{taken}"}}"#));
    let short = auth(r#"{"name":"Eve","email":"eve@x.org","password":"seven77"}"#).await;
    short.is(
        400,
        r#"{"code":"PASSWORD_TOO_SHORT","message":"Password too short"}"#,
    );
}

// Scenario: one address signs up again and again, by each of the routes.
// Guarantees: it is told to wait, whatever the route, before a password is hashed.
#[tokio::test]
async fn who_signs_up_again_and_again_waits() {
    let open = AuthConfig {
        sign_up: SignUps::Open,
        ..AuthConfig::default()
    };
    let case = Case::with(&open, Config::default(), true);
    let short = r#"{"name":"A","email":"a@x.org","password":"short"}"#;
    for _ in 0..20 {
        let told = case.post("/api/auth/sign-up/email", &[], short).await;
        assert_eq!(told.status, 400, "{}", told.body);
    }
    let good = r#"{"name":"Ada","email":"a@x.org","password":"a long password","projectName":"P"}"#;
    for path in [
        "/api/auth/sign-up/email",
        "/dashboard/api/signup",
        "/auth/register",
    ] {
        let told = case.post(path, &[], good).await;
        assert_eq!(told.status, 429, "{path}: {}", told.body);
        assert_eq!(told.headers["retry-after"], "2", "{path}");
    }
}

// Scenario: every way in which sign-up may be open or closed.
// Guarantees: by default it is open on loopback to who comes from this machine; `first` takes one;
// what is closed says so and changes nothing.
#[tokio::test]
async fn sign_up_is_open_where_it_is_said_to_be() {
    let body = r#"{"name":"A","email":"a@x.org","password":"correct horse","projectName":"P"}"#;
    let second = body.replace("a@x", "b@x");
    let proxied = [("x-forwarded-for", "203.0.113.9")];
    let foreign = [("host", "pulse.example")];
    for (sign_up, is_loopback, headers, statuses) in [
        (SignUps::Local, true, &[][..], [201, 201]),
        (SignUps::Local, true, &proxied[..], [403, 403]),
        (SignUps::Local, true, &foreign[..], [403, 403]),
        (SignUps::Local, false, &[], [403, 403]),
        (SignUps::First, false, &foreign[..], [201, 403]),
        (SignUps::Open, false, &foreign[..], [201, 201]),
        (SignUps::Closed, true, &[], [403, 403]),
    ] {
        let auth = AuthConfig {
            sign_up,
            ..AuthConfig::default()
        };
        let case = Case::with(&auth, Config::default(), is_loopback);
        let found = [
            case.post("/dashboard/api/signup", headers, body).await,
            case.post("/dashboard/api/signup", headers, &second).await,
        ];
        let status = [found[0].status, found[1].status];
        assert_eq!(status, statuses, "{sign_up:?} {headers:?}");
        let made = statuses.iter().filter(|status| **status == 201).count();
        assert_eq!(case.audit().await.len(), made * 4);
        for told in found.iter().filter(|told| told.status == 403) {
            told.error(403, "Sign-up is closed");
        }
        if statuses[1] == 403 {
            let told = case.post("/api/auth/sign-up/email", headers, body).await;
            let message = "Email and password sign up is not enabled";
            let code = "EMAIL_PASSWORD_SIGN_UP_DISABLED";
            told.is(
                400,
                &format!(r#"{{"code":"{code}","message":"{message}"}}"#),
            );
        }
    }
}

// Scenario: somebody with two sessions changes their password.
// Guarantees: the other session ends, this one goes on under another cookie; the new password is the
// only one; the change is in the audit log.
#[tokio::test]
async fn a_new_password_ends_other_sessions() {
    let case = Case::new();
    case.person("ada", &[]).await;
    let (one, other) = (case.cookie("ada").await, case.cookie("ada").await);
    let change = async |cookie: &str, current: &str, new: &str| {
        let body = format!(
            r#"{{"currentPassword":"{current}","newPassword":"{new}","revokeOtherSessions":true}}"#
        );
        let headers = [("cookie", cookie)];
        case.post("/api/auth/change-password", &headers, &body)
            .await
    };
    let nobody = change("", PASSWORD, "another horse").await;
    nobody.is(401, r#"{"code":"UNAUTHORIZED","message":"Unauthorized"}"#);
    let wrong = change(&one, "wrong horse", "another horse").await;
    wrong.is(
        400,
        r#"{"code":"INVALID_PASSWORD","message":"Invalid password"}"#,
    );
    let short = change(&one, PASSWORD, "short").await;
    short.is(
        400,
        r#"{"code":"PASSWORD_TOO_SHORT","message":"Password too short"}"#,
    );
    let changed = change(&one, PASSWORD, "another horse").await;
    let token = changed.json()["token"].as_str().unwrap().to_owned();
    changed.is(
        200,
        &format!(r#"{{"token":"{token}","user":{}}}"#, user_json("ada")),
    );
    for gone in [&one, &other] {
        let told = case.get("/api/auth/get-session", &[("cookie", gone)]).await;
        told.is(200, "null");
    }
    let cookie = changed.cookie();
    let told = case
        .get("/api/auth/get-session", &[("cookie", &cookie)])
        .await;
    assert_eq!(told.json()["session"]["token"], token.as_str());
    case.sign_in_as("ada", PASSWORD).await.is(401, WRONG);
    assert_eq!(case.sign_in_as("ada", "another horse").await.status, 200);
    let audit = case.audit().await;
    assert_eq!(
        audit[0],
        ("user id-of-ada".to_owned(), "user.password".to_owned())
    );
}
