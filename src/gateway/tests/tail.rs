//! Following the feed, over a reader that has one span and then nothing new.

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;

use super::stub::{Asked, Mood, Stub, TRACE};
use super::*;
use crate::storage::feed::FeedPosition;

/// A server that is up, with few seats.
fn server(reader: &Arc<Stub>, seats: u32) -> (Router, Tasks) {
    let (tasks, _) = Tasks::new();
    let state = State {
        access: Arc::new(SqliteAccess::in_memory()),
        issues: Arc::new(SqliteIssues::in_memory()),
        gate: gate(&testing::gates(&auth::Config::default()).1),
        reader: Arc::<Stub>::clone(reader),
        settings: Arc::<Stub>::clone(reader),
        config: Config {
            max_tail_watchers: seats,
            ..Config::default()
        },
        prices: prices(),
        ingest: None,
        metrics: Metrics::new().unwrap(),
        tasks: tasks.clone(),
    };
    (router(state), tasks)
}

async fn follow(router: &Router, uri: &str, last_event_id: Option<&str>) -> Response {
    let mut request = Request::get(uri);
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn next(stream: &mut BodyDataStream) -> String {
    let bytes = stream.next().await.unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

// Scenario: a client follows the feed, then the daemon drains.
// Guarantees: it hears at once that it is connected, then of the span, as the span list shows it and
// with an id to go on from; the answer ends with the daemon.
#[tokio::test]
async fn a_span_is_told_of_with_an_id_to_go_on_from() {
    let stub = Stub::new(Mood::Well);
    let (router, tasks) = server(&stub, 1);
    let response = follow(&router, "/api/v1/tail", None).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(!response.headers().contains_key("content-encoding"));
    let mut stream = response.into_body().into_data_stream();
    let hello = next(&mut stream).await;
    let begin = FeedPosition::before(1);
    assert_eq!(hello, format!("retry: 2000\nid: {begin}\n: following\n\n"));
    let event = next(&mut stream).await;
    let lines: Vec<_> = event.lines().collect();
    assert_eq!(lines[..2], ["event: span", "id: 1.1.1"]);
    let data = lines[2].strip_prefix("data: ").unwrap();
    let span: Value = serde_json::from_str(data).unwrap();
    let listed = get(&stub, "/api/v1/spans").await.json["items"][0].clone();
    assert_eq!(span, listed);
    assert_eq!(lines[3..], [""]);
    // Somebody else would have to wait.
    let busy = follow(&router, "/api/v1/tail", None).await;
    assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
    tasks.start_shutdown();
    assert!(stream.next().await.is_none());
    drop(stream);
    tasks.wait().await;
}

// Scenario: a client comes back with an id of before the span, one of after it, one of another
// server, and none at all; by header and by parameter.
// Guarantees: it goes on there; what is no id is refused by name.
#[tokio::test]
async fn a_client_goes_on_where_it_was() {
    let stub = Stub::new(Mood::Well);
    for (uri, header, told) in [
        ("/api/v1/tail", Some("0.0.0"), true),
        ("/api/v1/tail?last_event_id=0.0.0", None, true),
        ("/api/v1/tail?last_event_id=0.0.0", Some("fff.1.1"), true),
        (
            "/api/v1/tail?trace_id=00000000000000000000000000000009",
            Some("0.0.0"),
            false,
        ),
    ] {
        let (router, tasks) = server(&stub, 1);
        let response = follow(&router, uri, header).await;
        let mut stream = response.into_body().into_data_stream();
        next(&mut stream).await;
        let event = tokio::time::timeout(std::time::Duration::from_millis(300), stream.next());
        assert_eq!(event.await.is_ok(), told, "{uri} {header:?}");
        tasks.start_shutdown();
    }
    let (router, _tasks) = server(&stub, 1);
    for bad in ["x", "1.1", "1.1.1.1", "+1.1.1", "01.1.1"] {
        let refused = follow(&router, "/api/v1/tail", Some(bad)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    let asked = get(&stub, "/api/v1/tail?last_event_id=x&rate=0").await;
    assert_eq!(asked.fields(), ["rate", "last_event_id"]);
}

// Scenario: clients follow with a filter that columns answer and one that they don't.
// Guarantees: whole spans are asked of the store only where a filter needs them.
#[tokio::test]
async fn whole_spans_are_read_where_they_are_needed() {
    for (uri, whole) in [
        (format!("/api/v1/tail?trace_id={TRACE}"), false),
        ("/api/v1/tail?attr.tier=gold".to_owned(), true),
    ] {
        let stub = Stub::new(Mood::Well);
        let (router, tasks) = server(&stub, 1);
        let response = follow(&router, &uri, None).await;
        let mut stream = response.into_body().into_data_stream();
        next(&mut stream).await;
        while !stub.was_asked() {
            tokio::task::yield_now().await;
        }
        let asked = stub.all_asked();
        let Asked::Feed(request) = &asked[0] else {
            panic!("{asked:?}");
        };
        assert_eq!(request.whole, whole, "{uri}");
        tasks.start_shutdown();
    }
}

// Scenario: a client follows events, and another one spans and events, with ids that say where the one
// or the other was; a third filters spans by what only events have, and the other way round.
// Guarantees: each hears of what it asked for, under its own name and with an id for all it follows;
// filters that don't apply are refused by name.
#[tokio::test]
async fn events_are_told_of_where_they_are_asked_for() {
    let stub = Stub::new(Mood::Well);
    let listed = get(&stub, "/api/v1/events").await.json["items"][0].clone();
    for (uri, last, expected) in [
        ("/api/v1/tail?kind=event", None, vec![("event", "~1.1.1")]),
        (
            "/api/v1/tail?kind=event",
            Some("0.0.0"),
            vec![("event", "~1.1.1")],
        ),
        (
            "/api/v1/tail?kind=event",
            Some("~fff.1.1"),
            vec![("event", "~1.1.1")],
        ),
        (
            "/api/v1/tail?kind=span&kind=event",
            Some("0.0.0~0.0.0"),
            vec![("event", ""), ("span", "")],
        ),
        (
            "/api/v1/tail?kind=event&min_severity=fatal",
            Some("~0.0.0"),
            vec![],
        ),
    ] {
        let (router, tasks) = server(&stub, 1);
        let response = follow(&router, uri, last).await;
        assert_eq!(response.status(), StatusCode::OK, "{uri}");
        let mut stream = response.into_body().into_data_stream();
        next(&mut stream).await;
        let mut told = Vec::new();
        while told.len() < expected.len() {
            let text = next(&mut stream).await;
            for event in text.split_terminator("\n\n") {
                let lines: Vec<_> = event.lines().map(str::to_owned).collect();
                let name = lines[0].strip_prefix("event: ").unwrap().to_owned();
                if name == "event" {
                    let data = lines[2].strip_prefix("data: ").unwrap();
                    let data: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(data, listed);
                }
                told.push((name, lines[1].strip_prefix("id: ").unwrap().to_owned()));
            }
        }
        told.sort();
        for ((name, id), (expected, expected_id)) in told.iter().zip(&expected) {
            assert_eq!(name, expected);
            assert!(
                expected_id.is_empty() && id.contains('~') || id == expected_id,
                "{id}"
            );
        }
        let more = tokio::time::timeout(std::time::Duration::from_millis(300), stream.next());
        assert!(more.await.is_err(), "{uri} {last:?}");
        tasks.start_shutdown();
    }
    let refused = get(&stub, "/api/v1/tail?kind=event&status=error&model=m").await;
    assert_eq!(refused.fields(), ["status", "model"]);
    let refused = get(
        &stub,
        "/api/v1/tail?environment=prod&span_id=00000000000000ab",
    )
    .await;
    assert_eq!(refused.fields(), ["environment", "span_id"]);
    let refused = get(&stub, "/api/v1/tail?kind=trace").await;
    assert_eq!(refused.fields(), ["kind"]);
}

// Scenario: requests for a WebSocket that can't become one, and one of a page of another site.
// Guarantees: each is told why; nobody sits down for it.
#[tokio::test]
async fn a_websocket_that_cannot_be_is_refused() {
    let stub = Stub::new(Mood::Well);
    let (router, _tasks) = server(&stub, 1);
    let whole = [
        ("host", "localhost:3000"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (changed, expected) in [
        (("connection", "close"), "connection: upgrade"),
        (("sec-websocket-version", "8"), "not 13"),
        (("sec-websocket-key", ""), "can't become"),
        (("origin", "https://evil.example"), "page of another site"),
    ] {
        let mut request = Request::get("/api/v1/tail");
        for (name, value) in whole {
            if name != changed.0 {
                request = request.header(name, value);
            }
        }
        let request = request.header(changed.0, changed.1);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let is_foreign = changed.0 == "origin";
        let status = if is_foreign { 403 } else { 400 };
        assert_eq!(response.status(), status, "{changed:?}");
        let body = response.into_body().into_data_stream().next().await;
        let body = String::from_utf8(body.unwrap().unwrap().to_vec()).unwrap();
        assert!(body.contains(expected), "{body}");
    }
}
