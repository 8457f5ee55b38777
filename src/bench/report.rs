//! What a run found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::compression::Compression;
use super::profile::Profile;
use super::stats::{Counts, Percentiles};
use super::target::Protocol;
use super::{queries, verify, watch};

/// The whole report.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// The load; absent when only verification or queries were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load: Option<LoadReport>,
    /// What the server used; absent without `--server-pid` and `--data-dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<ServerReport>,
    /// What those heard that followed the feed while the load ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) watchers: Option<watch::Report>,
    /// What the store holds of what it acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verification: Option<verify::Report>,
    /// Query latencies while the load ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queries_under_load: Option<queries::Report>,
    /// Query latencies at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queries: Option<queries::Report>,
}

/// What was sent.
#[derive(Debug, Default, Serialize)]
pub(super) struct LoadReport {
    pub(super) protocol: Protocol,
    pub(super) profile: Profile,
    pub(super) compression: Compression,
    pub(super) seed: u64,
    pub(super) connections: usize,
    pub(super) in_flight_per_connection: usize,
    pub(super) spans_per_request: u32,
    pub(super) spans_per_trace: u32,
    /// Encoded message of a request, before compression, on average.
    pub(super) message_bytes: u64,
    /// Spans acknowledged in the warm-up, which counts in nothing else.
    pub(super) warmup_spans: u64,
    pub(super) seconds: f64,
    pub(super) acknowledged_requests: u64,
    pub(super) acknowledged_spans: u64,
    pub(super) spans_per_second: f64,
    pub(super) rejected_spans: u64,
    pub(super) failed_requests: u64,
    pub(super) retries: u64,
    pub(super) errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_failure: Option<String>,
    /// Request bodies, retries included.
    pub(super) bytes_sent: u64,
    pub(super) latency_ms: Percentiles,
    pub(super) client_cpu_seconds: f64,
}

/// What the server used for the measured phase.
#[derive(Debug, Default, Serialize)]
pub(super) struct ServerReport {
    /// Whether it came to rest in time; otherwise the figures are too low.
    pub(super) at_rest: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_seconds_per_million_spans: Option<f64>,
    /// The same for each process, in the order they were named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) processes: Vec<ProcessReport>,
    /// Time from receipt until queries saw it, by the server's metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) visible_ms_p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) visible_ms_p99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk_growth_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk_bytes_per_span: Option<f64>,
}

/// What one process of the server used, its children included.
#[derive(Debug, Default, Serialize)]
pub(super) struct ProcessReport {
    pub(super) pid: u32,
    pub(super) cpu_seconds: f64,
    pub(super) cpu_seconds_per_million_spans: f64,
    /// Largest resident size, without children.
    pub(super) peak_rss_bytes: u64,
}

impl LoadReport {
    /// Takes over what was counted.
    pub(super) fn with_counts(mut self, counts: Counts, seconds: f64) -> Self {
        self.seconds = seconds;
        self.acknowledged_requests = counts.requests;
        self.acknowledged_spans = counts.spans;
        self.spans_per_second = if seconds > 0.0 {
            counts.spans as f64 / seconds
        } else {
            0.0
        };
        self.rejected_spans = counts.rejected_spans;
        self.failed_requests = counts.failed_requests;
        self.retries = counts.retries;
        self.errors = counts.errors;
        self.first_failure = counts.first_failure;
        self.bytes_sent = counts.bytes;
        self.latency_ms = counts.latencies.percentiles();
        self
    }
}

impl Report {
    /// Whether everything that was sent was taken, and everything acknowledged was found.
    pub(super) fn is_good(&self) -> bool {
        let load = self.load.as_ref().is_none_or(|load| {
            load.failed_requests == 0 && load.rejected_spans == 0 && load.acknowledged_spans > 0
        });
        let query_errors = [&self.queries, &self.queries_under_load]
            .into_iter()
            .flatten();
        load && self
            .verification
            .as_ref()
            .is_none_or(verify::Report::is_good)
            && query_errors
                .flat_map(BTreeMap::values)
                .all(|query| query.errors == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(load) = &self.load {
            write!(out, "{load}")?;
        }
        if let Some(server) = &self.server {
            write!(out, "{server}")?;
        }
        if let Some(watchers) = &self.watchers {
            write!(out, "{watchers}")?;
        }
        let queries = [
            ("queries under load", &self.queries_under_load),
            ("queries at rest", &self.queries),
        ];
        for (title, report) in queries {
            for (name, query) in report.iter().flatten() {
                let queries::QueryReport {
                    requests,
                    errors,
                    items_max,
                    incomplete,
                    latency_ms:
                        Percentiles {
                            p50, p95, p99, max, ..
                        },
                } = query;
                write!(
                    out,
                    "{title}: {name}: p50 {p50:.2} ms, p95 {p95:.2}, p99 {p99:.2}, max {max:.2} \
                     ({requests} answered, {errors} errors, up to {items_max} items"
                )?;
                if *incomplete > 0 {
                    write!(out, ", {incomplete} out of time")?;
                }
                writeln!(out, ")")?;
            }
        }
        if let Some(verification) = &self.verification {
            write!(out, "{}", Verification(verification))?;
        }
        Ok(())
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles {
            p50, p90, p99, max, ..
        } = self.latency_ms;
        writeln!(
            out,
            "acknowledged        {} spans in {} requests, {:.2} s: {:.0} spans/s",
            self.acknowledged_spans,
            self.acknowledged_requests,
            self.seconds,
            self.spans_per_second,
        )?;
        writeln!(
            out,
            "latency             p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, max {max:.2}"
        )?;
        writeln!(
            out,
            "sent                {:.1} MB, {:.0} B a span before compression ({} profile)",
            self.bytes_sent as f64 / 1e6,
            self.message_bytes as f64 / f64::from(self.spans_per_request),
            self.profile.name(),
        )?;
        writeln!(
            out,
            "not taken           {} requests failed, {} spans rejected, {} retries",
            self.failed_requests, self.rejected_spans, self.retries
        )?;
        for (code, count) in &self.errors {
            writeln!(out, "                    {count} × {code}")?;
        }
        if let Some(failure) = &self.first_failure {
            writeln!(out, "first failure       {failure}")?;
        }
        let per_million = self.client_cpu_seconds * 1e6 / (self.acknowledged_spans as f64).max(1.0);
        writeln!(
            out,
            "client CPU          {:.2} s ({per_million:.2} s per million spans)",
            self.client_cpu_seconds
        )?;
        writeln!(out, "seed                {}", self.seed)
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at_rest {
            writeln!(
                out,
                "server              did not come to rest in time: the figures below are too low"
            )?;
        }
        if let (Some(seconds), Some(per_million)) =
            (self.cpu_seconds, self.cpu_seconds_per_million_spans)
        {
            writeln!(
                out,
                "server CPU          {seconds:.2} s, everything written: {per_million:.2} s per \
                 million acknowledged spans"
            )?;
        }
        if self.processes.len() > 1 {
            for process in &self.processes {
                let per_million = process.cpu_seconds_per_million_spans;
                let peak = process.peak_rss_bytes as f64 / 1_048_576.0;
                let pid = process.pid;
                writeln!(
                    out,
                    "  process {pid:<10}{per_million:.2} s per million spans, peak {peak:.1} MiB"
                )?;
            }
        }
        if let (Some(p50), Some(p99)) = (self.visible_ms_p50, self.visible_ms_p99) {
            writeln!(
                out,
                "visible after       p50 {p50:.0} ms, p99 {p99:.0} (from the buckets of the server's \
                 metrics)"
            )?;
        }
        if let Some(peak) = self.peak_rss_bytes {
            writeln!(
                out,
                "server memory peak  {:.1} MiB",
                peak as f64 / 1_048_576.0
            )?;
        }
        if let (Some(growth), Some(per_span)) = (self.disk_growth_bytes, self.disk_bytes_per_span) {
            writeln!(
                out,
                "server disk         {:.1} MB more: {per_span:.0} B a span",
                growth as f64 / 1e6
            )?;
        }
        Ok(())
    }
}

struct Verification<'a>(&'a verify::Report);

impl fmt::Display for Verification<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let sample = if report.sampled {
            "a random sample"
        } else {
            "all of them"
        };
        writeln!(
            out,
            "verified            {} of {} traces ({sample}), {} acknowledged spans: {} lost, {} \
             duplicated",
            report.traces_checked,
            report.traces,
            report.spans_expected,
            report.spans_lost,
            report.spans_duplicated,
        )?;
        writeln!(
            out,
            "                    {} stored without acknowledgement, {} unknown, {} wrong counts, \
             {} errors",
            report.spans_unacknowledged, report.spans_unknown, report.wrong_counts, report.errors
        )?;
        for example in &report.examples {
            writeln!(out, "                    {example}")?;
        }
        Ok(())
    }
}
