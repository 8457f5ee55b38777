//! Sends requests to a daemon's OTLP/HTTP listener, one after the other on one connection.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::shown;
use crate::net::dial::Dialer;
use crate::service::tasks::Tasks;

/// Longest time for one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Answers are small; a larger one is an error of the server.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const TRACES_PATH: &str = "/v1/traces";

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is durable, but for these spans.
    Taken { rejected: u64, message: String },
    /// What it holds can't be taken.
    Refused(String),
    /// It may be taken later.
    Later {
        reason: String,
        after: Option<Duration>,
    },
    /// No request can be taken.
    Impossible(String),
}

/// Where to send, and as whom.
pub(super) struct Client {
    dialer: Dialer,
    key: Option<HeaderValue>,
    tasks: Tasks,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Client");
        shown.field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

impl Client {
    /// For a URL; a path may be left out. Connects to nothing yet.
    pub(super) fn new(
        endpoint: &str,
        key: Option<&str>,
        authorities: Option<&Path>,
        tasks: Tasks,
    ) -> anyhow::Result<Self> {
        let key = key.map(|key| {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.context("the API key holds characters that no key has")?;
            value.set_sensitive(true);
            Ok::<_, anyhow::Error>(value)
        });
        Ok(Self {
            dialer: Dialer::new(endpoint, authorities)?,
            key: key.transpose()?,
            tasks,
            connection: None,
        })
    }

    /// Sends a request. The next one gets a new connection if this one broke off.
    pub(super) async fn send(&mut self, payload: Bytes) -> Answer {
        match tokio::time::timeout(TIMEOUT, self.exchange(payload)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => self.lost(format!("{error:#}")),
            Err(_) => self.lost("no answer in time".to_owned()),
        }
    }

    fn lost(&mut self, reason: String) -> Answer {
        self.connection = None;
        Answer::Later {
            reason,
            after: None,
        }
    }

    async fn exchange(&mut self, payload: Bytes) -> anyhow::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_ready() => connection,
            _ => self.connect().await?,
        };
        let mut request = Request::new(Full::new(payload));
        *request.method_mut() = Method::POST;
        let uri = self.dialer.uri();
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        let path = if path == "/" { TRACES_PATH } else { path };
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        let authority = uri.authority().map_or("", |it| it.as_str());
        headers.insert(header::HOST, HeaderValue::from_str(authority)?);
        let content_type = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, content_type);
        if let Some(key) = &self.key {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        let sent = connection.send_request(request).await;
        let (head, body) = sent.context("send a request")?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        connection.ready().await.ok();
        self.connection = Some(connection);
        let after = head.headers.get(header::RETRY_AFTER);
        let after = after.and_then(|it| it.to_str().ok()?.trim().parse().ok());
        let content_type = head.headers.get(header::CONTENT_TYPE);
        Ok(judge(
            head.status.as_u16(),
            content_type.and_then(|it| it.to_str().ok()),
            after.map(Duration::from_secs),
            &body,
        ))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = self.dialer.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn("import connection", async move {
            // Whoever sends on it hears that it broke off.
            drop(connection.await);
        });
        Ok(sender)
    }
}

/// What an answer means, by OTLP's rules on which may be tried again.
fn judge(status: u16, content_type: Option<&str>, after: Option<Duration>, body: &[u8]) -> Answer {
    let said = || {
        // Without the framing of protobuf, which is not worth showing.
        let text = String::from_utf8_lossy(body);
        let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        format!("{status} {}", shown(&text))
    };
    match status {
        200..=299 => taken(status, content_type, body).unwrap_or_else(|| {
            Answer::Impossible(format!(
                "{}: this is no answer to telemetry; is this an OTLP/HTTP listener?",
                said().trim_end()
            ))
        }),
        408 | 429 | 502 | 503 | 504 => Answer::Later {
            reason: said(),
            after,
        },
        400 | 413 | 422 => Answer::Refused(said()),
        _ => Answer::Impossible(said()),
    }
}

/// What OTLP answers when it took something. Whatever else says that all is well has stored
/// nothing: a web page, a proxy, another protocol.
fn taken(status: u16, content_type: Option<&str>, body: &[u8]) -> Option<Answer> {
    let essence = content_type?.split(';').next()?.trim();
    if status != 200 || !essence.eq_ignore_ascii_case("application/x-protobuf") {
        return None;
    }
    let answer = ExportTraceServiceResponse::decode(body).ok()?;
    let partial = answer.partial_success.unwrap_or_default();
    Some(Answer::Taken {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
        message: shown(&partial.error_message),
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    const PROTOBUF: Option<&str> = Some("application/x-protobuf");

    #[test]
    fn answers_mean_what_otlp_says() {
        for later in [408, 429, 502, 503, 504] {
            let answer = judge(later, PROTOBUF, None, b"");
            assert!(matches!(answer, Answer::Later { .. }), "{answer:?}");
        }
        assert_eq!(
            judge(413, None, None, b"too\nlarge"),
            Answer::Refused("413 toolarge".to_owned())
        );
        for status in [301, 401, 403, 404, 405, 415, 500] {
            let answer = judge(status, PROTOBUF, None, b"");
            assert!(matches!(answer, Answer::Impossible(_)), "{answer:?}");
        }
    }

    #[test]
    fn only_an_answer_of_otlp_means_that_it_is_taken() {
        let partial = |rejected_spans, error_message: &str| ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: error_message.to_owned(),
            }),
        };
        let taken = |rejected, message: &str| Answer::Taken {
            rejected,
            message: message.to_owned(),
        };
        for content_type in ["application/x-protobuf", "Application/X-Protobuf ; a=b"] {
            let answer = judge(200, Some(content_type), None, b"");
            assert_eq!(answer, taken(0, ""));
        }
        let answer = partial(2, "too \x1b[31mold").encode_to_vec();
        let answer = judge(200, PROTOBUF, None, &answer);
        assert_eq!(answer, taken(2, "too \u{fffd}[31mold"));
        for (status, content_type, body) in [
            (200, None, ""),
            (200, Some("text/html"), "<p>Welcome"),
            (200, Some("application/json"), "{}"),
            (200, Some("application/x-protobuf2"), ""),
            (200, PROTOBUF, "<p>Welcome"),
            (202, PROTOBUF, ""),
            (204, None, ""),
        ] {
            let answer = judge(status, content_type, None, body.as_bytes());
            let Answer::Impossible(reason) = &answer else {
                panic!("{status} {content_type:?} {body}: {answer:?}");
            };
            assert!(reason.contains("an OTLP/HTTP listener?"), "{reason}");
        }
    }
}
