//! The OTLP receiver: its configuration and the limits both transports share.
//!
//! [`Receiver::bind`] reserves the addresses and loads the certificates, [`Receiver::start`] serves
//! them. A request is admitted before its body is read, its bytes are accounted for before they
//! are held, and it is answered with OK only after [`Sink::export`] has said that it
//! is durable. Whatever goes wrong becomes one [`crate::otlp::Failure`] and thereby one code.

pub mod grpc;
pub mod http;

mod body;
mod buffers;
mod caller;
mod decode;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod sink;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

pub use grpc::{Beside, Wire, frame};
pub use sink::{Budget, RequestObserver, Sink};

use crate::auth::{Gates, Purpose};
use crate::config::{ByteSize, Duration};
use crate::net::listener::{self, Bound, Limits, PingPolicy};
use crate::net::{cors, tls};
use crate::service::tasks::Tasks;
use crate::telemetry::health::Readiness;

/// `receivers.otlp`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The transports; without this key both are on, with their defaults.
    pub protocols: Protocols,
}

/// `receivers.otlp.protocols`, as the Collector reads it: a protocol is on when it is named, and
/// a name without a value means its defaults. `protocols: {grpc: }` is gRPC with its defaults and
/// no HTTP. `None` is a protocol that is switched off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocols {
    /// OTLP/gRPC.
    #[serde(
        default,
        deserialize_with = "named",
        skip_serializing_if = "Option::is_none"
    )]
    pub grpc: Option<GrpcConfig>,
    /// OTLP/HTTP, protobuf and JSON.
    #[serde(
        default,
        deserialize_with = "named",
        skip_serializing_if = "Option::is_none"
    )]
    pub http: Option<HttpConfig>,
}

/// Reads the value of a protocol that is named: no value means its defaults.
fn named<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            grpc: Some(GrpcConfig::default()),
            http: Some(HttpConfig::default()),
        }
    }
}

/// `receivers.otlp.protocols.grpc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// `host:port` to listen on.
    pub endpoint: String,
    /// TLS; absent means cleartext.
    pub tls: Option<tls::Config>,
    /// Largest message accepted, before and after decompression, in MiB (OTLP: 64 recommended).
    pub max_recv_msg_size_mib: u32,
    /// Concurrent requests a connection may have open.
    pub max_concurrent_streams: u32,
    /// Largest header list, in bytes.
    pub max_header_list_size: ByteSize,
    /// Connections open at once; more wait in the accept queue.
    pub max_connections: u32,
    /// Longest time a request may take, body included.
    pub request_timeout: Duration,
    /// Encodings accepted beside identity: `gzip`, `zstd`, `deflate`.
    pub compression_algorithms: Vec<String>,
    /// Connection keepalive.
    pub keepalive: Keepalive,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:4317".to_owned(),
            tls: None,
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: 200,
            max_header_list_size: ByteSize::kib(16),
            max_connections: 4096,
            request_timeout: Duration::seconds(30),
            compression_algorithms: default_algorithms(),
            keepalive: Keepalive::default(),
        }
    }
}

fn default_algorithms() -> Vec<String> {
    ["gzip", "zstd", "deflate"].map(str::to_owned).to_vec()
}

/// `keepalive`, as the Collector groups it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keepalive {
    /// What the server does about quiet and old connections.
    pub server_parameters: ServerParameters,
    /// What a client may do to its connection.
    pub enforcement_policy: EnforcementPolicy,
}

/// `keepalive.server_parameters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerParameters {
    /// A connection without a request for this long is closed; zero means never.
    pub max_connection_idle: Duration,
    /// A connection this old gets GOAWAY; zero means never.
    pub max_connection_age: Duration,
    /// Time after GOAWAY until the connection is cut.
    pub max_connection_age_grace: Duration,
    /// Quiet time after which the server pings.
    pub time: Duration,
    /// Time a ping may stay unanswered before the connection is closed.
    pub timeout: Duration,
}

impl Default for ServerParameters {
    fn default() -> Self {
        Self {
            max_connection_idle: Duration::seconds(0),
            max_connection_age: Duration::seconds(0),
            max_connection_age_grace: Duration::seconds(30),
            time: Duration::seconds(60),
            timeout: Duration::seconds(20),
        }
    }
}

/// `keepalive.enforcement_policy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnforcementPolicy {
    /// Least time between pings of a client; the third that comes earlier than that, without an
    /// answer in between, ends the connection. Zero lets clients ping as they like.
    pub min_time: Duration,
    /// Whether clients may ping that often without a request, too; otherwise two hours must lie
    /// between two pings then.
    pub permit_without_stream: bool,
    /// Streams a client may open and reset before they are served, per connection; more means
    /// the connection is closed (reset flood).
    pub max_pending_reset_streams: u32,
}

impl Default for EnforcementPolicy {
    fn default() -> Self {
        Self {
            min_time: Duration::seconds(300),
            permit_without_stream: false,
            max_pending_reset_streams: 50,
        }
    }
}

/// `receivers.otlp.protocols.http`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// `host:port` to listen on.
    pub endpoint: String,
    /// TLS; absent means cleartext.
    pub tls: Option<tls::Config>,
    /// Cross-origin rules; absent means browsers of other origins are refused.
    pub cors: Option<cors::Config>,
    /// Path of the trace endpoint.
    pub traces_url_path: String,
    /// Path of the log endpoint.
    pub logs_url_path: String,
    /// Path of the metric endpoint.
    pub metrics_url_path: String,
    /// Largest body accepted, before and after decompression (OTLP: 64 MiB recommended).
    pub max_request_body_size: ByteSize,
    /// Largest header section, in bytes.
    pub max_header_list_size: ByteSize,
    /// Connections open at once; more wait in the accept queue.
    pub max_connections: u32,
    /// Concurrent requests an HTTP/2 connection may have open.
    pub max_concurrent_streams: u32,
    /// Longest time the header section may take.
    pub read_header_timeout: Duration,
    /// Longest time a request may take, body included.
    pub request_timeout: Duration,
    /// A kept-alive connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// Encodings accepted beside identity: `gzip`, `zstd`, `deflate`.
    pub compression_algorithms: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:4318".to_owned(),
            tls: None,
            cors: None,
            traces_url_path: "/v1/traces".to_owned(),
            logs_url_path: "/v1/logs".to_owned(),
            metrics_url_path: "/v1/metrics".to_owned(),
            max_request_body_size: ByteSize::mib(64),
            max_header_list_size: ByteSize::kib(16),
            max_connections: 4096,
            max_concurrent_streams: 200,
            read_header_timeout: Duration::seconds(10),
            request_timeout: Duration::seconds(30),
            idle_timeout: Duration::seconds(60),
            compression_algorithms: default_algorithms(),
        }
    }
}

impl GrpcConfig {
    fn limits(&self) -> Limits {
        let server = &self.keepalive.server_parameters;
        let policy = &self.keepalive.enforcement_policy;
        Limits {
            max_connections: self.max_connections,
            max_header_list_size: saturated(self.max_header_list_size),
            idle_timeout: unless_zero(server.max_connection_idle),
            max_connection_age: unless_zero(server.max_connection_age),
            max_connection_age_grace: server.max_connection_age_grace.0,
            max_concurrent_streams: self.max_concurrent_streams,
            max_pending_reset_streams: policy.max_pending_reset_streams,
            keepalive_interval: unless_zero(server.time),
            keepalive_timeout: server.timeout.0,
            ping_policy: unless_zero(policy.min_time).map(|min_time| PingPolicy {
                min_time,
                permit_without_stream: policy.permit_without_stream,
            }),
            ..Limits::default()
        }
    }
}

impl HttpConfig {
    fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            max_header_list_size: saturated(self.max_header_list_size),
            read_header_timeout: self.read_header_timeout.0,
            idle_timeout: unless_zero(self.idle_timeout),
            max_concurrent_streams: self.max_concurrent_streams,
            ..Limits::default()
        }
    }
}

fn saturated(size: ByteSize) -> u32 {
    u32::try_from(size.0).unwrap_or(u32::MAX)
}

fn unless_zero(duration: Duration) -> Option<std::time::Duration> {
    (!duration.0.is_zero()).then_some(duration.0)
}

/// A transport that is bound, with its certificate loaded.
#[derive(Debug)]
struct Ready<C> {
    bound: Bound,
    tls: Option<tls::Acceptor>,
    config: C,
}

/// The receiver with its addresses reserved; serves nothing until started.
#[derive(Debug)]
pub struct Receiver {
    grpc: Option<Ready<GrpcConfig>>,
    http: Option<Ready<HttpConfig>>,
    beside: Option<Arc<dyn Beside>>,
}

impl Receiver {
    /// Reserves the addresses of the transports that are switched on and loads their certificates.
    ///
    /// # Errors
    /// One line that names the setting, when an address or a certificate can't be used. Nothing is
    /// left open then.
    pub fn bind(config: &Config) -> Result<Self, listener::Error> {
        let grpc = config.protocols.grpc.as_ref().map(|config| {
            let what = "receivers.otlp.protocols.grpc";
            let tls = config.tls.as_ref();
            ready(what, &config.endpoint, tls, tls::ALPN_GRPC, config)
        });
        let http = config.protocols.http.as_ref().map(|config| {
            let what = "receivers.otlp.protocols.http";
            let tls = config.tls.as_ref();
            ready(what, &config.endpoint, tls, tls::ALPN_HTTP, config)
        });
        Ok(Self {
            grpc: grpc.transpose()?,
            http: http.transpose()?,
            beside: None,
        })
    }

    /// Where OTLP/gRPC listens.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|ready| ready.bound.address())
    }

    /// Where OTLP/HTTP listens.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|ready| ready.bound.address())
    }

    /// Serves until the daemon drains. `gates` says who may send, `readiness` drives the gRPC health
    /// service.
    ///
    /// # Errors
    /// A socket can't be handed to the runtime, or the reflection service can't be built. Must be
    /// called within a Tokio runtime.
    pub fn start<S: Sink>(
        self,
        sink: &S,
        observer: &Arc<dyn RequestObserver>,
        gates: &Gates,
        readiness: &Readiness,
        tasks: &Tasks,
    ) -> Result<(), StartError> {
        let heavy = decode::HeavyWork::new();
        if let Some(Ready { bound, tls, config }) = self.grpc {
            let limits = config.limits();
            let observer = Arc::clone(observer);
            let gate = gates.at(Purpose::Ingest, bound.address());
            let part = grpc::Grpc::new(sink.clone(), &config, observer, heavy.clone(), gate);
            let service = grpc::service(part, self.beside, readiness, tasks)?;
            listener::serve(bound, limits, tls, service, grpc::refuse, tasks)?;
        }
        if let Some(Ready { bound, tls, config }) = self.http {
            let limits = config.limits();
            let observer = Arc::clone(observer);
            let gate = gates.at(Purpose::Ingest, bound.address());
            let part = http::Http::new(sink.clone(), &config, observer, heavy, gate);
            let service = http::service(part);
            listener::serve(bound, limits, tls, service, http::refuse, tasks)?;
        }
        Ok(())
    }
}

/// Why the receiver could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener failed.
    #[error(transparent)]
    Listener(#[from] listener::Error),
    /// The descriptors in the binary are not usable, which is a bug.
    #[error("build the gRPC reflection service")]
    Reflection(#[from] tonic_reflection::server::Error),
}

fn ready<C: Clone>(
    what: &'static str,
    endpoint: &str,
    tls: Option<&tls::Config>,
    protocols: &'static [&'static [u8]],
    config: &C,
) -> Result<Ready<C>, listener::Error> {
    Ok(Ready {
        bound: listener::bind(what, endpoint)?,
        tls: listener::load_tls(what, tls, protocols)?,
        config: config.clone(),
    })
}

#[cfg(test)]
mod tests;
