//! `exporters.otlp`, in the words of the Collector's exporters `otlp` and `otlphttp`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use super::filter;
use crate::config::{ByteSize, Duration, Secret};
use crate::otlp::Signal;
use crate::queue::Hold;

/// Most requests of a partition on their way at once.
const CONSUMERS_MAX: u32 = 256;

/// `exporters.otlp`: another backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port`, or a URL; with `http/protobuf` the paths of the signals are added to it.
    pub endpoint: String,
    /// How the backend is talked to.
    pub protocol: Protocol,
    /// How the backend is trusted, and trusts us.
    pub tls: Tls,
    /// Sent with each request, such as credentials.
    pub headers: BTreeMap<String, Secret>,
    /// Encoding of requests.
    pub compression: Compression,
    /// Longest time for one request and its answer.
    pub timeout: Duration,
    /// What happens after an answer that allows a retry, and without an answer.
    pub retry_on_failure: Retry,
    /// What is sent.
    pub signals: Vec<SignalName>,
    /// Numbers of the projects whose data is sent; empty means all.
    pub projects: Vec<u32>,
    /// Services whose data is sent, `*` in a name stands for any text; empty means all.
    pub services: Vec<String>,
    /// What is held back while the backend is away or slow.
    pub sending_queue: Queue,
}

/// How a backend is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP/HTTP with protobuf bodies.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// `tls` of an exporter. Files are read at the start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// No TLS with an endpoint that has no scheme; a scheme decides otherwise.
    pub insecure: bool,
    /// PEM file with the authorities that the backend's certificate must chain to; empty means the
    /// system's.
    pub ca_file: PathBuf,
    /// PEM file with our own certificate; empty means none.
    pub cert_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
    /// What the backend's certificate must be for; empty means the endpoint's host.
    pub server_name_override: String,
}

/// Encoding of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    None,
    /// gzip, which every OTLP backend takes.
    #[default]
    Gzip,
    /// Zstandard.
    Zstd,
}

/// `retry_on_failure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Pause before the first retry.
    pub initial_interval: Duration,
    /// How many times as long each further one is.
    pub multiplier: f64,
    /// Part of a pause by which it is made shorter or longer at random, from 0 to 1.
    pub randomization_factor: f64,
    /// Longest pause; the backend may ask for longer ones.
    pub max_interval: Duration,
    /// Time after which a request is dropped; zero means never.
    pub max_elapsed_time: Duration,
}

/// `sending_queue`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Log on disk that is stored and kept only to be sent, in all partitions together; not part of
    /// `queue.max_size`.
    pub max_size: ByteSize,
    /// Whether, when that is reached, the log keeps the rest as part of `queue.max_size`, and refuses
    /// requests when it is full; otherwise the oldest is given up.
    pub block_on_overflow: bool,
    /// Requests of a partition on their way at once.
    pub num_consumers: u32,
}

/// A signal, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalName {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
}

impl From<SignalName> for Signal {
    fn from(name: SignalName) -> Self {
        match name {
            SignalName::Traces => Self::Traces,
            SignalName::Logs => Self::Logs,
            SignalName::Metrics => Self::Metrics,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            protocol: Protocol::default(),
            tls: Tls::default(),
            headers: BTreeMap::new(),
            compression: Compression::default(),
            timeout: Duration::seconds(10),
            retry_on_failure: Retry::default(),
            signals: vec![SignalName::Traces, SignalName::Logs, SignalName::Metrics],
            projects: Vec::new(),
            services: Vec::new(),
            sending_queue: Queue::default(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial_interval: Duration::seconds(5),
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_interval: Duration::seconds(30),
            max_elapsed_time: Duration::seconds(0),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_size: ByteSize::gib(4),
            block_on_overflow: false,
            num_consumers: 4,
        }
    }
}

impl Queue {
    /// What one of several partitions may hold back.
    #[must_use]
    pub fn of_one_in(&self, partitions: u32) -> Hold {
        Hold {
            bytes_max: self.max_size.0 / u64::from(partitions.max(1)),
            refuses: self.block_on_overflow,
        }
    }
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, below `exporters.otlp`.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

fn set(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

impl Tls {
    /// The file of authorities, where one is named.
    pub(super) fn authorities(&self) -> Option<&Path> {
        set(&self.ca_file)
    }

    /// The files of our own certificate, where they are named.
    pub(super) fn identity(&self) -> Option<(&Path, &Path)> {
        set(&self.cert_file).zip(set(&self.key_file))
    }

    /// What the certificate must be for, where that is said.
    pub(super) fn server_name(&self) -> Option<&str> {
        (!self.server_name_override.is_empty()).then_some(self.server_name_override.as_str())
    }
}

impl Config {
    /// The endpoint with its scheme.
    pub(super) fn url(&self) -> String {
        match (self.endpoint.contains("://"), self.tls.insecure) {
            (true, _) => self.endpoint.clone(),
            (false, true) => format!("http://{}", self.endpoint),
            (false, false) => format!("https://{}", self.endpoint),
        }
    }

    /// Everything wrong with it, and the files it names. `log` says how the log is laid out: its
    /// partitions, and the bytes of a segment.
    #[must_use]
    pub fn problems(&self, (partitions, segment): (u32, ByteSize)) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, message: String| {
            found.push(Problem {
                key: key.to_owned(),
                message,
            });
        };
        self.check_endpoint(&mut wrong);
        self.check_tls(&mut wrong);
        for (name, value) in &self.headers {
            if let Some(message) = header_problem(name, value) {
                wrong("headers", format!("{name:?} {message}"));
            }
        }
        self.check_retry(&mut wrong);
        if self.timeout.0.is_zero() {
            wrong("timeout", "must be more than zero".to_owned());
        }
        if self.signals.is_empty() {
            wrong(
                "signals",
                "nothing would be sent: name one of traces, logs, metrics".to_owned(),
            );
        }
        for pattern in &self.services {
            if let Some(message) = filter::problem(pattern) {
                wrong("services", message);
            }
        }
        let queue = &self.sending_queue;
        if !(1..=CONSUMERS_MAX).contains(&queue.num_consumers) {
            let message = format!("must be from 1 to {CONSUMERS_MAX}");
            wrong("sending_queue.num_consumers", message);
        }
        let least = u64::from(partitions.max(1)).saturating_mul(segment.0);
        if queue.max_size.0 < least {
            let message = format!(
                "{} is less than one segment of the log ({segment}) in each of its partitions \
                 ({partitions})",
                queue.max_size
            );
            wrong("sending_queue.max_size", message);
        }
        found
    }

    fn check_endpoint(&self, wrong: &mut dyn FnMut(&str, String)) {
        if self.endpoint.is_empty() {
            let message = "must name the backend, such as collector.example:4317".to_owned();
            return wrong("endpoint", message);
        }
        let shown = &self.endpoint;
        let uri: Option<Uri> = self.url().parse().ok();
        let uri = uri.filter(|uri| {
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            let authority = uri.authority().map_or("@", |it| it.as_str());
            known && !authority.contains('@') && uri.query().is_none()
        });
        match uri {
            // They may be secret.
            None if shown.contains(['@', '?']) => {
                let message = "expected host:port or a URL of http or https, without a user, a \
                    password or a query; see headers";
                wrong("endpoint", message.to_owned());
            }
            None => wrong(
                "endpoint",
                format!("expected host:port or a URL of http or https, got \"{shown}\""),
            ),
            Some(uri) if self.protocol == Protocol::Grpc && !matches!(uri.path(), "" | "/") => {
                wrong("endpoint", format!("gRPC has no path, got \"{shown}\""));
            }
            Some(_) => {}
        }
    }

    fn check_tls(&self, wrong: &mut dyn FnMut(&str, String)) {
        let tls = &self.tls;
        let (certificate, key) = (set(&tls.cert_file), set(&tls.key_file));
        if certificate.is_some() != key.is_some() {
            let missing = if key.is_some() {
                "cert_file"
            } else {
                "key_file"
            };
            let message = "cert_file and key_file belong together".to_owned();
            wrong(&format!("tls.{missing}"), message);
        }
        let has_tls = self.url().starts_with("https://");
        let given = tls.authorities().is_some()
            || certificate.is_some()
            || key.is_some()
            || tls.server_name().is_some();
        if given && !has_tls {
            wrong(
                "tls",
                "the endpoint is not https://, so this has no effect".to_owned(),
            );
        }
        if tls.insecure && has_tls {
            wrong("tls.insecure", "the endpoint says https://".to_owned());
        }
    }

    fn check_retry(&self, wrong: &mut dyn FnMut(&str, String)) {
        let retry = &self.retry_on_failure;
        if retry.initial_interval.0.is_zero() {
            let message = "must be more than zero".to_owned();
            wrong("retry_on_failure.initial_interval", message);
        }
        if retry.max_interval < retry.initial_interval {
            let message = "must not be less than initial_interval".to_owned();
            wrong("retry_on_failure.max_interval", message);
        }
        if !(1.0..=100.0).contains(&retry.multiplier) {
            wrong(
                "retry_on_failure.multiplier",
                "must be from 1 to 100".to_owned(),
            );
        }
        if !(0.0..=1.0).contains(&retry.randomization_factor) {
            let message = "must be from 0 to 1".to_owned();
            wrong("retry_on_failure.randomization_factor", message);
        }
    }

    /// The files it names, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let tls = &self.tls;
        let files = [
            ("tls.ca_file", &tls.ca_file),
            ("tls.cert_file", &tls.cert_file),
            ("tls.key_file", &tls.key_file),
        ];
        files
            .into_iter()
            .filter_map(|(key, path)| Some((key, set(path)?)))
    }
}

/// Headers that the protocols set themselves.
const OWN: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "te",
    "transfer-encoding",
];

fn header_problem(name: &str, value: &Secret) -> Option<String> {
    let Ok(parsed) = HeaderName::try_from(name) else {
        return Some("is no name of a header".to_owned());
    };
    if OWN.contains(&parsed.as_str()) || parsed.as_str().ends_with("-bin") {
        return Some("is not for settings".to_owned());
    }
    if let Some(problem) = value.problem() {
        return Some(problem.to_owned());
    }
    let value = value.expose().unwrap_or_default();
    let is_text = HeaderValue::from_str(value).is_ok() && value.is_ascii();
    (!is_text).then(|| "has a value with characters that no header may have".to_owned())
}
