//! The daemon's own metrics, in the Prometheus text format.
//!
//! [`Metrics`] is the only way to record one: a method per event, called once per request or
//! batch, never per span. Handles are looked up once, when the value is made. Recording can't fail
//! and never blocks on a scrape; every series exists from the start where its labels are known, so
//! that a rate over it is right from the first event. There is no global registry: parts get a
//! clone, tests make their own.

mod exporter;
mod items;
mod labels;
mod names;
mod redaction;
mod register;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio_util::sync::CancellationToken;

use super::{faults, process};
use crate::pipeline::Transport;

use exporter::ExporterHandles;
use items::ItemHandles;
use labels::code_label;
use register::{build_recorder, counter, gauge, histogram};

pub use exporter::ExporterBacklog;
pub use items::Outcomes;
pub use labels::{ModelCalls, transport_label};
pub use names::{ALL, MetricInfo, MetricKind};
pub use redaction::RedactionCounters;

/// How often [`upkeep`] runs: bounds the histogram samples held between scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
const BYTES_BUCKETS: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const COUNT_BUCKETS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0, 65536.0,
];

/// State of the log, sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueSample {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes on disk beyond which requests are refused.
    pub capacity_bytes: u64,
    /// Bytes of records kept in memory for the writer.
    pub memory_bytes: u64,
    /// Acknowledged records the store does not hold yet.
    pub unstored_records: u64,
    /// Segments set aside since the start.
    pub damaged_segments: u64,
    /// Acknowledged records found missing since the start.
    pub lost_records: u64,
}

/// Records metrics and renders them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    receivers: [ReceiverHandles; 3],
    handles: Handles,
    exporter: ExporterHandles,
    /// Series whose code or route is known only when it happens. Bounded by the status codes and
    /// route patterns of the program.
    requests: RwLock<HashMap<(Transport, u16), Counter>>,
    routes: RwLock<HashMap<(&'static str, u16), RouteHandles>>,
    /// Bits of an `f64`: counters of the recorder are whole numbers, seconds are not.
    cpu_seconds: AtomicU64,
    started: Instant,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

type RouteHandles = (Counter, Histogram);

struct ReceiverHandles {
    spans: ItemHandles,
    log_records: ItemHandles,
    metric_points: ItemHandles,
    unnamed: Counter,
    seconds: Histogram,
    bytes: Histogram,
}

struct Handles {
    over_rate: Counter,
    over_day: Counter,
    in_flight_requests: Gauge,
    in_flight_bytes: Gauge,
    queue_bytes: Gauge,
    queue_capacity: Gauge,
    queue_memory: Gauge,
    queue_unstored: Gauge,
    queue_damaged: Gauge,
    queue_lost: Gauge,
    fsync_seconds: Histogram,
    group_records: Histogram,
    group_bytes: Histogram,
    batch_rows: Histogram,
    commit_seconds: Histogram,
    stored: Counter,
    duplicate: Counter,
    /// In the order of [`crate::model::sampling::Reason::ALL`].
    sampled_out: [Counter; 3],
    /// In the order of [`crate::processors::sampling::tail::Policy::ALL`].
    kept_traces: [Counter; 6],
    early_records: Counter,
    waiting_records: Gauge,
    waiting_bytes: Gauge,
    events_stored: Counter,
    events_duplicate: Counter,
    points_stored: Counter,
    points_duplicate: Counter,
    points_overflow: Counter,
    retries: Counter,
    dead_letters: Counter,
    storage_up: Gauge,
    storage_bytes: Gauge,
    damaged_rollups: Counter,
    damaged_call_lists: Counter,
    retention_deleted: Counter,
    visible_seconds: Histogram,
    redaction_bytes: Counter,
    truncated: Counter,
    calls_reported: Counter,
    calls_computed: Counter,
    calls_unpriced: Counter,
    calls_without_cost: Counter,
    ready: Gauge,
    uptime: Gauge,
    rss: Gauge,
    open_fds: Gauge,
}

impl Metrics {
    /// Makes a registry with every metric described and, where its labels are known, at zero.
    ///
    /// # Errors
    /// When the histogram buckets are refused, which is a bug.
    pub fn new() -> Result<Self, BuildError> {
        let recorder = build_recorder()?;
        let transports = [
            Transport::Grpc,
            Transport::HttpProtobuf,
            Transport::HttpJson,
        ];
        let receivers = transports.map(|transport| ReceiverHandles::register(&recorder, transport));
        let handles = Handles::register(&recorder);
        let exporter = ExporterHandles::register(&recorder);
        let build = Label::new("version", env!("CARGO_PKG_VERSION"));
        gauge(&recorder, names::BUILD_INFO, vec![build]).set(1.0);
        let shared = Shared {
            handle: recorder.handle(),
            receivers,
            handles,
            exporter,
            recorder,
            requests: RwLock::default(),
            routes: RwLock::default(),
            cpu_seconds: AtomicU64::new(0),
            started: Instant::now(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The metrics in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let uptime = self.shared.started.elapsed().as_secs_f64();
        self.shared.handles.uptime.set(uptime);
        let handles = &self.shared.handles;
        for (handle, fault) in [
            (&handles.damaged_rollups, &faults::DAMAGED_ROLLUPS),
            (&handles.damaged_call_lists, &faults::DAMAGED_CALL_LISTS),
        ] {
            handle.absolute(fault.count());
        }
        let mut text = self.shared.handle.render();
        let MetricInfo { name, help, .. } = names::PROCESS_CPU_SECONDS;
        let seconds = f64::from_bits(self.shared.cpu_seconds.load(Ordering::Relaxed));
        text.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}\n"
        ));
        text
    }

    /// Attributes and list entries without a key were left out of an accepted request.
    pub fn receiver_unnamed_attributes(&self, transport: Transport, count: u64) {
        self.receiver(transport).unnamed.increment(count);
    }

    /// A request was answered. `code` is the gRPC code for gRPC, the status for HTTP; `bytes` the
    /// size of the body as it came.
    pub fn receiver_request(&self, transport: Transport, code: u16, bytes: u64, took: Duration) {
        let handles = self.receiver(transport);
        handles.seconds.record(took);
        handles.bytes.record(bytes as f64);
        let key = (transport, code);
        let counter = cached(&self.shared.requests, key, || {
            let labels = vec![
                Label::new("transport", transport_label(transport)),
                Label::new("code", code_label(transport, code)),
            ];
            counter(&self.shared.recorder, names::REQUESTS, labels)
        });
        counter.increment(1);
    }

    /// A request was refused because its project is over what it may send: in a second, or a day.
    pub fn over_quota(&self, is_of_day: bool) {
        let handles = &self.shared.handles;
        let counter = if is_of_day {
            &handles.over_day
        } else {
            &handles.over_rate
        };
        counter.increment(1);
    }

    /// Requests and request bytes held now.
    pub fn receiver_in_flight(&self, requests: u64, bytes: u64) {
        self.shared.handles.in_flight_requests.set(requests as f64);
        self.shared.handles.in_flight_bytes.set(bytes as f64);
    }

    /// The state of the log now.
    pub fn queue(&self, sample: QueueSample) {
        let handles = &self.shared.handles;
        handles.queue_bytes.set(sample.bytes as f64);
        handles.queue_capacity.set(sample.capacity_bytes as f64);
        handles.queue_memory.set(sample.memory_bytes as f64);
        handles.queue_unstored.set(sample.unstored_records as f64);
        handles.queue_damaged.set(sample.damaged_segments as f64);
        handles.queue_lost.set(sample.lost_records as f64);
    }

    /// The log synced a group.
    pub fn log_fsync(&self, took: Duration) {
        self.shared.handles.fsync_seconds.record(took);
    }

    /// The log acknowledged a group of records.
    pub fn log_group(&self, records: u64, bytes: u64) {
        let handles = &self.shared.handles;
        handles.group_records.record(records as f64);
        handles.group_bytes.record(bytes as f64);
    }

    /// Whether the last store transaction succeeded.
    pub fn storage_up(&self, up: bool) {
        self.shared.handles.storage_up.set(f64::from(u8::from(up)));
    }

    /// Bytes the store uses.
    pub fn storage_bytes(&self, bytes: u64) {
        self.shared.handles.storage_bytes.set(bytes as f64);
    }

    /// Retention deleted traces.
    pub fn retention_deleted_traces(&self, traces: u64) {
        self.shared.handles.retention_deleted.increment(traces);
    }

    /// A batch became visible this long after its oldest request was received.
    pub fn ingest_to_visible(&self, delay: Duration) {
        self.shared.handles.visible_seconds.record(delay);
    }

    /// Whether the daemon is ready, asked when the metrics are scraped.
    pub fn ready(&self, ready: bool) {
        self.shared.handles.ready.set(f64::from(u8::from(ready)));
    }

    /// Spans were cut by the limits.
    pub fn truncated_spans(&self, spans: u64) {
        self.shared.handles.truncated.increment(spans);
    }

    /// Model calls were mapped.
    pub fn model_calls(&self, calls: ModelCalls) {
        let handles = &self.shared.handles;
        handles.calls_reported.increment(calls.reported);
        handles.calls_computed.increment(calls.computed);
        handles.calls_unpriced.increment(calls.unpriced);
        handles.calls_without_cost.increment(calls.without_cost);
    }

    /// The gateway answered. `route` is the route's pattern, never the path.
    pub fn gateway_request(&self, route: &'static str, code: u16, took: Duration) {
        let (count, seconds) = cached(&self.shared.routes, (route, code), || {
            let recorder = &self.shared.recorder;
            let route = Label::new("route", route);
            let labels = vec![route.clone(), Label::new("code", code.to_string())];
            (
                counter(recorder, names::GATEWAY_REQUESTS, labels),
                histogram(recorder, names::GATEWAY_REQUEST_SECONDS, vec![route]),
            )
        });
        count.increment(1);
        seconds.record(took);
    }

    /// What the process uses now.
    pub fn process(&self, sample: process::Sample) {
        let handles = &self.shared.handles;
        handles.rss.set(sample.rss_bytes as f64);
        handles.open_fds.set(sample.open_fds as f64);
        let seconds = sample.cpu.as_secs_f64().to_bits();
        self.shared.cpu_seconds.store(seconds, Ordering::Relaxed);
    }

    fn receiver(&self, transport: Transport) -> &ReceiverHandles {
        let [grpc, protobuf, json] = &self.shared.receivers;
        match transport {
            Transport::Grpc => grpc,
            Transport::HttpProtobuf => protobuf,
            Transport::HttpJson => json,
        }
    }
}

/// Moves histogram samples into their buckets and samples the process, until shutdown.
pub async fn upkeep(metrics: Metrics, shutdown: CancellationToken) {
    let mut timer = tokio::time::interval(UPKEEP_INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return,
        }
        metrics.shared.handle.run_upkeep();
        match process::Sample::of_this_process() {
            Ok(sample) => metrics.process(sample),
            Err(error) => tracing::debug!(%error, "cannot sample the process"),
        }
    }
}

fn cached<K, V>(map: &RwLock<HashMap<K, V>>, key: K, make: impl FnOnce() -> V) -> V
where
    K: Eq + std::hash::Hash,
    V: Clone,
{
    let known = map.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = known.get(&key) {
        return value.clone();
    }
    drop(known);
    let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
    map.entry(key).or_insert_with(make).clone()
}
