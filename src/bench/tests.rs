//! The generator against a server that runs in the test and answers as it is told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use clap::Parser as _;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A trace backend in memory.
#[derive(Default)]
struct Fake {
    /// Answers in place of OK, first come first served.
    refusals: Mutex<VecDeque<Response>>,
    /// When each request arrived, with its body.
    attempts: Mutex<Vec<(Instant, Bytes)>>,
    /// Span ids by trace id, as stored.
    traces: Mutex<HashMap<String, Vec<String>>>,
    /// Every n-th stored span is lost.
    loses_one_in: usize,
}

impl Fake {
    fn store(&self, request: &ExportTraceServiceRequest) {
        let mut traces = self.traces.lock().unwrap();
        let scopes = request
            .resource_spans
            .iter()
            .flat_map(|item| &item.scope_spans);
        for (index, span) in scopes.flat_map(|scope| &scope.spans).enumerate() {
            if self.loses_one_in > 0 && index % self.loses_one_in == 0 {
                continue;
            }
            let trace = crate::model::TraceId::from_bytes(&span.trace_id).unwrap();
            let span = crate::model::SpanId::from_bytes(&span.span_id).unwrap();
            traces
                .entry(trace.to_string())
                .or_default()
                .push(span.to_string());
        }
    }

    fn spans(&self) -> usize {
        self.traces.lock().unwrap().values().map(Vec::len).sum()
    }
}

async fn grpc(State(fake): State<Arc<Fake>>, body: Body) -> Response {
    let body = body.collect().await.unwrap().to_bytes();
    fake.attempts
        .lock()
        .unwrap()
        .push((Instant::now(), body.clone()));
    if let Some(refusal) = fake.refusals.lock().unwrap().pop_front() {
        return refusal;
    }
    let (header, message) = body.split_at(5);
    assert_eq!(header[0], 0, "not compressed");
    assert_eq!(
        u32::from_be_bytes(header[1..].try_into().unwrap()) as usize,
        message.len()
    );
    fake.store(&ExportTraceServiceRequest::decode(message).unwrap());
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let empty = Full::new(Bytes::from_static(&[0; 5]));
    let body = empty.with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}

async fn http(State(fake): State<Arc<Fake>>, headers: HeaderMap, body: Body) -> Response {
    let body = body.collect().await.unwrap().to_bytes();
    fake.attempts
        .lock()
        .unwrap()
        .push((Instant::now(), body.clone()));
    if let Some(refusal) = fake.refusals.lock().unwrap().pop_front() {
        return refusal;
    }
    let mut bytes = Vec::new();
    if headers
        .get("content-encoding")
        .is_some_and(|name| name == "gzip")
    {
        flate2::read::GzDecoder::new(&body[..])
            .read_to_end(&mut bytes)
            .unwrap();
    } else {
        bytes = body.to_vec();
    }
    if headers["content-type"] == "application/json" {
        fake.store(&serde_json::from_slice(&bytes).unwrap());
        ([("content-type", "application/json")], "{}").into_response()
    } else {
        fake.store(&ExportTraceServiceRequest::decode(&bytes[..]).unwrap());
        Bytes::new().into_response()
    }
}

async fn trace(State(fake): State<Arc<Fake>>, Path(id): Path<String>) -> Response {
    let traces = fake.traces.lock().unwrap();
    let Some(spans) = traces.get(&id) else {
        return http::StatusCode::NOT_FOUND.into_response();
    };
    let listed: Vec<_> = spans
        .iter()
        .map(|id| serde_json::json!({"span_id": id}))
        .collect();
    let answer = serde_json::json!({"trace": {"span_count": spans.len()}, "spans": listed});
    axum::Json(answer).into_response()
}

async fn traces(State(fake): State<Arc<Fake>>) -> Response {
    let traces = fake.traces.lock().unwrap();
    let listed: Vec<_> = traces
        .keys()
        .take(50)
        .map(|id| serde_json::json!({"trace_id": id, "services": ["cart"], "start_time_unix_nano": "1"}))
        .collect();
    axum::Json(serde_json::json!({"items": listed})).into_response()
}

/// Tells of each stored trace once, and of something missed; sends more than a client that does not
/// read can take.
async fn tail(State(fake): State<Arc<Fake>>) -> Response {
    let told = futures_util::stream::unfold(HashSet::new(), move |mut told| {
        let fake = Arc::clone(&fake);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut text = format!(": {}\n\n", "x".repeat(100_000));
            for id in fake.traces.lock().unwrap().keys() {
                if told.insert(id.clone()) {
                    text.push_str(&format!(
                        "event: span\nid: 1\ndata: {{\"trace_id\":\"{id}\"}}\n\n"
                    ));
                }
            }
            if told.len() == 64 {
                told.insert("missed".to_owned());
                text.push_str("event: missed\nid: 1\ndata: {\"unseen\":2,\"over_rate\":3}\n\n");
            }
            Some((Ok::<_, std::convert::Infallible>(text), told))
        }
    });
    Body::from_stream(told).into_response()
}

/// Starts the fake and answers its base URL.
async fn start(fake: &Arc<Fake>, tasks: &Tasks) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let router = Router::new()
        .route(path, post(grpc))
        .route("/v1/traces", post(http))
        .route("/api/v1/traces", get(traces))
        .route("/api/v1/traces/{id}", get(trace))
        .route("/api/v1/tail", get(tail))
        .with_state(Arc::clone(fake));
    tasks.spawn("fake server", async move {
        axum::serve(listener, router).await.unwrap();
    });
    format!("http://{address}")
}

/// Runs the generator against the fake with more arguments.
async fn bench(fake: Fake, more: &[&str]) -> (Arc<Fake>, Report) {
    let fake = Arc::new(fake);
    let (tasks, _panics) = Tasks::new();
    let url = start(&fake, &tasks).await;
    let mut words = vec!["bench", "--quiet", "--endpoint", &url, "--query-url", &url];
    words.extend(more);
    let args = Cli::try_parse_from(words).unwrap().args;
    let report = measure(&args, &tasks).await.unwrap();
    (fake, report)
}

fn refusal(code: tonic::Code, retry_after: Option<Duration>) -> Response {
    let mut details = ErrorDetails::new();
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    tonic::Status::with_error_details(code, "not now", details).into_http()
}

// A server that takes everything gets a given number of spans over two connections. Guarantees
// that counts, latencies and verification agree with what the server stored.
#[tokio::test]
async fn acknowledged_spans_are_counted_and_verified() {
    let load = [
        "--spans",
        "8000",
        "--connections",
        "2",
        "--verify",
        "--seed",
        "9",
    ];
    let (fake, report) = bench(Fake::default(), &load).await;
    let load = report.load.as_ref().unwrap();
    assert_eq!(load.acknowledged_spans, 8192, "16 whole requests");
    assert_eq!(load.acknowledged_requests, 16);
    assert_eq!(fake.spans(), 8192);
    assert!(load.latency_ms.max > 0.0 && load.latency_ms.p50 <= load.latency_ms.max);
    assert!(load.bytes_sent > 8192 * 450);
    let verification = report.verification.as_ref().unwrap();
    assert_eq!(
        (verification.traces, verification.traces_checked),
        (1024, 1024)
    );
    assert_eq!(verification.spans_expected, 8192);
    assert!(verification.is_good(), "{verification:?}");
    assert!(report.is_good());
    assert!(
        report.to_string().contains("8192 spans in 16 requests"),
        "{report}"
    );
}

// The server first answers UNAVAILABLE with RetryInfo. Guarantees that the same bytes are sent
// again, not before the time the server asked for, and that the refusals are counted.
#[tokio::test]
async fn refused_requests_are_sent_again_after_the_time_the_server_asks_for() {
    let asked = Duration::from_millis(300);
    let fake = Fake::default();
    let unavailable = refusal(tonic::Code::Unavailable, Some(asked));
    let exhausted = refusal(tonic::Code::ResourceExhausted, Some(asked));
    fake.refusals
        .lock()
        .unwrap()
        .extend([unavailable, exhausted]);
    let load = ["--spans", "512", "--in-flight", "1", "--verify"];
    let (fake, report) = bench(fake, &load).await;
    let attempts = fake.attempts.lock().unwrap();
    assert_eq!(attempts.len(), 3);
    for pair in attempts.windows(2) {
        assert!(
            pair[1].0 - pair[0].0 >= asked,
            "{:?}",
            pair[1].0 - pair[0].0
        );
        assert!(pair[1].1 == pair[0].1, "the same payload");
    }
    let load = report.load.as_ref().unwrap();
    assert_eq!((load.retries, load.failed_requests), (2, 0));
    assert_eq!(load.errors["Unavailable"], 1);
    assert_eq!(load.errors["ResourceExhausted"], 1);
    assert!(load.latency_ms.max >= 600.0, "waits count");
    assert!(report.is_good());
}

// The server refuses for good, once by code and once by RESOURCE_EXHAUSTED without RetryInfo.
// Guarantees that neither is sent again, and that neither is expected in the store.
#[tokio::test]
async fn permanent_failures_are_not_sent_again() {
    let fake = Fake::default();
    let invalid = refusal(tonic::Code::InvalidArgument, None);
    let exhausted = refusal(tonic::Code::ResourceExhausted, None);
    fake.refusals.lock().unwrap().extend([invalid, exhausted]);
    let load = ["--spans", "2048", "--in-flight", "1", "--verify"];
    let (fake, report) = bench(fake, &load).await;
    assert_eq!(fake.attempts.lock().unwrap().len(), 4);
    let load = report.load.as_ref().unwrap();
    assert_eq!((load.failed_requests, load.acknowledged_spans), (2, 1024));
    assert_eq!(
        load.first_failure.as_deref(),
        Some("InvalidArgument: not now")
    );
    let verification = report.verification.as_ref().unwrap();
    assert_eq!(verification.spans_expected, 1024);
    assert!(verification.is_good(), "{verification:?}");
    assert!(!report.is_good(), "failed requests are no success");
}

// The server loses every 100th span and, in another run, stores everything twice. Guarantees
// that verification sees both, with split traces too.
#[tokio::test]
async fn lost_and_duplicated_spans_are_reported() {
    let fake = Fake {
        loses_one_in: 100,
        ..Fake::default()
    };
    let load = [
        "--spans",
        "2048",
        "--split-traces",
        "--verify",
        "--verify-timeout",
        "0s",
    ];
    let (_, report) = bench(fake, &load).await;
    let verification = report.verification.as_ref().unwrap();
    assert_eq!(
        (verification.spans_lost, verification.spans_duplicated),
        (4 * 6, 0)
    );
    assert!(!verification.examples.is_empty());
    assert!(!report.is_good());

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let path = path.to_str().unwrap();
    let (fake, report) = bench(Fake::default(), &["--spans", "512", "--ledger", path]).await;
    assert!(report.is_good());
    let mut stored = std::mem::take(&mut *fake.traces.lock().unwrap());
    let one = stored.values_mut().next().unwrap();
    one.push(one[0].clone());
    let again = Fake {
        traces: Mutex::new(stored),
        ..Fake::default()
    };
    let (_, report) = bench(again, &["--verify-only", "--ledger", path]).await;
    let verification = report.verification.as_ref().unwrap();
    assert_eq!(
        (verification.spans_lost, verification.spans_duplicated),
        (0, 1)
    );
    assert_eq!(verification.spans_expected, 512);
}

#[tokio::test]
async fn the_http_protocols_and_compression_arrive_whole() {
    for (protocol, compression) in [
        ("http-protobuf", "none"),
        ("http-protobuf", "gzip"),
        ("http-json", "none"),
        ("http-json", "gzip"),
    ] {
        let fake = Fake::default();
        let busy = (
            http::StatusCode::SERVICE_UNAVAILABLE,
            [("retry-after", "0")],
        );
        fake.refusals
            .lock()
            .unwrap()
            .push_back(busy.into_response());
        let load = [
            "--protocol",
            protocol,
            "--compression",
            compression,
            "--profile",
            "genai",
            "--spans",
            "1020",
            "--verify",
            "--queries",
            "--requests",
            "3",
        ];
        let (fake, report) = bench(fake, &load).await;
        assert_eq!(fake.spans(), 1020, "{protocol} {compression}");
        assert_eq!(report.load.as_ref().unwrap().errors["503"], 1);
        let queries = report.queries.as_ref().unwrap();
        assert_eq!(queries.len(), 4);
        assert_eq!(queries["trace_by_id"].requests, 3);
        assert_eq!(queries["trace_by_id"].items_max, 3);
        assert!(report.is_good(), "{protocol} {compression}: {report}");
    }
}

// An open loop at a rate the server can't keep up with: the server answers one request after
// 400 ms, and one request is in flight. Guarantees that the wait of those behind it counts.
#[tokio::test]
async fn the_open_loop_counts_latency_from_the_intended_time() {
    let fake = Fake::default();
    let delayed = refusal(tonic::Code::Unavailable, Some(Duration::from_millis(400)));
    fake.refusals.lock().unwrap().push_back(delayed);
    let load = ["--spans", "10240", "--in-flight", "1", "--rate", "102400"];
    let (_, report) = bench(fake, &load).await;
    let load = report.load.as_ref().unwrap();
    assert_eq!(load.acknowledged_requests, 20);
    // 20 requests 5 ms apart: all were due while the first waited.
    assert!(load.latency_ms.p50 > 200.0, "{:?}", load.latency_ms);
}

#[tokio::test]
async fn an_unreachable_server_is_given_up_after_the_patience() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let words = [
        "bench",
        "--quiet",
        "--endpoint",
        &url,
        "--spans",
        "1024",
        "--retry-timeout",
        "200ms",
    ];
    let (tasks, _panics) = Tasks::new();
    let args = Cli::try_parse_from(words).unwrap().args;
    let report = measure(&args, &tasks).await.unwrap();
    let load = report.load.as_ref().unwrap();
    assert_eq!((load.failed_requests, load.acknowledged_spans), (2, 0));
    assert_eq!(
        load.first_failure.as_deref(),
        Some("gave up after cannot connect")
    );
    assert!(!report.is_good());
}

#[test]
fn contradicting_and_boundless_arguments_are_refused() {
    for words in [
        &["bench", "--rate", "0"][..],
        &["bench", "--errors", "101"],
        &["bench", "--connections", "5000"],
        &["bench", "--message-bytes", "2MiB"],
    ] {
        assert!(
            Cli::try_parse_from(words).unwrap().args.check().is_err(),
            "{words:?}"
        );
    }
    assert!(Cli::try_parse_from(["bench", "--verify-only"]).is_err());
    assert!(Cli::try_parse_from(["bench", "--spans-per-trace", "0"]).is_err());
    assert!(Cli::try_parse_from(["bench", "--header", "no-equals"]).is_err());
}

// Clients follow the feed while a request is sent; some of them read nothing. Guarantees that those who
// read hear of every trace with the time since its acknowledgement, that what they missed is added up,
// and that the others hold up neither them nor the end.
#[tokio::test]
async fn watchers_hear_of_what_was_acknowledged() {
    let load = [
        "--spans",
        "512",
        "--watchers",
        "3",
        "--stalled",
        "2",
        "--watch-query",
        "rate=1000",
    ];
    let (_, report) = bench(Fake::default(), &load).await;
    assert!(report.is_good());
    let text = report.to_string();
    let watchers = report.watchers.unwrap();
    assert_eq!(
        (watchers.watchers, watchers.stalled, watchers.lost),
        (3, 2, 0)
    );
    assert_eq!((watchers.events, watchers.missed_unseen), (3 * 64, 3 * 2));
    assert_eq!(
        (watchers.missed_over_rate, watchers.missed_unknown),
        (3 * 3, 0)
    );
    assert!(watchers.unmatched < watchers.events, "{watchers:?}");
    assert!(watchers.latency_ms.max > 0.0);
    assert!(
        text.contains("3 reading (0 lost), 2 stalled: 192 events"),
        "{text}"
    );
}
