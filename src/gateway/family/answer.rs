//! Answers and refusals in the words of each server.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::super::Shared;
use crate::auth::Denied;
use crate::otlp::Failure;
use crate::receivers::pulse::json::Json;
use crate::storage;

/// When a client may come back after 503, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Whose words an answer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    PulseKit,
    TracePulse,
    PulseBoard,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    /// When to come back, in seconds.
    retry_after: Option<u64>,
}

impl Server {
    const fn content_type(self) -> &'static str {
        match self {
            Self::PulseKit | Self::PulseBoard => "application/json; charset=utf-8",
            Self::TracePulse => "application/json",
        }
    }

    /// An answer with this body.
    pub(super) fn answer(self, status: StatusCode, body: &Json) -> Answer {
        Answer {
            status,
            content_type: self.content_type(),
            body: body.to_string(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// A refusal for which the contract has no body of its own.
    fn refusal(self, status: StatusCode) -> Answer {
        let reason = status.canonical_reason().unwrap_or_default();
        let body = match self {
            Self::PulseKit => {
                let detail = [("detail", Json::text(reason))];
                Json::map([("errors", Json::map(detail))])
            }
            Self::TracePulse => Json::map([("error", Json::text(reason))]),
            Self::PulseBoard => return self.error(status, None, reason),
        };
        self.answer(status, &body)
    }

    /// An error as PulseBoard's framework says it.
    fn error(self, status: StatusCode, code: Option<&str>, message: &str) -> Answer {
        let reason = status.canonical_reason().unwrap_or_default();
        let number = Json::Number(f64::from(status.as_u16()));
        let code = code.map(|code| ("code", Json::text(code)));
        let mut entries = vec![("statusCode", number)];
        entries.extend(code);
        entries.push(("error", Json::text(reason)));
        entries.push(("message", Json::text(message)));
        self.answer(status, &Json::map(entries))
    }

    /// A body or a query that does not fit its schema.
    pub(super) fn invalid(self, message: &str) -> Answer {
        self.error(StatusCode::BAD_REQUEST, Some("FST_ERR_VALIDATION"), message)
    }

    /// A body that is missing.
    pub(super) fn empty_body(self) -> Answer {
        let message = "Body cannot be empty when content-type is set to 'application/json'";
        let code = Some("FST_ERR_CTP_EMPTY_JSON_BODY");
        self.error(StatusCode::BAD_REQUEST, code, message)
    }

    /// What its server failed at.
    pub(super) fn failure(self, message: &str) -> Answer {
        self.error(StatusCode::INTERNAL_SERVER_ERROR, None, message)
    }

    /// What a handler of PulseBoard's refuses.
    pub(super) fn unsuccessful(self, status: StatusCode, message: &str) -> Answer {
        let message = ("message", Json::text(message));
        let body = Json::map([("success", Json::Bool(false)), message]);
        self.answer(status, &body)
    }

    /// Waits for the store, as long as a query may take.
    pub(super) async fn within<T>(
        self,
        shared: &Shared,
        work: impl Future<Output = Result<T, storage::Error>>,
    ) -> Result<T, Answer> {
        let done = tokio::time::timeout(shared.config.query_timeout.0, work).await;
        done.unwrap_or(Err(storage::Error::Timeout))
            .map_err(|error| self.store_failed(&error))
    }

    /// The store failed at something.
    pub(super) fn store_failed(self, error: &storage::Error) -> Answer {
        match error {
            storage::Error::Timeout => self.refusal(StatusCode::GATEWAY_TIMEOUT),
            storage::Error::Unavailable { .. } => self.refusal(StatusCode::SERVICE_UNAVAILABLE),
            _ => {
                let error = crate::telemetry::logs::chain(error);
                tracing::error!(error, "a query of the family's routes failed");
                self.internal()
            }
        }
    }

    /// Nobody was let in.
    pub(super) fn denied(self, denied: Denied) -> Answer {
        let (error, message) = match denied {
            // Cookies are not looked at here.
            Denied::NotAllowed(_)
            | Denied::ForeignHost
            | Denied::ForeignPage
            | Denied::NoProject
            | Denied::NotAMember => return self.refusal(StatusCode::FORBIDDEN),
            Denied::OverQuota(exceeded) => return self.refused(&exceeded.into()),
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
        let status = StatusCode::UNAUTHORIZED;
        let named = ("error", Json::text(error));
        match self {
            Self::PulseKit => {
                let body = Json::map([named, ("message", Json::text(message))]);
                self.answer(status, &body)
            }
            Self::TracePulse => self.answer(status, &Json::map([named])),
            Self::PulseBoard => self.unsuccessful(status, error),
        }
    }

    /// A request that can't be taken.
    pub(super) fn refused(self, failure: &Failure) -> Answer {
        match (self, failure) {
            // What its parser threw was an error like any other.
            (Self::TracePulse, Failure::Malformed { .. }) => self.internal(),
            (Self::PulseBoard, Failure::Malformed { .. }) => {
                let message =
                    "Body is not valid JSON but content-type is set to 'application/json'";
                let code = Some("FST_ERR_CTP_INVALID_JSON_BODY");
                self.error(StatusCode::BAD_REQUEST, code, message)
            }
            (Self::PulseBoard, Failure::TooLarge { .. }) => {
                let code = Some("FST_ERR_CTP_BODY_TOO_LARGE");
                let message = "Request body is too large";
                self.error(StatusCode::PAYLOAD_TOO_LARGE, code, message)
            }
            (_, Failure::Malformed { .. }) => self.refusal(StatusCode::BAD_REQUEST),
            (_, Failure::TooLarge { .. }) => self.refusal(StatusCode::PAYLOAD_TOO_LARGE),
            (_, Failure::UnsupportedEncoding { .. }) => {
                self.refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            (_, Failure::RequestTimeout) => self.refusal(StatusCode::REQUEST_TIMEOUT),
            (_, Failure::Throttled { .. }) => Answer {
                retry_after: failure.retry_after().map(|after| after.as_secs()),
                ..self.refusal(StatusCode::TOO_MANY_REQUESTS)
            },
            (_, Failure::OverQuota { .. }) => self.refusal(StatusCode::FORBIDDEN),
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
            Self::PulseKit | Self::PulseBoard => self.refusal(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The handler failed.
    pub(super) fn failed(self) -> Response {
        self.internal().into_response()
    }
}

impl Answer {
    /// With a time after which to come back.
    pub(super) fn after(self, wait: std::time::Duration) -> Self {
        Self {
            retry_after: Some(wait.as_secs() + 1),
            ..self
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
