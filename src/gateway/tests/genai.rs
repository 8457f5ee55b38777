//! Sessions, users, models and prices.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use super::stub::{Asked, Mood, SESSION, Stub, TRACE};
use super::{get, send, uri_of};
use crate::storage::query::{AnalyticsQuery, Dimension};
use crate::storage::settings::ProjectSettings as _;
use crate::storage::{Cursor, PageRequest};

const SESSION_URI: &str = "/api/v1/sessions/a%2Fb%20c";

fn cursor_of(answer: &Value) -> &str {
    answer["next_cursor"].as_str().unwrap()
}

// Scenario: a session is asked for, whose id must be percent-encoded; then its next page.
// Guarantees: its traces come with the messages of their calls, and the next page begins after the
// last trace.
#[tokio::test]
async fn a_session_is_answered_with_its_messages() {
    let stub = Stub::new(Mood::Well);
    let first = get(&stub, &format!("{SESSION_URI}?limit=2")).await.json;
    assert_eq!(first["session"]["session_id"], "s");
    assert_eq!(first["traces"].as_array().unwrap().len(), 2);
    let calls = first["traces"][0]["calls"].as_array().unwrap();
    assert_eq!(
        calls[0]["messages"]["input_messages"][0]["parts"][0]["content"],
        "Hi"
    );
    assert_eq!(calls[1]["messages"], Value::Null);
    let page = |after| PageRequest { limit: 2, after };
    assert_eq!(
        stub.all_asked().first(),
        Some(&Asked::Session(SESSION.to_owned(), page(None)))
    );
    let next = format!("{SESSION_URI}?limit=2&cursor={}", cursor_of(&first));
    let stub = Stub::new(Mood::Well);
    assert_eq!(get(&stub, &next).await.status, StatusCode::OK);
    let after = Cursor {
        unix_nano: 1_700_000_000_000_000_001,
        key: TRACE.0.to_vec(),
    };
    assert_eq!(
        stub.all_asked().first(),
        Some(&Asked::Session(SESSION.to_owned(), page(Some(after))))
    );
}

// Scenario: a trace of a session has more model calls than fit on a page.
// Guarantees: the page ends with it, and the next one goes on within it, after the last call.
#[tokio::test]
async fn a_session_goes_on_within_a_trace() {
    let stub = Stub::with_many_calls();
    let first = get(&stub, SESSION_URI).await.json;
    assert_eq!(first["traces"].as_array().unwrap().len(), 1);
    let stub = Stub::with_many_calls();
    let next = format!("{SESSION_URI}?cursor={}", cursor_of(&first));
    assert_eq!(get(&stub, &next).await.status, StatusCode::OK);
    let asked = stub.all_asked();
    let Asked::Session(_, page) = &asked[0] else {
        panic!("asked for something else: {asked:?}");
    };
    // After the id before its own, so that it comes first again.
    let after = page.after.as_ref().unwrap();
    let before = u128::from_be_bytes(TRACE.0) - 1;
    assert_eq!(after.key, before.to_be_bytes());
    let calls = PageRequest {
        limit: 500,
        after: Some(Cursor {
            unix_nano: 5,
            key: vec![1, 2],
        }),
    };
    assert_eq!(asked[1], Asked::Calls(TRACE, calls));
}

// Scenario: users are asked for without a range, then their next page.
// Guarantees: the answer says what was counted; both pages are of one range.
#[tokio::test]
async fn pages_of_users_share_their_range() {
    let stub = Stub::new(Mood::Well);
    let first = get(&stub, "/api/v1/users?limit=1").await.json;
    assert_eq!(first["complete"], false);
    assert_eq!(first["counted_from_time_unix_nano"], "1700000000000000000");
    assert_eq!(first["items"][0]["failed_trace_count"], 1);
    let Asked::Users(of_first) = stub.last_asked() else {
        panic!("asked for something else");
    };
    let day = 24 * 3600 * 1_000_000_000;
    assert_eq!(of_first.end_unix_nano - of_first.start_unix_nano, day);
    let next = format!("/api/v1/users?limit=1&cursor={}", cursor_of(&first));
    assert_eq!(get(&stub, &next).await.status, StatusCode::OK);
    let Asked::Users(of_second) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert_eq!(of_second.start_unix_nano, of_first.start_unix_nano);
    assert_eq!(of_second.end_unix_nano, of_first.end_unix_nano);
    let after = of_second.page.after.unwrap();
    assert_eq!((after.unix_nano, after.key), (5, vec![1, 2]));
}

// Scenario: models are asked for; the store knows one that was called and one that was not.
// Guarantees: only the one that was called is listed, with its sums; after it there is nothing.
#[tokio::test]
async fn models_that_were_called_are_listed() {
    let stub = Stub::new(Mood::Well);
    let answer = get(&stub, "/api/v1/models").await.json;
    let expected = json!([{
        "provider": "g", "model": "g", "span_count": 4, "error_count": 1,
        "totals": {
            "llm_call_count": 2, "input_tokens": 30, "output_tokens": 4, "cache_read_tokens": 10,
            "cost_nano_usd": 5_000_000_000_i64,
        },
        "duration_p50_ns": 111, "duration_p95_ns": 1023,
    }]);
    assert_eq!(answer["items"], expected);
    assert_eq!(answer["next_cursor"], Value::Null);
    let Asked::Analytics(query) = stub.last_asked() else {
        panic!("asked for something else");
    };
    let groups = [Dimension::Provider, Dimension::Model, Dimension::Operation];
    assert_eq!(query.group_by, groups);
    assert!(!query.is_of_spans());
}

#[tokio::test]
async fn models_without_a_price_are_looked_for_among_spans() {
    let stub = Stub::new(Mood::Well);
    let uri = "/api/v1/prices/unpriced?start=0&end=60000000000&limit=7";
    let answer = get(&stub, uri).await.json;
    assert_eq!(answer["complete"], false);
    assert_eq!(answer["items"][1]["llm_call_count"], 2);
    let query = AnalyticsQuery {
        start_minute: 0,
        end_minute: 1,
        step_minutes: None,
        group_by: vec![Dimension::Provider, Dimension::Model],
        filters: vec![(Dimension::CostSource, "unpriced".to_owned())],
        durations: false,
        details: false,
        limit: 7,
    };
    assert_eq!(stub.last_asked(), Asked::Analytics(query));
}

// Scenario: dimensions and measures are asked for that only spans have.
// Guarantees: the question says so, and the answer how far it got.
#[tokio::test]
async fn sums_of_spans_say_how_far_they_got() {
    let stub = Stub::new(Mood::Well);
    let uri = "/api/v1/analytics?group_by=user_id,tag&environment=prod&error_kind=timeout\
         &cost_source=unpriced&agent=a&tool=t\
         &measures=reasoning_tokens,unpriced_calls,time_to_first_token_p95_ns";
    let answer = get(&stub, uri).await.json;
    assert_eq!(answer["complete"], false);
    assert_eq!(
        answer["counted_from_time"],
        "2023-11-14T22:13:20.000000000Z"
    );
    assert_eq!(
        answer["rows"][1]["group"],
        json!({"user_id": "g", "tag": "g"})
    );
    let measures = json!({
        "reasoning_tokens": 3, "unpriced_calls": 1, "time_to_first_token_p95_ns": null,
    });
    assert_eq!(answer["rows"][1]["measures"], measures);
    let Asked::Analytics(query) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert!(query.details && !query.durations);
    let filters = [
        (Dimension::Agent, "a"),
        (Dimension::Tool, "t"),
        (Dimension::Environment, "prod"),
        (Dimension::ErrorKind, "timeout"),
        (Dimension::CostSource, "unpriced"),
    ];
    let filters = filters.map(|(dimension, value)| (dimension, value.to_owned()));
    assert_eq!(query.filters, filters);
}

// Scenario: prices are asked for of a configured model, a listed one and one that nobody sells.
// Guarantees: each is answered with its source, its version and the rates in use.
#[tokio::test]
async fn prices_are_looked_up() {
    let stub = Stub::new(Mood::Well);
    let found = async |query: &str| {
        let answer = get(&stub, &format!("/api/v1/prices?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        answer.json
    };
    let own = found("model=own-7").await;
    assert_eq!(own["enabled"], true);
    assert_eq!(own["overrides"][0]["input"], 1.5);
    assert_eq!(own["found"]["source"], "configured");
    assert_eq!(own["found"]["version"], own["overrides_version"]);
    let rates = json!([
        {"kind": "input", "above_input_tokens": null, "usd": 1.5, "per": 1_000_000, "unit": "tokens"},
        {"kind": "output", "above_input_tokens": null, "usd": 3.0, "per": 1_000_000, "unit": "tokens"},
    ]);
    assert_eq!(own["found"]["prices"][0]["rates"], rates);
    assert_eq!(own["found"]["prices"][0]["in_use"], true);

    let listed = found("provider=openai&model=gpt-4o&at=2026-06-01T00:00:00Z").await;
    assert_eq!(listed["found"]["source"], "builtin");
    assert_eq!(listed["found"]["version"], listed["builtin_version"]);
    let prices = listed["found"]["prices"].as_array().unwrap();
    let in_use = prices.iter().filter(|price| price["in_use"] == true);
    let in_use: Vec<_> = in_use.collect();
    assert_eq!(in_use.len(), 1);
    let rates = in_use[0]["rates"].as_array().unwrap();
    assert!(
        rates
            .iter()
            .any(|rate| rate["kind"] == "input" && rate["usd"] == 2.5)
    );

    let none = found("provider=nobody&model=none").await;
    assert_eq!(none["found"]["source"], Value::Null);
    assert_eq!(none["found"]["prices"], json!([]));
    assert_eq!(found("").await["found"], Value::Null);
    assert!(!stub.was_asked());
    let document = super::document();
    let schema = &document["components"]["schemas"]["Prices"];
    super::schema::check(&document, schema, &listed, &uri_of("prices"));
}

async fn put(stub: &std::sync::Arc<Stub>, kind: &str, body: impl Into<Body>) -> super::Answer {
    let request = Request::put("/api/v1/prices/overrides").header("content-type", kind);
    let request = request.body(body.into()).unwrap();
    send(std::sync::Arc::clone(stub), request).await
}

// Scenario: a project settles prices, looks a model up, and drops them again.
// Guarantees: its entries come before the configured ones, are answered as they were sent, and are
// its own: others are asked about nothing of it.
#[tokio::test]
async fn a_project_settles_its_own_prices() {
    let stub = Stub::new(Mood::Well);
    let body = json!({"overrides": [{"model": "own-7", "input": 9}, {"model": "x", "priced_as": "gpt-4o"}]});
    let answer = put(&stub, "application/json; charset=utf-8", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(answer.json["overrides"][0]["input"], 9.0);
    let listed = get(&stub, "/api/v1/prices/overrides").await.json;
    assert_eq!(listed, answer.json);
    let found = get(&stub, "/api/v1/prices?model=own-7").await.json;
    assert_eq!(found["found"]["prices"][0]["rates"][0]["usd"], 9.0);
    assert_eq!(found["found"]["version"], found["overrides_version"]);
    assert_eq!(found["project_overrides"], answer.json["overrides"]);
    assert_eq!(found["overrides"].as_array().unwrap().len(), 1);
    let other = get(&stub, "/api/v1/prices?model=own-8").await.json;
    assert_eq!(other["found"]["prices"][0]["rates"][0]["usd"], 1.5);
    let kept = stub.all("prices").await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0, crate::model::ProjectId::DEFAULT);
    let answer = put(&stub, "application/json", r#"{"overrides": []}"#).await;
    assert_eq!(answer.json, json!({"overrides": []}));
    assert!(stub.all("prices").await.unwrap().is_empty());
}

// Scenario: bodies that are no JSON, of another form, with wrong entries, too large, of another
// type; a store that does not answer.
// Guarantees: each is refused with its status and code, wrong entries by their places, and nothing
// is stored.
#[tokio::test]
async fn wrong_prices_are_refused_by_their_places() {
    let stub = Stub::new(Mood::Well);
    let json_type = "application/json";
    for (kind, body, status, code) in [
        (json_type, "{", 400, "invalid_request"),
        (json_type, r#"{"overides": []}"#, 400, "invalid_request"),
        (json_type, "[]", 400, "invalid_request"),
        (
            "text/plain",
            r#"{"overrides": []}"#,
            415,
            "unsupported_media_type",
        ),
        ("", r#"{"overrides": []}"#, 415, "unsupported_media_type"),
    ] {
        let answer = put(&stub, kind, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.json);
        assert_eq!(answer.json["code"], code);
    }
    let wrong = json!({"overrides": [
        {"model": "fine", "input": 1},
        {"model": "a", "input": -1},
        {"model": "b", "inptu": 1},
        {"model": "c"},
        {"model": "d", "input": 1, "from": "soon"},
    ]});
    let answer = put(&stub, json_type, wrong.to_string()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json["code"]),
        (400, &json!("invalid_parameter"))
    );
    let paths = [1, 2, 3, 4].map(|number| format!("overrides[{number}]"));
    assert_eq!(answer.fields(), paths);
    let message = answer.json["fields"][1]["message"].as_str().unwrap();
    assert!(message.contains("inptu"), "{message}");
    let many = json!({"overrides": vec![json!({"model": "m", "input": 1}); 1001]});
    let answer = put(&stub, json_type, many.to_string()).await;
    assert_eq!(answer.fields(), ["overrides"]);
    let large = vec![b' '; (1 << 20) + 1];
    let answer = put(&stub, json_type, large).await;
    assert_eq!(answer.status.as_u16(), 413);
    assert_eq!(answer.json["code"], "request_too_large");
    assert!(stub.all("prices").await.unwrap().is_empty());
    let down = Stub::new(Mood::Unavailable);
    let answer = put(&down, json_type, r#"{"overrides": []}"#).await;
    assert_eq!(answer.status.as_u16(), 503);
}
