//! The receiver with the real pipeline and a log that fills up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::config::ByteSize;
use crate::model::ProjectId;
use crate::pipeline::Ingest;
use crate::pipeline::clock::SystemClock;
use crate::processors::memory_limiter::{Config as MemoryConfig, MemoryLimiter};
use crate::queue::{self, Entry, Log, Next, PayloadKind, Position};
use crate::receivers::otlp::{Receiver, RequestObserver};
use crate::service::tasks::{Panics, Tasks};
use crate::telemetry::Metrics;
use crate::telemetry::health::Readiness;

/// A receiver before the real pipeline, with a log of two segments of 64 KiB.
struct WithLog {
    log: Log,
    reader: queue::Reader,
    grpc: SocketAddr,
    http: SocketAddr,
    tasks: Tasks,
    _panics: Panics,
    _directory: tempfile::TempDir,
}

fn start() -> WithLog {
    let directory = tempfile::tempdir().unwrap();
    let log_config = queue::Config {
        max_size: ByteSize::kib(128),
        segment_size: ByteSize::kib(64),
        ..queue::Config::default()
    };
    let start = queue::Start::At(Position(1));
    let opened = queue::open(&log_config, directory.path(), start, Arc::new(())).unwrap();
    let (log, reader) = (opened.log, opened.reader);
    let limiter = MemoryLimiter::new(&MemoryConfig::default());
    let metrics = Metrics::new().unwrap();
    let ingest = Ingest::new(log.clone(), limiter, Arc::new(SystemClock), metrics);
    let receiver = Receiver::bind(&config()).unwrap();
    let grpc = receiver.grpc_address().unwrap();
    let http = receiver.http_address().unwrap();
    let (tasks, panics) = Tasks::new();
    let observer: Arc<dyn RequestObserver> = Arc::new(());
    let readiness = Readiness::new();
    let (_, gates) = crate::auth::testing::gates(&crate::auth::Config::default());
    receiver
        .start(&ingest, &observer, &gates, &readiness, &tasks)
        .unwrap();
    WithLog {
        log,
        reader,
        grpc,
        http,
        tasks,
        _panics: panics,
        _directory: directory,
    }
}

impl WithLog {
    async fn fill(&self) {
        let entry = |bytes: usize| Entry {
            project: ProjectId::DEFAULT,
            received_unix_nano: 1,
            kind: PayloadKind::OtlpTraces,
            payload: vec![0; bytes].into(),
        };
        for size in [12_000, 1] {
            while self.log.append(entry(size)).await.is_ok() {}
        }
    }

    /// What the writer does once the store has taken everything.
    fn catch_up(&mut self) {
        let mut next = Position(1);
        while let Next::Record(record) = self.reader.next(Duration::ZERO).unwrap() {
            next = Position(record.position.0 + 1);
        }
        self.log.release(next);
    }
}

// Scenario: the log is full because the store is behind; clients announce requests of which they
// send only the head; then the store catches up.
// Guarantees: each is refused, retryably, without a byte of its body; then each is accepted.
#[tokio::test]
async fn a_full_log_refuses_requests_unread_until_the_store_has_caught_up() {
    let mut server = start();
    server.fill().await;
    for content_type in [PROTOBUF, JSON] {
        let mut raw = Raw::connect(server.http).await;
        raw.send(format!(
            "POST /v1/traces HTTP/1.1\r\nhost: a\r\n{content_type}\r\ncontent-length: 4\r\n\r\n"
        ))
        .await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 503);
        let retry: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=30).contains(&retry));
        answer.assert_status_body();
    }
    let mut client = http2(server.grpc).await;
    // The body never comes to an end.
    let endless = http_body_util::StreamBody::new(futures_util::stream::pending());
    let endless = http_body_util::BodyExt::boxed(endless);
    let refused = client.send_request(grpc_request(EXPORT, &[], endless));
    let refused = tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("in time");
    let refused = outcome(refused.unwrap()).await;
    assert_eq!(
        (refused.code, refused.has_details),
        (14, true),
        "{refused:?}"
    );

    server.catch_up();
    for (content_type, body) in [(PROTOBUF, &b"\x0a\x00"[..]), (JSON, b"{}")] {
        let answer = exchange(server.http, post(&[content_type], body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let accepted = export(&mut client, &[], frame(0, b"\x0a\x00")).await;
    assert_eq!(accepted.code, 0, "{accepted:?}");
    server.tasks.start_shutdown();
    server.log.close();
}
