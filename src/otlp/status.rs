//! The one table that turns an outcome into a gRPC or HTTP code.

use std::time::Duration;

/// Why a request was not accepted. Clients decide between *retry* and *throw away* by the code
/// this becomes, so each variant is one row of the OTLP outcome table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The bytes are not what their content type or encoding says.
    #[error("{message}")]
    Malformed {
        /// What is wrong, for the developer of the client.
        message: String,
        /// Path of the offending field, when known.
        field: Option<String>,
    },
    /// The body or message is over the limit, before or after decompression.
    #[error("the request is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The content type is not served.
    #[error("unsupported content type {given}; supported: {supported}")]
    UnsupportedType {
        /// What the client sent.
        given: String,
        /// What it may send.
        supported: &'static str,
    },
    /// The content encoding is not served.
    #[error("unsupported encoding {given}; supported: {supported}")]
    UnsupportedEncoding {
        /// What the client sent.
        given: String,
        /// What it may send.
        supported: String,
    },
    /// No such path (HTTP) or method (gRPC).
    #[error("{what} is not served here")]
    NotServed {
        /// The path or method.
        what: String,
    },
    /// The path exists, the HTTP method is wrong.
    #[error("use {allow}")]
    MethodNotAllowed {
        /// Methods that are served.
        allow: &'static str,
    },
    /// The header section is over the limit.
    #[error("the header section is too large")]
    HeadersTooLarge,
    /// The client was too slow in sending its request.
    #[error("the request did not arrive in time")]
    RequestTimeout,
    /// No or wrong credentials.
    #[error("missing or wrong credentials")]
    Unauthenticated,
    /// Known, but not allowed.
    #[error("{message}")]
    PermissionDenied {
        /// What is not allowed.
        message: String,
    },
    /// Memory or the log is full; it will pass.
    #[error("{message}")]
    Overloaded {
        /// What is full.
        message: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The daemon is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The client's deadline, or ours, passed before the request was accepted.
    #[error("the request was not accepted before its deadline")]
    DeadlineExceeded,
    /// Our own fault.
    #[error("internal error")]
    Internal,
}
