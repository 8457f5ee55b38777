//! Answers of OTLP/HTTP, each in the type of its request.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, Version, header};
use http_body_util::Full;

use crate::otlp::partial::Answer;
use crate::otlp::{Failure, Signal};
use crate::pipeline::Accepted;

/// The two encodings of OTLP/HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Binary protobuf.
    Protobuf,
    /// OTLP/JSON.
    Json,
}

impl Format {
    /// What the `Content-Type` names, parameters and case aside; `None` when it is neither.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::named(headers.get(header::CONTENT_TYPE)?)
    }

    fn named(content_type: &HeaderValue) -> Option<Self> {
        let essence = content_type.to_str().ok()?.split(';').next()?.trim();
        let is = |known: &str| essence.eq_ignore_ascii_case(known);
        // The second is not registered for OTLP, but what several clients send.
        if is("application/x-protobuf") || is("application/protobuf") {
            Some(Self::Protobuf)
        } else if is("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// The answer to an export that was accepted, in whole or in part.
pub(super) fn success(
    signal: Signal,
    accepted: &Accepted,
    format: Format,
) -> Response<Full<Bytes>> {
    let answer = Answer::new(signal, accepted.rejected, &accepted.error_message);
    let body = match format {
        Format::Protobuf => answer.protobuf(),
        Format::Json => answer.json(),
    };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    response
}

/// The answer to a request that failed.
pub(super) fn failure(
    failure: &Failure,
    format: Format,
    version: Version,
) -> Response<Full<Bytes>> {
    let body = failure.http_body(format == Format::Json);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = failure.http_status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    if let Some(after) = failure.retry_after() {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Failure::Unauthenticated { .. } = failure {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Failure::MethodNotAllowed { allow } = failure {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    // What is left of these requests is not worth reading, and HTTP/1 has no other way to say so.
    let ends_connection = matches!(
        failure,
        Failure::TooLarge { .. }
            | Failure::RequestTimeout
            | Failure::HeadersTooLarge
            | Failure::ShuttingDown
    );
    if ends_connection && version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to a request that never reached the endpoint.
pub(crate) fn refuse(
    failed: &Failure,
    content_type: Option<&HeaderValue>,
) -> Response<Full<Bytes>> {
    let format = content_type.and_then(Format::named);
    failure(failed, format.unwrap_or(Format::Json), Version::HTTP_2)
}
