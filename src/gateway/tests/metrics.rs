//! Metrics: what is asked for, and what is answered.

use axum::http::StatusCode;
use serde_json::json;

use super::get;
use super::stub::{Asked, METRIC, Mood, Stub};
use crate::storage::PageRequest;
use crate::storage::metrics::query::{Aggregation, MetricFilter, MetricQuery};
use crate::storage::query::AttributeEquals;

#[tokio::test]
async fn parameters_become_the_question_that_is_asked() {
    let stub = Stub::new(Mood::Well);
    let uri = "/api/v1/metrics?prefix=gen_ai.&service=api&limit=5";
    let listed = get(&stub, uri).await;
    assert_eq!(listed.status, StatusCode::OK);
    let filter = MetricFilter {
        prefix: Some("gen_ai.".to_owned()),
        service: Some("api".to_owned()),
    };
    let page = PageRequest {
        limit: 5,
        after: None,
    };
    assert_eq!(stub.last_asked(), Asked::Metrics(filter, page));
    let item = &listed.json["items"][0];
    assert_eq!(
        (&item["name"], &item["type"]),
        (&json!(METRIC), &json!("sum"))
    );
    assert_eq!(item["unit"], "{token}");
    assert_eq!(item["last_seen_time_unix_nano"], "1800000000000000000");

    let uri = "/api/v1/metrics/a%2Fb?start=1&end=60000000001&step=30s&group_by=model,user.id\
               &service=api&environment=prod&attr.k=7&aggregation=p90&limit=3";
    assert_eq!(get(&stub, uri).await.status, StatusCode::NOT_FOUND);
    let query = MetricQuery {
        name: "a/b".to_owned(),
        start_unix_nano: 1,
        end_unix_nano: 60_000_000_001,
        step_ns: Some(30_000_000_000),
        group_by: vec!["model".to_owned(), "user.id".to_owned()],
        service: Some("api".to_owned()),
        environment: Some("prod".to_owned()),
        attributes: vec![AttributeEquals {
            key: "k".to_owned(),
            value: "7".to_owned(),
            or_absent: false,
        }],
        aggregation: Some(Aggregation::Quantile(90)),
        groups_max: 3,
    };
    assert_eq!(stub.last_asked(), Asked::Metric(query));
}

#[tokio::test]
async fn points_are_answered_by_group() {
    let stub = Stub::new(Mood::Well);
    let found = get(&stub, "/api/v1/metrics/tokens?group_by=model")
        .await
        .json;
    assert_eq!(found["aggregation"], "increase");
    let group = &found["groups"][0];
    assert_eq!(group["group"], json!({"model": "model!"}));
    assert_eq!(
        group["points"][0],
        json!({
            "bucket_time": "2027-01-15T08:00:00.000000000Z",
            "bucket_time_unix_nano": "1800000000000000000",
            "value": 1.5,
        })
    );
    assert_eq!(group["points"][1]["value"], "NaN");
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    for (uri, path, message) in [
        ("?step=10ms", "step", "at least 1s"),
        (
            "?start=1&end=1700000000000000000&step=1m",
            "step",
            "10000 buckets",
        ),
        ("?group_by=a,b,c,d,e", "group_by", "at most 4"),
        ("?group_by=a,a", "group_by", "more than once"),
        ("?group_by=a,", "group_by", "empty"),
        ("?aggregation=p42", "aggregation", "expected rate or"),
        ("?limit=1001", "limit", "1000"),
        ("?end=1&start=2", "end", "before start"),
        ("?colour=1", "colour", "unknown parameter"),
    ] {
        let stub = Stub::new(Mood::Well);
        let answer = get(&stub, &format!("/api/v1/metrics/tokens{uri}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri}");
        let field = &answer.json["fields"][0];
        assert_eq!(field["path"], path, "{uri}");
        let told = field["message"].as_str().unwrap();
        assert!(told.contains(message), "{told}");
        assert!(!stub.was_asked(), "{uri}");
    }
    let stub = Stub::new(Mood::Well);
    let answer = get(&stub, "/api/v1/metrics/tokens?aggregation=last").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let field = &answer.json["fields"][0];
    assert_eq!(field["path"], "aggregation");
    let told = field["message"].as_str().unwrap();
    assert!(told.contains("type histogram; expected rate or"), "{told}");
}
