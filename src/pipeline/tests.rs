//! Admission and acceptance over a real log.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::clock::SystemClock;
use super::*;
use crate::config::ByteSize;
use crate::processors::{memory_limiter, redaction};
use crate::queue::{Log, Next, Position, Reader};

struct Pipeline {
    ingest: Ingest,
    log: Log,
    reader: Reader,
    metrics: Metrics,
    _directory: tempfile::TempDir,
}

/// A way in to a log of two segments of 64 KiB.
fn pipeline() -> Pipeline {
    redacting(64, None)
}

/// A way in to a log of two segments of some KiB.
fn redacting(segment_kib: u64, redactor: Option<Redactor>) -> Pipeline {
    let rules = Rules {
        redactor,
        quotas: None,
    };
    with(segment_kib, rules)
}

fn with(segment_kib: u64, rules: Rules) -> Pipeline {
    let directory = tempfile::tempdir().unwrap();
    let config = queue::Config {
        max_size: ByteSize::kib(2 * segment_kib),
        segment_size: ByteSize::kib(segment_kib),
        ..queue::Config::default()
    };
    let observer = Arc::new(());
    let start = queue::Start::At(Position(1));
    let opened = queue::open(&config, directory.path(), start, observer).unwrap();
    let (log, reader) = (opened.log, opened.reader);
    let limiter = MemoryLimiter::new(&memory_limiter::Config::default());
    let metrics = Metrics::new().unwrap();
    let clock = Arc::new(SystemClock);
    Pipeline {
        ingest: Ingest::with(log.clone(), limiter, clock, metrics.clone(), rules),
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

    async fn send(&self, payload: Bytes) -> Result<Accepted, Failure> {
        self.export(Signal::Traces, payload).await
    }

    async fn export(&self, signal: Signal, payload: Bytes) -> Result<Accepted, Failure> {
        let mut admission = self.admit(payload.len() as u64)?;
        let project = ProjectId::DEFAULT;
        self.ingest
            .export(&mut admission, signal, project, payload)
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
    while let Ok(Accepted { .. }) = pipeline.send(request(Vec::new(), 14_000)).await {
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

// Scenario: requests with an address come in, one that is searched at once and one that is searched
// by another thread; then one for which the memory is used up.
// Guarantees: what is logged has none, is otherwise the same and gives back the memory it took; what
// can't be searched is refused, not logged as it came.
#[tokio::test]
async fn what_must_not_be_kept_is_not_logged() {
    let rule = redaction::Rule {
        detectors: vec![redaction::Detector::Email],
        ..redaction::Rule::default()
    };
    let config = redaction::Config {
        enabled: true,
        rules: vec![rule],
        ..redaction::Config::default()
    };
    let mut pipeline = redacting(4096, config.compile().unwrap());
    let attribute = |text: &str| KeyValue {
        key: "k".to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(text.to_owned())),
        }),
        ..KeyValue::default()
    };
    let address = attribute("bob@example.com");
    for padding in [1, 1 << 20] {
        pipeline
            .send(request(vec![address.clone()], padding))
            .await
            .unwrap();
        let logged = pipeline.read().unwrap().payload;
        assert_eq!(logged, request(vec![attribute("[email]")], padding));
        let none = pipeline.ingest.shared.limiter.in_flight_bytes();
        assert_eq!(none, 0, "{padding}");
    }
    let text = pipeline.metrics.render();
    assert!(text.contains("pulse_redaction_values_total{rule=\"rule_1\"} 2\n"));
    let mut all = pipeline.admit(0).unwrap();
    all.reserve(256 << 20).unwrap();
    for padding in [1, 1 << 20] {
        let refused = pipeline.send(request(vec![address.clone()], padding)).await;
        let is_refused = matches!(refused, Err(Failure::Overloaded { .. }));
        assert!(is_refused, "{refused:?}");
        assert_eq!(pipeline.read(), None);
    }
}

// Scenario: log records, one of which names a trace that can't be one; then bytes that are no logs.
// Guarantees: all are logged as logs; the client hears of the odd one, but nothing is rejected; the
// counters are those of log records.
#[tokio::test]
async fn log_records_are_logged_whole() {
    let mut pipeline = pipeline();
    let record = |trace_id: Vec<u8>| LogRecord {
        trace_id,
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![record(vec![1; 16]), record(vec![0; 16]), record(vec![1; 3])],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    let payload = Bytes::from(request.encode_to_vec());
    let accepted = pipeline
        .export(Signal::Logs, payload.clone())
        .await
        .unwrap();
    assert_eq!(accepted.rejected, 0);
    assert_eq!(
        accepted.error_message,
        "kept 1 of 3 log records without their trace or span; first: span (empty) of trace 010101: \
         trace_id has 3 bytes instead of 16"
    );
    let logged = pipeline.read().unwrap();
    assert_eq!(
        (logged.kind, logged.payload),
        (PayloadKind::OtlpLogs, payload)
    );
    let damaged = pipeline
        .export(Signal::Logs, Bytes::from_static(b"\x0a\x7f"))
        .await;
    assert!(matches!(damaged, Err(Failure::Malformed { .. })));
    let text = pipeline.metrics.render();
    let counted = "pulse_receiver_accepted_log_records_total{transport=\"http_protobuf\"} 3\n";
    assert!(text.contains(counted), "{text}");
    assert!(text.contains("pulse_receiver_accepted_spans_total{transport=\"http_protobuf\"} 0\n"));
}

// Scenario: a project that may send a hundred bytes a day sends a request, and one too many; then
// it may send anything, and the log is full.
// Guarantees: what it sent is charged once it is logged; what is refused is counted as refused, and
// neither logged nor charged.
#[tokio::test]
async fn what_is_logged_is_charged() {
    let keys = Arc::new(crate::auth::testing::Keys::default());
    let quotas = keys.quotas(crate::model::quota::Quota {
        items_per_second: None,
        bytes_per_day: Some(100),
    });
    let rules = Rules {
        redactor: None,
        quotas: Some(quotas.clone()),
    };
    let mut pipeline = with(64, rules);
    let sent = request(Vec::new(), 100);
    pipeline.send(sent.clone()).await.unwrap();
    let over = pipeline.send(sent.clone()).await.unwrap_err();
    assert!(matches!(over, Failure::OverQuota { .. }), "{over}");
    let counted = "pulse_receiver_refused_spans_total{transport=\"http_protobuf\"} 1\n";
    assert!(pipeline.metrics.render().contains(counted));
    assert!(pipeline.read().is_some());
    assert!(pipeline.read().is_none());
    quotas.write_usage().await;

    let unlimited = crate::model::quota::Quota::default();
    keys.own
        .lock()
        .unwrap()
        .insert(ProjectId::DEFAULT, unlimited);
    quotas.refresh(1).await;
    let (large, mut logged) = (request(Vec::new(), 14_000), 1);
    while pipeline.send(large.clone()).await.is_ok() {
        logged += 1;
    }
    quotas.write_usage().await;
    let usage = keys.usage.lock().unwrap().clone();
    let items: u64 = usage.iter().map(|usage| usage.items).sum();
    let bytes: u64 = usage.iter().map(|usage| usage.bytes).sum();
    assert_eq!(items, logged);
    let expected = sent.len() + large.len() * usize::try_from(logged - 1).unwrap();
    assert_eq!(bytes, expected as u64);
}
