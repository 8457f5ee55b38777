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
