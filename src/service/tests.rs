//! Daemons of all modes in one process, on a store in memory that can be out of reach.

mod fake;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::build::{Daemon, start_with};
use super::store::Store;
use super::{Error, Mode, drain, lock};
use crate::config::Config;
use crate::config::{ByteSize, Duration as ConfigDuration};
use crate::receivers::otlp::{GrpcConfig, HttpConfig};
use fake::Database;

const SOON: Duration = Duration::from_secs(20);
const ANY_PORT: &str = "127.0.0.1:0";

fn config(mode: Mode, data_dir: &Path, partitions: u32) -> Config {
    let mut config = Config::default();
    config.service.mode = mode;
    config.service.data_dir = data_dir.to_owned();
    config.service.telemetry.metrics.endpoint = ANY_PORT.to_owned();
    config.gateway.endpoint = ANY_PORT.to_owned();
    config.receivers.otlp.protocols.grpc = Some(GrpcConfig {
        endpoint: ANY_PORT.to_owned(),
        ..GrpcConfig::default()
    });
    config.receivers.otlp.protocols.http = Some(HttpConfig {
        endpoint: ANY_PORT.to_owned(),
        ..HttpConfig::default()
    });
    config.queue.partitions = partitions;
    config.queue.segment_size = ByteSize::kib(64);
    config.processors.batch.timeout = ConfigDuration::millis(20);
    config
}

async fn start(config: Config, database: &Database, client: &str) -> Result<Daemon, Error> {
    let store: Arc<dyn Store> = Arc::new(database.client(client));
    Box::pin(start_with(config, move |_, _| Ok(store))).await
}

/// A request and the ids of its spans.
fn request(number: u64) -> (ExportTraceServiceRequest, Vec<[u8; 8]>) {
    let ids: Vec<[u8; 8]> = (1..=5)
        .map(|span| (number * 10 + span).to_be_bytes())
        .collect();
    let spans = ids.iter().map(|id| Span {
        trace_id: vec![3; 16],
        span_id: id.to_vec(),
        ..Span::default()
    });
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: spans.collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    (request, ids)
}

/// Sends one request on a connection of its own; the status and the body.
fn ask(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text)
}

/// Sends requests numbered so; the ids of their spans.
async fn send(daemon: &Daemon, numbers: std::ops::Range<u64>) -> Vec<[u8; 8]> {
    let address = daemon.banner.http.unwrap().0;
    let sending = tokio::task::spawn_blocking(move || {
        let mut ids = Vec::new();
        for number in numbers {
            let (request, spans) = request(number);
            let (status, text) = ask(address, "POST /v1/traces", &request.encode_to_vec());
            assert_eq!(status, 200, "{text}");
            ids.extend(spans);
        }
        ids
    });
    sending.await.unwrap()
}

async fn ready(daemon: &Daemon) -> (bool, String) {
    let address = daemon.banner.metrics.unwrap();
    let asking = tokio::task::spawn_blocking(move || ask(address, "GET /readyz", b""));
    let (status, text) = asking.await.unwrap();
    (status == 200, text)
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn stored(database: &Database, ids: &[[u8; 8]]) {
    eventually("all spans to be stored", async || {
        ids.iter().all(|id| database.has(*id))
    })
    .await;
}

async fn stop(mut daemon: Daemon) {
    drain(&mut daemon, SOON).await;
}

// Scenario: one daemon takes requests, two others store them; one of these leaves, a third comes,
// the first daemon ends and starts again, and the listeners go on without it.
// Guarantees: everything acknowledged is stored; the listeners share the work, take over from each
// other, and are not disturbed by the end of the one that takes requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_share_the_log_of_a_daemon_that_takes_requests() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::default();
    let of = |mode| config(mode, directory.path(), 4);
    let early = start(of(Mode::Listener), &database, "early").await.unwrap();
    let api = start(of(Mode::Api), &database, "api").await.unwrap();
    let late = start(of(Mode::Listener), &database, "late").await.unwrap();
    let mut ids = send(&api, 0..20).await;
    stored(&database, &ids).await;
    let mut number = 20;
    eventually("both to store", async || {
        ids.extend(send(&api, number..number + 4).await);
        number += 4;
        database.wrote("early") && database.wrote("late")
    })
    .await;
    assert!(!database.wrote("api"));

    stop(early).await;
    ids.extend(send(&api, number..number + 20).await);
    number += 20;
    stored(&database, &ids).await;

    // What was taken last is stored while nobody takes anything.
    stop(late).await;
    ids.extend(send(&api, number..number + 20).await);
    number += 20;
    stop(api).await;
    let third = start(of(Mode::Listener), &database, "third").await.unwrap();
    stored(&database, &ids).await;

    let api = start(of(Mode::Api), &database, "api").await.unwrap();
    ids.extend(send(&api, number..number + 20).await);
    stored(&database, &ids).await;
    eventually("readiness", async || {
        ready(&api).await.0 && ready(&third).await.0
    })
    .await;
    stop(third).await;
    stop(api).await;
    assert_eq!(database.spans(), ids.len());
}

// Scenario: daemons of all modes on a data directory that another one uses.
// Guarantees: two never take requests, and nobody stores beside one that stores its log itself;
// the refusal says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modes_that_do_not_go_together_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::default();
    let of = |mode| config(mode, directory.path(), 2);
    let all = start(of(Mode::All), &database, "all").await.unwrap();
    for mode in [Mode::All, Mode::Api] {
        let refused = start(of(mode), &database, "other").await.unwrap_err();
        assert!(matches!(refused, Error::DataDir(lock::Error::InUse { .. })));
    }
    let refused = start(of(Mode::Listener), &database, "other").await;
    assert!(matches!(
        refused,
        Err(Error::DataDir(lock::Error::StoresItself { .. }))
    ));
    stop(all).await;
    let listener = start(of(Mode::Listener), &database, "listener")
        .await
        .unwrap();
    let refused = start(of(Mode::All), &database, "other").await;
    assert!(matches!(
        refused,
        Err(Error::DataDir(lock::Error::HasListeners { .. }))
    ));
    stop(listener).await;
}

// Scenario: the store is out of reach when a daemon starts, and comes later; it goes again.
// Guarantees: the daemon starts, takes and keeps requests, says that it is not ready and that
// queries can't be answered now, and stores everything once it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_out_of_reach_delays_only_what_needs_it() {
    for mode in [Mode::All, Mode::Api] {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::default();
        database.set_reachable(false);
        let daemon = start(config(mode, directory.path(), 2), &database, "daemon")
            .await
            .unwrap();
        let ids = send(&daemon, 0..10).await;
        let (is_ready, report) = ready(&daemon).await;
        assert!(!is_ready && report.contains("out of reach"), "{report}");
        let gateway = daemon.banner.gateway.unwrap().0;
        for path in ["/api/v1/traces", "/api/v1/traces?cursor=AAAA"] {
            let path = format!("GET {path}");
            let asking = tokio::task::spawn_blocking(move || ask(gateway, &path, b""));
            let (status, text) = asking.await.unwrap();
            assert_eq!(status, 503, "{text}");
            assert!(text.contains("storage_unavailable"), "{text}");
        }
        database.set_reachable(true);
        eventually("readiness", async || ready(&daemon).await.0).await;
        let listener = match mode {
            Mode::Api => {
                let config = config(Mode::Listener, directory.path(), 2);
                Some(start(config, &database, "listener").await.unwrap())
            }
            _ => None,
        };
        stored(&database, &ids).await;
        database.set_reachable(false);
        let more = send(&daemon, 10..20).await;
        database.set_reachable(true);
        stored(&database, &more).await;
        if let Some(listener) = listener {
            stop(listener).await;
        }
        stop(daemon).await;
    }
}

// Scenario: a daemon with four partitions ends while its store is out of reach; the next start has
// one partition, first on a store that is written from one place only.
// Guarantees: that one is refused with the partition's name; on the other everything is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_partitions_than_before_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::default();
    database.set_reachable(false);
    let of = |partitions| config(Mode::All, directory.path(), partitions);
    let mut daemon = start(of(4), &database, "first").await.unwrap();
    let mut ids = send(&daemon, 0..12).await;
    drain(&mut daemon, Duration::from_millis(200)).await;
    daemon.drained().await;
    drop(daemon);

    database.set_partitions_max(1);
    let refused = start(of(1), &database, "single").await.unwrap_err();
    assert!(matches!(refused, Error::FormerPartitions { .. }));
    assert!(refused.to_string().contains("wal/p1"), "{refused}");
    database.set_partitions_max(u32::MAX);
    database.set_reachable(true);
    let daemon = start(of(1), &database, "second").await.unwrap();
    ids.extend(send(&daemon, 12..15).await);
    stored(&database, &ids).await;
    stop(daemon).await;
    // Emptied, they are no obstacle.
    database.set_partitions_max(1);
    stop(start(of(1), &database, "single").await.unwrap()).await;
    assert_eq!(database.spans(), ids.len());
}

// Scenario: the store turns out to be of a newer release: at the start, and after one at which it
// was out of reach.
// Guarantees: the start is refused; the daemon that runs ends and names the part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_can_never_be_used_ends_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::default();
    database.set_too_new(true);
    let of = || config(Mode::All, directory.path(), 1);
    let refused = start(of(), &database, "daemon").await;
    assert!(matches!(refused, Err(Error::Store { .. })));
    database.set_reachable(false);
    let mut daemon = start(of(), &database, "daemon").await.unwrap();
    database.set_reachable(true);
    let failed = tokio::time::timeout(SOON, daemon.part_failed()).await;
    assert_eq!(failed, Ok("the writer"));
    stop(daemon).await;
}
