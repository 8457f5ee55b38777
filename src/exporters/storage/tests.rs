//! The writer thread with a real log and a store in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending, ready};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::*;
use crate::model::{ProjectId, SpanId};
use crate::pipeline::clock::SystemClock;
use crate::queue::{self, Entry, Followed, Log, Opened, PayloadKind, Position, Start};
use crate::storage::{Batch, MetricRows, PointRow, RetentionReport, SpanRow};
use crate::telemetry::health::Readiness;

/// What a store keeps, as a database that outlives its clients would.
#[derive(Debug, Default)]
struct Kept {
    /// How often each span was taken as new.
    spans: BTreeMap<SpanId, u32>,
    duplicates: u64,
    /// By life of the log and partition.
    checkpoints: BTreeMap<(LogId, u32), Position>,
    /// The highest of them.
    checkpoint: Position,
    largest_batch: usize,
    writes: usize,
    /// Writes after which the store is unavailable.
    writes_max: Option<usize>,
    /// It takes what is written and never answers.
    silent: bool,
    /// Writes that it did not answer.
    unanswered: usize,
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
        if kept.silent {
            kept.unanswered += 1;
            return pending().boxed();
        }
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
        let checkpoint = kept.checkpoints.entry((batch.log_id, batch.partition));
        let checkpoint = checkpoint.or_default();
        *checkpoint = (*checkpoint).max(batch.next);
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

    fn quarantine_event<'a>(
        &'a mut self,
        _event: &'a storage::EventRow<'a>,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), storage::Error>> {
        ready(Ok(())).boxed()
    }

    fn quarantine_point<'a>(
        &'a mut self,
        _rows: &'a MetricRows<'a>,
        _point: &'a PointRow,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), storage::Error>> {
        ready(Ok(())).boxed()
    }

    fn remap_step<'a>(
        &'a mut self,
        _mapper: &'a dyn storage::remap::Mapper,
    ) -> BoxFuture<'a, Result<Option<storage::remap::Job>, storage::Error>> {
        ready(Ok(None)).boxed()
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

/// A writer thread.
struct Thread {
    stop: CancellationToken,
    abandon: CancellationToken,
    thread: std::thread::JoinHandle<Result<(), Error>>,
}

impl Thread {
    fn start(
        store: &Memory,
        runtime: &Handle,
        log_id: LogId,
        reader: Reader,
        release: Release,
    ) -> Self {
        let metrics = Metrics::new().unwrap();
        let stop = CancellationToken::new();
        let abandon = CancellationToken::new();
        let exporter = StorageExporter {
            log_id,
            partition: 0,
            reader,
            release,
            writer: Box::new(store.clone()),
            batch: batch::Config {
                send_batch_size: 100,
                send_batch_max_size: 100,
                timeout: crate::config::Duration::millis(20),
                ..batch::Config::default()
            },
            limits: limits::Config::default(),
            prices: pricing::Table::default(),
            settings: Arc::new(storage::settings::testing::Memory::default()),
            sampler: None,
            traces: None,
            remaps: false,
            retention_interval: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
            health: StoreHealth::new(Readiness::new().register("store"), metrics.clone()),
            metrics,
            stop: stop.clone(),
            abandon: abandon.clone(),
        };
        let runtime = runtime.clone();
        let thread = std::thread::spawn(move || exporter.run(&runtime));
        Self {
            stop,
            abandon,
            thread,
        }
    }
}

/// A daemon's log and writer thread, from start to end.
struct Life {
    log: Log,
    writer: Thread,
}

impl Life {
    fn start(directory: &Path, store: &Memory, runtime: &Handle) -> Self {
        let config = queue::Config::default();
        let start = Start::At(store.kept().checkpoint);
        let opened = queue::open(&config, directory, start, Arc::new(())).unwrap();
        let Opened {
            id,
            log,
            reader,
            release,
            ..
        } = opened;
        Self {
            log,
            writer: Thread::start(store, runtime, id, reader, release),
        }
    }

    /// Ends as a crash does: what is not stored stays in the log.
    fn crash(self, runtime: &Handle) {
        self.writer.abandon.cancel();
        self.log.close();
        runtime.block_on(self.log.ended());
        assert!(self.writer.thread.join().unwrap().is_err());
    }

    /// Ends when everything is stored.
    fn drain(self) {
        self.log.close();
        self.writer.thread.join().unwrap().unwrap();
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
        life.crash(runtime.handle());
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

// Scenario: the store takes a batch and never answers, until the drain deadline has passed.
// Guarantees: the thread gives up, and the next one stores everything.
#[test]
fn a_store_that_does_not_answer_is_given_up() {
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let store = Memory::default();
    store.kept().silent = true;
    let life = Life::start(directory.path(), &store, runtime.handle());
    runtime.block_on(life.log.append(request(1, 7))).unwrap();
    eventually("the write", || store.kept().unanswered == 1);
    life.crash(runtime.handle());
    store.kept().silent = false;
    Life::start(directory.path(), &store, runtime.handle()).drain();
    assert_eq!(store.kept().spans.len(), 7);
}

/// Takes the partition as a listener does, and stores it on a thread.
fn listen(partition: &Path, store: &Memory, runtime: &Handle) -> Thread {
    let mut found = None;
    eventually("the partition to be free", || {
        found = queue::follow(partition).unwrap();
        found.is_some()
    });
    let Followed {
        id,
        mut reader,
        mut release,
        ..
    } = found.unwrap();
    let known = store.kept().checkpoints.get(&(id, 0)).copied();
    release.upto(reader.skip_stored(known.unwrap_or_default()));
    Thread::start(store, runtime, id, reader, release)
}

// Scenario: a process appends, and listeners store: one after the other ends, because it gives up
// on a store that fails, or because it is told to leave, or because the appending process has begun
// anew.
// Guarantees: every span is stored, once; a listener that is told to leave loses nothing, one that
// gives up leaves the rest to the next, and hardly anything is sent to the store twice.
#[test]
fn listeners_store_what_another_process_takes_whoever_ends_when() {
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let partition = directory.path().join("p0");
    let store = Memory::default();
    let config = queue::Config::default();
    let mut next = 1;
    let append = |log: &Log, requests: u64, next: &mut u64| {
        for _ in 0..requests {
            runtime.block_on(log.append(request(*next, 30))).unwrap();
            *next += 30;
        }
    };
    let open = || {
        queue::open_for_append(&config, &partition, Arc::new(()))
            .unwrap()
            .0
    };
    let end = |log: &Log| {
        log.close();
        runtime.block_on(log.ended());
    };
    let mut log = open();
    for round in 0..6 {
        append(&log, 10, &mut next);
        let listener = listen(&partition, &store, runtime.handle());
        append(&log, 10, &mut next);
        match round % 3 {
            0 => {
                let writes = store.kept().writes;
                store.kept().writes_max = Some(writes + 2);
                append(&log, 20, &mut next);
                eventually("the store to fail", || store.kept().writes == writes + 2);
                listener.abandon.cancel();
                assert!(listener.thread.join().unwrap().is_err());
                store.kept().writes_max = None;
            }
            1 => {
                listener.stop.cancel();
                listener.thread.join().unwrap().unwrap();
            }
            _ => {
                end(&log);
                log = open();
                listener.thread.join().unwrap().unwrap();
            }
        }
    }
    let listener = listen(&partition, &store, runtime.handle());
    eventually("all stored", || store.kept().spans.len() as u64 == next - 1);
    eventually("all released", || log.stats().unstored_records == 0);
    listener.stop.cancel();
    listener.thread.join().unwrap().unwrap();
    end(&log);
    let kept = store.kept();
    assert!(kept.spans.values().all(|times| *times == 1));
    // Of the one request that was cut short by each of the two that gave up.
    assert!(kept.duplicates < 2 * 30, "{}", kept.duplicates);
}
