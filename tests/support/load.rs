//! Load with a ledger: clients that send like an SDK does, again and again until they hear OK, and
//! remember what was acknowledged, so that it can be compared with what is stored.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use tokio::task::JoinSet;
use tonic::Code;

use crate::api::item;
use crate::daemon::{Daemon, eventually};
use crate::otlp::{grpc_client, hex, key_value, now, request, runtime, text};
use crate::random::Random;

/// Requests that share one trace.
const REQUESTS_PER_TRACE: u64 = 5;

/// How the services of all clients begin.
const SERVICE: &str = "load-";

/// How long a daemon may take to serve clients again on a loaded machine.
const SERVED_WITHIN: Duration = Duration::from_secs(60);

/// How long what is stored may take to be shown on a loaded machine.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// What a client waits before it tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What a paced client waits between two requests.
const PACE: Duration = Duration::from_millis(50);

/// Makes the requests: the same worker and number always give the same request.
#[derive(Debug, Clone, Copy)]
struct Content {
    seed: u64,
    start_unix_nano: u64,
}

impl Content {
    fn service(worker: u64) -> String {
        format!("{SERVICE}{worker}")
    }

    fn trace_id(self, worker: u64, number: u64) -> Vec<u8> {
        Random::new(self.seed ^ (worker << 48) ^ (number / REQUESTS_PER_TRACE)).id::<16>()
    }

    fn spans(self, worker: u64, number: u64) -> Vec<Span> {
        let mut random = Random::new(!self.seed ^ (worker << 40) ^ number);
        let trace_id = self.trace_id(worker, number);
        let count = 1 + random.below(12);
        (0..count)
            .map(|_| self.span(&mut random, &trace_id, worker))
            .collect()
    }

    fn span(self, random: &mut Random, trace_id: &[u8], worker: u64) -> Span {
        let start = self.start_unix_nano + random.below(1_000_000_000);
        let mut attributes = vec![
            key_value("number", Value::IntValue(random.next().cast_signed())),
            text("text", &"é".repeat(random.below(40) as usize)),
            text("session.id", &format!("session-{worker}")),
        ];
        // Some spans are large enough to be compressed, and some of those do not compress.
        match random.below(16) {
            0 => attributes.push(text("long", &"compressible ".repeat(400))),
            1 => {
                let bytes = std::iter::repeat_with(|| random.next().to_le_bytes())
                    .take(700)
                    .flatten();
                let bytes = bytes.collect();
                attributes.push(key_value("random", Value::BytesValue(bytes)));
            }
            _ => {}
        }
        let failed = random.below(10) == 0;
        Span {
            trace_id: trace_id.to_vec(),
            span_id: random.id::<8>(),
            parent_span_id: if random.below(8) == 0 {
                Vec::new()
            } else {
                random.id::<8>()
            },
            name: format!("operation {}", random.below(20)),
            kind: i32::try_from(random.below(6)).expect("small"),
            start_time_unix_nano: start,
            end_time_unix_nano: start + random.below(1_000_000_000),
            attributes,
            status: failed.then(|| Status {
                code: 2,
                message: "failed".to_owned(),
            }),
            ..Span::default()
        }
    }
}

/// What one client did.
#[derive(Debug, Default)]
struct Done {
    /// Requests below this number are acknowledged.
    acknowledged: u64,
    /// Whether request number `acknowledged` was tried too, and may or may not be stored.
    tried_more: bool,
    /// What the daemon answered when it did not accept. Lost connections are not answers.
    refusals: BTreeMap<i32, u64>,
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Load {
    content: Content,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    workers: JoinSet<(u64, Done)>,
    runtime: tokio::runtime::Runtime,
}

impl Load {
    /// Starts clients that send one request after the other.
    pub(crate) fn start(address: SocketAddr, workers: u64, seed: u64) -> Self {
        Self::start_with(&[address], workers, Duration::ZERO, seed)
    }

    /// The same with a pause after each request, for tests that last: all that is sent is compared.
    pub(crate) fn start_paced(address: SocketAddr, workers: u64, seed: u64) -> Self {
        Self::start_with(&[address], workers, PACE, seed)
    }

    /// The same with several daemons behind the clients, as a load balancer has them: who does not
    /// accept a request is passed over for the next one.
    pub(crate) fn start_balanced(addresses: &[SocketAddr], workers: u64, seed: u64) -> Self {
        Self::start_with(addresses, workers, PACE, seed)
    }

    fn start_with(addresses: &[SocketAddr], workers: u64, pause: Duration, seed: u64) -> Self {
        let content = Content {
            seed,
            start_unix_nano: now(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let runtime = runtime();
        let mut set = JoinSet::new();
        for worker in 0..workers {
            let client = Client {
                addresses: addresses.to_vec(),
                pause,
                content,
                worker,
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
            };
            set.spawn_on(
                async move { (worker, client.run().await) },
                runtime.handle(),
            );
        }
        Self {
            content,
            stop,
            acknowledged,
            workers: set,
            runtime,
        }
    }

    /// Requests acknowledged so far, all clients together.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until this many more are.
    pub(crate) fn await_more(&self, more: u64) {
        let before = self.acknowledged();
        eventually("clients being served", SERVED_WITHIN, || {
            (self.acknowledged() >= before + more).then_some(())
        });
    }

    /// Ends the clients after the request each of them is at.
    pub(crate) fn stop(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut done = BTreeMap::new();
        self.runtime.block_on(async {
            while let Some(worker) = self.workers.join_next().await {
                let (worker, what) = worker.expect("the client does not panic");
                done.insert(worker, what);
            }
        });
        Ledger {
            content: self.content,
            done,
        }
    }
}

struct Client {
    addresses: Vec<SocketAddr>,
    /// Between two requests.
    pause: Duration,
    content: Content,
    worker: u64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Client {
    async fn run(self) -> Done {
        let mut done = Done::default();
        let mut daemons: VecDeque<_> = self.addresses.iter().copied().map(grpc_client).collect();
        // Clients begin at different daemons.
        daemons.rotate_left(self.worker as usize % self.addresses.len());
        while !self.stop.load(Ordering::Relaxed) {
            let spans = self.content.spans(self.worker, done.acknowledged);
            let request = request(&Content::service(self.worker), spans);
            match daemons[0].export(request).await {
                Ok(answer) => {
                    let partial_success = answer.into_inner().partial_success;
                    assert_eq!(partial_success, None, "every span is valid");
                    done.acknowledged += 1;
                    done.tried_more = false;
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(self.pause).await;
                }
                Err(status) => {
                    done.tried_more = true;
                    // A status with a source was made on this side of the connection.
                    if std::error::Error::source(&status).is_none() {
                        *done.refusals.entry(status.code().into()).or_default() += 1;
                    }
                    daemons.rotate_left(1);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
        done
    }
}

/// What the clients know.
#[derive(Debug)]
pub(crate) struct Ledger {
    content: Content,
    done: BTreeMap<u64, Done>,
}

impl Ledger {
    /// Everything acknowledged is stored exactly once as it was sent, and nothing is stored that
    /// was never sent.
    pub(crate) fn assert_stored(&self, daemon: &Daemon) {
        daemon.await_stored();
        self.assert_shown(daemon);
    }

    /// The same where everything acknowledged has been stored, or where another process sees to it.
    pub(crate) fn assert_shown(&self, daemon: &Daemon) {
        self.await_shown(daemon);
        self.assert_equal(daemon);
    }

    /// Waits until at least as many spans are shown as were acknowledged.
    pub(crate) fn await_shown(&self, daemon: &Daemon) {
        let least = self.spans_acknowledged();
        eventually("what was acknowledged to be shown", SHOWN_WITHIN, || {
            let services = daemon.list("/api/v1/services");
            let counts = services
                .iter()
                .filter(|service| service["name"].as_str().unwrap().starts_with(SERVICE))
                .map(|service| service["span_count"].as_u64().unwrap());
            (counts.sum::<u64>() >= least).then_some(())
        });
    }

    fn assert_equal(&self, daemon: &Daemon) {
        let started = Instant::now();
        let services = daemon.list("/api/v1/services");
        let sessions = daemon.list("/api/v1/sessions");
        let mut total = 0;
        for (&worker, done) in &self.done {
            let (spans, traces) = self.assert_worker(daemon, worker, done);
            if spans > 0 {
                let service = item(&services, "name", &Content::service(worker));
                assert_eq!(service["span_count"], spans, "{service}");
                let session = item(&sessions, "session_id", &format!("session-{worker}"));
                assert_eq!(session["span_count"], spans, "{session}");
                assert_eq!(session["trace_count"], traces, "{session}");
            }
            total += spans;
        }
        eprintln!("{total} spans compared in {:?}", started.elapsed());
        assert_eq!(
            daemon.api("/api/v1/dead-letters").json()["items"],
            serde_json::json!([])
        );
    }

    /// Answers the spans and traces stored.
    fn assert_worker(&self, daemon: &Daemon, worker: u64, done: &Done) -> (u64, u64) {
        let tried = done.acknowledged + u64::from(done.tried_more);
        let mut numbers: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for number in 0..tried {
            numbers
                .entry(self.content.trace_id(worker, number))
                .or_default()
                .push(number);
        }
        let (mut spans, mut traces) = (0, 0);
        for (trace_id, numbers) in numbers {
            let Some(stored) = daemon.trace_otlp(&trace_id) else {
                let none = numbers.iter().all(|&number| number >= done.acknowledged);
                assert!(none, "acknowledged trace {} is lost", hex(&trace_id));
                continue;
            };
            let count = self.assert_trace(worker, done, &numbers, stored);
            let summary = daemon.trace(&trace_id).expect("it is known");
            assert_eq!(
                summary["trace"]["span_count"], count,
                "{}",
                summary["trace"]
            );
            spans += count;
            traces += 1;
        }
        (spans, traces)
    }

    fn assert_trace(
        &self,
        worker: u64,
        done: &Done,
        numbers: &[u64],
        stored: ExportTraceServiceRequest,
    ) -> u64 {
        let mut found: BTreeMap<Vec<u8>, Span> = BTreeMap::new();
        let service = text("service.name", &Content::service(worker));
        for resource_spans in stored.resource_spans {
            let resource = resource_spans.resource.expect("every span has a resource");
            assert_eq!(resource.attributes, std::slice::from_ref(&service));
            for span in resource_spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
            {
                let id = span.span_id.clone();
                assert!(found.insert(id, span).is_none(), "a span is stored twice");
            }
        }
        let count = found.len() as u64;
        for &number in numbers {
            let sent = self.content.spans(worker, number);
            let stored: Vec<_> = sent
                .iter()
                .filter_map(|span| found.remove(&span.span_id))
                .collect();
            // A request that was tried and not acknowledged may be stored, but never in part.
            if number < done.acknowledged || !stored.is_empty() {
                assert_eq!(stored, sent, "request {number} of client {worker}");
            }
        }
        assert!(found.is_empty(), "spans that nobody sent: {found:?}");
        count
    }

    fn spans_acknowledged(&self) -> u64 {
        let of_worker = |(&worker, done): (&u64, &Done)| {
            let requests = (0..done.acknowledged).map(|number| self.content.spans(worker, number));
            requests.map(|spans| spans.len() as u64).sum::<u64>()
        };
        self.done.iter().map(of_worker).sum()
    }

    /// Requests acknowledged, all clients together.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.done.values().map(|done| done.acknowledged).sum()
    }

    /// The daemon refused with nothing but the code that tells clients to come back.
    pub(crate) fn assert_refusals_retryable(&self) {
        for done in self.done.values() {
            for &code in done.refusals.keys() {
                assert_eq!(
                    Code::from_i32(code),
                    Code::Unavailable,
                    "{:?}",
                    done.refusals
                );
            }
        }
    }
}
