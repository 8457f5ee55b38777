//! The one table that turns an outcome into a gRPC or HTTP code.
//!
//! A client retries or throws data away by the code alone, so a wrong row loses data or loops.
//! Codes that clients would retry although it is no use (`OUT_OF_RANGE`, `DATA_LOSS`) are never
//! sent. Texts are cut to less than 1 KiB.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Longest text sent, in bytes.
const MESSAGE_BYTES_MAX: usize = 1000;
/// Longest field path sent, in bytes.
const FIELD_BYTES_MAX: usize = 200;
/// Most wrong fields named.
const FIELDS_MAX: usize = 16;
/// Shortest and longest hint when to come back, in seconds: long enough to recover, short enough
/// that clients don't run out of patience.
const RETRY_SECONDS: (u64, u64) = (1, 30);
/// A stopping server asks its clients to look for another one soon.
const SHUTDOWN_RETRY: Duration = Duration::from_secs(1);

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
    #[error("{message}")]
    Unauthenticated {
        /// What is missing or wrong.
        message: String,
    },
    /// Known, but not allowed.
    #[error("{message}")]
    PermissionDenied {
        /// What is not allowed.
        message: String,
    },
    /// The sender is over its rate; it will pass.
    #[error("{message}")]
    Throttled {
        /// Which rate.
        message: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The sender is over its quota, for longer than a client keeps what it was told to send again.
    #[error("{message}")]
    OverQuota {
        /// Which quota.
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
    /// A question is wrong.
    #[error("{}", names(.fields))]
    Invalid {
        /// What is wrong with which field of it.
        fields: Vec<(String, String)>,
    },
    /// What is asked for is not there.
    #[error("{message}")]
    NotFound {
        /// What is not there.
        message: String,
    },
    /// A question takes longer than it may.
    #[error("{message}")]
    TooSlow {
        /// What to do about it.
        message: String,
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

impl Failure {
    /// The gRPC code.
    #[must_use]
    pub fn grpc_code(&self) -> Code {
        self.codes().0
    }

    /// The HTTP status.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        self.codes().1
    }

    /// The table.
    fn codes(&self) -> (Code, StatusCode) {
        match self {
            Self::Malformed { .. } | Self::Invalid { .. } => {
                (Code::InvalidArgument, StatusCode::BAD_REQUEST)
            }
            Self::TooLarge { .. } => (Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedType { .. } | Self::UnsupportedEncoding { .. } => {
                (Code::Unimplemented, StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::NotServed { .. } => (Code::Unimplemented, StatusCode::NOT_FOUND),
            Self::MethodNotAllowed { .. } => (Code::Unimplemented, StatusCode::METHOD_NOT_ALLOWED),
            Self::HeadersTooLarge => (
                Code::ResourceExhausted,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ),
            Self::RequestTimeout => (Code::DeadlineExceeded, StatusCode::REQUEST_TIMEOUT),
            Self::Unauthenticated { .. } => (Code::Unauthenticated, StatusCode::UNAUTHORIZED),
            Self::PermissionDenied { .. } => (Code::PermissionDenied, StatusCode::FORBIDDEN),
            // Not RESOURCE_EXHAUSTED: clients that don't look for RetryInfo throw away on that.
            Self::Throttled { .. } => (Code::Unavailable, StatusCode::TOO_MANY_REQUESTS),
            Self::OverQuota { .. } => (Code::ResourceExhausted, StatusCode::FORBIDDEN),
            Self::Overloaded { .. } | Self::ShuttingDown => {
                (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::NotFound { .. } => (Code::NotFound, StatusCode::NOT_FOUND),
            Self::DeadlineExceeded | Self::TooSlow { .. } => {
                (Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT)
            }
            Self::Internal => (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Whether an OTLP/HTTP client sends the same request again. A gRPC client does so in the same
    /// cases, and also after [`Failure::RequestTimeout`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        is_retryable_status(self.http_status())
    }

    /// When to come back, in whole seconds from 1 to 30: for `Retry-After` and `RetryInfo`. Spread
    /// over clients as far as the maker of the failure did so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let wish = match self {
            Self::Overloaded { retry_after, .. } | Self::Throttled { retry_after, .. } => {
                *retry_after
            }
            Self::ShuttingDown => SHUTDOWN_RETRY,
            _ => return None,
        };
        let seconds = wish.as_secs() + u64::from(wish.subsec_nanos() > 0);
        let (shortest, longest) = RETRY_SECONDS;
        Some(Duration::from_secs(seconds.clamp(shortest, longest)))
    }

    /// The gRPC status, with `RetryInfo` or `BadRequest` details where the table has them.
    #[must_use]
    pub fn grpc_status(&self) -> Status {
        let details = self.details();
        if details.retry_info().is_none() && details.bad_request().is_none() {
            return Status::new(self.grpc_code(), self.message());
        }
        Status::with_error_details(self.grpc_code(), self.message(), details)
    }

    /// The body of the HTTP answer: a `google.rpc.Status`, in JSON or protobuf.
    #[must_use]
    pub fn http_body(&self, json: bool) -> Bytes {
        if json {
            return Bytes::from(self.json_status().to_string());
        }
        let status = Status::with_error_details(self.grpc_code(), self.message(), self.details());
        // The details of a gRPC status are an encoded `google.rpc.Status`.
        Bytes::copy_from_slice(status.details())
    }

    fn message(&self) -> String {
        shorten(&self.to_string(), MESSAGE_BYTES_MAX)
    }

    /// The parts of the request that are wrong, and why.
    fn violations(&self) -> Vec<(String, String)> {
        let violation = |field: &str, message: &str| {
            let field = shorten(field, FIELD_BYTES_MAX);
            (field, shorten(message, FIELD_BYTES_MAX))
        };
        match self {
            Self::Malformed { message, field } => {
                vec![violation(field.as_deref().unwrap_or("body"), message)]
            }
            Self::Invalid { fields } => {
                let first = fields.iter().take(FIELDS_MAX);
                first
                    .map(|(field, message)| violation(field, message))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        for (field, description) in self.violations() {
            details.add_bad_request_violation(field, description);
        }
        if let Some(delay) = self.retry_after() {
            details.set_retry_info(Some(delay));
        }
        details
    }

    fn json_status(&self) -> serde_json::Value {
        let mut details = Vec::new();
        let violations = self.violations().into_iter();
        let violations = violations
            .map(|(field, description)| json!({ "field": field, "description": description }));
        let violations: Vec<_> = violations.collect();
        if !violations.is_empty() {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": violations,
            }));
        }
        if let Some(delay) = self.retry_after() {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", delay.as_secs()),
            }));
        }
        let mut status = json!({ "code": i32::from(self.grpc_code()), "message": self.message() });
        if let Some(members) = status.as_object_mut().filter(|_| !details.is_empty()) {
            members.insert("details".to_owned(), details.into());
        }
        status
    }
}

/// Whether an OTLP/HTTP client sends the same request again after this answer.
#[must_use]
pub fn is_retryable_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether an OTLP/gRPC client sends the same request again after this answer. When it should is in
/// the answer's `RetryInfo`, if it has one.
#[must_use]
pub fn is_retryable_code(code: Code, has_retry_info: bool) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => has_retry_info,
        _ => false,
    }
}

/// The wrong fields, each with what is wrong.
fn names(fields: &[(String, String)]) -> String {
    let said = fields
        .iter()
        .map(|(field, message)| format!("{field}: {message}"));
    said.collect::<Vec<_>>().join("; ")
}

/// Cuts a text to at most `bytes_max` bytes, at the end of a character.
pub(super) fn shorten(text: &str, bytes_max: usize) -> String {
    const MORE: &str = "…";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MORE.len()));
    text.split_at(end).0.to_owned() + MORE
}

#[cfg(test)]
mod tests;
