//! Answers and refusals in the words of the older servers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::otlp::Failure;
use crate::receivers::pulse::json::Json;
use crate::storage;

/// When a client may come back after 503, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &Json) -> Response {
    written(status, body.to_string())
}

/// An answer whose JSON is written already.
pub(super) fn written(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// What is answered where nothing is served.
pub(super) fn not_found() -> Response {
    let mut response = Response::new(Body::from("404 Not Found"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let content_type = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    status: StatusCode,
    body: String,
    /// When to come back, in seconds.
    retry_after: Option<u64>,
}

impl Refused {
    /// With a sentence.
    pub(super) fn new(status: StatusCode, error: &str) -> Self {
        Self::told(status, &Json::map([("error", Json::text(error))]))
    }

    /// In any form.
    pub(super) fn told(status: StatusCode, body: &Json) -> Self {
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            status,
            body: body.to_string(),
            retry_after: is_busy.then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// As the routes of sign-in tell it.
    pub(super) fn coded(status: StatusCode, code: &str, message: &str) -> Self {
        let body = Json::map([("code", Json::text(code)), ("message", Json::text(message))]);
        Self::told(status, &body)
    }

    /// With a time after which to come back.
    pub(super) fn after(self, wait: std::time::Duration) -> Self {
        Self {
            retry_after: Some(wait.as_secs() + 1),
            ..self
        }
    }

    /// The client is wrong.
    pub(super) fn bad(error: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// There is no such thing.
    pub(super) fn missing(error: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// The client is wrong, in these points.
    pub(super) fn invalid(error: &str, issues: Vec<Json>) -> Self {
        let body = Json::map([
            ("error", Json::text(error)),
            ("details", Json::List(issues)),
        ]);
        Self::told(StatusCode::BAD_REQUEST, &body)
    }

    /// The project may not send more: for now, as a failure that says when to come back, or today.
    pub(super) fn over_quota(failure: &Failure) -> Self {
        match failure.retry_after() {
            Some(after) => Self {
                retry_after: Some(after.as_secs()),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded")
            },
            None => Self::new(StatusCode::FORBIDDEN, "Daily quota exceeded"),
        }
    }

    /// Our own fault.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &str {
        &self.body
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = written(self.status, self.body);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<storage::Error> for Refused {
    fn from(error: storage::Error) -> Self {
        match &error {
            storage::Error::Timeout => out_of_time(),
            storage::Error::Unavailable { .. } => {
                let sentence = "The store can't answer now";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
            }
            _ => {
                let error = crate::telemetry::logs::chain(&error);
                tracing::error!(error, "a query of the older routes failed");
                Self::internal()
            }
        }
    }
}

/// The query took too long.
pub(super) fn out_of_time() -> Refused {
    let sentence = "The query took too long; narrow its dates or filters";
    Refused::new(StatusCode::GATEWAY_TIMEOUT, sentence)
}
