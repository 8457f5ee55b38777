//! What the API answers when it can't answer: `application/problem+json` (RFC 9457).
//!
//! Handlers return a [`Problem`]; the outermost layer turns it into a body, because only it knows
//! the request id. A problem says what the client may know. What only the operator may know, the
//! full chain of a storage error, is logged here, once, with the same request id in scope.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::storage;

/// When a client may come back after 503, in seconds.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Machine-readable kinds of problem. The codes are part of the API and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Parameters are wrong; `fields` says which.
    InvalidParameter,
    /// The cursor is not one we gave out for this list and these filters.
    InvalidCursor,
    /// The query string is over its limits.
    QueryTooLong,
    /// No such route.
    NoSuchRoute,
    /// No such trace, span or session.
    NotFound,
    /// There is no credential, or not a good one.
    Unauthenticated,
    /// The credential is good, and does not allow this.
    Forbidden,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The request is not HTTP as we accept it.
    InvalidRequest,
    /// What is asked for does not go together with what is there.
    Conflict,
    /// The body is not of a type that is taken.
    UnsupportedMediaType,
    /// The body is over its limit.
    RequestTooLarge,
    /// The header section is over its limit.
    HeadersTooLarge,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The store can't answer now.
    StorageUnavailable,
    /// The query ran into its time limit.
    QueryTimeout,
    /// What is stored can't be read.
    StorageDamaged,
    /// Our fault.
    Internal,
}

impl Code {
    /// Every kind, for the test that compares them with the document.
    #[cfg(test)]
    pub(super) const ALL: [Self; 18] = [
        Self::InvalidParameter,
        Self::InvalidCursor,
        Self::QueryTooLong,
        Self::NoSuchRoute,
        Self::NotFound,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::MethodNotAllowed,
        Self::InvalidRequest,
        Self::Conflict,
        Self::UnsupportedMediaType,
        Self::RequestTooLarge,
        Self::HeadersTooLarge,
        Self::RequestTimeout,
        Self::StorageUnavailable,
        Self::QueryTimeout,
        Self::StorageDamaged,
        Self::Internal,
    ];

    /// The code in the body.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidCursor => "invalid_cursor",
            Self::QueryTooLong => "query_too_long",
            Self::NoSuchRoute => "no_such_route",
            Self::NotFound => "not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidRequest => "invalid_request",
            Self::Conflict => "conflict",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RequestTooLarge => "request_too_large",
            Self::HeadersTooLarge => "headers_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::StorageUnavailable => "storage_unavailable",
            Self::QueryTimeout => "query_timeout",
            Self::StorageDamaged => "storage_damaged",
            Self::Internal => "internal",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidParameter | Self::InvalidCursor | Self::InvalidRequest => {
                StatusCode::BAD_REQUEST
            }
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::QueryTooLong => StatusCode::URI_TOO_LONG,
            Self::NoSuchRoute | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::QueryTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::StorageDamaged | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::InvalidParameter => "invalid parameter",
            Self::InvalidCursor => "invalid cursor",
            Self::QueryTooLong => "query string too long",
            Self::NoSuchRoute => "no such route",
            Self::NotFound => "not found",
            Self::Unauthenticated => "not authenticated",
            Self::Forbidden => "forbidden",
            Self::MethodNotAllowed => "method not allowed",
            Self::InvalidRequest => "invalid request",
            Self::Conflict => "conflict",
            Self::UnsupportedMediaType => "unsupported media type",
            Self::RequestTooLarge => "request too large",
            Self::HeadersTooLarge => "header section too large",
            Self::RequestTimeout => "request timeout",
            Self::StorageUnavailable => "storage unavailable",
            Self::QueryTimeout => "query timeout",
            Self::StorageDamaged => "stored data is damaged",
            Self::Internal => "internal error",
        }
    }
}

/// One parameter, or part of a body, that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// Name of the parameter, or where in the body.
    pub(super) path: String,
    /// What is wrong with it.
    pub(super) message: String,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its kind.
    pub(super) code: Code,
    /// A sentence for the developer of the client.
    pub(super) detail: String,
    /// What is wrong with which parameter.
    pub(super) fields: Vec<FieldError>,
}

/// The body.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    fields: &'a [FieldError],
    request_id: &'a str,
}

impl Problem {
    /// A problem without fields.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            fields: Vec::new(),
        }
    }

    /// A problem with parameters.
    pub(super) fn fields(code: Code, fields: Vec<FieldError>) -> Self {
        let names: Vec<_> = fields.iter().map(|field| field.path.as_str()).collect();
        Self {
            code,
            detail: format!("check {}", names.join(", ")),
            fields,
        }
    }

    /// Our own fault.
    pub(super) fn internal() -> Self {
        Self::new(Code::Internal, "the server failed to answer this request")
    }

    /// The answer to a request that never reached the router, and so has no id.
    pub(super) fn into_unnamed_response(self) -> Response {
        let mut response = Response::default();
        self.write(&mut response, "");
        response
    }

    /// Writes status, headers and body into a response that carries this problem.
    pub(super) fn write(&self, response: &mut Response, request_id: &str) {
        let status = self.code.status();
        let body = Body {
            r#type: format!("urn:pulse-collector:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            fields: &self.fields,
            request_id,
        };
        // Strings and numbers always serialize.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, content_type);
        headers.remove(http::header::CONTENT_LENGTH);
        if self.code == Code::StorageUnavailable {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        *response.body_mut() = bytes.into();
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<storage::Error> for Problem {
    fn from(error: storage::Error) -> Self {
        let (code, detail) = match &error {
            storage::Error::Timeout => {
                let detail = "the query took longer than it may; narrow the time range or filters";
                return Self::new(Code::QueryTimeout, detail);
            }
            storage::Error::Unavailable { .. } => {
                (Code::StorageUnavailable, "the store can't answer now")
            }
            storage::Error::Corrupt { .. } => (Code::StorageDamaged, "stored data can't be read"),
            storage::Error::Poison { .. }
            | storage::Error::NewerSchema { .. }
            | storage::Error::OlderSchema { .. }
            | storage::Error::Unsuitable { .. }
            | storage::Error::Foreign
            | storage::Error::MigrationChanged { .. } => {
                (Code::Internal, "the server failed to answer this request")
            }
        };
        tracing::error!(
            code = code.as_str(),
            error = crate::telemetry::logs::chain(&error),
            "query failed"
        );
        Self::new(code, detail)
    }
}
