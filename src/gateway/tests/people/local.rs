//! Opening the dashboard from the command line.

use super::*;
use crate::auth::ApiKey;
use crate::model::access::Scope;

const WRONG: &str = "Invalid local API key or project";
const URL: &str = "http://localhost:5173/dash?x=1";

async fn key(case: &Case, project: u32, scopes: Scopes) -> String {
    let key = ApiKey::generate().unwrap();
    let new = NewKey {
        id: format!("key-{}", key.shown_prefix()),
        project: ProjectId(project),
        name: "k".to_owned(),
        hash: key.hash().0,
        prefix: key.shown_prefix(),
        scopes,
        expires_unix_nano: None,
    };
    case.access
        .create_key(new, change())
        .await
        .unwrap()
        .unwrap();
    key.reveal().to_owned()
}

async fn ticket(case: &Case, body: &Value) -> Told {
    let path = "/dashboard/api/local-login-token";
    case.post(path, &[], &body.to_string()).await
}

fn path_of(told: &Told) -> String {
    let url = told.json()["login_url"].as_str().unwrap().to_owned();
    url.strip_prefix("http://localhost:3000")
        .unwrap()
        .to_owned()
}

// Scenario: a link is made with a password and with a key, and taken, twice, and too late.
// Guarantees: it signs in once, within two minutes, and goes where it was told; no answer may be kept.
#[tokio::test]
async fn a_link_signs_in_once() {
    let case = Case::new();
    case.person("ada", &[(1, Role::Admin)]).await;
    let body = serde_json::json!({"email": "ada@x.org", "password": PASSWORD, "redirect_url": URL});
    let told = ticket(&case, &body).await;
    let url = told.json()["login_url"].as_str().unwrap().to_owned();
    let token = url
        .strip_prefix("http://localhost:3000/dashboard/api/local-login?token=")
        .unwrap();
    assert!(token.len() == 32 && token.bytes().all(|it| it.is_ascii_hexdigit()));
    told.is(
        201,
        &format!(r#"{{"login_url":"{url}","expires_at":"2026-01-05T10:02:00.000Z"}}"#),
    );
    let path = path_of(&told);
    let taken = case.get(&path, &[]).await;
    assert_eq!((taken.status, taken.body.as_str()), (302, ""));
    assert_eq!(taken.headers["location"], URL);
    assert_eq!(taken.headers["cache-control"], "no-store");
    let session = case
        .get("/api/auth/get-session", &[("cookie", &taken.cookie())])
        .await;
    assert_eq!(session.json()["user"]["email"], "ada@x.org");
    case.get(&path, &[])
        .await
        .error(400, "Token is invalid or expired");
    let late = path_of(&ticket(&case, &body).await);
    case.pass(120);
    case.get(&late, &[])
        .await
        .error(400, "Token is invalid or expired");
    let missing = "Missing token query parameter";
    for path in [
        "/dashboard/api/local-login",
        "/dashboard/api/local-login?token=",
    ] {
        case.get(path, &[]).await.error(400, missing);
    }
    for host in ["pulse.example", "10.0.0.1:3000", "localhost.evil.example"] {
        let told = case.get(&path, &[("host", host)]).await;
        let error = "Local login token endpoint is only available on loopback hosts";
        told.error(403, error);
        let headers = [("host", host)];
        let told = case
            .post("/dashboard/api/local-login-token", &headers, "")
            .await;
        told.error(403, error);
    }
}

// Scenario: requests for a link with everything wrong, one after the other.
// Guarantees: each is told, in the older servers' order.
#[tokio::test]
async fn what_is_wrong_with_a_link_is_told_in_order() {
    let case = Case::new();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let broken = case
        .post("/dashboard/api/local-login-token", &[], "{")
        .await;
    broken.error(400, "Invalid JSON body");
    for body in ["{}", r#"{"redirect_url":""}"#, r#"{"api_key":"k"}"#] {
        let told = ticket(&case, &json(body)).await;
        told.error(400, "Missing required field: redirect_url");
    }
    for url in [
        "https://evil.example/",
        "http://localhost@evil.example/",
        "http://localhost.evil.example",
        "//evil.example",
        "javascript:alert(1)",
        "/dashboard",
    ] {
        let body = serde_json::json!({"redirect_url": url, "api_key": "k"});
        let error = "redirect_url must use a loopback host (localhost or 127.0.0.1)";
        ticket(&case, &body).await.error(400, error);
    }
    for body in [
        serde_json::json!({"redirect_url": URL}),
        serde_json::json!({"redirect_url": URL, "email": "ada@x.org"}),
        serde_json::json!({"redirect_url": URL, "password": "x"}),
    ] {
        let error = "Missing required fields: api_key or email/password";
        ticket(&case, &body).await.error(400, error);
    }
    let body = serde_json::json!({"redirect_url": URL, "email": "a@x.org", "password": "wrong"});
    ticket(&case, &body)
        .await
        .error(401, "Invalid email or password");
}

// Scenario: links are made with keys: good, of a project without an admin, revoked, unable to read,
// and for another project than is named. The admin of one project is the admin of another too.
// Guarantees: a session that a key began does what the key may, in its project, and no more.
#[tokio::test]
async fn a_key_opens_no_more_than_it_may() {
    let case = Case::new();
    case.project("shop").await;
    case.project("empty").await;
    case.person("ada", &[(1, Role::Admin), (2, Role::Admin)])
        .await;
    let both = Scopes::NONE.with(Scope::Ingest).with(Scope::Read);
    let good = key(&case, 2, both).await;
    let full = key(&case, 2, Scopes::ALL).await;
    let blind = key(&case, 2, Scopes::NONE.with(Scope::Ingest)).await;
    let lonely = key(&case, 3, both).await;
    let ask = async |key: &str, project: Option<&str>| {
        let body = serde_json::json!({"redirect_url": URL, "api_key": key, "project_id": project});
        ticket(&case, &body).await
    };
    for (key, project) in [
        ("pulse_sk_other", None),
        ("no key\n", None),
        (&blind, None),
        (&lonely, None),
        (&good, Some("1")),
        (&good, Some("x")),
    ] {
        ask(key, project).await.error(401, WRONG);
    }
    for (key, administers) in [(&good, false), (&full, true)] {
        let told = ask(key, Some("2")).await;
        assert_eq!(told.status, 201, "{}", told.body);
        let cookie = case.get(&path_of(&told), &[]).await.cookie();
        let get = async |uri: &str, project: &str| {
            let mut headers = vec![("cookie", cookie.as_str())];
            headers.extend((!project.is_empty()).then_some(("x-project-id", project)));
            case.get(uri, &headers).await.status
        };
        let projects = case
            .get("/dashboard/api/projects", &[("cookie", &cookie)])
            .await;
        let projects = projects.json()["projects"].clone();
        assert_eq!(
            (projects.as_array().unwrap().len(), &projects[0]["id"]),
            (1, &"2".into())
        );
        assert_eq!(get("/dashboard/api/traces/x", "2").await, 404);
        assert_eq!(get("/dashboard/api/traces/x", "1").await, 403);
        assert_eq!(get("/api/v1/traces", "").await, 200);
        assert_eq!(get("/api/v1/traces", "1").await, 403);
        let expected = if administers { 200 } else { 403 };
        assert_eq!(get("/dashboard/api/api-keys", "2").await, expected);
        let headers = [("cookie", cookie.as_str())];
        let made = case
            .post("/dashboard/api/projects", &headers, r#"{"name":"x"}"#)
            .await;
        made.error(403, "Forbidden: this session was begun with an API key");
        let body = format!(r#"{{"currentPassword":"{PASSWORD}","newPassword":"another horse"}}"#);
        let changed = case
            .post("/api/auth/change-password", &headers, &body)
            .await;
        assert_eq!(changed.status, 403);
    }
}
