//! The HTTP query API.

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Duration};
use crate::net::{cors, tls};

/// `gateway`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port` to listen on.
    pub endpoint: String,
    /// TLS; absent means cleartext.
    pub tls: Option<tls::Config>,
    /// Cross-origin rules; absent means browsers of other origins are refused.
    pub cors: Option<cors::Config>,
    /// Largest page a list answers.
    pub page_size_max: u32,
    /// Spans of one trace answered at most; a larger trace is answered in pages.
    pub trace_spans_max: u32,
    /// Longest time one query may take.
    pub query_timeout: Duration,
    /// Largest header section, in bytes.
    pub max_header_list_size: ByteSize,
    /// Connections open at once; more wait in the accept queue.
    pub max_connections: u32,
    /// Longest time the header section may take.
    pub read_header_timeout: Duration,
    /// A kept-alive connection without a request for this long is closed.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:3000".to_owned(),
            tls: None,
            cors: None,
            page_size_max: 1000,
            trace_spans_max: 10_000,
            query_timeout: Duration::seconds(10),
            max_header_list_size: ByteSize::kib(16),
            max_connections: 1024,
            read_header_timeout: Duration::seconds(10),
            idle_timeout: Duration::seconds(60),
        }
    }
}
