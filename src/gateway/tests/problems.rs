//! What is answered when there is no answer.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::stub::{Mood, Stub};
use super::{document, get, schema, send, uri_of};
use crate::gateway::caller::is_administrative;
use crate::gateway::routes::{ROUTES, Route};

/// Asks, and checks that the answer is such a problem and that the store was not asked.
async fn assert_problem(uri: &str, status: u16, code: &str, fields: &[&str]) {
    let stub = Stub::new(Mood::Well);
    let answer = get(&stub, uri).await;
    assert_eq!(answer.status.as_u16(), status, "{uri}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["status"], status, "{uri}");
    assert_eq!(answer.json["code"], code, "{uri}");
    assert_eq!(answer.fields(), fields, "{uri}");
    assert_eq!(answer.json["request_id"], answer.header("x-request-id"));
    let document = document();
    let problem = &document["components"]["schemas"]["Problem"];
    schema::check(&document, problem, &answer.json, uri);
    assert!(!stub.was_asked(), "{uri}");
}

#[tokio::test]
async fn wrong_parameters_are_problems_that_name_all_that_is_wrong() {
    let cases: [(&str, &[&str]); 12] = [
        (
            "/api/v1/traces?srevice=a&status=x&limit=0&start=now",
            &["srevice", "start", "status", "limit"],
        ),
        ("/api/v1/traces/xyz?cursr=1", &["cursr", "trace_id"]),
        ("/api/v1/spans/00/11", &["trace_id", "span_id"]),
        ("/api/v1/traces?limit=1001", &["limit"]),
        (
            "/api/v1/traces?min_cost=$1&min_tokens=-1&error_kind=bad&tool=&toll=x",
            &["toll", "tool", "error_kind", "min_tokens", "min_cost"],
        ),
        (
            "/api/v1/spans?status=ok&error_kind=timeout&sesion_id=s",
            &["sesion_id", "error_kind"],
        ),
        ("/api/v1/health?verbose=1", &["verbose"]),
        ("/api/v1/sessions/s?limit=101&user=x", &["user", "limit"]),
        ("/api/v1/users?start=2&end=1&limit=0", &["end", "limit"]),
        ("/api/v1/models?start=2500-01-01T00:00:00Z", &["start"]),
        ("/api/v1/prices?provider=p&at=now", &["at", "model"]),
        (
            "/api/v1/prices/unpriced?limit=1001&cursor=x",
            &["cursor", "limit"],
        ),
    ];
    for (uri, fields) in cases {
        assert_problem(uri, 400, "invalid_parameter", fields).await;
    }
}

#[tokio::test]
async fn paths_that_are_not_served_and_long_queries_are_problems() {
    let long = format!("/api/v1/traces?name={}", "a".repeat(9000));
    let many = format!("/api/v1/traces?{}", "attr.k=1&".repeat(65));
    assert_problem(&long, 414, "query_too_long", &[]).await;
    assert_problem(&many, 414, "query_too_long", &[]).await;
    assert_problem("/api/v1/nothing", 404, "no_such_route", &[]).await;
}

#[tokio::test]
async fn wrong_questions_for_sums_name_all_that_is_wrong() {
    let stub = Stub::new(Mood::Well);
    let cases: [(&str, &[&str]); 5] = [
        (
            "start=2&end=1&step=90s&group_by=colour&measures=requests,,&cursor=x",
            &["cursor", "end", "step", "measures", "group_by"],
        ),
        (
            "group_by=model,model&limit=10001&model=",
            &["model", "group_by", "limit"],
        ),
        (
            "error_kind=bad&cost_source=free&user=ada&measures=ttft",
            &["user", "error_kind", "cost_source", "measures"],
        ),
        ("start=0&end=1700000000000000000&step=1m", &["step"]),
        ("start=2500-01-01T00:00:00Z", &["start"]),
    ];
    for (query, fields) in cases {
        let answer = get(&stub, &format!("/api/v1/analytics?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.json["code"], "invalid_parameter", "{query}");
        assert_eq!(answer.fields(), fields, "{query}");
    }
    assert!(!stub.was_asked());
}

#[tokio::test]
async fn unknown_ids_are_not_found_and_other_methods_not_allowed() {
    let (stub, document) = (Stub::new(Mood::Well), document());
    let other = "12".repeat(16);
    for uri in [
        format!("/api/v1/traces/{other}"),
        format!("/api/v1/spans/{other}/{}", "34".repeat(8)),
        "/api/v1/sessions/unknown".to_owned(),
    ] {
        let answer = get(&stub, &uri).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json["code"], "not_found");
    }
    for route in &ROUTES {
        let documented = document["paths"][route.path].as_object().unwrap();
        let has = |method: &Method| documented.contains_key(&method.as_str().to_lowercase());
        let others = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        let served = others.iter().filter(|method| has(method));
        let allowed = served.fold("GET,HEAD".to_owned(), |all, one| format!("{all},{one}"));
        for method in others {
            if has(&method) {
                continue;
            }
            let request = Request::builder()
                .method(method)
                .uri(uri_of(route.path))
                .body(Body::empty())
                .unwrap();
            let answer = send(Arc::clone(&stub), request).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.json["code"], "method_not_allowed");
            assert_eq!(answer.header("allow"), allowed);
        }
    }
}

// Scenario: the store fails in every way it can, under a request id of the client's.
// Guarantees: each failure has its status and code, says nothing of the inside, and repeats the id.
#[tokio::test]
async fn failures_of_the_store_are_problems_without_internals() {
    let cases = [
        (Mood::Unavailable, 503, "storage_unavailable", "1"),
        (Mood::Timeout, 504, "query_timeout", ""),
        (Mood::Corrupt, 500, "storage_damaged", ""),
        (Mood::Panic, 500, "internal", ""),
    ];
    for (mood, status, code, retry_after) in cases {
        let of_store = |route: &&Route| {
            route.path.starts_with("/api")
                && route.path != "/api/v1/health"
                // Asked of another store, which does not fail here.
                && !route.path.starts_with("/api/v1/issues")
                && !is_administrative(route.path)
        };
        for route in ROUTES.iter().filter(of_store) {
            let request = Request::get(uri_of(route.path))
                .header("x-request-id", "mine-1")
                .body(Body::empty())
                .unwrap();
            let answer = send(Stub::new(mood), request).await;
            assert_eq!(answer.status.as_u16(), status, "{}", route.path);
            assert_eq!(answer.json["code"], code);
            assert_eq!(answer.json["request_id"], "mine-1");
            assert_eq!(answer.header("x-request-id"), "mine-1");
            assert_eq!(answer.header("retry-after"), retry_after);
            assert!(!answer.json.to_string().contains("SECRET"));
        }
    }
}

// Scenario: the store fails, then does not answer at all.
// Guarantees: the health route still answers, and says so.
#[tokio::test]
async fn health_is_degraded_while_the_store_does_not_answer() {
    for mood in [Mood::Unavailable, Mood::Silent] {
        let answer = get(&Stub::new(mood), "/api/v1/health").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json["status"], "degraded");
        assert_eq!(answer.json["storage"]["status"], "down");
    }
    let answer = get(&Stub::new(Mood::Well), "/api/v1/health").await;
    assert_eq!(answer.json["status"], "ok");
    assert_eq!(answer.json["storage"]["bytes"], 4096);
}
