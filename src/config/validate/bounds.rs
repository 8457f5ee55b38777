//! Numbers, sizes and times: what must not be zero, and what must fit into what.

use super::Issue;
use crate::auth::SECRET_CHARS_MIN;
use crate::config::{ByteSize, Config, Duration};
use crate::receivers::otlp::{GrpcConfig, HttpConfig};
use crate::storage::Kind;

/// Smallest log segment; below it the log is mostly file headers and directory syncs.
const SEGMENT_SIZE_MIN: ByteSize = ByteSize::kib(64);
/// Most partitions of the log; each has threads and files of its own.
const PARTITIONS_MAX: u32 = 64;
/// Longest wait for neighbours before a sync; beyond it clients time out for nothing.
const GROUP_COMMIT_DELAY_MAX: Duration = Duration::seconds(1);
/// Most connections that answer queries; each has a thread and a page cache.
const READERS_MAX: u32 = 256;
/// Smallest bound of the store: an empty one takes some of it.
const STORE_SIZE_MIN: ByteSize = ByteSize::mib(16);
/// Most threads that look through blocks.
const SEARCH_THREADS_MAX: u32 = 64;
/// The largest message gRPC lengths can express leaves room for a header, in MiB.
const MESSAGE_MIB_MAX: u32 = 2047;

/// Whether a value is zero.
trait IsZero {
    fn is_zero(&self) -> bool;
}

impl IsZero for u32 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl IsZero for ByteSize {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl IsZero for Duration {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// Collects values that must not be zero.
struct NotZero<'issues> {
    prefix: &'static str,
    issues: &'issues mut Vec<Issue>,
}

impl NotZero<'_> {
    fn check(&mut self, key: &str, value: &dyn IsZero) {
        if value.is_zero() {
            let path = format!("{}.{key}", self.prefix);
            self.issues.push(Issue::new(path, "must be more than zero"));
        }
    }
}

/// Checks every bound.
pub(super) fn check(config: &Config, issues: &mut Vec<Issue>) {
    let protocols = &config.receivers.otlp.protocols;
    if let Some(grpc) = &protocols.grpc {
        check_grpc(grpc, issues);
    }
    if let Some(http) = &protocols.http {
        check_http(http, issues);
    }
    check_processors(config, issues);
    check_in_flight(config, issues);
    check_queue(config, issues);
    check_storage(config, issues);
    check_gateway(config, issues);
    check_auth(config, issues);
    let prefix = "service";
    NotZero { prefix, issues }.check("drain_timeout", &config.service.drain_timeout);
}

fn check_grpc(grpc: &GrpcConfig, issues: &mut Vec<Issue>) {
    let prefix = "receivers.otlp.protocols.grpc";
    let mut not_zero = NotZero { prefix, issues };
    not_zero.check("max_recv_msg_size_mib", &grpc.max_recv_msg_size_mib);
    not_zero.check("max_concurrent_streams", &grpc.max_concurrent_streams);
    not_zero.check("max_header_list_size", &grpc.max_header_list_size);
    not_zero.check("max_connections", &grpc.max_connections);
    not_zero.check("request_timeout", &grpc.request_timeout);
    let server = &grpc.keepalive.server_parameters;
    not_zero.check("keepalive.server_parameters.time", &server.time);
    not_zero.check("keepalive.server_parameters.timeout", &server.timeout);
    let policy = &grpc.keepalive.enforcement_policy;
    not_zero.check(
        "keepalive.enforcement_policy.max_pending_reset_streams",
        &policy.max_pending_reset_streams,
    );
    if grpc.max_recv_msg_size_mib > MESSAGE_MIB_MAX {
        issues.push(Issue::new(
            format!("{prefix}.max_recv_msg_size_mib"),
            format!("must be at most {MESSAGE_MIB_MAX}"),
        ));
    }
}

fn check_http(http: &HttpConfig, issues: &mut Vec<Issue>) {
    let prefix = "receivers.otlp.protocols.http";
    let mut not_zero = NotZero { prefix, issues };
    not_zero.check("max_request_body_size", &http.max_request_body_size);
    not_zero.check("max_header_list_size", &http.max_header_list_size);
    not_zero.check("max_connections", &http.max_connections);
    not_zero.check("max_concurrent_streams", &http.max_concurrent_streams);
    not_zero.check("read_header_timeout", &http.read_header_timeout);
    not_zero.check("request_timeout", &http.request_timeout);
    not_zero.check("idle_timeout", &http.idle_timeout);
    for (key, path, usual) in [
        ("traces_url_path", &http.traces_url_path, "/v1/traces"),
        ("logs_url_path", &http.logs_url_path, "/v1/logs"),
        ("metrics_url_path", &http.metrics_url_path, "/v1/metrics"),
    ] {
        if !path.starts_with('/') || path.contains(['{', '}', '?', '#', ' ']) {
            let message = format!("expected a path such as {usual}, got \"{path}\"");
            issues.push(Issue::new(format!("{prefix}.{key}"), message));
        }
    }
    let (traces, logs) = (&http.traces_url_path, &http.logs_url_path);
    let metrics = &http.metrics_url_path;
    for (key, is_taken, other) in [
        ("logs_url_path", logs == traces, "traces_url_path"),
        ("metrics_url_path", metrics == traces, "traces_url_path"),
        ("metrics_url_path", metrics == logs, "logs_url_path"),
    ] {
        if is_taken {
            let message = format!("must not be the same as {other}");
            issues.push(Issue::new(format!("{prefix}.{key}"), message));
        }
    }
}

fn check_processors(config: &Config, issues: &mut Vec<Issue>) {
    let memory = &config.processors.memory_limiter;
    let prefix = "processors.memory_limiter";
    let mut not_zero = NotZero { prefix, issues };
    not_zero.check("check_interval", &memory.check_interval);
    not_zero.check("limit_mib", &memory.limit_mib);
    not_zero.check("in_flight_limit_mib", &memory.in_flight_limit_mib);
    if memory.limit_mib > 0 && memory.spike_limit_mib >= memory.limit_mib {
        let message = format!(
            "{} must be less than limit_mib ({}), or every request is refused",
            memory.spike_limit_mib, memory.limit_mib
        );
        let issue = Issue::new(format!("{prefix}.spike_limit_mib"), message);
        issues.push(issue.related_to(format!("{prefix}.limit_mib")));
    }

    let limits = &config.processors.limits;
    let prefix = "processors.limits";
    let mut not_zero = NotZero { prefix, issues };
    not_zero.check("attributes_per_span", &limits.attributes_per_span);
    not_zero.check("attribute_value_length", &limits.attribute_value_length);
    not_zero.check("name_length", &limits.name_length);
    not_zero.check("max_metric_series", &limits.max_metric_series);

    let batch = &config.processors.batch;
    let prefix = "processors.batch";
    let mut not_zero = NotZero { prefix, issues };
    not_zero.check("send_batch_size", &batch.send_batch_size);
    not_zero.check("send_batch_bytes", &batch.send_batch_bytes);
    not_zero.check("timeout", &batch.timeout);
    if batch.send_batch_max_size < batch.send_batch_size {
        let message = format!(
            "{} must not be less than send_batch_size ({})",
            batch.send_batch_max_size, batch.send_batch_size
        );
        let issue = Issue::new(format!("{prefix}.send_batch_max_size"), message);
        issues.push(issue.related_to(format!("{prefix}.send_batch_size")));
    }
}

/// The largest request a receiver accepts must fit into the budget for bodies, or it never will.
fn check_in_flight(config: &Config, issues: &mut Vec<Issue>) {
    const PATH: &str = "processors.memory_limiter.in_flight_limit_mib";
    let in_flight = ByteSize::mib(config.processors.memory_limiter.in_flight_limit_mib.into());
    let protocols = &config.receivers.otlp.protocols;
    let grpc = protocols.grpc.as_ref().map(|grpc| {
        let size = ByteSize::mib(grpc.max_recv_msg_size_mib.into());
        ("receivers.otlp.protocols.grpc.max_recv_msg_size_mib", size)
    });
    let http = protocols.http.as_ref().map(|http| {
        let size = http.max_request_body_size;
        ("receivers.otlp.protocols.http.max_request_body_size", size)
    });
    for (message_path, message_size) in grpc.into_iter().chain(http) {
        if message_size > in_flight && in_flight.0 > 0 {
            let message = format!(
                "{in_flight} is less than the largest message accepted \
                 ({message_path}: {message_size}), which would always be refused"
            );
            issues.push(Issue::new(PATH, message).related_to(message_path));
        }
    }
}

fn check_queue(config: &Config, issues: &mut Vec<Issue>) {
    let queue = &config.queue;
    let partitions = config.log_partitions();
    let prefix = "queue";
    NotZero { prefix, issues }.check("memory_size", &queue.memory_size);
    if queue.segment_size < SEGMENT_SIZE_MIN {
        let message = format!(
            "must be at least {SEGMENT_SIZE_MIN}, got {}",
            queue.segment_size
        );
        issues.push(Issue::new("queue.segment_size", message));
    } else if queue.max_size.0 / 2 / u64::from(partitions.max(1)) < queue.segment_size.0 {
        let each = if partitions > 1 {
            format!(" in each of {partitions} partitions")
        } else {
            String::new()
        };
        let message = format!(
            "{} must hold at least two segments of {} (queue.segment_size){each}",
            queue.max_size, queue.segment_size
        );
        issues.push(Issue::new("queue.max_size", message).related_to("queue.segment_size"));
    }
    if partitions > PARTITIONS_MAX {
        let message = format!("must be at most {PARTITIONS_MAX}");
        issues.push(Issue::new("queue.partitions", message));
    }
    if queue.group_commit_delay > GROUP_COMMIT_DELAY_MAX {
        let message = format!("must be at most {GROUP_COMMIT_DELAY_MAX}");
        issues.push(Issue::new("queue.group_commit_delay", message));
    }
}

fn check_storage(config: &Config, issues: &mut Vec<Issue>) {
    let prefix = "storage";
    let mut not_zero = NotZero { prefix, issues };
    let sqlite = &config.storage.sqlite;
    not_zero.check("sqlite.cache_size", &sqlite.cache_size);
    not_zero.check("sqlite.readers", &sqlite.readers);
    not_zero.check("sqlite.search_threads", &sqlite.search_threads);
    let retention = &config.storage.retention;
    not_zero.check("retention.check_interval", &retention.check_interval);
    if (1..STORE_SIZE_MIN.0).contains(&retention.max_size.0) {
        let message = format!("must be at least {STORE_SIZE_MIN}, or 0B for no bound");
        issues.push(Issue::new("storage.retention.max_size", message));
    }
    if sqlite.readers > READERS_MAX {
        let message = format!("must be at most {READERS_MAX}");
        issues.push(Issue::new("storage.sqlite.readers", message));
    }
    let postgres = &config.storage.postgres;
    for (key, threads) in [
        ("sqlite", sqlite.search_threads),
        ("postgres", postgres.search_threads),
    ] {
        if threads > SEARCH_THREADS_MAX {
            let path = format!("storage.{key}.search_threads");
            let message = format!("must be at most {SEARCH_THREADS_MAX}");
            issues.push(Issue::new(path, message));
        }
    }
    let in_use = config.storage.kind == Kind::Postgres;
    for (key, message) in config.storage.postgres.problems(in_use) {
        let issue = Issue::new(format!("storage.postgres.{key}"), message);
        issues.push(issue.related_to("storage.kind"));
    }
}

fn check_gateway(config: &Config, issues: &mut Vec<Issue>) {
    let gateway = &config.gateway;
    let prefix = "gateway";
    let mut not_zero = NotZero { prefix, issues };
    not_zero.check("page_size_max", &gateway.page_size_max);
    not_zero.check("trace_spans_max", &gateway.trace_spans_max);
    not_zero.check("query_timeout", &gateway.query_timeout);
    not_zero.check("max_header_list_size", &gateway.max_header_list_size);
    not_zero.check("max_connections", &gateway.max_connections);
    not_zero.check("read_header_timeout", &gateway.read_header_timeout);
    not_zero.check("idle_timeout", &gateway.idle_timeout);
    for (index, origin) in gateway.allowed_origins.iter().enumerate() {
        if !is_origin(origin) {
            let message =
                format!("expected an origin such as https://board.example.com, got \"{origin}\"");
            issues.push(Issue::new(
                format!("{prefix}.allowed_origins[{index}]"),
                message,
            ));
        }
    }
}

/// Whether a text is an origin as browsers write it.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let is_plain = |host: &str| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']);
    host.is_some_and(is_plain) && text.parse::<http::Uri>().is_ok()
}

fn check_auth(config: &Config, issues: &mut Vec<Issue>) {
    let secret = &config.auth.session_secret;
    let too_short = secret
        .expose()
        .filter(|secret| secret.chars().count() < SECRET_CHARS_MIN)
        .map(|_| format!("must have at least {SECRET_CHARS_MIN} characters"));
    let masked = secret.problem().map(str::to_owned);
    if let Some(message) = masked.or(too_short) {
        issues.push(Issue::new("auth.session_secret", message));
    }
}
