//! What becomes of parameters: the question that the store is asked.

use axum::http::StatusCode;

use super::stub::{Asked, Mood, Stub, TRACE};
use super::{get, uri_of};
use crate::model::failure::ErrorKind;
use crate::storage::query::{AnalyticsQuery, AttributeEquals, Dimension, Fact};
use crate::storage::{PageRequest, SpanFilter, StatusFilter, TimeRange, TraceFilter};

#[tokio::test]
async fn parameters_become_the_filter_that_is_asked_for() {
    let stub = Stub::new(Mood::Well);
    let uri = "/api/v1/traces?start=2023-11-14T22:13:20Z&end=1700000001000000000&service=api\
         &name=GET%20%2F&status=ok&min_duration=1.5s&max_duration=2s&session_id=s\
         &attr.http.route=%2F&attr.k=7&limit=5&user_id=u&min_tokens=10&min_cost=0.5\
         &operation=chat&provider=p&model=m&agent=a&tool=t&tag=x";
    assert_eq!(get(&stub, uri).await.status, StatusCode::OK);
    let attribute = |key: &str, value: &str| AttributeEquals {
        key: key.to_owned(),
        value: value.to_owned(),
        or_absent: false,
    };
    let filter = TraceFilter {
        range: TimeRange {
            start_unix_nano: Some(1_700_000_000_000_000_000),
            end_unix_nano: Some(1_700_000_001_000_000_000),
        },
        service: Some("api".to_owned()),
        name: Some("GET /".to_owned()),
        status: Some(StatusFilter::Ok),
        duration_min_ns: Some(1_500_000_000),
        duration_max_ns: Some(2_000_000_000),
        session_id: Some("s".to_owned()),
        user_id: Some("u".to_owned()),
        tokens_min: Some(10),
        cost_min_nano_usd: Some(500_000_000),
        facts: vec![
            Fact::Operation("chat".to_owned()),
            Fact::Provider("p".to_owned()),
            Fact::Model("m".to_owned()),
            Fact::Agent("a".to_owned()),
            Fact::Tool("t".to_owned()),
            Fact::Tag("x".to_owned()),
        ],
        attributes: vec![attribute("http.route", "/"), attribute("k", "7")],
    };
    let page = |limit| PageRequest { limit, after: None };
    assert_eq!(stub.last_asked(), Asked::Traces(filter, page(5)));

    let uri = uri_of(
        "/api/v1/spans?trace_id={trace_id}&status=error&error_kind=timeout\
         &session_id=s&user_id=u&min_tokens=10&min_cost=0.5&tag=x",
    );
    assert_eq!(get(&stub, &uri).await.status, StatusCode::OK);
    let filter = SpanFilter {
        trace_id: Some(TRACE),
        status: Some(StatusFilter::Error),
        session_id: Some("s".to_owned()),
        user_id: Some("u".to_owned()),
        tokens_min: Some(10),
        cost_min_nano_usd: Some(500_000_000),
        facts: vec![
            Fact::Tag("x".to_owned()),
            Fact::ErrorKind(ErrorKind::Timeout),
        ],
        ..SpanFilter::default()
    };
    assert_eq!(stub.last_asked(), Asked::Spans(filter, page(50)));

    get(&stub, &uri_of("/api/v1/traces/{trace_id}")).await;
    assert_eq!(stub.last_asked(), Asked::Trace(TRACE, page(10_000)));
}

// Scenario: sums are asked for with every parameter.
// Guarantees: the question reaches the store as it was meant, rounded outwards, and the answer has
// the range, the buckets, the groups and exactly the measures that were asked for.
#[tokio::test]
async fn sums_are_asked_for_and_rendered_as_wanted() {
    let stub = Stub::new(Mood::Well);
    let uri = "/api/v1/analytics?start=2023-11-14T22:13:20Z&end=1700000001000000000&step=1h\
         &group_by=model,service&service=api&operation=chat&provider=p&model=m&limit=7\
         &measures=requests,error_rate,duration_p50_ns,duration_avg_ns,cost_nano_usd";
    let answer = get(&stub, uri).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let named = |dimension, name: &str| (dimension, name.to_owned());
    let query = AnalyticsQuery {
        start_minute: 28_333_333,
        end_minute: 28_333_334,
        step_minutes: Some(60),
        group_by: vec![Dimension::Model, Dimension::Service],
        filters: vec![
            named(Dimension::Service, "api"),
            named(Dimension::Operation, "chat"),
            named(Dimension::Provider, "p"),
            named(Dimension::Model, "m"),
        ],
        durations: true,
        details: false,
        limit: 7,
    };
    assert_eq!(stub.last_asked(), Asked::Analytics(query));
    let expected = serde_json::json!({
        "start_time": "2023-11-14T22:13:00.000000000Z",
        "start_time_unix_nano": "1699999980000000000",
        "end_time": "2023-11-14T22:14:00.000000000Z",
        "end_time_unix_nano": "1700000040000000000",
        "complete": true,
        "counted_from_time": null,
        "counted_from_time_unix_nano": null,
        "step_ns": 3_600_000_000_000_i64,
        "group_by": ["model", "service"],
        "measures": [
            "requests", "error_rate", "duration_p50_ns", "duration_avg_ns", "cost_nano_usd",
        ],
        "rows": [
            {
                "bucket_time": "2023-11-14T22:13:00.000000000Z",
                "bucket_time_unix_nano": "1699999980000000000",
                "group": {"model": null, "service": null},
                "measures": {
                    "requests": 0, "error_rate": null, "duration_p50_ns": null,
                    "duration_avg_ns": null, "cost_nano_usd": 0,
                },
            },
            {
                "bucket_time": "2023-11-14T22:13:00.000000000Z",
                "bucket_time_unix_nano": "1699999980000000000",
                "group": {"model": "g", "service": "g"},
                "measures": {
                    "requests": 4, "error_rate": 0.25, "duration_p50_ns": 111,
                    "duration_avg_ns": 325, "cost_nano_usd": 5_000_000_000_i64,
                },
            },
        ],
        "truncated": true,
    });
    assert_eq!(answer.json, expected);
}

// Scenario: sums are asked for without a parameter.
// Guarantees: they are of the last 24 hours, and of every measure that rollups have.
#[tokio::test]
async fn sums_are_of_a_day_and_of_rollups_unless_asked_otherwise() {
    let stub = Stub::new(Mood::Well);
    let answer = get(&stub, "/api/v1/analytics").await;
    let Asked::Analytics(query) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert_eq!(query.end_minute - query.start_minute, 24 * 60);
    assert_eq!((query.step_minutes, query.limit), (None, 10_000));
    assert!(query.durations && !query.is_of_spans());
    assert_eq!(
        answer.json["rows"][1]["measures"]
            .as_object()
            .unwrap()
            .len(),
        13
    );
}

// Scenario: the cursor of a page is used for the next page, then with other filters, on another
// list, altered, and made up.
// Guarantees: it goes on where it was given out, with any page size, and is a problem elsewhere.
#[tokio::test]
async fn a_cursor_is_good_only_for_the_list_it_came_from() {
    let stub = Stub::new(Mood::Well);
    let first = get(&stub, "/api/v1/traces?service=a").await;
    let cursor = first.json["next_cursor"].as_str().unwrap();
    let next = format!("/api/v1/traces?limit=7&cursor={cursor}&service=a");
    assert_eq!(get(&stub, &next).await.status, StatusCode::OK);
    let Asked::Traces(_, page) = stub.last_asked() else {
        panic!("asked for something else");
    };
    let after = page.after.unwrap();
    assert_eq!((after.unix_nano, after.key), (5, vec![1, 2]));

    let elsewhere = [
        format!("/api/v1/traces?service=b&cursor={cursor}"),
        format!("/api/v1/traces?cursor={cursor}"),
        format!("/api/v1/spans?service=a&cursor={cursor}"),
        format!("/api/v1/traces?service=a&cursor=A{cursor}"),
        "/api/v1/traces?service=a&cursor=made-up".to_owned(),
    ];
    for uri in elsewhere {
        let stub = Stub::new(Mood::Well);
        let answer = get(&stub, &uri).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri}");
        assert_eq!(answer.json["code"], "invalid_cursor");
        assert_eq!(answer.fields(), ["cursor"]);
        assert!(!stub.was_asked());
    }
}
