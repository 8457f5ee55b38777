//! Events: what is asked for, and what is answered.

use axum::http::StatusCode;
use serde_json::json;

use super::stub::{Asked, EVENT, Mood, SPAN, Stub, TRACE};
use super::{get, uri_of};
use crate::storage::query::AttributeEquals;
use crate::storage::{EventFilter, PageRequest, TimeRange};

#[tokio::test]
async fn parameters_become_the_filter_that_is_asked_for() {
    let stub = Stub::new(Mood::Well);
    let uri = format!(
        "/api/v1/events?start=1&end=9&service=api&environment=prod&min_severity=error&name=e\
         &trace_id={TRACE}&span_id={SPAN}&session_id=s&attr.k=7&limit=5"
    );
    assert_eq!(get(&stub, &uri).await.status, StatusCode::OK);
    let filter = EventFilter {
        range: TimeRange {
            start_unix_nano: Some(1),
            end_unix_nano: Some(9),
        },
        service: Some("api".to_owned()),
        environment: Some("prod".to_owned()),
        severity_min: Some(17),
        name: Some("e".to_owned()),
        trace_id: Some(TRACE),
        span_id: Some(SPAN),
        session_id: Some("s".to_owned()),
        source: None,
        attributes: vec![AttributeEquals {
            key: "k".to_owned(),
            value: "7".to_owned(),
            or_absent: false,
        }],
    };
    let page = |limit| PageRequest { limit, after: None };
    assert_eq!(stub.last_asked(), Asked::Events(filter, page(5)));
    assert_eq!(
        get(&stub, "/api/v1/events?min_severity=9").await.status,
        StatusCode::OK
    );
    let filter = EventFilter {
        severity_min: Some(9),
        ..EventFilter::default()
    };
    assert_eq!(stub.last_asked(), Asked::Events(filter, page(50)));
}

#[tokio::test]
async fn wrong_parameters_and_ids_are_named() {
    for (uri, path, message) in [
        (
            "/api/v1/events?min_severity=bad",
            "min_severity",
            "expected 1 to 24, trace, debug, info, warn, error or fatal",
        ),
        (
            "/api/v1/events?min_severity=25",
            "min_severity",
            "expected 1 to 24",
        ),
        ("/api/v1/events?limit=501", "limit", "500"),
        ("/api/v1/events?span_id=xyz", "span_id", "16"),
        (
            "/api/v1/events/abc",
            "event_id",
            "expected 48 hexadecimal digits",
        ),
    ] {
        let stub = Stub::new(Mood::Well);
        let answer = get(&stub, uri).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri}");
        let field = &answer.json["fields"][0];
        assert_eq!(field["path"], path, "{uri}");
        assert!(
            field["message"].as_str().unwrap().contains(message),
            "{field}"
        );
        assert!(!stub.was_asked(), "{uri}");
    }
}

#[tokio::test]
async fn an_event_is_answered_with_what_it_says() {
    let stub = Stub::new(Mood::Well);
    let found = get(&stub, &format!("/api/v1/events/{EVENT}")).await.json;
    assert_eq!(stub.last_asked(), Asked::Event(EVENT));
    for (member, value) in [
        ("event_id", json!(EVENT.to_string())),
        ("time_unix_nano", json!("1800000000000000000")),
        ("observed_time", json!(null)),
        ("severity_number", json!(17)),
        ("name", json!("failure")),
        ("body", json!("it broke")),
        ("attributes", json!({"k": 7})),
        ("trace_id", json!(TRACE)),
        ("release", json!("1.2")),
        ("cost_nano_usd", json!(1500)),
        ("fingerprint", json!("00000000000000ff")),
        ("source", json!("otlp")),
    ] {
        assert_eq!(found[member], value, "{member}");
    }
    let other = "0".repeat(48);
    let unknown = get(&stub, &format!("/api/v1/events/{other}")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

// Guarantees: events come with the first page of a trace, and it says when there are more.
#[tokio::test]
async fn a_trace_comes_with_its_events_once() {
    let stub = Stub::new(Mood::Well);
    let uri = uri_of("/api/v1/traces/{trace_id}");
    let first = get(&stub, &uri).await.json;
    assert_eq!(first["events"][0]["event_id"], EVENT.to_string());
    assert_eq!(first["events_cut"], true);
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = get(&stub, &format!("{uri}?cursor={cursor}")).await.json;
    assert_eq!(
        (&next["events"], &next["events_cut"]),
        (&json!([]), &json!(false))
    );
}
