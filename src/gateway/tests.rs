//! The API through its router, over a reader that answers the same few rows.

mod schema;
mod search;
mod stub;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::problem::Code;
use super::routes::{OPENAPI, ROUTES};
use super::*;
use crate::storage::query::{AnalyticsQuery, AttributeEquals, Dimension};
use crate::storage::{PageRequest, SpanFilter, StatusFilter, TimeRange, TraceFilter};
use stub::{Asked, Mood, SPAN, Stub, TRACE};

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn fields(&self) -> Vec<&str> {
        let fields = self.json["fields"].as_array().unwrap();
        let paths = fields.iter().map(|field| field["path"].as_str().unwrap());
        paths.collect()
    }
}

async fn send(reader: Arc<Stub>, request: Request<Body>) -> Answer {
    let state = State {
        reader,
        config: Config::default(),
        metrics: Metrics::new().unwrap(),
    };
    let response = router(state).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        json,
    }
}

async fn get(reader: &Arc<Stub>, uri: &str) -> Answer {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    send(Arc::clone(reader), request).await
}

fn uri_of(path: &str) -> String {
    let uri = path
        .replace("{trace_id}", &TRACE.to_string())
        .replace("{span_id}", &SPAN.to_string());
    if path == "/api/v1/search" {
        return uri + "?q=word";
    }
    uri
}

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[test]
fn the_document_lists_exactly_the_routes_and_their_parameters() {
    let document = document();
    let documented: BTreeSet<_> = document["paths"].as_object().unwrap().keys().collect();
    let served: BTreeSet<_> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
    assert_eq!(documented, served.iter().collect());
    for route in &ROUTES {
        let operation = &document["paths"][route.path]["get"];
        let (mut in_query, mut in_path) = (BTreeSet::new(), BTreeSet::new());
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = schema::resolve(&document, parameter);
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "query" => in_query.insert(name),
                _ => in_path.insert(name),
            };
        }
        assert_eq!(in_query, route.parameters.iter().copied().collect());
        let variables = route.path.split('/').filter_map(|segment| {
            let name = segment.strip_prefix('{')?;
            name.strip_suffix('}')
        });
        assert_eq!(in_path, variables.collect());
    }
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes: Vec<_> = codes.as_array().unwrap().iter().collect();
    assert_eq!(codes, Code::ALL.map(Code::as_str));
}

// Scenario: every route is asked for, with GET and HEAD.
// Guarantees: each answers what the document says, nothing more and nothing less; HEAD the same
// without a body.
#[tokio::test]
async fn every_answer_fits_its_documented_schema() {
    let document = document();
    for route in &ROUTES {
        let uri = uri_of(route.path);
        let answer = get(&Stub::new(Mood::Well), &uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.header("x-request-id").is_empty());
        let responses = &document["paths"][route.path]["get"]["responses"];
        let schema = &responses["200"]["content"]["application/json"]["schema"];
        schema::check(&document, schema, &answer.json, &uri);

        let head = Request::head(&uri).body(Body::empty()).unwrap();
        let head = send(Stub::new(Mood::Well), head).await;
        assert_eq!((head.status, head.json), (StatusCode::OK, Value::Null));
    }
}

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
        reader: Stub::new(Mood::Well),
        config: Config::default(),
        metrics: Metrics::new().unwrap(),
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
    for (method, uri) in [(Method::HEAD, "/openapi.json"), (Method::GET, "/health")] {
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
            "audio_output_tokens": null,
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
    let detail = render::SpanDetail::with_messages(stub::chat()).unwrap();
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

#[tokio::test]
async fn parameters_become_the_filter_that_is_asked_for() {
    let stub = Stub::new(Mood::Well);
    let uri = "/api/v1/traces?start=2023-11-14T22:13:20Z&end=1700000001000000000&service=api\
         &name=GET%20%2F&status=ok&min_duration=1.5s&max_duration=2s&session_id=s\
         &attr.http.route=%2F&attr.k=7&limit=5";
    assert_eq!(get(&stub, uri).await.status, StatusCode::OK);
    let attribute = |key: &str, value: &str| AttributeEquals {
        key: key.to_owned(),
        value: value.to_owned(),
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
        attributes: vec![attribute("http.route", "/"), attribute("k", "7")],
    };
    let page = |limit| PageRequest { limit, after: None };
    assert_eq!(stub.last_asked(), Asked::Traces(filter, page(5)));

    let uri = uri_of("/api/v1/spans?trace_id={trace_id}&status=error");
    assert_eq!(get(&stub, &uri).await.status, StatusCode::OK);
    let filter = SpanFilter {
        trace_id: Some(TRACE),
        status: Some(StatusFilter::Error),
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
        limit: 7,
    };
    assert_eq!(stub.last_asked(), Asked::Analytics(query));
    let expected = serde_json::json!({
        "start_time": "2023-11-14T22:13:00.000000000Z",
        "start_time_unix_nano": "1699999980000000000",
        "end_time": "2023-11-14T22:14:00.000000000Z",
        "end_time_unix_nano": "1700000040000000000",
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

    let answer = get(&stub, "/api/v1/analytics").await;
    let Asked::Analytics(query) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert_eq!(query.end_minute - query.start_minute, 24 * 60);
    assert_eq!((query.step_minutes, query.limit), (None, 10_000));
    assert!(query.durations);
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

#[tokio::test]
async fn wrong_requests_are_problems_that_name_all_that_is_wrong() {
    let stub = Stub::new(Mood::Well);
    let long = format!("/api/v1/traces?name={}", "a".repeat(9000));
    let many = format!("/api/v1/traces?{}", "attr.k=1&".repeat(65));
    let cases: [(&str, u16, &str, &[&str]); 9] = [
        (
            "/api/v1/traces?srevice=a&status=x&limit=0&start=now",
            400,
            "invalid_parameter",
            &["srevice", "start", "status", "limit"],
        ),
        (
            "/api/v1/traces/xyz?cursr=1",
            400,
            "invalid_parameter",
            &["cursr", "trace_id"],
        ),
        (
            "/api/v1/spans/00/11",
            400,
            "invalid_parameter",
            &["trace_id", "span_id"],
        ),
        (
            "/api/v1/traces?limit=1001",
            400,
            "invalid_parameter",
            &["limit"],
        ),
        ("/health?verbose=1", 400, "invalid_parameter", &["verbose"]),
        (&long, 414, "query_too_long", &[]),
        (&many, 414, "query_too_long", &[]),
        ("/api/v1/nothing", 404, "no_such_route", &[]),
        ("/", 404, "no_such_route", &[]),
    ];
    let document = document();
    let problem = &document["components"]["schemas"]["Problem"];
    for (uri, status, code, fields) in cases {
        let answer = get(&stub, uri).await;
        assert_eq!(answer.status.as_u16(), status, "{uri}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["code"], code, "{uri}");
        assert_eq!(answer.fields(), fields, "{uri}");
        assert_eq!(answer.json["request_id"], answer.header("x-request-id"));
        schema::check(&document, problem, &answer.json, uri);
    }
    assert!(!stub.was_asked());
}

#[tokio::test]
async fn wrong_questions_for_sums_name_all_that_is_wrong() {
    let stub = Stub::new(Mood::Well);
    let cases: [(&str, &[&str]); 4] = [
        (
            "start=2&end=1&step=90s&group_by=colour&measures=requests,,&cursor=x",
            &["cursor", "end", "step", "measures", "group_by"],
        ),
        (
            "group_by=model,model&limit=10001&model=",
            &["model", "group_by", "limit"],
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
    let stub = Stub::new(Mood::Well);
    let other = "12".repeat(16);
    for uri in [
        format!("/api/v1/traces/{other}"),
        format!("/api/v1/spans/{other}/{}", "34".repeat(8)),
    ] {
        let answer = get(&stub, &uri).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json["code"], "not_found");
    }
    for route in &ROUTES {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let request = Request::builder()
                .method(method)
                .uri(uri_of(route.path))
                .body(Body::empty())
                .unwrap();
            let answer = send(Arc::clone(&stub), request).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.json["code"], "method_not_allowed");
            assert_eq!(answer.header("allow"), "GET,HEAD");
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
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/api")) {
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
        let answer = get(&Stub::new(mood), "/health").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json["status"], "degraded");
        assert_eq!(answer.json["storage"]["status"], "down");
    }
    let answer = get(&Stub::new(Mood::Well), "/health").await;
    assert_eq!(answer.json["status"], "ok");
    assert_eq!(answer.json["storage"]["bytes"], 4096);
}
