//! What answers look like.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::rows::chat;
use super::stub::{Mood, Stub, TRACE};
use super::{document, gate, get, prices, schema, send, uri_of};
use crate::auth::{self, testing};
use crate::gateway::{Config, Metrics, State, render, router};
use crate::storage::sqlite::SqliteAccess;
use crate::storage::sqlite::SqliteIssues;

// Scenario: an answer of some kilobytes and one of a few bytes are asked for with and without gzip,
// and by HEAD.
// Guarantees: only the large one is compressed, only where it is asked for, and says so; inflated
// it is the same answer.
#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let asked = |method: Method, uri: &str, encoding: &str| {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("accept-encoding", encoding);
        request.body(Body::empty()).unwrap()
    };
    let state = || State {
        access: Arc::new(SqliteAccess::in_memory()),
        issues: Arc::new(SqliteIssues::in_memory()),
        gate: gate(&testing::gates(&auth::Config::default()).1),
        reader: Stub::new(Mood::Well),
        settings: Stub::new(Mood::Well),
        config: Config::default(),
        prices: prices(),
        ingest: None,
        metrics: Metrics::new().unwrap(),
        tasks: super::drained(),
    };
    let plain = router(state()).oneshot(asked(Method::GET, "/openapi.json", "br"));
    let plain = plain.await.unwrap();
    assert_eq!(plain.headers()["vary"], "accept-encoding");
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.into_body().collect().await.unwrap().to_bytes();
    let packed = router(state()).oneshot(asked(Method::GET, "/openapi.json", "gzip"));
    let packed = packed.await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["vary"], "accept-encoding");
    assert!(!packed.headers().contains_key("content-length"));
    let packed = packed.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.len() * 3 < plain.len(), "{} bytes", packed.len());
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
    std::io::Read::read_to_end(&mut decoder, &mut inflated).unwrap();
    assert_eq!(inflated, plain);
    for (method, uri) in [
        (Method::HEAD, "/openapi.json"),
        (Method::GET, "/api/v1/health"),
    ] {
        let answer = router(state()).oneshot(asked(method, uri, "gzip"));
        let answer = answer.await.unwrap();
        assert!(!answer.headers().contains_key("content-encoding"), "{uri}");
    }
}

#[tokio::test]
async fn a_trace_is_rendered_with_everything_it_came_with() {
    let uri = uri_of("/api/v1/traces/{trace_id}");
    let answer = get(&Stub::new(Mood::Well), &uri).await.json;
    assert_eq!(answer["trace"]["trace_id"], "ab".repeat(16));
    assert_eq!(
        answer["trace"]["start_time"],
        "2023-11-14T22:13:20.000000001Z"
    );
    assert_eq!(
        answer["trace"]["start_time_unix_nano"],
        "1700000000000000001"
    );
    assert_eq!(answer["trace"]["duration_ns"], 10);
    let totals = serde_json::json!({
        "llm_call_count": 2, "input_tokens": 30, "output_tokens": 4, "cache_read_tokens": 10,
        "cost_nano_usd": 5_000_000_000_i64,
    });
    assert_eq!(answer["trace"]["totals"], totals);
    assert_eq!(answer["spans"].as_array().unwrap().len(), 2);
    let span = &answer["spans"][0];
    assert_eq!(span["status"]["code"], "error");
    assert_eq!(span["http_status_code"], 500);
    assert_eq!(span["error_kind"], "server");
    assert_eq!(span["time_marks"], serde_json::json!(["end_before_start"]));
    assert_eq!(span["attributes"], serde_json::json!({"k": 7}));
    let genai = serde_json::json!({
        "dialect": "otel", "is_model_call": true, "response_id": "r-1", "finish_reason": null,
        "streaming": true, "time_to_first_token_ns": 7, "agent_name": "writer", "agent_id": null,
        "tool_name": null, "tool_call_id": null, "tags": ["beta", "a,b"],
        "usage": {
            "input_tokens": 15, "output_tokens": 0, "cache_read_tokens": null,
            "cache_write_tokens": null, "reasoning_tokens": null, "audio_input_tokens": null,
            "audio_output_tokens": null, "image_input_tokens": null, "image_output_tokens": null,
        },
        "cost": {
            "input_nano_usd": null, "output_nano_usd": null, "total_nano_usd": 2_500_000_000_i64,
            "source": "computed", "price_version": "2026-11",
        },
    });
    assert_eq!(span["genai"], genai);
    assert_eq!(span["events"][0]["time_unix_nano"], "1700000000000000002");
    assert_eq!(span["links"][0]["span_id"], "02".repeat(8));
    assert_eq!(span["resource"]["schema_url"], "https://example.com/1");
    assert_eq!(span["received_time"], "2023-11-14T22:13:21.000000000Z");
}

// Scenario: a span with a chat's messages is asked for by itself and as part of its trace.
// Guarantees: by itself it has its messages in one shape; the trace does not repeat them.
#[tokio::test]
async fn one_span_has_its_messages() {
    let detail = render::SpanDetail::with_messages(chat(), &[]).unwrap();
    let json = serde_json::to_value(detail).unwrap();
    let messages = &json["messages"];
    assert_eq!(
        messages["input_messages"],
        serde_json::json!([{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}])
    );
    assert_eq!(messages["tool_call"], Value::Null);
    let document = document();
    let schema = &document["components"]["schemas"]["SpanDetail"];
    schema::check(&document, schema, &json, "a chat");

    let stub = Stub::new(Mood::Well);
    let plain = get(&stub, &uri_of("/api/v1/spans/{trace_id}/{span_id}")).await;
    assert_eq!(plain.json["messages"], Value::Null);
    assert!(plain.json.as_object().unwrap().contains_key("messages"));
    let trace = get(&stub, &uri_of("/api/v1/traces/{trace_id}")).await;
    assert_eq!(trace.json["spans"][0].get("messages"), None);
}

#[tokio::test]
async fn a_trace_is_answered_as_otlp_when_asked_so() {
    let uri = uri_of("/api/v1/traces/{trace_id}");
    let request = Request::get(&uri)
        .header("accept", "text/html, application/json; profile=\"otlp\"")
        .body(Body::empty())
        .unwrap();
    let by_header = send(Stub::new(Mood::Well), request).await;
    let by_parameter = get(&Stub::new(Mood::Well), &format!("{uri}?format=otlp")).await;
    for answer in [by_header, by_parameter] {
        assert_eq!(
            answer.header("content-type"),
            "application/json; profile=otlp"
        );
        let cursor = answer.header("x-next-cursor");
        let next = get(&Stub::new(Mood::Well), &format!("{uri}?cursor={cursor}")).await;
        assert_eq!(next.status, StatusCode::OK);
        let groups = answer.json["resourceSpans"].as_array().unwrap();
        // The two spans have equal resources that are not shared, so that they stay apart.
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0]["schemaUrl"], "https://example.com/1");
        let span = &groups[0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], TRACE.to_string());
        assert_eq!(span["startTimeUnixNano"], "1700000000000000001");
        assert_eq!(span["attributes"][0]["value"]["intValue"], "7");
    }
    let html = Request::get(&uri).header("accept", "text/html, */*");
    let answer = send(Stub::new(Mood::Well), html.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-next-cursor"), "");
}
