//! What a backend's answer means, by OTLP's rules on which requests may be sent again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::otlp::status::{is_retryable_code, is_retryable_status};

/// Characters of a backend's words that are logged.
const SHOWN_MAX: usize = 300;
/// Bytes before the message in a gRPC body.
const GRPC_PREFIX: usize = 5;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The backend has it, but for so many items.
    Taken {
        /// Items that the backend will never take.
        rejected: u64,
        /// What it says, as a rule nothing.
        message: String,
    },
    /// It must not be sent again.
    Refused(String),
    /// It may be taken later.
    Later {
        /// Why not now.
        reason: String,
        /// When, if the backend says so.
        after: Option<Duration>,
    },
}

impl Answer {
    pub(super) fn later(reason: impl Into<String>) -> Self {
        Self::Later {
            reason: reason.into(),
            after: None,
        }
    }
}

/// Text as it may be logged.
fn shown(text: &str) -> String {
    let text = text.chars().filter(|c| !c.is_control());
    text.take(SHOWN_MAX).collect()
}

/// What an HTTP answer means.
pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    if status.is_success() {
        return taken(body);
    }
    // Without the framing of protobuf, which is not worth showing.
    let reason = format!("{status} {}", shown(&String::from_utf8_lossy(body)));
    let reason = reason.trim_end().to_owned();
    match is_retryable_status(status) {
        true => Answer::Later {
            reason,
            after: retry_after(headers, SystemTime::now()),
        },
        false => Answer::Refused(reason),
    }
}

/// What a gRPC answer means: the HTTP status, the headers, the trailers if there are any.
pub(super) fn of_grpc(
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    body: &[u8],
) -> Answer {
    let told = trailers.and_then(Status::from_header_map);
    let Some(told) = told.or_else(|| Status::from_header_map(headers)) else {
        // Not from a gRPC server: a proxy, as a rule, or a connection that ended too early.
        return match status {
            StatusCode::OK => Answer::later("the answer ended without a status"),
            _ => of_http(status, headers, &[]),
        };
    };
    if told.code() == Code::Ok {
        return match body.get(GRPC_PREFIX..) {
            Some(message) if body.first() == Some(&0) => taken(message),
            _ => taken(&[]),
        };
    }
    let after = told.get_details_retry_info();
    let reason = format!("{:?}: {}", told.code(), shown(told.message()));
    match is_retryable_code(told.code(), after.is_some()) {
        true => Answer::Later {
            reason,
            after: after.and_then(|info| info.retry_delay),
        },
        false => Answer::Refused(reason),
    }
}

/// The answers of all signals are alike on the wire. What can't be read says nothing.
fn taken(message: &[u8]) -> Answer {
    let answer = ExportTraceServiceResponse::decode(message).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    Answer::Taken {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
        message: shown(&partial.error_message),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let date = SystemTime::from(date.timestamp());
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
    use tonic_types::ErrorDetails;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn http_answers_are_retried_by_their_status_alone() {
        let none = HeaderMap::new();
        for status in [429, 502, 503, 504] {
            let answer = of_http(StatusCode::from_u16(status).unwrap(), &none, b"busy\n");
            assert!(
                matches!(answer, Answer::Later { after: None, .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 403, 404, 408, 413, 415, 500, 501] {
            let answer = of_http(StatusCode::from_u16(status).unwrap(), &none, b"no\n");
            let Answer::Refused(reason) = answer else {
                panic!("{status} would be sent again");
            };
            assert!(reason.starts_with(&status.to_string()) && reason.ends_with("no"));
        }
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_420);
        let after = |text| retry_after(&headers("retry-after", text), now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(after(date), Some(Duration::from_secs(60)));
        assert_eq!(after("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    fn told(status: &Status) -> Answer {
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).unwrap();
        of_grpc(StatusCode::OK, &HeaderMap::new(), Some(&trailers), &[])
    }

    #[test]
    fn grpc_answers_are_retried_by_their_code_and_retry_info() {
        let delay = Duration::from_secs(3);
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(delay));
        let retryable = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        for number in 1..17 {
            let code = Code::from(number);
            let answer = told(&Status::new(code, "why"));
            let later = matches!(answer, Answer::Later { after: None, .. });
            assert_eq!(later, retryable.contains(&code), "{code:?}");
            let answer = told(&Status::with_error_details(code, "why", details.clone()));
            let after = Some(delay);
            let later = matches!(answer, Answer::Later { after: asked, .. } if asked == after);
            // A full server that asks for it is asked again.
            let asks = number == 8;
            assert_eq!(later, asks || retryable.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn an_answer_without_a_status_is_none() {
        let none = HeaderMap::new();
        let cut = of_grpc(StatusCode::OK, &none, None, &[]);
        assert!(matches!(cut, Answer::Later { .. }));
        let proxy = of_grpc(StatusCode::BAD_GATEWAY, &none, None, &[]);
        assert!(matches!(proxy, Answer::Later { .. }));
        let other = of_grpc(StatusCode::NOT_FOUND, &none, None, &[]);
        assert!(matches!(other, Answer::Refused(_)));
        // Trailers-only: the status is among the headers.
        let refused = of_grpc(StatusCode::OK, &headers("grpc-status", "3"), None, &[]);
        assert!(matches!(refused, Answer::Refused(_)));
    }

    #[test]
    fn what_was_rejected_is_read_from_either_protocol() {
        let message = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 3,
                error_message: "bad\nids".to_owned(),
            }),
        };
        let message = message.encode_to_vec();
        let expected = Answer::Taken {
            rejected: 3,
            message: "badids".to_owned(),
        };
        assert_eq!(
            of_http(StatusCode::OK, &HeaderMap::new(), &message),
            expected
        );
        let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        framed.extend(&message);
        let ok = headers("grpc-status", "0");
        let answer = of_grpc(StatusCode::OK, &HeaderMap::new(), Some(&ok), &framed);
        assert_eq!(answer, expected);
    }
}
