//! The routes of accounts, projects, keys and members over HTTP, in the older servers' words.

use serde_json::{Value, json};

use super::{Browser, PASSWORD, send};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http::{self, Response};

fn is(answer: &Response, status: u16, body: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, body));
}

fn error(answer: &Response, status: u16, message: &str) {
    is(answer, status, &format!(r#"{{"error":"{message}"}}"#));
}

/// Somebody who signed up and in, in the project made with it.
fn member<'d>(daemon: &'d Daemon, name: &str) -> Browser<'d> {
    let mut browser = Browser::new(daemon);
    assert_eq!(browser.sign_up(name).status, 201);
    assert_eq!(browser.sign_in(name).status, 200);
    let projects = browser.get("/dashboard/api/projects").json();
    browser.project = projects["projects"][0]["id"].as_str().unwrap().to_owned();
    browser
}

/// Asks a data route with a key, or with whatever is given in its place.
fn with_key(daemon: &Daemon, method: &str, path: &str, key: &str) -> Response {
    let address = daemon.addresses().gateway;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {key}\r\ncontent-length: 0\r\n\r\n"
    );
    http::exchange(address, head.as_bytes()).unwrap()
}

fn made_key(browser: &Browser<'_>, name: &str) -> String {
    let made = browser.post("/dashboard/api/api-keys", &json!({"name": name}));
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["apiKey"].as_str().unwrap().to_owned()
}

// Scenario: somebody signs up without the dashboard, a second time, and with somebody else's address
// in the dashboard; a key opens a link.
// Guarantees: bodies, statuses and the cookie's attributes are the contract's.
fn accounts_are_made_as_they_were(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let mut browser = Browser::new(&daemon);
    let body = json!({"name": "Ada", "email": "Ada@x.org", "password": PASSWORD});
    let made = browser.post("/api/auth/sign-up/email", &body);
    assert_eq!(made.status, 200, "{}", made.text());
    let told = made.json();
    let user = &told["user"];
    let (token, id) = (
        told["token"].as_str().unwrap(),
        user["id"].as_str().unwrap(),
    );
    assert_eq!((token.len(), id.len()), (32, 32));
    is(
        &made,
        200,
        &format!(
            r#"{{"token":"{token}","user":{{"name":"Ada","email":"ada@x.org","emailVerified":false,"image":null,"createdAt":{0},"updatedAt":{0},"id":"{id}"}}}}"#,
            user["createdAt"]
        ),
    );
    let cookie = made.header("set-cookie").unwrap();
    let begins = format!("better-auth.session_token={token}.");
    assert!(cookie.starts_with(&begins), "{cookie}");
    let ends = "; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax";
    assert!(cookie.ends_with(ends), "{cookie}");
    browser.keep(&made);
    assert_eq!(browser.email().as_deref(), Some("ada@x.org"));
    let again = Browser::new(&daemon).post("/api/auth/sign-up/email", &body);
    assert_eq!(again.status, 422, "{}", again.text());
    assert_eq!(again.header("set-cookie"), None);
    let taken = Browser::new(&daemon).sign_up("ada");
    error(&taken, 400, "User already exists. Use another email.");
}

// Scenario: an admin makes projects and keys, renames and revokes some, and lets people in.
// Guarantees: bodies and statuses are the contract's; a key that is gone, of another project, or
// never was is told as unknown.
fn projects_keys_and_members_are_kept(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let mut ada = member(&daemon, "ada");
    let bob = member(&daemon, "bob");
    let first = ada.project.clone();
    let made = ada.post("/dashboard/api/projects", &json!({"name": " blue "}));
    let (id, key) = (
        made.json()["projectId"].clone(),
        made.json()["apiKey"].clone(),
    );
    is(
        &made,
        201,
        &format!(r#"{{"projectId":{id},"apiKey":{key},"name":"blue"}}"#),
    );
    let listed = ada.get("/dashboard/api/projects");
    let at = |number: usize| listed.json()["projects"][number]["createdAt"].clone();
    is(
        &listed,
        200,
        &format!(
            r#"{{"projects":[{{"id":"{first}","name":"ada's","createdAt":{},"role":"admin"}},{{"id":{id},"name":"blue","createdAt":{},"role":"admin"}}]}}"#,
            at(0),
            at(1)
        ),
    );

    let keys = ada.get("/dashboard/api/api-keys").json()["keys"].clone();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(keys[0]["name"], "Default Key");
    let path = format!(
        "/dashboard/api/api-keys/{}",
        keys[0]["id"].as_str().unwrap()
    );
    let rename = |path: &str, body: &str| ada.ask("PATCH", path, body);
    is(
        &rename(&path, r#"{"name":"mine"}"#),
        200,
        r#"{"success":true}"#,
    );
    let renamed = ada.get("/dashboard/api/api-keys").json();
    assert_eq!(renamed["keys"][0]["name"], "mine");
    error(&rename(&path, "{}"), 400, "Missing or invalid 'name' field");
    error(&rename(&path, "{"), 400, "Invalid request body");
    let none = "/dashboard/api/api-keys/none";
    error(&rename(none, r#"{"name":"x"}"#), 404, "API key not found");
    error(&ada.ask("DELETE", none, ""), 404, "API key not found");
    error(&bob.ask("DELETE", &path, ""), 404, "API key not found");
    is(&ada.ask("DELETE", &path, ""), 200, r#"{"success":true}"#);
    error(&ada.ask("DELETE", &path, ""), 404, "API key not found");

    let row = |email: &str, role: &str, told: &Value| {
        format!(
            r#"{{"userId":{},"name":"{email}","email":"{email}@x.org","role":"{role}","createdAt":{}}}"#,
            told["userId"], told["createdAt"]
        )
    };
    let body = json!({"email": "bob@x.org", "role": "admin"});
    let added = ada.post("/dashboard/api/users", &body);
    let bobs = row("bob", "admin", &added.json()["user"]);
    is(&added, 201, &format!(r#"{{"user":{bobs}}}"#));
    let again = ada.post("/dashboard/api/users", &body);
    error(&again, 409, "User is already a member of this project");
    let new = json!({"email": "eve@x.org", "name": "eve", "password": PASSWORD});
    let added = ada.post("/dashboard/api/users", &new);
    let eves = row("eve", "user", &added.json()["user"]);
    is(&added, 201, &format!(r#"{{"user":{eves}}}"#));
    let needed = ada.post("/dashboard/api/users", &json!({"email": "new@x.org"}));
    error(
        &needed,
        400,
        "Missing required fields for new user: name, password",
    );
    let listed = ada.get("/dashboard/api/users");
    let adas = row("ada", "admin", &listed.json()["users"][0]);
    is(
        &listed,
        200,
        &format!(r#"{{"users":[{adas},{bobs},{eves}]}}"#),
    );
    let mut eve = Browser::new(&daemon);
    assert_eq!(eve.sign_in("eve").status, 200);
    error(
        &eve.get("/dashboard/api/spans"),
        400,
        "Missing X-Project-Id header",
    );
    eve.project = first;
    assert_eq!(eve.get("/dashboard/api/spans").status, 200);
    let refused = eve.get("/dashboard/api/users");
    error(
        &refused,
        403,
        "Forbidden: admin role required for this operation",
    );
    ada.project = "99".to_owned();
    let refused = ada.get("/dashboard/api/spans");
    error(&refused, 403, "Forbidden: no access to this project");
}

// Scenario: a span and a trace are sent and read with the cookie and with the key, and asked for by
// somebody else; all routes that take data are used in the dashboard too.
// Guarantees: the cookie's answers are the key's, byte by byte; nobody else's id is found.
fn the_cookie_reads_what_the_key_reads(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let (ada, bob) = (member(&daemon, "ada"), member(&daemon, "bob"));
    let key = made_key(&ada, "cli");
    let bobs_key = made_key(&bob, "cli");
    assert_eq!(send(&daemon, &key, "mine").status, 202);
    let traced = json!([{"trace_id": "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
        "timestamp": "2026-01-05T10:00:00Z", "provider": "openai", "model_requested": "m",
        "request_body": {}, "status": "success", "latency_ms": 1,
        "session_id": "6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11"}]);
    let stored = ada.post("/dashboard/api/traces/batch", &traced);
    assert_eq!((stored.status, &stored.json()["count"]), (202, &json!(1)));
    let skipped = ada.post("/dashboard/api/traces/batch", &traced);
    is(&skipped, 202, r#"{"count":0,"skipped":1,"traces":[]}"#);
    let span = json!([{"span_id": "own", "session_id": "s-1", "timestamp": "2026-01-05T10:00:00Z",
        "source": "codex", "kind": "tool_use", "event_type": "x", "status": "success"}]);
    let stored = ada.post("/dashboard/api/spans/batch", &span);
    assert_eq!((stored.status, &stored.json()["count"]), (202, &json!(1)));
    let skipped = ada.post("/dashboard/api/spans/batch", &span);
    is(&skipped, 202, r#"{"count":0,"skipped":1,"spans":[]}"#);
    let queued = ada.post("/dashboard/api/spans/async", &span);
    is(&queued, 202, r#"{"status":"queued","count":1}"#);
    let range = "date_from=2026-01-05T00:00:00Z&date_to=2026-01-06T00:00:00Z";
    let trace = "traces/0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";
    for path in [
        "traces",
        trace,
        "traces/t-1",
        "sessions/6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
        "sessions/s-1",
        "sessions/s-1/spans",
        "spans",
        "spans/mine",
        "spans/own",
        &format!("analytics?{range}"),
        &format!("analytics/spans?{range}"),
    ] {
        let by_cookie = ada.get(&format!("/dashboard/api/{path}"));
        let by_key = with_key(&daemon, "GET", &format!("/v1/{path}"), &key);
        assert_eq!(by_key.status, 200, "{path}: {}", by_key.text());
        is(&by_cookie, 200, &by_key.text());
    }
    for (path, what) in [
        (trace, "Trace"),
        ("traces/t-1", "Trace"),
        ("sessions/6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11", "Session"),
        ("sessions/s-1", "Session"),
        ("sessions/s-1/spans", "Session"),
        ("spans/mine", "Span"),
    ] {
        let told = format!("{what} not found");
        error(&bob.get(&format!("/dashboard/api/{path}")), 404, &told);
        let by_key = with_key(&daemon, "GET", &format!("/v1/{path}"), &bobs_key);
        error(&by_key, 404, &told);
    }

    let unknown = "pulse_sk_0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";
    let refused = with_key(&daemon, "GET", "/v1/spans", unknown);
    error(&refused, 401, "Invalid API key");
    for (key, known) in [(key.as_str(), true), (unknown, false), ("", false)] {
        let told = with_key(&daemon, "POST", "/v1/auth/login", key);
        is(&told, 200, &format!(r#"{{"authenticated":{known}}}"#));
    }

    let link = |key: &str| {
        let body = json!({"redirect_url": "http://localhost:1/", "api_key": key});
        Browser::new(&daemon).post("/dashboard/api/local-login-token", &body)
    };
    error(&link(unknown), 401, "Invalid local API key or project");
    let opened = link(&key);
    assert_eq!(opened.status, 201, "{}", opened.text());
    let (url, until) = (
        opened.json()["login_url"].clone(),
        opened.json()["expires_at"].clone(),
    );
    is(
        &opened,
        201,
        &format!(r#"{{"login_url":{url},"expires_at":{until}}}"#),
    );
    let url = url.as_str().unwrap();
    let mut browser = Browser::new(&daemon);
    let sent_on = browser.get(&url[url.find("/dashboard").unwrap()..]);
    assert_eq!(
        (sent_on.status, sent_on.header("location")),
        (302, Some("http://localhost:1/"))
    );
    assert_eq!(sent_on.header("cache-control"), Some("no-store"));
    browser.keep(&sent_on);
    browser.project = ada.project;
    assert_eq!(browser.get("/dashboard/api/spans/mine").status, 200);
}

on_both_stores! {
    accounts_are_made_as_they_were,
    projects_keys_and_members_are_kept,
    the_cookie_reads_what_the_key_reads,
}
