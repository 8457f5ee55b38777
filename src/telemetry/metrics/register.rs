//! Makes the recorder and the handles of [`super::Metrics`].

use super::{
    BYTES_BUCKETS, BuildError, COUNT_BUCKETS, Counter, Gauge, Handles, Histogram, ItemHandles, Key,
    Label, Level, Matcher, Metadata, PrometheusBuilder, PrometheusRecorder, ReceiverHandles,
    SECONDS_BUCKETS, Transport, names, transport_label,
};
use crate::model::sampling::Reason;
use crate::otlp::Signal;
use crate::processors::sampling::tail::Policy;
use metrics::Recorder as _;
use names::{MetricInfo, MetricKind};

/// The recorder, with buckets for every histogram (without them it would render summaries, which
/// can't be added up) and the description of every metric.
pub(super) fn build_recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for info in names::ALL {
        if info.kind != MetricKind::Histogram {
            continue;
        }
        let buckets = if info.name.ends_with("_seconds") {
            SECONDS_BUCKETS
        } else if info.name.ends_with("_bytes") {
            BYTES_BUCKETS
        } else {
            COUNT_BUCKETS
        };
        builder = builder.set_buckets_for_metric(Matcher::Full(info.name.to_owned()), buckets)?;
    }
    let recorder = builder.build_recorder();
    for MetricInfo {
        name, kind, help, ..
    } in names::ALL
    {
        match kind {
            MetricKind::Counter => recorder.describe_counter((*name).into(), None, (*help).into()),
            MetricKind::Gauge => recorder.describe_gauge((*name).into(), None, (*help).into()),
            MetricKind::Histogram => {
                recorder.describe_histogram((*name).into(), None, (*help).into());
            }
        }
    }
    Ok(recorder)
}

const METADATA: Metadata<'static> = Metadata::new("pulse_collector", Level::INFO, None);

pub(super) fn counter(
    recorder: &PrometheusRecorder,
    info: MetricInfo,
    labels: Vec<Label>,
) -> Counter {
    recorder.register_counter(&Key::from_parts(info.name, labels), &METADATA)
}

pub(super) fn gauge(recorder: &PrometheusRecorder, info: MetricInfo, labels: Vec<Label>) -> Gauge {
    recorder.register_gauge(&Key::from_parts(info.name, labels), &METADATA)
}

pub(super) fn histogram(
    recorder: &PrometheusRecorder,
    info: MetricInfo,
    labels: Vec<Label>,
) -> Histogram {
    recorder.register_histogram(&Key::from_parts(info.name, labels), &METADATA)
}

impl ReceiverHandles {
    pub(super) fn register(recorder: &PrometheusRecorder, transport: Transport) -> Self {
        let labels = || vec![Label::new("transport", transport_label(transport))];
        Self {
            spans: ItemHandles::register(recorder, Signal::Traces, transport),
            log_records: ItemHandles::register(recorder, Signal::Logs, transport),
            metric_points: ItemHandles::register(recorder, Signal::Metrics, transport),
            unnamed: counter(recorder, names::UNNAMED_ATTRIBUTES, labels()),
            seconds: histogram(recorder, names::REQUEST_SECONDS, labels()),
            bytes: histogram(recorder, names::REQUEST_BYTES, labels()),
        }
    }
}

impl Handles {
    pub(super) fn register(recorder: &PrometheusRecorder) -> Self {
        let calls = |source| {
            let labels = vec![Label::new("cost_source", source)];
            counter(recorder, names::MODEL_CALLS, labels)
        };
        let sampled_out = |reason: Reason| {
            let labels = vec![Label::new("reason", reason.as_str())];
            counter(recorder, names::WRITER_SPANS_SAMPLED_OUT, labels)
        };
        let kept_traces = |policy: Policy| {
            let labels = vec![Label::new("policy", policy.as_str())];
            counter(recorder, names::SAMPLING_KEPT_TRACES, labels)
        };
        let over_quota = |limit| {
            let labels = vec![Label::new("limit", limit)];
            counter(recorder, names::OVER_QUOTA, labels)
        };
        let counter = |info| counter(recorder, info, Vec::new());
        let gauge = |info| gauge(recorder, info, Vec::new());
        let histogram = |info| histogram(recorder, info, Vec::new());
        Self {
            over_rate: over_quota("rate"),
            over_day: over_quota("day"),
            in_flight_requests: gauge(names::IN_FLIGHT_REQUESTS),
            in_flight_bytes: gauge(names::IN_FLIGHT_BYTES),
            queue_bytes: gauge(names::QUEUE_BYTES),
            queue_capacity: gauge(names::QUEUE_CAPACITY_BYTES),
            queue_memory: gauge(names::QUEUE_MEMORY_BYTES),
            queue_unstored: gauge(names::QUEUE_UNSTORED_RECORDS),
            queue_damaged: gauge(names::QUEUE_DAMAGED_SEGMENTS),
            queue_lost: gauge(names::QUEUE_LOST_RECORDS),
            fsync_seconds: histogram(names::LOG_FSYNC_SECONDS),
            group_records: histogram(names::LOG_GROUP_RECORDS),
            group_bytes: histogram(names::LOG_GROUP_BYTES),
            batch_rows: histogram(names::WRITER_BATCH_ROWS),
            commit_seconds: histogram(names::WRITER_COMMIT_SECONDS),
            stored: counter(names::WRITER_SPANS_STORED),
            duplicate: counter(names::WRITER_SPANS_DUPLICATE),
            sampled_out: Reason::ALL.map(sampled_out),
            kept_traces: Policy::ALL.map(kept_traces),
            early_records: counter(names::SAMPLING_EARLY_RECORDS),
            waiting_records: gauge(names::SAMPLING_WAITING_RECORDS),
            waiting_bytes: gauge(names::SAMPLING_WAITING_BYTES),
            events_stored: counter(names::WRITER_EVENTS_STORED),
            events_duplicate: counter(names::WRITER_EVENTS_DUPLICATE),
            points_stored: counter(names::WRITER_METRIC_POINTS_STORED),
            points_duplicate: counter(names::WRITER_METRIC_POINTS_DUPLICATE),
            points_overflow: counter(names::WRITER_METRIC_POINTS_OVERFLOW),
            retries: counter(names::WRITER_RETRIES),
            dead_letters: counter(names::WRITER_DEAD_LETTERS),
            storage_up: gauge(names::STORAGE_UP),
            storage_bytes: gauge(names::STORAGE_BYTES),
            damaged_rollups: counter(names::DAMAGED_ROLLUPS),
            damaged_call_lists: counter(names::DAMAGED_CALL_LISTS),
            retention_deleted: counter(names::RETENTION_DELETED_TRACES),
            visible_seconds: histogram(names::INGEST_TO_VISIBLE_SECONDS),
            redaction_bytes: counter(names::REDACTION_SCANNED_BYTES),
            truncated: counter(names::TRUNCATED_SPANS),
            calls_reported: calls("reported"),
            calls_computed: calls("computed"),
            calls_unpriced: calls("unpriced"),
            calls_without_cost: calls("none"),
            ready: gauge(names::READY),
            uptime: gauge(names::PROCESS_UPTIME_SECONDS),
            rss: gauge(names::PROCESS_MEMORY_RSS_BYTES),
            open_fds: gauge(names::PROCESS_OPEN_FDS),
        }
    }
}
