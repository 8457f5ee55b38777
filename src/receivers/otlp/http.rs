//! OTLP/HTTP: `POST` of traces, logs and metrics in protobuf or JSON.
//!
//! Every answer has the type of its request, failures included; a request whose type is unknown is
//! answered in JSON.

mod response;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tower::Service;

pub(crate) use response::refuse;
use response::{Format, failure, success};

use super::body::{read_all, too_large};
use super::caller;
use super::decode::{Encodings, HeavyWork};
use super::{HttpConfig, RequestObserver, Sink};
use crate::auth::Gate;
use crate::net::compress;
use crate::net::cors::Cors;
use crate::otlp::compression::Encoding;
use crate::otlp::{Failure, Signal};
use crate::pipeline::{Accepted, Transport};

const SUPPORTED_TYPES: &str = "application/x-protobuf, application/json";

/// The endpoints.
#[derive(Debug)]
pub(super) struct Http<S> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Http<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<S> {
    sink: S,
    gate: Gate,
    observer: Arc<dyn RequestObserver>,
    heavy: HeavyWork,
    encodings: Encodings,
    cors: Option<Cors>,
    /// Path of each signal.
    paths: [(String, Signal); 3],
    body_max: usize,
    request_timeout: std::time::Duration,
}

impl<S> std::fmt::Debug for Inner<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Http").finish_non_exhaustive()
    }
}

/// Serves the endpoint.
pub(super) fn service<S: Sink>(
    http: Http<S>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(move |request: Request<Incoming>| {
        let http = http.clone();
        async move { Ok(http.answer(request).await) }
    })
}

impl<S: Sink> Http<S> {
    pub(super) fn new(
        sink: S,
        config: &HttpConfig,
        observer: Arc<dyn RequestObserver>,
        heavy: HeavyWork,
        gate: Gate,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                sink,
                gate,
                observer,
                heavy,
                encodings: Encodings::new(&config.compression_algorithms),
                cors: config.cors.as_ref().map(Cors::from_config),
                paths: [
                    (config.traces_url_path.clone(), Signal::Traces),
                    (config.logs_url_path.clone(), Signal::Logs),
                    (config.metrics_url_path.clone(), Signal::Metrics),
                ],
                body_max: config.max_request_body_size.as_usize(),
                request_timeout: config.request_timeout.0,
            }),
        }
    }

    /// Answers one request, whatever happens in it.
    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let cors = self.inner.cors.as_ref();
        let mut paths = self.inner.paths.iter();
        let served = paths.find(|(path, _)| path == request.uri().path());
        let preflight = cors.and_then(|cors| cors.preflight(&request, "POST"));
        if let Some(preflight) = preflight.filter(|_| served.is_some()) {
            return preflight.map(|()| Full::default());
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let wants_gzip = compress::accepts_gzip(request.headers());
        let mut response = if let Some((_, signal)) = served {
            self.export(*signal, request).await
        } else {
            let format = Format::of(request.headers()).unwrap_or(Format::Json);
            let path = request.uri().path();
            let what = path.chars().take(128).collect();
            failure(&Failure::NotServed { what }, format, request.version())
        };
        if let Some(cors) = cors {
            cors.decorate(response.headers_mut(), origin.as_ref());
        }
        if compress::is_worth(&mut response) && wants_gzip {
            compress::say_gzip(response.headers_mut());
            let packed = |body: Full<Bytes>| compress::gzip(&body.into_inner().unwrap_or_default());
            return response.map(|body| Full::new(packed(body)));
        }
        response
    }

    async fn export(&self, signal: Signal, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let version = request.version();
        let format = Format::of(request.headers());
        let shown = format.unwrap_or(Format::Json);
        let mut received = 0;
        let accepting = self.accept(signal, request, format, started, &mut received);
        let work = AssertUnwindSafe(accepting);
        let outcome = work.catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!(transport = "http", "an export panicked");
            Err(Failure::Internal)
        });
        let mut response = match &outcome {
            Ok(accepted) => success(signal, accepted, shown),
            Err(failed) => failure(failed, shown, version),
        };
        if let Err(Failure::UnsupportedEncoding { .. }) = outcome
            && let Ok(names) = HeaderValue::from_str(self.inner.encodings.names())
        {
            response
                .headers_mut()
                .insert(header::ACCEPT_ENCODING, names);
        }
        let code = response.status().as_u16();
        let took = started.elapsed();
        self.inner
            .observer
            .request_finished(shown.transport(), code, received, took);
        response
    }

    async fn accept(
        &self,
        signal: Signal,
        request: Request<Incoming>,
        format: Option<Format>,
        started: Instant,
        received: &mut u64,
    ) -> Result<Accepted, Failure> {
        let inner = &*self.inner;
        let allow = if inner.cors.is_some() {
            "POST, OPTIONS"
        } else {
            "POST"
        };
        if request.method() != Method::POST {
            return Err(Failure::MethodNotAllowed { allow });
        }
        let project = caller::project(&inner.gate, &request).await?;
        let format = format.ok_or_else(|| unsupported_type(request.headers()))?;
        let encoding = self.encoding(request.headers())?;
        let limit = inner.body_max;
        let announced = request.body().size_hint().lower();
        if usize::try_from(announced).unwrap_or(usize::MAX) > limit {
            return Err(too_large(limit));
        }
        let deadline = started.checked_add(inner.request_timeout);
        let deadline = deadline.unwrap_or(started);
        // JSON shrinks when it becomes protobuf, so that its length says nothing about the payload.
        let known = if format == Format::Json { 0 } else { announced };
        let mut admission = inner.sink.admit(format.transport(), known)?;
        let body = read_all(request.into_body(), limit, &mut admission, received);
        let body = timeout_at(deadline, body).await;
        let body = body.map_err(|_elapsed| Failure::RequestTimeout)??;
        let work = async move {
            let json = (format == Format::Json).then_some(signal);
            let decoded = inner.heavy.decode(admission, encoding, json, body, limit);
            let (mut admission, payload) = decoded.await?;
            let sink = &inner.sink;
            sink.export(&mut admission, signal, project, payload).await
        };
        let outcome = timeout_at(deadline, work).await;
        outcome.map_err(|_elapsed| Failure::DeadlineExceeded)?
    }

    fn encoding(&self, headers: &HeaderMap) -> Result<Encoding, Failure> {
        let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
        let first = named.next();
        // A second header means a second encoding around the first, as a comma does.
        let encoding = self.inner.encodings.select(first)?;
        match named.next() {
            None => Ok(encoding),
            Some(second) => Err(Failure::UnsupportedEncoding {
                given: format!("several, {second:?} among them"),
                supported: self.inner.encodings.names().to_owned(),
            }),
        }
    }
}

fn unsupported_type(headers: &HeaderMap) -> Failure {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.map_or("none", |value| value.to_str().unwrap_or("unreadable"));
    Failure::UnsupportedType {
        given: given.chars().take(64).collect(),
        supported: SUPPORTED_TYPES,
    }
}

impl Format {
    fn transport(self) -> Transport {
        match self {
            Self::Protobuf => Transport::HttpProtobuf,
            Self::Json => Transport::HttpJson,
        }
    }
}
