//! Sends requests over gRPC or HTTP, each on a connection from a pool.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::{self, Answer};
use super::config::{Config, Protocol};
use super::prepare::Prepared;
use crate::net::dial::{self, ClientTls, Dialer, Stream};
use crate::otlp::Signal;
use crate::telemetry::logs::chain;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const USER_AGENT: &str = concat!("pulse-collector/", env!("CARGO_PKG_VERSION"));

/// Why a backend can't be talked to as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint or the files for TLS can't be used.
    #[error(transparent)]
    Dial(#[from] dial::Error),
    /// A header can't be sent.
    #[error("headers: {0:?} can't be sent")]
    Header(String),
    /// The endpoint makes no URL with the path of a signal.
    #[error("endpoint: no URL")]
    Url(#[from] http::Error),
}

/// Where requests go.
pub(super) struct Client {
    /// Replaced when it does not answer, since a connection may be dead without a sign of it.
    pool: ArcSwap<Pool>,
    dialer: Arc<Dialer>,
    protocol: Protocol,
    headers: HeaderMap,
    urls: [Uri; 3],
    timeout: Duration,
}

type Pool = legacy::Client<Connector, Full<Bytes>>;

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Client");
        shown.field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("build a request")]
    Request(#[from] http::Error),
    #[error("send a request")]
    Send(#[from] legacy::Error),
    #[error("read the answer")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Client {
    /// For a configuration that was checked. Connects to nothing yet.
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let protocols: &[&[u8]] = match config.protocol {
            Protocol::Grpc => &[b"h2"],
            Protocol::HttpProtobuf => &[b"http/1.1"],
        };
        let tls = ClientTls {
            authorities: config.tls.authorities(),
            identity: config.tls.identity(),
            server_name: config.tls.server_name(),
            protocols,
        };
        let dialer = Arc::new(Dialer::with_tls(&config.url(), &tls)?);
        let signals = [Signal::Traces, Signal::Logs, Signal::Metrics];
        let [traces, logs, metrics] =
            signals.map(|signal| url(dialer.uri(), config.protocol, signal));
        Ok(Self {
            pool: ArcSwap::from_pointee(pool(&dialer, config.protocol)),
            protocol: config.protocol,
            headers: headers(config)?,
            urls: [traces?, logs?, metrics?],
            timeout: config.timeout.0,
            dialer,
        })
    }

    /// Sends a request once.
    pub(super) async fn send(&self, prepared: &Prepared) -> Answer {
        let pool = self.pool.load_full();
        match tokio::time::timeout(self.timeout, self.exchange(&pool, prepared)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => match &error {
                Failed::Answer(inner) if inner.is::<LengthLimitError>() => {
                    Answer::Refused("the answer is too long to be read".to_owned())
                }
                _ => Answer::later(chain(&error)),
            },
            Err(_) => {
                let fresh = Arc::new(self::pool(&self.dialer, self.protocol));
                self.pool.compare_and_swap(&pool, fresh);
                Answer::later(format!("no answer within {:?}", self.timeout))
            }
        }
    }

    async fn exchange(&self, pool: &Pool, prepared: &Prepared) -> Result<Answer, Failed> {
        let request = self.request(prepared)?;
        let (head, body) = pool.request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(Failed::Answer)?;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        Ok(match self.protocol {
            Protocol::Grpc => answer::of_grpc(head.status, &head.headers, trailers.as_ref(), &body),
            Protocol::HttpProtobuf => answer::of_http(head.status, &head.headers, &body),
        })
    }

    fn request(&self, prepared: &Prepared) -> Result<Request<Full<Bytes>>, http::Error> {
        let [traces, logs, metrics] = &self.urls;
        let url = match prepared.signal {
            Signal::Traces => traces,
            Signal::Logs => logs,
            Signal::Metrics => metrics,
        };
        let mut request = Request::builder().method(Method::POST).uri(url);
        let encoding_header = match self.protocol {
            Protocol::Grpc => {
                let timeout = format!("{}m", self.timeout.as_millis().min(99_999_999));
                request = request
                    .header(header::TE, "trailers")
                    .header(header::CONTENT_TYPE, "application/grpc")
                    .header("grpc-timeout", timeout);
                HeaderName::from_static("grpc-encoding")
            }
            Protocol::HttpProtobuf => {
                request = request.header(header::CONTENT_TYPE, "application/x-protobuf");
                header::CONTENT_ENCODING
            }
        };
        if let Some(encoding) = prepared.encoding {
            request = request.header(encoding_header, encoding);
        }
        let mut request = request.body(Full::new(prepared.body.clone()))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }
}

fn headers(config: &Config) -> Result<HeaderMap, ConnectError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in &config.headers {
        let wrong = || ConnectError::Header(name.clone());
        let key = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = value.expose().unwrap_or_default();
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

fn url(base: &Uri, protocol: Protocol, signal: Signal) -> Result<Uri, http::Error> {
    let path = match protocol {
        Protocol::Grpc => {
            let (package, service) = match signal {
                Signal::Traces => ("trace", "TraceService"),
                Signal::Logs => ("logs", "LogsService"),
                Signal::Metrics => ("metrics", "MetricsService"),
            };
            format!("/opentelemetry.proto.collector.{package}.v1.{service}/Export")
        }
        Protocol::HttpProtobuf => {
            let base = base.path().trim_end_matches('/');
            format!("{base}/v1/{}", signal.as_str())
        }
    };
    let authority = base.authority().map_or("", |it| it.as_str());
    Uri::builder()
        .scheme(base.scheme_str().unwrap_or("http"))
        .authority(authority)
        .path_and_query(path)
        .build()
}

fn pool(dialer: &Arc<Dialer>, protocol: Protocol) -> Pool {
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(protocol == Protocol::Grpc)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(Connector(Arc::clone(dialer)))
}

/// Connects to the one backend there is.
#[derive(Debug, Clone)]
struct Connector(Arc<Dialer>);

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = dial::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _url: Uri) -> Self::Future {
        let dialer = Arc::clone(&self.0);
        Box::pin(async move { Ok(TokioIo::new(Link(dialer.connect().await?))) })
    }
}

/// A connection as the pool wants it.
struct Link(Box<dyn Stream>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
