//! Admission and acceptance over a real log.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::clock::SystemClock;
use super::*;
use crate::config::ByteSize;
use crate::processors::memory_limiter;
use crate::queue::{Next, Position, Reader};

struct Pipeline {
    ingest: Ingest,
    log: Log,
    reader: Reader,
    metrics: Metrics,
    _directory: tempfile::TempDir,
}

/// A way in to a log of two segments of 64 KiB.
fn pipeline() -> Pipeline {
    let directory = tempfile::tempdir().unwrap();
    let config = queue::Config {
        max_size: ByteSize::kib(128),
        segment_size: ByteSize::kib(64),
        ..queue::Config::default()
    };
    let observer = Arc::new(());
    let opened = queue::open(&config, directory.path(), Position(1), observer);
    let (log, reader, _) = opened.unwrap();
    let limiter = MemoryLimiter::new(&memory_limiter::Config::default());
    let metrics = Metrics::new().unwrap();
    let clock = Arc::new(SystemClock);
    Pipeline {
        ingest: Ingest::new(log.clone(), limiter, clock, metrics.clone()),
        log,
        reader,
        metrics,
        _directory: directory,
    }
}

fn request(attributes: Vec<KeyValue>, padding: usize) -> Bytes {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: "x".repeat(padding),
        ..Span::default()
    };
    let resource = Resource {
        attributes,
        ..Resource::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec().into()
}

impl Pipeline {
    fn admit(&self, announced_bytes: u64) -> Result<Admission, Failure> {
        self.ingest.admit(Transport::HttpProtobuf, announced_bytes)
    }

    async fn send(&self, payload: Bytes) -> Result<TracesAccepted, Failure> {
        let mut admission = self.admit(payload.len() as u64)?;
        let project = ProjectId::DEFAULT;
        self.ingest
            .export_traces(&mut admission, project, payload)
            .await
    }

    fn read(&mut self) -> Option<queue::Record> {
        match self.reader.next(Duration::ZERO).unwrap() {
            Next::Record(record) => Some(record),
            Next::Idle | Next::Closed => None,
        }
    }
}

fn assert_full(outcome: Result<Admission, Failure>) {
    match outcome {
        Err(Failure::Overloaded { message, .. }) => {
            assert_eq!(message, "the log is full: the store is behind");
        }
        other => panic!("{other:?}"),
    }
}

// Scenario: requests come in until the log is full; later the store has caught up.
// Guarantees: a full log refuses before anything is read, a request that is known to be too large
// for what is left is refused when a small one is not, and nothing but the release is needed for
// requests to be let in again.
#[tokio::test]
async fn a_full_log_refuses_before_the_body_and_recovers_with_the_store() {
    let mut pipeline = pipeline();
    let mut accepted = 0;
    while let Ok(TracesAccepted { .. }) = pipeline.send(request(Vec::new(), 14_000)).await {
        accepted += 1;
    }
    assert!(accepted >= 6, "{accepted}");
    assert_full(pipeline.admit(14_000));
    drop(pipeline.admit(0).unwrap());
    while pipeline.send(request(Vec::new(), 1)).await.is_ok() {}
    assert_full(pipeline.admit(0));
    assert!(!pipeline.log.stats().writable);
    let mut last = Position(0);
    while let Some(record) = pipeline.read() {
        last = record.position;
    }
    assert_full(pipeline.admit(0));
    pipeline.log.release(Position(last.0 + 1));
    drop(pipeline.admit(60_000).unwrap());
    pipeline.send(request(Vec::new(), 60_000)).await.unwrap();
    // What the log can never hold is refused for good.
    let forever = pipeline.admit(200_000).unwrap_err();
    assert!(matches!(forever, Failure::TooLarge { .. }), "{forever}");
    pipeline.log.close();
    let closed = pipeline.send(request(Vec::new(), 1)).await.unwrap_err();
    assert_eq!(closed, Failure::ShuttingDown);
}

// Scenario: a request has attributes without a key.
// Guarantees: what is logged, and thereby stored, has none, and says how many were dropped; so do
// the metrics. A request without any is logged as it came.
#[tokio::test]
async fn attributes_without_a_key_are_not_kept() {
    let mut pipeline = pipeline();
    let named = KeyValue {
        key: "k".to_owned(),
        ..KeyValue::default()
    };
    let attributes = vec![KeyValue::default(), named.clone(), KeyValue::default()];
    pipeline.send(request(attributes, 1)).await.unwrap();
    let logged = pipeline.read().unwrap().payload;
    let logged = ExportTraceServiceRequest::decode(logged).unwrap();
    let resource = logged.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes, std::slice::from_ref(&named));
    assert_eq!(resource.dropped_attributes_count, 2);
    assert_eq!(logged.resource_spans[0].scope_spans[0].spans.len(), 1);
    let counted = "pulse_receiver_unnamed_attributes_total{transport=\"http_protobuf\"} 2\n";
    assert!(pipeline.metrics.render().contains(counted));
    let plain = request(vec![named], 1);
    pipeline.send(plain.clone()).await.unwrap();
    assert_eq!(pipeline.read().unwrap().payload, plain);
}
