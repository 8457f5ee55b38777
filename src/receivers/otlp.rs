//! The OTLP receiver: its configuration and the limits both transports share.

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{ByteSize, Duration};
use crate::net::{cors, tls};

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
    /// How many pings a client may send.
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
    /// Streams a client may open and reset before they are served, per connection; more means
    /// the connection is closed (reset flood).
    pub max_pending_reset_streams: u32,
}

impl Default for EnforcementPolicy {
    fn default() -> Self {
        Self {
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
