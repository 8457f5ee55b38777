//! Answers and refusals in the words of each server.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::auth::Denied;
use crate::otlp::Failure;
use crate::receivers::pulse::json::Json;

/// When a client may come back after 503, in seconds.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Whose words an answer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    PulseKit,
    TracePulse,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Server {
    const fn content_type(self) -> &'static str {
        match self {
            Self::PulseKit => "application/json; charset=utf-8",
            Self::TracePulse => "application/json",
        }
    }

    /// An answer with this body.
    pub(super) fn answer(self, status: StatusCode, body: &Json) -> Answer {
        Answer {
            status,
            content_type: self.content_type(),
            body: body.to_string(),
        }
    }

    /// A refusal for which the contract has no body of its own.
    fn refusal(self, status: StatusCode) -> Answer {
        let reason = Json::text(status.canonical_reason().unwrap_or_default());
        let body = match self {
            Self::PulseKit => Json::map([("errors", Json::map([("detail", reason)]))]),
            Self::TracePulse => Json::map([("error", reason)]),
        };
        self.answer(status, &body)
    }

    /// Nobody was let in.
    pub(super) fn denied(self, denied: Denied) -> Answer {
        let unauthorized = StatusCode::UNAUTHORIZED;
        let texts = match denied {
            Denied::NotAllowed(_) | Denied::ForeignHost => {
                return self.refusal(StatusCode::FORBIDDEN);
            }
            Denied::Unavailable => return self.refusal(StatusCode::SERVICE_UNAVAILABLE),
            Denied::Missing => (
                "Missing API key",
                "Please provide an API key via the X-PulseKit-Key header",
            ),
            Denied::Unknown | Denied::Revoked | Denied::Expired => (
                "Invalid API key",
                "The provided API key is invalid or has been revoked",
            ),
        };
        let (error, message) = (Json::text(texts.0), Json::text(texts.1));
        let body = match self {
            Self::PulseKit => Json::map([("error", error), ("message", message)]),
            Self::TracePulse => Json::map([("error", error)]),
        };
        self.answer(unauthorized, &body)
    }

    /// A request that can't be taken.
    pub(super) fn refused(self, failure: &Failure) -> Answer {
        match (self, failure) {
            // What its parser threw was an error like any other.
            (Self::TracePulse, Failure::Malformed { .. }) => self.internal(),
            (_, Failure::Malformed { .. }) => self.refusal(StatusCode::BAD_REQUEST),
            (_, Failure::TooLarge { .. }) => self.refusal(StatusCode::PAYLOAD_TOO_LARGE),
            (_, Failure::UnsupportedEncoding { .. }) => {
                self.refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            (_, Failure::RequestTimeout) => self.refusal(StatusCode::REQUEST_TIMEOUT),
            (_, Failure::Overloaded { .. } | Failure::ShuttingDown) => {
                self.refusal(StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => self.internal(),
        }
    }

    /// Our own fault.
    pub(super) fn internal(self) -> Answer {
        match self {
            Self::TracePulse => {
                let error = Json::text("Internal server error");
                let body = Json::map([("error", error)]);
                self.answer(StatusCode::INTERNAL_SERVER_ERROR, &body)
            }
            Self::PulseKit => self.refusal(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The handler failed.
    pub(super) fn failed(self) -> Response {
        self.internal().into_response()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}
