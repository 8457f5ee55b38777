//! The routes of PulseKit, PulseBoard and DebugQueue through the router: who is let in, and what is
//! refused in whose words. What is taken is asked for end to end.

use http::Method;

use super::stub::Mood;
use super::*;
use crate::gateway::family::ROUTES;
use crate::model::access::Scope;

struct Told {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

/// A client, and a server with keys or without.
struct Server {
    gates: Gates,
}

impl Server {
    fn without_keys() -> Self {
        let (_, gates) = testing::gates(&auth::Config::default());
        Self { gates }
    }

    async fn with_keys() -> Self {
        let (keys, gates) = testing::gates(&auth::Config::default());
        keys.put("pulse_sk_send", 7, Scopes::NONE.with(Scope::Ingest));
        keys.put("pulse_sk_read", 7, Scopes::NONE.with(Scope::Read));
        let revoked = keys.put("pulse_sk_revoked", 7, Scopes::ALL);
        keys.change(&revoked, |grant| grant.revoked = true);
        gate(&gates).refresh().await;
        Self { gates }
    }

    async fn ask(&self, method: &Method, path: &str, header: (&str, &str), body: &str) -> Told {
        let stub = Stub::new(Mood::Well);
        let state = State {
            access: Arc::new(SqliteAccess::in_memory()),
            issues: Arc::new(SqliteIssues::in_memory()),
            gate: gate(&self.gates),
            settings: Arc::<Stub>::clone(&stub),
            reader: stub,
            config: Config::default(),
            prices: prices(),
            ingest: None,
            metrics: Metrics::new().unwrap(),
            tasks: drained(),
        };
        let mut request = Request::builder().method(method).uri(path);
        if !header.0.is_empty() {
            request = request.header(header.0, header.1);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = router(state).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Told {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

const KIT: &str = "x-pulsekit-key";
const HOOK: &str = "x-api-key";
const KIT_MISSING: &str = r#"{"error":"Missing API key","message":"Please provide an API key via the X-PulseKit-Key header"}"#;
const KIT_INVALID: &str = r#"{"error":"Invalid API key","message":"The provided API key is invalid or has been revoked"}"#;
const KIT_FORBIDDEN: &str = r#"{"errors":{"detail":"Forbidden"}}"#;
const HOOK_MISSING: &str = r#"{"error":"Missing API key"}"#;
const HOOK_INVALID: &str = r#"{"error":"Invalid API key"}"#;
const HOOK_FORBIDDEN: &str = r#"{"error":"Forbidden"}"#;

// Scenario: each way to show a key, and not to.
// Guarantees: 401 and 403 before a body is looked at, in each server's words; a key in another
// server's header is none.
#[tokio::test]
async fn a_key_is_asked_for_in_each_servers_words() {
    let server = Server::with_keys().await;
    let kit = ["/api/v1/events", "/api/v1/events/batch"].map(|path| (Method::POST, path));
    let hook = [Method::GET, Method::POST].map(|method| (method, "/webhook/event"));
    for (routes, header, other, texts, content_type) in [
        (
            kit,
            KIT,
            HOOK,
            [KIT_MISSING, KIT_INVALID, KIT_FORBIDDEN],
            "application/json; charset=utf-8",
        ),
        (
            hook,
            HOOK,
            KIT,
            [HOOK_MISSING, HOOK_INVALID, HOOK_FORBIDDEN],
            "application/json",
        ),
    ] {
        let [missing, invalid, forbidden] = texts;
        for (method, path) in routes {
            for (shown, status, text) in [
                (("", ""), 401, missing),
                ((other, "pulse_sk_send"), 401, missing),
                (("authorization", "Bearer pulse_sk_send"), 401, missing),
                ((header, "pulse_sk_other"), 401, invalid),
                (
                    (header, "pk_abcdefghijklmnopqrstuvwxyz012345"),
                    401,
                    invalid,
                ),
                ((header, "pulse_sk_revoked"), 401, invalid),
                ((header, "pulse_sk_read"), 403, forbidden),
            ] {
                let told = server.ask(&method, path, shown, "{").await;
                assert_eq!(
                    (told.status, told.text.as_str()),
                    (status, text),
                    "{path} {shown:?}"
                );
                assert_eq!(told.headers["content-type"], content_type);
            }
        }
    }
    let empty = server
        .ask(&Method::POST, "/api/v1/events", (KIT, ""), "")
        .await;
    assert_eq!((empty.status, empty.text.as_str()), (401, KIT_INVALID));
    let empty = server
        .ask(&Method::POST, "/webhook/event", (HOOK, ""), "")
        .await;
    assert_eq!((empty.status, empty.text.as_str()), (401, HOOK_MISSING));
}

// Scenario: the key is right, or there are no keys; the way in is closed.
// Guarantees: nothing is acknowledged that is not taken, and clients are told when to come back.
#[tokio::test]
async fn nothing_is_taken_while_the_way_in_is_closed() {
    let server = Server::with_keys().await;
    let local = Server::without_keys();
    for (path, header, text) in [
        (
            "/api/v1/events",
            KIT,
            r#"{"errors":{"detail":"Service Unavailable"}}"#,
        ),
        (
            "/api/v1/events/batch",
            KIT,
            r#"{"errors":{"detail":"Service Unavailable"}}"#,
        ),
        ("/webhook/event", HOOK, r#"{"error":"Service Unavailable"}"#),
    ] {
        for (server, key) in [(&server, "pulse_sk_send"), (&local, "dev-api-key")] {
            let told = server.ask(&Method::POST, path, (header, key), "{}").await;
            assert_eq!((told.status, told.text.as_str()), (503, text), "{path}");
            assert_eq!(told.headers["retry-after"], "1");
        }
    }
}

#[tokio::test]
async fn the_webhook_says_which_method_it_takes() {
    let server = Server::with_keys().await;
    let path = "/webhook/event";
    let told = server
        .ask(&Method::GET, path, (HOOK, "pulse_sk_send"), "")
        .await;
    let text = r#"{"error":"Method not allowed","message":"Use POST to send events"}"#;
    assert_eq!((told.status, told.text.as_str()), (405, text));
    assert_eq!(told.headers["allow"], "POST");
}

// Scenario: every route of the table with every method that it does not have.
// Guarantees: nothing of it is served, and our own routes at the same paths are.
#[tokio::test]
async fn the_table_is_what_is_served() {
    let server = Server::without_keys();
    for route in ROUTES {
        for name in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let method: Method = name.parse().unwrap();
            let told = server.ask(&method, route.path, ("", ""), "").await;
            let is_own = name == "GET" && route.path == "/api/v1/events";
            let is_board = !["/api/", "/webhook/", "/chat"]
                .iter()
                .any(|it| route.path.starts_with(it));
            let is_below = |it: &&str| route.path.starts_with(*it);
            let expected = match (route.methods.contains(&name), is_own, is_board) {
                (false, true, _) => 200,
                (false, false, false) => 405,
                (false, false, true) => 404,
                // Who signs in says so in a body.
                (true, _, true) if ["/auth/register", "/auth/login"].contains(&route.path) => 400,
                (true, _, true) if route.path == "/auth/logout" => 200,
                (true, _, true) if ["/auth", "/projects", "/realtime"].iter().any(is_below) => 401,
                // A session begins without a token, and asks for it then.
                (true, _, true) if route.path == "/socket.io/" => 400,
                // Its keys are in bodies, and the way in is closed.
                (true, _, true) if name == "POST" => 503,
                (true, _, true) => 400,
                (true, _, false) => 401,
            };
            assert_eq!(told.status, expected, "{name} {}", route.path);
        }
    }
}
