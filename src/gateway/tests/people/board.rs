//! PulseBoard's routes for people.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;

use super::*;
use crate::storage::access::AccessStore as _;

const TYPE: &str = "application/json; charset=utf-8";

fn is(told: &Told, status: u16, body: &str) {
    assert_eq!((told.status, told.body.as_str()), (status, body));
    assert_eq!(told.headers["content-type"], TYPE);
}

fn refused(told: &Told, status: u16, message: &str) {
    is(
        told,
        status,
        &format!(r#"{{"success":false,"message":"{message}"}}"#),
    );
}

fn invalid(told: &Told, message: &str) {
    let message = message.replace('"', "\\\"");
    is(
        told,
        400,
        &format!(
            r#"{{"statusCode":400,"code":"FST_ERR_VALIDATION","error":"Bad Request","message":"{message}"}}"#
        ),
    );
}

/// The access token of an answer.
fn token(told: &Told) -> String {
    let json = told.json();
    json["data"]["accessToken"].as_str().unwrap().to_owned()
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

impl Case {
    async fn log_in(&self, name: &str) -> Told {
        let body = format!(r#"{{"email":"{name}@X.org","password":"{PASSWORD}"}}"#);
        let told = self.post("/auth/login", &[], &body).await;
        assert_eq!(told.status, 200, "{}", told.body);
        told
    }

    async fn with_token(&self, method: Method, uri: &str, token: &str, body: &str) -> Told {
        let (name, value) = bearer(token);
        self.ask(method, uri, &[(name, &value)], body).await
    }

    async fn projects_of(&self, token: &str) -> Told {
        self.with_token(Method::GET, "/projects", token, "").await
    }

    async fn refresh(&self, cookie: &str) -> Told {
        self.post("/auth/refresh", &[("cookie", cookie)], "").await
    }
}

fn open() -> Case {
    let auth = AuthConfig {
        sign_up: SignUps::Open,
        ..AuthConfig::default()
    };
    Case::with(&auth, Config::default(), true)
}

// Scenario: somebody registers, logs in, asks, and lets time pass.
// Guarantees: answers, token and cookie are PulseBoard's, byte by byte; the token is good for a
// quarter of an hour; the store has neither it nor the cookie's.
#[tokio::test]
async fn somebody_registers_and_logs_in() {
    let case = open();
    let wanted =
        format!(r#"{{"name":"Ada L","email":"Ada@x.org","password":"{PASSWORD}","more":[1]}}"#);
    let told = case.post("/auth/register", &[], &wanted).await;
    let access = token(&told);
    let id = told.json()["data"]["user"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = format!(
        r#"{{"success":true,"data":{{"accessToken":"{access}","user":{{"id":"{id}","name":"Ada L","email":"ada@x.org"}}}}}}"#
    );
    is(&told, 201, &body);
    let [cookie] = told.cookies()[..] else {
        panic!("{:?}", told.headers);
    };
    let (value, attributes) = cookie.split_once(';').unwrap();
    let value = value.strip_prefix("refreshToken=").unwrap();
    assert!(value.len() == 128 && value.bytes().all(|it| it.is_ascii_hexdigit()));
    assert_eq!(
        attributes,
        " Max-Age=604800; Path=/auth; HttpOnly; SameSite=Strict"
    );
    let payload = access.split('.').nth(1).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let seconds = NOW / SECOND;
    let expected = format!(
        r#"{{"id":"{id}","email":"ada@x.org","iat":{seconds},"exp":{}}}"#,
        seconds + 900
    );
    assert_eq!(String::from_utf8(payload).unwrap(), expected);
    let again = case.post("/auth/register", &[], &wanted).await;
    refused(&again, 409, "Email already registered");
    let audit = case.audit().await;
    assert_eq!(audit[0], (format!("user {id}"), "user.create".to_owned()));

    let told = case.log_in("ada").await;
    assert_eq!(told.json()["data"]["user"]["id"], id.as_str());
    let access = token(&told);
    is(
        &case.projects_of(&access).await,
        200,
        r#"{"success":true,"data":[]}"#,
    );
    case.pass(899);
    assert_eq!(case.projects_of(&access).await.status, 200);
    case.pass(1);
    refused(&case.projects_of(&access).await, 401, "Unauthorized");
}

// Scenario: bodies that don't fit, one after the other.
// Guarantees: the first thing that is wrong is said, as the framework did; nobody is made.
#[tokio::test]
async fn bodies_are_checked_in_the_frameworks_words() {
    let case = open();
    let register = async |body: &str| case.post("/auth/register", &[], body).await;
    for (body, message) in [
        ("[]", "body must be object"),
        ("{}", "body must have required property 'name'"),
        (r#"{"name":1}"#, "body must have required property 'email'"),
        (
            r#"{"name":1,"email":1,"password":1}"#,
            "body/name must NOT have fewer than 2 characters",
        ),
        (
            r#"{"name":12,"email":1,"password":1}"#,
            r#"body/email must match format "email""#,
        ),
        (
            r#"{"name":12,"email":"a@b.c","password":1234567}"#,
            "body/password must NOT have fewer than 8 characters",
        ),
        (
            r#"{"name":{},"email":"a@b.c","password":12345678}"#,
            "body/name must be string",
        ),
        (
            r#"{"name":"  ","email":"a@b.c","password":12345678}"#,
            "body/name must not be empty",
        ),
    ] {
        invalid(&register(body).await, message);
    }
    let long = "x".repeat(257);
    let long = format!(r#"{{"name":"ab","email":"a@b.c","password":"{long}"}}"#);
    invalid(
        &register(&long).await,
        "body/password must NOT have more than 256 bytes",
    );
}

// Scenario: bodies that are none, and too long; a number in place of a text.
// Guarantees: the first are refused in the framework's words, the number is taken.
#[tokio::test]
async fn what_is_no_body_is_refused() {
    let case = open();
    let register = async |body: &str| case.post("/auth/register", &[], body).await;
    for (body, status, code, message) in [
        (
            "{",
            400,
            "FST_ERR_CTP_INVALID_JSON_BODY",
            "Body is not valid JSON but content-type is set to 'application/json'",
        ),
        (
            "",
            400,
            "FST_ERR_CTP_EMPTY_JSON_BODY",
            "Body cannot be empty when content-type is set to 'application/json'",
        ),
        (
            &"x".repeat(65 << 10),
            413,
            "FST_ERR_CTP_BODY_TOO_LARGE",
            "Request body is too large",
        ),
    ] {
        for path in ["/auth/register", "/auth/login"] {
            let told = case.post(path, &[], body).await;
            assert_eq!(told.status, status);
            let json = told.json();
            assert_eq!(
                (&json["code"], &json["message"]),
                (&code.into(), &message.into())
            );
        }
    }
    let login = async |body: &str| case.post("/auth/login", &[], body).await;
    invalid(
        &login(r#"{"password":""}"#).await,
        "body must have required property 'email'",
    );
    // A number is a text.
    let number = r#"{"name":12,"email":"n@x.org","password":1234567890}"#;
    assert_eq!(register(number).await.status, 201);
    let number = r#"{"email":"n@x.org","password":1234567890}"#;
    assert_eq!(login(number).await.status, 200);
    assert_eq!(case.audit().await.len(), 1);
}

// Scenario: passwords are guessed; accounts that there are and are not.
// Guarantees: neither answer tells which it is; who guesses waits, and is told for how long.
#[tokio::test]
async fn guessing_is_slow_and_tells_nothing() {
    let case = Case::new();
    case.person("ada", &[]).await;
    for email in ["ada@x.org", "nobody@x.org", "no address"] {
        let body = format!(r#"{{"email":"{email}","password":"wrong wrong"}}"#);
        let told = case.post("/auth/login", &[], &body).await;
        refused(&told, 401, "Invalid credentials");
    }
    let body = r#"{"email":"ada@x.org","password":"wrong wrong"}"#;
    for _ in 0..4 {
        assert_eq!(case.post("/auth/login", &[], body).await.status, 401);
    }
    let told = case.post("/auth/login", &[], body).await;
    refused(&told, 429, "Too many requests. Please try again later.");
    assert_eq!(told.headers["retry-after"], "2");
}

// Scenario: the policy lets nobody sign up; a page of another site tries.
// Guarantees: nobody is made, and neither is signed in.
#[tokio::test]
async fn the_policy_of_sign_up_holds_here_too() {
    let auth = AuthConfig {
        sign_up: SignUps::Closed,
        ..AuthConfig::default()
    };
    let case = Case::with(&auth, Config::default(), true);
    let wanted = r#"{"name":"Ada","email":"ada@x.org","password":"long enough"}"#;
    let told = case.post("/auth/register", &[], wanted).await;
    refused(&told, 403, "Sign-up is closed");
    assert!(case.audit().await.is_empty());
    case.person("eve", &[]).await;
    let foreign = [("origin", "https://evil.example")];
    let body = format!(r#"{{"email":"eve@x.org","password":"{PASSWORD}"}}"#);
    for path in ["register", "login", "refresh", "logout"] {
        let path = format!("/auth/{path}");
        let told = case.post(&path, &foreign, &body).await;
        assert_eq!((told.status, told.cookies().len()), (403, 0), "{path}");
    }
    let config = Config {
        allowed_origins: vec!["https://board.example".to_owned()],
        ..Config::default()
    };
    let case = Case::with(&AuthConfig::default(), config, true);
    case.person("eve", &[]).await;
    let ours = [("origin", "https://board.example")];
    let told = case.post("/auth/login", &ours, &body).await;
    assert_eq!(told.status, 200);
    assert_eq!(
        told.headers["access-control-allow-origin"],
        "https://board.example"
    );
    assert_eq!(told.headers["access-control-allow-credentials"], "true");
}

// Scenario: a cookie is exchanged, shown again, by another name, after a login elsewhere, after the
// logout, after another password and after a week.
// Guarantees: each is good once, and a person has one; access tokens end with their password.
#[tokio::test]
async fn a_cookie_is_exchanged_once() {
    let case = Case::new();
    case.person("ada", &[]).await;
    refused(
        &case.post("/auth/refresh", &[], "").await,
        401,
        "No refresh token",
    );
    const WRONG: &str = "Invalid or expired refresh token";
    let first = case.log_in("ada").await;
    let (old, access) = (first.cookie(), token(&first));
    case.pass(1);
    let renewed = case.refresh(&old).await;
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    assert_eq!(renewed.json()["data"]["user"], first.json()["data"]["user"]);
    let next = renewed.cookie();
    assert!(next != old && token(&renewed) != access);
    refused(&case.refresh(&old).await, 401, WRONG);
    refused(&case.refresh("refreshToken=abc").await, 401, WRONG);
    let unknown = format!("refreshToken={}", "0".repeat(128));
    refused(&case.refresh(&unknown).await, 401, WRONG);
    // A session of a browser is another thing, and goes on.
    let browser = case.cookie("ada").await;
    let elsewhere = case.log_in("ada").await.cookie();
    refused(&case.refresh(&next).await, 401, WRONG);
    let of_browser = browser.split_once('=').unwrap().1;
    let of_browser = format!("refreshToken={of_browser}");
    refused(&case.refresh(&of_browser).await, 401, WRONG);

    let out = case
        .post("/auth/logout", &[("cookie", &elsewhere)], "{}")
        .await;
    is(&out, 200, "true");
    assert_eq!(
        out.cookies(),
        ["refreshToken=; Max-Age=0; Path=/auth; HttpOnly; SameSite=Strict"]
    );
    refused(&case.refresh(&elsewhere).await, 401, WRONG);
    is(&case.post("/auth/logout", &[], "").await, 200, "true");
    assert_eq!(case.projects_of(&access).await.status, 200);

    let late = case.log_in("ada").await.cookie();
    let session = case
        .get("/api/auth/get-session", &[("cookie", &browser)])
        .await;
    assert_ne!(session.body, "null");
    let id = "id-of-ada".to_owned();
    let set = case
        .access
        .set_password(id, "$another".to_owned(), change());
    set.await.unwrap().unwrap();
    refused(&case.refresh(&late).await, 401, WRONG);
    refused(&case.projects_of(&access).await, 401, "Unauthorized");

    case.person("eve", &[]).await;
    let cookie = case.log_in("eve").await.cookie();
    case.pass(7 * 24 * 3600);
    refused(&case.refresh(&cookie).await, 401, WRONG);
}

// Scenario: routes of people are asked without a token and with wrong ones: a key, a cookie's, one
// that was changed, one that another store made.
// Guarantees: all are refused in the same words.
#[tokio::test]
async fn only_access_tokens_open_these_routes() {
    let case = Case::new();
    case.person("ada", &[(1, Role::Admin)]).await;
    let other = Case::new();
    other.person("ada", &[(1, Role::Admin)]).await;
    let others = token(&other.log_in("ada").await);
    let told = case.log_in("ada").await;
    let (own, cookie) = (token(&told), told.cookie());
    let of_cookie = cookie.split_once('=').unwrap().1.to_owned();
    let changed = own.replacen('.', "A.", 1);
    let browser = case.cookie("ada").await;
    for route in crate::gateway::family::ROUTES {
        let is_for_people = ["/projects", "/realtime"];
        if !is_for_people.iter().any(|it| route.path.starts_with(it)) {
            continue;
        }
        let path = route.path.replace("{id}", "1").replace("{insight}", "x");
        for method in route.methods {
            let method: Method = method.parse().unwrap();
            let none = case.ask(method.clone(), &path, &[], "").await;
            refused(&none, 401, "Unauthorized");
            let with = [("cookie", browser.as_str())];
            let with_cookie = case.ask(method.clone(), &path, &with, "").await;
            refused(&with_cookie, 401, "Unauthorized");
            for wrong in [&others, &changed, &of_cookie, "pulse_sk_x", "a.b.c", ""] {
                let told = case.with_token(method.clone(), &path, wrong, "").await;
                refused(&told, 401, "Unauthorized");
            }
        }
    }
    assert_eq!(case.projects_of(&own).await.status, 200);
}

// Scenario: owners of two projects ask every route about their own and about the other's.
// Guarantees: the other's is not there; what nothing stands behind is said to who may know.
#[tokio::test]
async fn owners_keep_to_their_own() {
    let case = Case::new();
    for (number, name) in [(2, "ada"), (3, "bob")] {
        assert_eq!(case.project(name).await, number);
        case.person(name, &[(number, Role::Admin)]).await;
    }
    let ada = token(&case.log_in("ada").await);
    for route in crate::gateway::family::ROUTES {
        if !route.path.contains("{id}") {
            continue;
        }
        for method in route.methods {
            let method: Method = method.parse().unwrap();
            let ask = async |id: &str| {
                let path = route.path.replace("{id}", id).replace("{insight}", "x");
                case.with_token(method.clone(), &path, &ada, "").await
            };
            let told = ask("3").await;
            if route.path.starts_with("/realtime") {
                refused(&told, 401, "Unauthorized");
            } else {
                refused(&told, 404, "Project not found");
            }
            assert!(!case.stub.was_asked(), "{method} {}", route.path);
            let is_later = ["ai-config", "insights"];
            if is_later.iter().any(|it| route.path.contains(it)) {
                let told = ask("2").await;
                assert_eq!(told.status, 501, "{method} {}", route.path);
                assert_eq!(told.json()["success"], false);
                assert!(told.json()["message"].is_string());
            }
        }
    }
}

// Scenario: an owner follows a project by server-sent events; a session of Socket.IO begins with a
// token, without one and with a wrong one, and connects.
// Guarantees: the stream begins as it was meant to; who has no token hears why when they connect, in the
// words that the server had; no answer is for pages that are not named.
#[tokio::test]
async fn owners_follow_their_projects() {
    let case = Case::running();
    assert_eq!(case.project("ada").await, 2);
    case.person("ada", &[(2, Role::Admin)]).await;
    let ada = token(&case.log_in("ada").await);
    let (name, value) = bearer(&ada);
    let request = Request::get("/realtime/2/sse")
        .header("host", "localhost:3000")
        .header(name, &value)
        .body(Body::empty())
        .unwrap();
    let response = case.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(
        first,
        "data: {\"type\":\"connected\",\"projectId\":\"2\"}\n\n"
    );
    for (token, expected) in [
        (Some(ada.as_str()), r#"40{"sid":""#),
        (None, r#"44{"message":"Unauthorized - no token"}"#),
        (
            Some("a.b.c"),
            r#"44{"message":"Unauthorized - invalid token"}"#,
        ),
    ] {
        let shown = token.map(bearer);
        let shown = shown.as_ref().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = shown
            .into_iter()
            .chain([("origin", "https://evil.example")])
            .collect();
        let path = "/socket.io/?EIO=4&transport=polling";
        let opened = case.ask(Method::GET, path, &headers, "").await;
        assert_eq!(opened.status, 200, "{}", opened.body);
        assert!(!opened.headers.contains_key("access-control-allow-origin"));
        let said: Value = serde_json::from_str(opened.body.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(said["upgrades"], serde_json::json!(["websocket"]));
        let path = format!("{path}&sid={}", said["sid"].as_str().unwrap());
        let sent = case.ask(Method::POST, &path, &[], "40").await;
        assert_eq!((sent.status, sent.body.as_str()), (200, "ok"));
        let told = case.ask(Method::GET, &path, &[], "").await;
        assert!(told.body.starts_with(expected), "{}", told.body);
    }
}

// Scenario: people make projects, list them and ask for one.
// Guarantees: the key is told once; each sees their own, the newest first.
#[tokio::test]
async fn owners_keep_projects() {
    let case = Case::new();
    case.person("ada", &[]).await;
    case.person("bob", &[]).await;
    let ada = token(&case.log_in("ada").await);
    let bob = token(&case.log_in("bob").await);
    let create = async |who: &str, body: &str| {
        let made = case.with_token(Method::POST, "/projects", who, body).await;
        let created = made.json()["data"]["createdAt"].clone();
        (made, created)
    };
    let (made, at) = create(&ada, r#"{"name":" shop "}"#).await;
    let key = made.json()["data"]["apiKey"].as_str().unwrap().to_owned();
    assert!(key.starts_with("pulse_sk_"));
    let project = |key: &str| {
        format!(
            r#"{{"id":"2","name":"shop","apiKey":"{key}","userId":"id-of-ada","createdAt":{at},"updatedAt":{at}}}"#
        )
    };
    is(
        &made,
        201,
        &format!(r#"{{"success":true,"data":{}}}"#, project(&key)),
    );
    let found = auth::ApiKey::parse(&key).unwrap().hash();
    let grant = case.access.key(found.0).await.unwrap().item.unwrap();
    assert_eq!(
        (grant.project.0, grant.scopes.to_string()),
        (2, "ingest,read".to_owned())
    );
    let (second, _) = create(&ada, r#"{"name":5}"#).await;
    assert_eq!(second.json()["data"]["name"], "5");
    let (third, _) = create(&bob, r#"{"name":"shop"}"#).await;
    assert_eq!(third.json()["data"]["name"], "shop 2");
    for (body, message) in [
        ("{}", "body must have required property 'name'"),
        (
            r#"{"name":""}"#,
            "body/name must NOT have fewer than 1 characters",
        ),
        (
            r#"{"name":"  "}"#,
            "body/name must NOT have fewer than 1 characters",
        ),
    ] {
        invalid(&create(&ada, body).await.0, message);
    }
    let list = case.projects_of(&ada).await;
    let ids: Vec<_> = list.json()["data"].as_array().unwrap().clone();
    let ids: Vec<_> = ids.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["3", "2"]);
    assert!(!list.body.contains(&key), "{}", list.body);
    let start: String = key.chars().take(13).collect();
    let masked = project(&format!("{start}{}", "*".repeat(32)));
    is(
        &case.with_token(Method::GET, "/projects/2", &ada, "").await,
        200,
        &format!(r#"{{"success":true,"data":{masked}}}"#),
    );
}

// Scenario: an owner deletes a project; people who are members or viewers there, own another, or
// name none try before.
// Guarantees: who does not own a project does not see that there is one; its key stops with it.
#[tokio::test]
async fn owners_delete_projects() {
    let case = Case::new();
    case.person("ada", &[]).await;
    case.person("bob", &[]).await;
    let ada = token(&case.log_in("ada").await);
    let bob = token(&case.log_in("bob").await);
    let made = r#"{"name":"shop"}"#;
    let made = case.with_token(Method::POST, "/projects", &ada, made).await;
    let key = made.json()["data"]["apiKey"].as_str().unwrap().to_owned();
    let found = auth::ApiKey::parse(&key).unwrap().hash();
    let one = async |who: &str, id: &str| {
        let path = format!("/projects/{id}");
        case.with_token(Method::GET, &path, who, "").await
    };
    for role in [Role::Member, Role::Viewer] {
        let set = case
            .access
            .set_member(ProjectId(2), "id-of-bob".to_owned(), role, change());
        set.await.unwrap().unwrap();
        refused(&one(&bob, "2").await, 404, "Project not found");
    }
    assert_eq!(one(&ada, "2").await.status, 200);
    for id in ["1", "4", "99", "x", "-1", "%20"] {
        refused(&one(&ada, id).await, 404, "Project not found");
    }
    let delete = async |who: &str, id: &str| {
        let path = format!("/projects/{id}");
        case.with_token(Method::DELETE, &path, who, "").await
    };
    refused(&delete(&bob, "2").await, 404, "Project not found");
    is(
        &delete(&ada, "2").await,
        200,
        r#"{"success":true,"message":"Project deleted"}"#,
    );
    refused(&one(&ada, "2").await, 404, "Project not found");
    let grant = case.access.key(found.0).await.unwrap().item.unwrap();
    assert!(grant.revoked);
    let audit = case.audit().await;
    let deleted = ("user id-of-ada".to_owned(), "project.delete".to_owned());
    assert_eq!(audit[0], deleted);
    case.person("op", &[(1, Role::Admin)]).await;
    let operator = token(&case.log_in("op").await);
    let told = delete(&operator, "1").await;
    refused(&told, 409, "The project default can't be deleted");
}

// Scenario: the token of a member asks our own API, naming their project, another's and none.
// Guarantees: it counts as the session of a browser does, for the same project and no more.
#[tokio::test]
async fn an_access_token_names_one_project_to_our_own_routes() {
    let case = Case::new();
    assert_eq!(
        (case.project("shop").await, case.project("other").await),
        (2, 3)
    );
    case.person("ada", &[(2, Role::Member)]).await;
    let ada = token(&case.log_in("ada").await);
    let (name, value) = bearer(&ada);
    let ask = async |path: &str, project: &str| {
        let headers = [(name, value.as_str()), ("x-project-id", project)];
        case.get(path, &headers).await.status
    };
    assert_eq!(ask("/api/v1/services", "2").await, 200);
    assert_eq!(ask("/api/v1/services", "").await, 200);
    let projects = case.stub.projects_asked();
    assert!(!projects.is_empty() && projects.iter().all(|it| it.0 == 2));
    assert_eq!(ask("/api/v1/services", "3").await, 403);
    assert_eq!(ask("/api/v1/keys", "2").await, 403, "is no admin");
    case.pass(900);
    assert_eq!(ask("/api/v1/services", "2").await, 401);
}

// Scenario: what is not served is asked for below these paths.
// Guarantees: it is refused in PulseBoard's words, not in ours.
#[tokio::test]
async fn nothing_else_is_served_there() {
    let case = Case::new();
    for (method, path) in [
        (Method::GET, "/auth/login"),
        (Method::POST, "/auth/other?a=b"),
        (Method::PUT, "/projects"),
        (Method::PATCH, "/projects/1"),
        (Method::GET, "/projects/1/other"),
        (Method::GET, "/realtime/1"),
    ] {
        let told = case.ask(method.clone(), path, &[], "").await;
        is(
            &told,
            404,
            &format!(
                r#"{{"message":"Route {method}:{path} not found","error":"Not Found","statusCode":404}}"#
            ),
        );
    }
}
