//! Sends one request over OTLP and says what became of it, by OTLP's rules on which answers may be
//! tried again.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde::Serialize;
use tonic_types::StatusExt as _;

use super::compression::Compression;
use super::stream::Connection;
use super::template::Encoding;

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf bodies.
    HttpProtobuf,
    /// OTLP/HTTP with JSON bodies.
    HttpJson,
    /// Batches of a native stream, one stream a connection.
    NativeStream,
}

impl Protocol {
    pub(super) const fn default_endpoint(self) -> &'static str {
        match self {
            Self::Grpc | Self::NativeStream => "http://127.0.0.1:4317",
            Self::HttpProtobuf | Self::HttpJson => "http://127.0.0.1:4318/v1/traces",
        }
    }

    pub(super) const fn encoding(self) -> Encoding {
        match self {
            Self::Grpc | Self::HttpProtobuf | Self::NativeStream => Encoding::Protobuf,
            Self::HttpJson => Encoding::Json,
        }
    }

    const fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::NativeStream)
    }

    /// Frame header before a message of this length: gRPC has one, HTTP none, and a stream has its
    /// own.
    pub(super) fn header(self, compressed: bool, length: usize) -> Vec<u8> {
        if self != Self::Grpc {
            return Vec::new();
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let mut header = vec![u8::from(compressed)];
        header.extend_from_slice(&length.to_be_bytes());
        header
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server answers for these spans, except for those it rejected.
    Acknowledged {
        /// Spans rejected for good.
        rejected: u64,
    },
    /// Not taken now: OTLP says to send the same request again.
    Retryable {
        /// gRPC code, HTTP status, or the kind of transport error.
        code: String,
        /// When the server wants to see it again.
        after: Option<Duration>,
    },
    /// Not taken, and sending it again is of no use.
    Failed {
        /// As for [`Answer::Retryable`].
        code: String,
        /// What the server says.
        message: String,
    },
}

/// A server to send to.
#[derive(Debug)]
pub(super) struct Target {
    protocol: Protocol,
    uri: Uri,
    headers: HeaderMap,
    /// One client a connection: HTTP/2 multiplexes the requests in flight. Over HTTP/1.1 a client
    /// opens as many connections as it has requests in flight.
    clients: Vec<Client<HttpConnector, Full<Bytes>>>,
    /// One a connection, where requests are batches of a stream.
    streams: Vec<Connection>,
    timeout: Duration,
}

/// What a target is made of.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) protocol: Protocol,
    pub(super) endpoint: &'a str,
    pub(super) compression: Compression,
    pub(super) headers: &'a [(http::HeaderName, HeaderValue)],
    pub(super) connections: usize,
    pub(super) timeout: Duration,
}

/// Answers are small; a larger one is an error of the server.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const STREAM_PATH: &str = "/pulse.trace.v1.TraceIngest/Stream";
/// Bytes of a request the connection takes before it waits for the socket.
const SEND_BUFFER_BYTES: usize = 4 << 20;

impl Target {
    pub(super) fn new(settings: &Settings<'_>) -> anyhow::Result<Self> {
        let Settings { protocol, .. } = *settings;
        let uri = endpoint(protocol, settings.endpoint)?;
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        let content_type = match protocol {
            Protocol::Grpc | Protocol::NativeStream => "application/grpc",
            Protocol::HttpProtobuf => "application/x-protobuf",
            Protocol::HttpJson => "application/json",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if protocol.is_grpc() {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(name) = settings.compression.name() {
            anyhow::ensure!(
                protocol != Protocol::NativeStream,
                "--compression is not for --protocol native-stream"
            );
            let key = match protocol {
                Protocol::Grpc | Protocol::NativeStream => {
                    http::HeaderName::from_static("grpc-encoding")
                }
                Protocol::HttpProtobuf | Protocol::HttpJson => header::CONTENT_ENCODING,
            };
            headers.insert(key, HeaderValue::from_static(name));
        }
        let connections = settings.connections.max(1);
        let clients = (0..connections).map(|_| client(protocol));
        let streams = (0..connections).filter(|_| protocol == Protocol::NativeStream);
        let streams = streams.map(|_| Connection::new(connector(), uri.clone(), headers.clone()));
        Ok(Self {
            streams: streams.collect(),
            protocol,
            uri,
            headers,
            clients: clients.collect(),
            timeout: settings.timeout,
        })
    }

    /// Sends a request over one of the connections. Connects, and connects again, when needed.
    pub(super) async fn send(&self, connection: usize, body: Bytes) -> Answer {
        let stream = connection.checked_rem(self.streams.len());
        if let Some(stream) = stream.and_then(|number| self.streams.get(number)) {
            return stream.send(body, self.timeout).await;
        }
        let Some(client) = self.clients.get(connection % self.clients.len()) else {
            return retryable("no connection");
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response = client.request(request).await.map_err(|error| {
                if error.is_connect() {
                    "cannot connect"
                } else {
                    "connection lost"
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            body.map(|body| (Response::from_parts(head, ()), body))
                .map_err(|_| "connection lost")
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok((head, body))) => self.answer(&head, body),
            Ok(Err(reason)) => retryable(reason),
            Err(_) => retryable("client timeout"),
        }
    }

    fn answer(&self, head: &Response<()>, body: Collected<Bytes>) -> Answer {
        if self.protocol == Protocol::Grpc && head.status() == StatusCode::OK {
            grpc_answer(head, body)
        } else {
            http_answer(self.protocol, head, &body.to_bytes())
        }
    }
}

pub(super) fn retryable(code: &str) -> Answer {
    Answer::Retryable {
        code: code.to_owned(),
        after: None,
    }
}

fn client(protocol: Protocol) -> Client<HttpConnector, Full<Bytes>> {
    builder(protocol.is_grpc()).build(connector())
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector
}

/// How clients are made.
pub(super) fn builder(http2_only: bool) -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(http2_only)
        .http2_max_send_buf_size(SEND_BUFFER_BYTES);
    builder
}

fn endpoint(protocol: Protocol, text: &str) -> anyhow::Result<Uri> {
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = with_scheme.parse()?;
    anyhow::ensure!(
        uri.scheme_str() == Some("http"),
        "{text}: the load generator speaks cleartext HTTP only; point it at an http:// endpoint"
    );
    let mut parts = uri.into_parts();
    let path = parts
        .path_and_query
        .as_ref()
        .map_or("/", |path| path.as_str());
    let path = match (protocol, path) {
        (Protocol::Grpc, _) => EXPORT_PATH,
        (Protocol::NativeStream, _) => STREAM_PATH,
        (_, "/") => "/v1/traces",
        (_, path) => path,
    };
    parts.path_and_query = Some(path.parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// The status is in the trailers, or in the head of an answer without a body.
fn grpc_answer(head: &Response<()>, body: Collected<Bytes>) -> Answer {
    let trailers = body.trailers().unwrap_or(head.headers());
    let Some(status) = tonic::Status::from_header_map(trailers) else {
        return retryable("no grpc-status");
    };
    let code = format!("{:?}", status.code());
    let retry_info = status.get_details_retry_info();
    match status.code() {
        tonic::Code::Ok => {
            let bytes = body.to_bytes();
            let message = bytes.get(5..).unwrap_or_default();
            Answer::Acknowledged {
                rejected: rejected_protobuf(message),
            }
        }
        tonic::Code::Cancelled
        | tonic::Code::DeadlineExceeded
        | tonic::Code::Aborted
        | tonic::Code::OutOfRange
        | tonic::Code::Unavailable
        | tonic::Code::DataLoss => Answer::Retryable {
            code,
            after: retry_info.and_then(|info| info.retry_delay),
        },
        tonic::Code::ResourceExhausted if retry_info.is_some() => Answer::Retryable {
            code,
            after: retry_info.and_then(|info| info.retry_delay),
        },
        _ => Answer::Failed {
            code,
            message: status.message().to_owned(),
        },
    }
}

fn http_answer(protocol: Protocol, head: &Response<()>, body: &[u8]) -> Answer {
    let status = head.status();
    let code = status.as_u16().to_string();
    match status.as_u16() {
        200..=299 => Answer::Acknowledged {
            rejected: match protocol {
                Protocol::HttpJson => rejected_json(body),
                _ => rejected_protobuf(body),
            },
        },
        429 | 502 | 503 | 504 => {
            let after = head.headers().get(header::RETRY_AFTER);
            let seconds = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Answer::Retryable {
                code,
                after: seconds.map(Duration::from_secs),
            }
        }
        _ => Answer::Failed {
            code,
            message: String::from_utf8_lossy(body).chars().take(300).collect(),
        },
    }
}

fn rejected_protobuf(message: &[u8]) -> u64 {
    ExportTraceServiceResponse::decode(message)
        .ok()
        .and_then(|response| response.partial_success)
        .and_then(|partial| u64::try_from(partial.rejected_spans).ok())
        .unwrap_or(0)
}

/// `rejectedSpans` is a string by the JSON mapping and a number to some servers.
fn rejected_json(body: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let rejected = value.pointer("/partialSuccess/rejectedSpans");
    rejected
        .and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()))
        .unwrap_or(0)
}

/// Body of a small answer to a GET, for the query API and metrics.
#[derive(Debug, Clone)]
pub(super) struct Getter {
    client: Client<HttpConnector, Full<Bytes>>,
    headers: HeaderMap,
    timeout: Duration,
}

/// Largest answer of the query API read.
const PAGE_BYTES_MAX: usize = 256 << 20;

impl Getter {
    pub(super) fn new(headers: &[(http::HeaderName, HeaderValue)], timeout: Duration) -> Self {
        Self {
            client: client(Protocol::HttpJson),
            headers: headers.iter().cloned().collect(),
            timeout,
        }
    }

    /// Status and body.
    pub(super) async fn get(&self, url: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url.parse()?;
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response: Response<Incoming> = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), PAGE_BYTES_MAX);
            let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
            Ok::<_, anyhow::Error>((status, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange).await?
    }

    /// The body of a successful answer, as JSON; `None` for 404.
    pub(super) async fn json(&self, url: &str) -> anyhow::Result<Option<serde_json::Value>> {
        let (status, body) = self.get(url).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        anyhow::ensure!(
            status.is_success(),
            "GET {url}: {status}: {}",
            String::from_utf8_lossy(&body)
                .chars()
                .take(300)
                .collect::<String>()
        );
        Ok(Some(serde_json::from_slice(&body)?))
    }
}
