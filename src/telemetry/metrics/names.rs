//! Every metric of the daemon, once: name, kind, unit, labels and meaning.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// One metric, as documented and as exposed at `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Full Prometheus name, its unit included.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Label names. Their values come from small fixed sets.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

const TRANSPORT: &[&str] = &["transport"];

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricInfo {
    MetricInfo {
        name,
        kind: MetricKind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> MetricInfo {
    MetricInfo {
        name,
        kind: MetricKind::Gauge,
        labels: &[],
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricInfo {
    MetricInfo {
        name,
        kind: MetricKind::Histogram,
        labels,
        help,
    }
}

macro_rules! metrics {
    ($($constant:ident = $info:expr;)*) => {
        $(pub(super) const $constant: MetricInfo = $info;)*

        /// All metrics, in the order of the documentation.
        pub const ALL: &[MetricInfo] = &[$($constant),*];
    };
}

metrics! {
    RECEIVED_SPANS = counter("pulse_receiver_received_spans_total", TRANSPORT,
        "Spans that arrived in decodable requests: accepted, rejected and refused together.");
    ACCEPTED_SPANS = counter("pulse_receiver_accepted_spans_total", TRANSPORT,
        "Spans that are durable and were acknowledged.");
    REJECTED_SPANS = counter("pulse_receiver_rejected_spans_total", TRANSPORT,
        "Spans that can never be stored; the client was told and must not send them again.");
    REFUSED_SPANS = counter("pulse_receiver_refused_spans_total", TRANSPORT,
        "Spans not taken now; the client was told to send them again.");
    RECEIVED_LOG_RECORDS = counter("pulse_receiver_received_log_records_total", TRANSPORT,
        "Log records that arrived in decodable requests: accepted, rejected and refused together.");
    ACCEPTED_LOG_RECORDS = counter("pulse_receiver_accepted_log_records_total", TRANSPORT,
        "Log records that are durable and were acknowledged.");
    REJECTED_LOG_RECORDS = counter("pulse_receiver_rejected_log_records_total", TRANSPORT,
        "Log records that can never be stored; the client was told and must not send them again.");
    REFUSED_LOG_RECORDS = counter("pulse_receiver_refused_log_records_total", TRANSPORT,
        "Log records not taken now; the client was told to send them again.");
    RECEIVED_METRIC_POINTS = counter("pulse_receiver_received_metric_points_total", TRANSPORT,
        "Data points of metrics that arrived in decodable requests: accepted, rejected and refused together.");
    ACCEPTED_METRIC_POINTS = counter("pulse_receiver_accepted_metric_points_total", TRANSPORT,
        "Data points that are durable and were acknowledged.");
    REJECTED_METRIC_POINTS = counter("pulse_receiver_rejected_metric_points_total", TRANSPORT,
        "Data points that can never be stored; the client was told and must not send them again.");
    REFUSED_METRIC_POINTS = counter("pulse_receiver_refused_metric_points_total", TRANSPORT,
        "Data points not taken now; the client was told to send them again.");
    UNNAMED_ATTRIBUTES = counter("pulse_receiver_unnamed_attributes_total", TRANSPORT,
        "Attributes and list entries without a key, left out of accepted requests.");
    REQUESTS = counter("pulse_receiver_requests_total", &["transport", "code"],
        "Requests answered, by gRPC code or HTTP status.");
    REQUEST_SECONDS = histogram("pulse_receiver_request_seconds", TRANSPORT,
        "Time from the request's headers to its answer.");
    REQUEST_BYTES = histogram("pulse_receiver_request_bytes", TRANSPORT,
        "Size of request bodies as they came over the wire.");
    OVER_QUOTA = counter("pulse_receiver_over_quota_requests_total", &["limit"],
        "Requests refused because their project may not send more, by limit: rate, day.");
    IN_FLIGHT_REQUESTS = gauge("pulse_receiver_in_flight_requests",
        "Requests being read, decoded or waiting for the log.");
    IN_FLIGHT_BYTES = gauge("pulse_receiver_in_flight_bytes",
        "Memory held for request bodies, compressed and decompressed together.");
    QUEUE_BYTES = gauge("pulse_queue_bytes",
        "Bytes of the log on disk.");
    QUEUE_CAPACITY_BYTES = gauge("pulse_queue_capacity_bytes",
        "Bytes of log on disk beyond which requests are refused.");
    QUEUE_MEMORY_BYTES = gauge("pulse_queue_memory_bytes",
        "Bytes of acknowledged records kept in memory for the writer.");
    QUEUE_UNSTORED_RECORDS = gauge("pulse_queue_unstored_records",
        "Acknowledged requests that the store does not hold yet.");
    QUEUE_DAMAGED_SEGMENTS = gauge("pulse_queue_damaged_segments",
        "Log segments set aside since the start because they could not be read or synced.");
    QUEUE_LOST_RECORDS = gauge("pulse_queue_lost_records",
        "Acknowledged requests found missing from the log since the start.");
    LOG_FSYNC_SECONDS = histogram("pulse_log_fsync_seconds", &[],
        "Time one sync of the log takes.");
    LOG_GROUP_RECORDS = histogram("pulse_log_group_records", &[],
        "Requests that share one sync of the log.");
    LOG_GROUP_BYTES = histogram("pulse_log_group_bytes", &[],
        "Bytes that share one sync of the log.");
    WRITER_BATCH_ROWS = histogram("pulse_writer_batch_rows", &[],
        "Spans, events and data points in one store transaction.");
    WRITER_COMMIT_SECONDS = histogram("pulse_writer_commit_seconds", &[],
        "Time one store transaction takes.");
    WRITER_SPANS_STORED = counter("pulse_writer_spans_stored_total", &[],
        "Spans the store took.");
    WRITER_SPANS_DUPLICATE = counter("pulse_writer_spans_duplicate_total", &[],
        "Spans the store held already: resends and replays.");
    WRITER_SPANS_SAMPLED_OUT = counter("pulse_writer_spans_sampled_out_total", &["reason"],
        "Spans counted but not stored, by reason: head, tail (percentages), rate (too many kept by the tail's percentage).");
    SAMPLING_KEPT_TRACES = counter("pulse_sampling_kept_traces_total", &["policy"],
        "Traces kept by processors.sampling.tail, by what first spoke for them; replays are counted again.");
    SAMPLING_EARLY_RECORDS = counter("pulse_sampling_early_records_total", &[],
        "Requests that could not wait for processors.sampling.tail.decision_wait, because of its decision_memory or because the log was closed.");
    SAMPLING_WAITING_RECORDS = gauge("pulse_sampling_waiting_records",
        "Acknowledged requests that wait for processors.sampling.tail to decide.");
    SAMPLING_WAITING_BYTES = gauge("pulse_sampling_waiting_bytes",
        "Memory that these requests take, with what is known of their traces.");
    WRITER_EVENTS_STORED = counter("pulse_writer_events_stored_total", &[],
        "Events (log records) the store took.");
    WRITER_EVENTS_DUPLICATE = counter("pulse_writer_events_duplicate_total", &[],
        "Events the store held already: resends, replays and records equal to the last byte.");
    WRITER_METRIC_POINTS_STORED = counter("pulse_writer_metric_points_stored_total", &[],
        "Data points of metrics the store took.");
    WRITER_METRIC_POINTS_DUPLICATE = counter("pulse_writer_metric_points_duplicate_total", &[],
        "Data points the store held already: resends and replays.");
    WRITER_METRIC_POINTS_OVERFLOW = counter("pulse_writer_metric_points_overflow_total", &[],
        "Data points stored under one series of their metric because their project has too many series.");
    WRITER_RETRIES = counter("pulse_writer_retries_total", &[],
        "Store transactions tried again because the store was unavailable.");
    WRITER_DEAD_LETTERS = counter("pulse_writer_dead_letters_total", &[],
        "Spans, events and data points the store refused, kept with the reason.");
    EXPORTER_SENT_SPANS = counter("pulse_exporter_sent_spans_total", &[],
        "Spans the backend of exporters.otlp took.");
    EXPORTER_REJECTED_SPANS = counter("pulse_exporter_rejected_spans_total", &[],
        "Spans the backend of exporters.otlp rejected of requests that it took.");
    EXPORTER_SEND_FAILED_SPANS = counter("pulse_exporter_send_failed_spans_total", &[],
        "Spans dropped because the backend of exporters.otlp refused them for good, or for too long.");
    EXPORTER_SENT_LOG_RECORDS = counter("pulse_exporter_sent_log_records_total", &[],
        "Log records the backend of exporters.otlp took.");
    EXPORTER_REJECTED_LOG_RECORDS = counter("pulse_exporter_rejected_log_records_total", &[],
        "Log records the backend of exporters.otlp rejected of requests that it took.");
    EXPORTER_SEND_FAILED_LOG_RECORDS = counter("pulse_exporter_send_failed_log_records_total", &[],
        "Log records dropped because the backend of exporters.otlp refused them for good, or for too long.");
    EXPORTER_SENT_METRIC_POINTS = counter("pulse_exporter_sent_metric_points_total", &[],
        "Data points the backend of exporters.otlp took.");
    EXPORTER_REJECTED_METRIC_POINTS = counter("pulse_exporter_rejected_metric_points_total", &[],
        "Data points the backend of exporters.otlp rejected of requests that it took.");
    EXPORTER_SEND_FAILED_METRIC_POINTS = counter("pulse_exporter_send_failed_metric_points_total", &[],
        "Data points dropped because the backend of exporters.otlp refused them for good, or for too long.");
    EXPORTER_RETRIES = counter("pulse_exporter_retries_total", &[],
        "Requests that have to be sent again to the backend of exporters.otlp.");
    EXPORTER_GIVEN_UP_REQUESTS = counter("pulse_exporter_given_up_requests_total", &[],
        "Requests not sent because exporters.otlp.sending_queue.max_size was reached, or the disk was full.");
    EXPORTER_QUEUE_SIZE_BYTES = gauge("pulse_exporter_queue_size_bytes",
        "Bytes of the log on disk that are stored and kept only to be sent.");
    EXPORTER_QUEUE_CAPACITY_BYTES = gauge("pulse_exporter_queue_capacity_bytes",
        "Bytes beyond which the oldest of them are given up; 0 without exporters.otlp.");
    EXPORTER_BACKLOG_REQUESTS = gauge("pulse_exporter_backlog_requests",
        "Requests in the log that the backend of exporters.otlp does not have yet.");
    EXPORTER_BACKLOG_BYTES = gauge("pulse_exporter_backlog_bytes",
        "Bytes of the log that the backend of exporters.otlp does not have yet, about.");
    EXPORTER_BACKLOG_AGE_SECONDS = gauge("pulse_exporter_backlog_age_seconds",
        "Age of the oldest request that is on its way to the backend of exporters.otlp; 0 when none is.");
    EXPORTER_UP = gauge("pulse_exporter_up",
        "0 while the backend of exporters.otlp can't be reached or asks to come back later, 1 otherwise.");
    STORAGE_UP = gauge("pulse_storage_up",
        "1 while the store answers and the last transaction succeeded, 0 otherwise.");
    STORAGE_BYTES = gauge("pulse_storage_bytes",
        "Bytes the store uses on disk, without free pages.");
    DAMAGED_ROLLUPS = counter("pulse_storage_damaged_rollups_total", &[],
        "Rollups whose stored durations could not be read and were begun anew.");
    DAMAGED_CALL_LISTS = counter("pulse_storage_damaged_call_lists_total", &[],
        "Traces whose stored list of model calls could not be read; their further calls are counted one by one.");
    RETENTION_DELETED_TRACES = counter("pulse_storage_retention_deleted_traces_total", &[],
        "Traces deleted by retention.");
    INGEST_TO_VISIBLE_SECONDS = histogram("pulse_ingest_to_visible_seconds", &[],
        "Time from the receipt of a request until queries see its spans.");
    GATEWAY_REQUESTS = counter("pulse_gateway_requests_total", &["route", "code"],
        "Query API requests answered, by route pattern and HTTP status; of gRPC methods, the status that their code stands for.");
    GATEWAY_REQUEST_SECONDS = histogram("pulse_gateway_request_seconds", &["route"],
        "Time one query API request takes.");
    REDACTION_VALUES = counter("pulse_redaction_values_total", &["rule"],
        "Values changed or left out by processors.redaction, by rule.");
    REDACTION_SCANNED_BYTES = counter("pulse_redaction_scanned_bytes_total", &[],
        "Bytes of texts that processors.redaction searched.");
    TRUNCATED_SPANS = counter("pulse_processor_truncated_spans_total", &[],
        "Spans and log records cut by processors.limits.");
    MODEL_CALLS = counter("pulse_processor_model_calls_total", &["cost_source"],
        "Model calls mapped, resent ones included, by where their cost comes from; unpriced: tokens, but no price.");
    READY = gauge("pulse_ready",
        "1 while the daemon is ready, as /readyz says, 0 otherwise.");
    PROCESS_UPTIME_SECONDS = gauge("pulse_process_uptime_seconds",
        "Time since the process started.");
    PROCESS_MEMORY_RSS_BYTES = gauge("pulse_process_memory_rss_bytes",
        "Resident memory of the process.");
    PROCESS_CPU_SECONDS = counter("pulse_process_cpu_seconds_total", &[],
        "Processor time of the process, user and system.");
    PROCESS_OPEN_FDS = gauge("pulse_process_open_fds",
        "File descriptors the process has open.");
    BUILD_INFO = MetricInfo {
        name: "pulse_build_info",
        kind: MetricKind::Gauge,
        labels: &["version"],
        help: "Always 1; the version is the label.",
    };
}
