//! Who may ask what, for every route there is.

use std::sync::Arc;

use axum::http::{Method, header};

use super::stub::{Mood, Stub};
use super::*;
use crate::auth::testing::Keys;
use crate::gateway::caller::is_administrative;
use crate::gateway::family;
use crate::gateway::routes::{ROUTES, Route};
use crate::model::access::{Scope, Scopes};

mod control;
mod tenants;

const READ: Scopes = Scopes::NONE.with(Scope::Read);

/// Keys of a project: one that may read, one that may send, a revoked and an expired one.
async fn guarded() -> (Arc<Keys>, Gates) {
    let (keys, gates) = testing::gates(&auth::Config::default());
    keys.put("pulse_sk_read", 7, READ);
    keys.put("pulse_sk_send", 7, Scopes::NONE.with(Scope::Ingest));
    keys.put("pulse_sk_admin", 7, Scopes::ALL);
    let revoked = keys.put("pulse_sk_revoked", 7, Scopes::ALL);
    keys.change(&revoked, |grant| grant.revoked = true);
    let expired = keys.put("pulse_sk_expired", 7, Scopes::ALL);
    keys.change(&expired, |grant| grant.expires_unix_nano = Some(0));
    gates
        .at(Purpose::Read, ([127, 0, 0, 1], 1).into())
        .refresh()
        .await;
    (keys, gates)
}

fn request(method: &Method, uri: &str, key: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri);
    let request = match key {
        "" => request,
        key => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
    };
    request.body(Body::empty()).unwrap()
}

/// Whether a route is one of PulseKit's, which refuses in its words.
fn is_of_family(route: &Route, method: &Method) -> bool {
    family::ROUTES
        .iter()
        .any(|it| it.path == route.path && it.methods.contains(&method.as_str()))
}

/// Methods that a route may have.
const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
];

// Scenario: every route is asked with every method, without a key, with a wrong, a revoked and an
// expired one, and with one that may not do it.
// Guarantees: nothing but probes is answered, the store is not asked, and each answer says why.
#[tokio::test]
async fn no_route_answers_those_who_may_not_ask() {
    let (_, gates) = guarded().await;
    let document = document();
    for (route, method) in ROUTES
        .iter()
        .flat_map(|route| METHODS.map(|method| (route, method)))
        .filter(|(route, method)| !is_of_family(route, method))
    {
        let stub = Stub::new(Mood::Well);
        let ask = async |key: &str| {
            let uri = uri_of(route.path);
            let answer = send_through(&gates, Arc::clone(&stub), request(&method, &uri, key));
            answer.await
        };
        if ["/api/v1/health", "/openapi.json"].contains(&route.path) {
            assert_ne!(ask("").await.status, StatusCode::UNAUTHORIZED);
            assert_ne!(
                ask("pulse_sk_revoked").await.status,
                StatusCode::UNAUTHORIZED
            );
            continue;
        }
        let is_question = method == Method::GET || method == Method::HEAD;
        if !is_question && ask("pulse_sk_admin").await.status == StatusCode::METHOD_NOT_ALLOWED {
            continue;
        }
        for (key, status, why) in [
            ("", 401, "no API key"),
            ("pulse_sk_other", 401, "not known"),
            ("sk-of-another-service", 401, "not known"),
            ("pulse_sk_revoked", 401, "revoked"),
            ("pulse_sk_expired", 401, "expired"),
            ("pulse_sk_send", 403, "scope"),
        ] {
            let what = format!("{method} {} with {key:?}", route.path);
            let answer = ask(key).await;
            assert_eq!(answer.status.as_u16(), status, "{what}");
            assert_eq!(
                answer.header("www-authenticate") == "Bearer",
                status == 401,
                "{what}"
            );
            if method == Method::HEAD {
                continue;
            }
            assert_eq!(answer.header("content-type"), "application/problem+json");
            let problem = &document["components"]["schemas"]["Problem"];
            schema::check(&document, problem, &answer.json, &what);
            let code = if status == 401 {
                "unauthenticated"
            } else {
                "forbidden"
            };
            assert_eq!(answer.json["code"], code, "{what}");
            let detail = answer.json["detail"].as_str().unwrap();
            assert!(
                detail.contains(why) && !detail.contains("pulse_sk_o"),
                "{what}: {detail}"
            );
        }
        if !is_question || is_administrative(route.path) {
            let answer = ask("pulse_sk_read").await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{method} {}",
                route.path
            );
        }
        assert!(!stub.was_asked(), "{method} {}", route.path);
    }
}

// Scenario: a key that may read asks every route; one that may administer changes prices.
// Guarantees: the store is asked about the key's project and no other.
#[tokio::test]
async fn the_key_names_the_project_of_every_question() {
    let (_, gates) = guarded().await;
    for route in ROUTES.iter().filter(|route| !is_administrative(route.path)) {
        let stub = Stub::new(Mood::Well);
        let uri = uri_of(route.path);
        let question = request(&Method::GET, &uri, "pulse_sk_read");
        let answer = send_through(&gates, Arc::clone(&stub), question).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", route.path);
        let projects = stub.projects_asked();
        assert!(
            projects.iter().all(|project| project.0 == 7),
            "{}: {projects:?}",
            route.path
        );
    }
    let stub = Stub::new(Mood::Well);
    let body = r#"{"overrides":[{"model":"m","input":1.0}]}"#;
    let put = |key: &str| {
        let mut put = request(&Method::PUT, "/api/v1/prices/overrides", key);
        let json = http::HeaderValue::from_static("application/json");
        put.headers_mut().insert(header::CONTENT_TYPE, json);
        *put.body_mut() = Body::from(body);
        send_through(&gates, Arc::clone(&stub), put)
    };
    assert_eq!(put("pulse_sk_read").await.status, StatusCode::FORBIDDEN);
    assert_eq!(put("pulse_sk_admin").await.status, StatusCode::OK);
    let settings: &dyn ProjectSettings = &*stub;
    for (project, has_prices) in [(1, false), (7, true)] {
        let found = settings
            .get(crate::model::ProjectId(project), "prices")
            .await;
        assert_eq!(found.unwrap().is_some(), has_prices, "{project}");
    }
}

// Scenario: a page of another site whose name points to this machine asks every route.
// Guarantees: it reads nothing.
#[tokio::test]
async fn pages_of_other_sites_read_nothing() {
    let (_, gates) = testing::gates(&auth::Config::default());
    let asked_of_store =
        |route: &&Route| route.path.starts_with("/api") && route.path != "/api/v1/health";
    for route in ROUTES.iter().filter(asked_of_store) {
        let stub = Stub::new(Mood::Well);
        let mut asked = request(&Method::GET, &uri_of(route.path), "");
        let host = http::HeaderValue::from_static("evil.example:3000");
        asked.headers_mut().insert(header::HOST, host);
        let answer = send_through(&gates, Arc::clone(&stub), asked).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", route.path);
        assert!(!stub.was_asked());
    }
}

// Scenario: the store can't say whether a key is good.
// Guarantees: 503 with a time to come back, never 401.
#[tokio::test]
async fn a_key_that_can_not_be_checked_is_not_called_wrong() {
    let (keys, gates) = testing::gates(&auth::Config::default());
    keys.set(testing::Mood::Away);
    let stub = Stub::new(Mood::Well);
    let asked = request(&Method::GET, "/api/v1/traces", "pulse_sk_read");
    let answer = send_through(&gates, Arc::clone(&stub), asked).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json["code"], "storage_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}
