//! The routes of the older servers through the router: what holds for all of them.

use axum::body::Bytes;
use http::Method;

use super::stub::Mood;
use super::*;
use crate::gateway::pulse::ROUTES;

const MISSING: &str = r#"{"error":"Missing or invalid Authorization header"}"#;

async fn ask(reader: &Arc<Stub>, request: Request<Body>) -> (StatusCode, http::HeaderMap, Bytes) {
    let state = State {
        access: Arc::new(SqliteAccess::in_memory()),
        issues: Arc::new(SqliteIssues::in_memory()),
        gate: gate(&testing::gates(&auth::Config::default()).1),
        settings: Arc::<Stub>::clone(reader),
        reader: Arc::<Stub>::clone(reader),
        config: Config::default(),
        prices: prices(),
        ingest: None,
        metrics: Metrics::new().unwrap(),
        tasks: drained(),
    };
    let response = router(state).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, body)
}

fn request(method: &Method, path: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    request.body(Body::empty()).unwrap()
}

fn paths() -> impl Iterator<Item = (String, &'static [&'static str])> {
    ROUTES
        .iter()
        .map(|route| (route.path.replace("{id}", "x"), route.methods))
}

// Scenario: every route with every method.
// Guarantees: the methods of the table are served, HEAD beside GET, and all others are nothing that
// is served, whoever asks.
#[tokio::test]
async fn the_table_is_what_is_served() {
    let stub = Stub::new(Mood::Well);
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    for (path, served) in paths().filter(|(path, _)| path != "/health") {
        for name in methods {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let (status, headers, body) = ask(&stub, request(&method, &path, None)).await;
            let is_served = served.contains(&name) || name == "HEAD" && served.contains(&"GET");
            if is_served {
                assert_ne!(status, 404, "{name} {path}");
                continue;
            }
            assert_eq!(status, 404, "{name} {path}");
            assert_eq!(headers["content-type"], "text/plain; charset=UTF-8");
            assert!(!headers.contains_key("allow"), "{name} {path}");
            let expected: &[u8] = if name == "HEAD" {
                b""
            } else {
                b"404 Not Found"
            };
            assert_eq!(body, expected, "{name} {path}");
        }
    }
    for path in ["/v1/nothing", "/v1/", "/dashboard/api/x"] {
        let (status, headers, body) = ask(&stub, request(&Method::GET, path, None)).await;
        assert_eq!((status.as_u16(), &body[..]), (404, &b"404 Not Found"[..]));
        assert_eq!(headers["content-type"], "text/plain; charset=UTF-8");
    }
}

// Scenario: headers that are missing, or not exactly one word after `Bearer`.
// Guarantees: 401 before anything else is looked at, and the login check says false.
#[tokio::test]
async fn a_key_is_asked_for_exactly_so() {
    let stub = Stub::new(Mood::Well);
    let wrong = [
        None,
        Some(""),
        Some("Bearer"),
        Some("bearer pulse_sk_x"),
        Some("Bearer  pulse_sk_x"),
        Some("Bearer pulse_sk_x y"),
        Some("Basic pulse_sk_x"),
    ];
    let open = ["/health", "/v1/auth/login"];
    for (path, methods) in paths().filter(|(path, _)| !open.contains(&path.as_str())) {
        let method: Method = methods[0].parse().unwrap();
        for header in wrong {
            let (status, headers, body) = ask(&stub, request(&method, &path, header)).await;
            assert_eq!(
                (status.as_u16(), &body[..]),
                (401, MISSING.as_bytes()),
                "{header:?}"
            );
            assert_eq!(headers["content-type"], "application/json");
        }
        let foreign = request(&method, &path, Some("Bearer other"));
        let (status, _, body) = ask(&stub, foreign).await;
        assert_eq!(
            (status.as_u16(), &body[..]),
            (401, &br#"{"error":"Invalid API key"}"#[..])
        );
    }
    assert!(!stub.was_asked());
    for (header, known) in [
        (None, "false"),
        (Some("Bearer x"), "false"),
        (Some("Bearer pulse_sk_x"), "true"),
    ] {
        let (status, _, body) = ask(&stub, request(&Method::POST, "/v1/auth/login", header)).await;
        let expected = format!(r#"{{"authenticated":{known}}}"#);
        assert_eq!((status.as_u16(), &body[..]), (200, expected.as_bytes()));
    }
    let (_, _, body) = ask(&stub, request(&Method::GET, "/health", None)).await;
    assert_eq!(&body[..], br#"{"status":"ok","service":"pulse"}"#);
}

// Scenario: the store fails in every way it can.
// Guarantees: each failure has its status, in JSON, and says nothing of the inside.
#[tokio::test]
async fn failures_of_the_store_are_said_in_json() {
    for (mood, status) in [
        (Mood::Unavailable, 503),
        (Mood::Timeout, 504),
        (Mood::Corrupt, 500),
        (Mood::Panic, 500),
    ] {
        for path in [
            "/v1/traces",
            "/v1/traces/x",
            "/v1/sessions/x",
            "/v1/sessions/x/spans",
            "/v1/spans",
            "/v1/spans/x",
            "/v1/analytics?date_from=2026-01-05T10:00:00Z&date_to=2026-01-06T10:00:00Z",
            "/v1/analytics/spans?date_from=2026-01-05T10:00:00Z&date_to=2026-01-06T10:00:00Z",
        ] {
            let asked = request(&Method::GET, path, Some("Bearer pulse_sk_x"));
            let (found, headers, body) = ask(&Stub::new(mood), asked).await;
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert_eq!(found.as_u16(), status, "{path}: {text}");
            assert_eq!(headers["content-type"], "application/json");
            assert!(
                text.starts_with(r#"{"error":""#) && !text.contains("SECRET"),
                "{text}"
            );
        }
    }
}

// Scenario: a trace that does not end.
// Guarantees: refused in words; never a part without a sign.
#[tokio::test]
async fn what_is_too_large_is_refused_and_not_cut() {
    let stub = Stub::new(Mood::Well);
    let path = format!("/v1/traces/{TRACE}");
    let (status, headers, body) = ask(
        &stub,
        request(&Method::GET, &path, Some("Bearer pulse_sk_x")),
    )
    .await;
    let expected =
        r#"{"error":"The answer would be too large; ask for less, or page through /v1/spans"}"#;
    assert_eq!((status.as_u16(), &body[..]), (413, expected.as_bytes()));
    assert_eq!(headers["content-type"], "application/json");
}
