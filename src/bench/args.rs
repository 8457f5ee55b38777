//! Command line of the load generator.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::compression::Compression;
use super::layout::Layout;
use super::profile::{Profile, Shape};
use super::server::Server;
use super::target::{self, Getter, Protocol};
use super::{MESSAGE_BYTES, QUERY_TIMEOUT, watch};
use crate::config::{ByteSize, Duration as ConfigDuration};

/// Sends OTLP traces to a server and reports rate, latency, cost and loss.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Server to send to [default: http://127.0.0.1:4317 for gRPC,
    /// http://127.0.0.1:4318/v1/traces for HTTP]
    #[arg(long, value_name = "URL", help_heading = "Target")]
    pub endpoint: Option<String>,
    /// How requests are sent. HTTP uses one HTTP/1.1 connection a request in flight, as SDKs do
    #[arg(long, value_enum, default_value = "grpc", help_heading = "Target")]
    pub protocol: Protocol,
    /// How requests are compressed, when they are sent, at the fastest level: costs the client
    /// more than the server
    #[arg(long, value_enum, default_value = "none", help_heading = "Target")]
    pub compression: Compression,
    /// Header of every request, queries included, as in `authorization=Bearer KEY`; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header, help_heading = "Target")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Longest time one request may take
    #[arg(long, default_value = "30s", help_heading = "Target")]
    pub timeout: ConfigDuration,

    /// What the spans look like
    #[arg(long, value_enum, default_value = "small", help_heading = "Spans")]
    pub profile: Profile,
    /// Input and output messages of a chat span, together [default: 4300B]
    #[arg(long, value_name = "SIZE", help_heading = "Spans")]
    pub message_bytes: Option<ByteSize>,
    /// Spans in a request [default: 512 small, 510 genai]
    #[arg(long, help_heading = "Spans", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub spans_per_request: Option<u32>,
    /// Spans in a trace [default: 8 small, 3 genai]
    #[arg(long, help_heading = "Spans", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub spans_per_trace: Option<u32>,
    /// Spread the spans of a trace over several requests
    #[arg(long, help_heading = "Spans")]
    pub split_traces: bool,
    /// Services that take part
    #[arg(long, default_value_t = 6, help_heading = "Spans", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub services: u32,
    /// Failed spans, in percent
    #[arg(
        long,
        default_value_t = 1.5,
        value_name = "PERCENT",
        help_heading = "Spans"
    )]
    pub errors: f64,
    /// What ids and contents follow from [default: from the clock]
    #[arg(long, help_heading = "Spans")]
    pub seed: Option<u64>,

    /// Connections
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub connections: usize,
    /// Requests in flight on each connection
    #[arg(long, default_value_t = 4, help_heading = "Load")]
    pub in_flight: usize,
    /// Spans a second, whatever the server does; latency then counts from the intended time.
    /// Without it the next request is sent when one is answered
    #[arg(long, value_name = "SPANS_PER_SECOND", help_heading = "Load")]
    pub rate: Option<f64>,
    /// Time for which requests are sent [default: 10s without --spans]
    #[arg(long, help_heading = "Load")]
    pub duration: Option<ConfigDuration>,
    /// Spans to send, rounded up to whole requests
    #[arg(long, help_heading = "Load")]
    pub spans: Option<u64>,
    /// Load before the measurement, counted only in verification [default: 2s without --spans,
    /// else none]
    #[arg(long, help_heading = "Load")]
    pub warmup: Option<ConfigDuration>,
    /// Whether to send again what the server may take later: `--retry false` gives up at once
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, help_heading = "Load")]
    pub retry: bool,
    /// How long a request is sent again before it is given up
    #[arg(long, default_value = "60s", help_heading = "Load")]
    pub retry_timeout: ConfigDuration,

    /// Report as JSON on standard output
    #[arg(long, help_heading = "Report")]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, help_heading = "Report")]
    pub quiet: bool,
    /// Process of the server, children included: reports its CPU time, everything written, per
    /// million acknowledged spans, and its memory peak; repeatable
    #[arg(long = "server-pid", value_name = "PID", help_heading = "Report")]
    pub server_pids: Vec<u32>,
    /// Where the server says whether everything is written; other servers are at rest when they
    /// stop using CPU
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:9464/metrics",
        help_heading = "Report"
    )]
    pub metrics_url: String,
    /// How long the server may take to come to rest
    #[arg(long, default_value = "120s", help_heading = "Report")]
    pub rest_timeout: ConfigDuration,
    /// Directory of the server's store: reports its growth per span
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    pub data_dir: Option<PathBuf>,

    /// Ask the query API for everything acknowledged; report lost and duplicated spans
    #[arg(long, help_heading = "Verification")]
    pub verify: bool,
    /// Verify what the ledger of an earlier run says was acknowledged; send nothing
    #[arg(long, requires = "ledger", conflicts_with_all = ["queries_only", "verify"], help_heading = "Verification")]
    pub verify_only: bool,
    /// File that acknowledged request numbers are written to, synced; read by --verify-only and
    /// --queries-only
    #[arg(long, value_name = "FILE", help_heading = "Verification")]
    pub ledger: Option<PathBuf>,
    /// Traces to verify; of more, a random sample is taken
    #[arg(
        long,
        value_name = "TRACES",
        default_value_t = 20_000,
        help_heading = "Verification"
    )]
    pub verify_sample: u64,
    /// How long the store may take to show what it acknowledged
    #[arg(long, default_value = "60s", help_heading = "Verification")]
    pub verify_timeout: ConfigDuration,
    /// Base of the query API
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:3000",
        help_heading = "Verification"
    )]
    pub query_url: String,

    /// Clients that follow the feed (/api/v1/tail) while the load runs: reports when they hear of what
    /// was acknowledged, and what they miss
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        help_heading = "Watchers"
    )]
    pub watchers: usize,
    /// More of them that connect and never read
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        help_heading = "Watchers"
    )]
    pub stalled: usize,
    /// Query string that they follow with, as in `rate=1000&status=error`
    #[arg(
        long,
        value_name = "QUERY",
        default_value = "",
        help_heading = "Watchers"
    )]
    pub watch_query: String,

    /// Measure query latencies beside the load and after it
    #[arg(long, help_heading = "Queries")]
    pub queries: bool,
    /// Measure query latencies only, searches too; send nothing
    #[arg(long, conflicts_with = "queries", help_heading = "Queries")]
    pub queries_only: bool,
    /// Requests of each kind of query
    #[arg(long, default_value_t = 200, help_heading = "Queries")]
    pub requests: u64,
}

fn parse_header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| anyhow::anyhow!("expected NAME=VALUE"))?;
    let mut value = HeaderValue::from_str(value.trim())?;
    value.set_sensitive(true);
    Ok((name.trim().to_ascii_lowercase().parse()?, value))
}

/// Requests in flight at once at most: each may hold a buffer.
const IN_FLIGHT_MAX: usize = 4096;
/// Clients that follow at most, of each kind.
const WATCHERS_MAX: usize = 20_000;

impl Args {
    /// Rules over several arguments.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (0.0..=100.0).contains(&self.errors),
            "--errors is a percentage"
        );
        anyhow::ensure!(
            self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
            "--rate must be positive"
        );
        let in_flight = self.connections.checked_mul(self.in_flight);
        anyhow::ensure!(
            in_flight.is_some_and(|requests| requests <= IN_FLIGHT_MAX),
            "--connections times --in-flight must not be more than {IN_FLIGHT_MAX}"
        );
        anyhow::ensure!(
            self.watchers <= WATCHERS_MAX && self.stalled <= WATCHERS_MAX,
            "--watchers and --stalled must not be more than {WATCHERS_MAX} each"
        );
        anyhow::ensure!(
            self.message_bytes
                .is_none_or(|size| size <= ByteSize::mib(1)),
            "--message-bytes must not be more than 1MiB"
        );
        Ok(())
    }

    pub(super) fn shape(&self) -> Shape {
        let profile = self.profile;
        let layout = Layout::new(
            self.spans_per_request
                .unwrap_or(profile.spans_per_request()),
            self.spans_per_trace.unwrap_or(profile.spans_per_trace()),
            self.split_traces,
        );
        Shape {
            profile,
            layout,
            services: self.services,
            errors_per_10_000: share_of_10_000(self.errors),
            message_bytes: self.message_bytes.map_or(MESSAGE_BYTES, ByteSize::as_usize),
        }
    }

    pub(super) fn target(&self) -> target::Settings<'_> {
        let default = self.protocol.default_endpoint();
        target::Settings {
            protocol: self.protocol,
            endpoint: self.endpoint.as_deref().unwrap_or(default),
            compression: self.compression,
            headers: &self.headers,
            connections: self.connections,
            timeout: self.timeout.0,
        }
    }

    pub(super) fn server(&self) -> Server {
        let metrics_url = (!self.metrics_url.is_empty()).then(|| self.metrics_url.clone());
        Server {
            pids: self.server_pids.clone(),
            metrics_url,
            getter: Getter::new(&[], QUERY_TIMEOUT),
        }
    }

    /// Those that follow the feed; `None` when nobody does.
    pub(super) fn watch(&self) -> Option<watch::Settings> {
        (self.watchers + self.stalled > 0).then(|| watch::Settings {
            url: self.query_base(),
            query: self.watch_query.clone(),
            headers: self.headers.iter().cloned().collect(),
            watchers: self.watchers,
            stalled: self.stalled,
        })
    }

    pub(super) fn query_base(&self) -> String {
        self.query_url.trim_end_matches('/').to_owned()
    }

    pub(super) fn measured_duration(&self) -> Option<Duration> {
        match (self.duration, self.spans) {
            (Some(duration), _) => Some(duration.0),
            (None, Some(_)) => None,
            (None, None) => Some(Duration::from_secs(10)),
        }
    }

    pub(super) fn warmup_duration(&self) -> Duration {
        match (self.warmup, self.spans) {
            (Some(warmup), _) => warmup.0,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => Duration::from_secs(2),
        }
    }

    pub(super) fn requests_to_send(&self) -> Option<u64> {
        let per_request = u64::from(self.shape().layout.spans_per_request);
        self.spans.map(|spans| spans.div_ceil(per_request))
    }
}

/// A percentage in hundredths of a percent.
fn share_of_10_000(percent: f64) -> u64 {
    let wanted = (percent * 100.0).round();
    (0..=10_000_u64)
        .find(|share| *share as f64 >= wanted)
        .unwrap_or(10_000)
}
