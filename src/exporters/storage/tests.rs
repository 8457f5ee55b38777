//! The writer thread with a real log and a store in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::*;
use crate::model::{ProjectId, SpanId};
use crate::pipeline::clock::SystemClock;
use crate::queue::{self, Entry, PayloadKind, Position};
use crate::storage::{Batch, RetentionReport, SpanRow};
use crate::telemetry::health::Readiness;

/// What a store keeps, as a database that outlives its clients would.
#[derive(Debug, Default)]
struct Kept {
    /// How often each span was taken as new.
    spans: BTreeMap<SpanId, u32>,
    duplicates: u64,
    checkpoint: Position,
    largest_batch: usize,
    writes: usize,
    /// Writes after which the store is unavailable.
    writes_max: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }
}

impl SpanWriter for Memory {
    fn write<'a>(
        &'a mut self,
        batch: &'a Batch<'a>,
    ) -> BoxFuture<'a, Result<WriteReport, storage::Error>> {
        let mut kept = self.kept();
        if kept.writes_max.is_some_and(|max| kept.writes >= max) {
            return ready(Err(storage::Error::Unavailable {
                context: "test",
                source: "down".into(),
            }))
            .boxed();
        }
        kept.writes += 1;
        kept.largest_batch = kept.largest_batch.max(batch.spans.len());
        kept.checkpoint = kept.checkpoint.max(batch.next);
        let mut report = WriteReport::default();
        for span in &batch.spans {
            let known = kept.spans.contains_key(&span.span_id);
            if known {
                report.spans_duplicate += 1;
            } else {
                report.spans_stored += 1;
                *kept.spans.entry(span.span_id).or_default() += 1;
            }
        }
        kept.duplicates += report.spans_duplicate;
        ready(Ok(report)).boxed()
    }

    fn quarantine<'a>(
        &'a mut self,
        _span: &'a SpanRow<'a>,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), storage::Error>> {
        ready(Ok(())).boxed()
    }

    fn enforce_retention<'a>(
        &'a mut self,
        _now_unix_nano: u64,
    ) -> BoxFuture<'a, Result<RetentionReport, storage::Error>> {
        ready(Ok(RetentionReport::default())).boxed()
    }
}

/// A request of spans numbered from `first` on.
fn request(first: u64, spans: u64) -> Entry {
    let spans = (first..first + spans).map(|number| Span {
        trace_id: vec![5; 16],
        span_id: number.to_be_bytes().to_vec(),
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
    Entry {
        project: ProjectId::DEFAULT,
        received_unix_nano: 1,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

/// A daemon's log and writer thread, from start to end.
struct Life {
    log: Log,
    abandon: CancellationToken,
    thread: std::thread::JoinHandle<Result<(), Error>>,
}

impl Life {
    fn start(directory: &Path, store: &Memory, runtime: &Handle) -> Self {
        let config = queue::Config::default();
        let checkpoint = store.kept().checkpoint;
        let (log, reader, _) = queue::open(&config, directory, checkpoint, Arc::new(())).unwrap();
        let abandon = CancellationToken::new();
        let exporter = StorageExporter {
            partition: 0,
            reader,
            log: log.clone(),
            writer: Box::new(store.clone()),
            batch: batch::Config {
                send_batch_size: 100,
                send_batch_max_size: 100,
                ..batch::Config::default()
            },
            limits: limits::Config::default(),
            retention_interval: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
            metrics: Metrics::new().unwrap(),
            health: Readiness::new().register("store"),
            abandon: abandon.clone(),
        };
        let runtime = runtime.clone();
        let thread = std::thread::spawn(move || exporter.run(&runtime));
        Self {
            log,
            abandon,
            thread,
        }
    }

    /// Ends as a crash does: what is not stored stays in the log.
    fn crash(self) {
        self.abandon.cancel();
        self.log.close();
        assert!(self.thread.join().unwrap().is_err());
    }

    /// Ends when everything is stored.
    fn drain(self) {
        self.log.close();
        self.thread.join().unwrap().unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// Scenario: a request of ten times the spans that go into one transaction, between small ones; the
// process dies after any number of transactions, and starts again.
// Guarantees: no transaction is larger than allowed, the checkpoint never passes a request that is
// not wholly stored, and every span is stored exactly once.
#[test]
fn a_large_request_is_stored_in_slices_exactly_once_whenever_it_is_cut_short() {
    let runtime = runtime();
    for writes_max in 0..=10 {
        let directory = tempfile::tempdir().unwrap();
        let partition = directory.path().join("p0");
        let store = Memory::default();
        store.kept().writes_max = Some(writes_max);
        let life = Life::start(&partition, &store, runtime.handle());
        for (first, spans) in [(1, 3), (4, 1000), (1004, 3)] {
            runtime
                .block_on(life.log.append(request(first, spans)))
                .unwrap();
        }
        eventually("the store has had enough", || {
            store.kept().writes == writes_max
        });
        let (stored, checkpoint) = {
            let kept = store.kept();
            (kept.spans.len(), kept.checkpoint)
        };
        let whole = match stored {
            ..3 => 1,
            3..1003 => 2,
            1003..1006 => 3,
            _ => 4,
        };
        assert!(checkpoint <= Position(whole), "{checkpoint:?} at {stored}");
        life.crash();
        store.kept().writes_max = None;
        let life = Life::start(&partition, &store, runtime.handle());
        life.drain();
        let kept = store.kept();
        assert_eq!(kept.spans.len(), 1006);
        assert!(kept.spans.values().all(|times| *times == 1));
        assert!(kept.largest_batch <= 100, "{}", kept.largest_batch);
        assert_eq!(kept.checkpoint, Position(4));
        // What was written of a record before the end, and no more, came again.
        assert!(kept.duplicates < 1000, "{}", kept.duplicates);
    }
}
