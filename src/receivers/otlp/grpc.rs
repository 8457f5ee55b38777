//! OTLP/gRPC: the unary `Export` of the trace, log and metric services, the native service, a service
//! of somebody else's beside them, health and reflection.
//!
//! The framing of unary calls is our own, because the one of the framework answers an oversize
//! message with a code that makes clients send it again for ever, and reserves the announced
//! length. Health and reflection are the framework's.

mod beside;
mod health;
mod stream;
mod timeout;
mod unary;
mod until;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

use super::body::{PREFIX_LENGTH, malformed, read_message};
use super::caller;
use super::decode::{Encodings, HeavyWork};
use super::{GrpcConfig, RequestObserver, Sink, StartError};
use crate::auth::Gate;
use crate::net::compress;
use crate::otlp::compression::Encoding;
use crate::otlp::partial::Answer;
use crate::otlp::{Failure, Signal};
use crate::pipeline::{Accepted, Transport};
use crate::receivers::native;
use crate::service::tasks::Tasks;
use crate::telemetry::health::Readiness;

pub use beside::{Service as Beside, Wire, frame};

#[cfg(test)]
pub(super) use stream::CREDIT as STREAM_CREDIT;

/// Paths of the unary methods that take telemetry.
const EXPORT_PATHS: [(&str, Signal); 4] = [
    (NATIVE_EXPORT, Signal::Traces),
    (
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Traces,
    ),
    (
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Logs,
    ),
    (
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Metrics,
    ),
];
/// The unary method of the native service, whose requests are OTLP's with a field more.
const NATIVE_EXPORT: &str = "/pulse.trace.v1.TraceIngest/Export";
/// Its stream.
const NATIVE_STREAM: &str = "/pulse.trace.v1.TraceIngest/Stream";
/// What reflection lists; the descriptors hold services that are not served, too.
const REFLECTED_SERVICES: [&str; 5] = [
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "pulse.trace.v1.TraceIngest",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "grpc.health.v1.Health",
];
/// Largest request to the health and reflection services.
const SMALL_MESSAGE_MAX: usize = 16 << 10;

/// The export services.
#[derive(Debug)]
pub(super) struct Grpc<S> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Grpc<S> {
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
    /// The list of encodings as a header.
    accept_encoding: HeaderValue,
    message_max: usize,
    request_timeout: std::time::Duration,
    /// For the service beside.
    wire: Wire,
}

impl<S> std::fmt::Debug for Inner<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Grpc").finish_non_exhaustive()
    }
}

impl<S: Sink> Grpc<S> {
    pub(super) fn new(
        sink: S,
        config: &GrpcConfig,
        observer: Arc<dyn RequestObserver>,
        heavy: HeavyWork,
        gate: Gate,
    ) -> Self {
        let encodings = Encodings::new(&config.compression_algorithms);
        let accept_encoding = HeaderValue::from_str(encodings.names());
        let mebibytes = usize::try_from(config.max_recv_msg_size_mib).unwrap_or(usize::MAX);
        Self {
            inner: Arc::new(Inner {
                sink,
                gate,
                observer,
                heavy,
                accept_encoding: accept_encoding
                    .unwrap_or_else(|_| HeaderValue::from_static("identity")),
                encodings,
                message_max: mebibytes.saturating_mul(1 << 20),
                request_timeout: config.request_timeout.0,
                wire: Wire::new(config),
            }),
        }
    }

    /// Answers one export, whatever happens in it.
    async fn export(self, signal: Signal, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let wants_gzip = accepts_gzip(request.headers());
        let mut received = 0;
        let outcome = self.export_in_time(signal, request, &mut received).await;
        let code = match &outcome {
            Ok(_) => tonic::Code::Ok,
            Err(failure) => failure.grpc_status().code(),
        };
        let mut response = match outcome {
            Ok(accepted) => success(signal, &accepted, wants_gzip),
            Err(failure) => failed(&failure),
        };
        let accept = self.inner.accept_encoding.clone();
        response
            .headers_mut()
            .insert("grpc-accept-encoding", accept);
        let code = u16::try_from(i32::from(code)).unwrap_or(u16::MAX);
        let took = started.elapsed();
        self.inner
            .observer
            .request_finished(Transport::Grpc, code, received, took);
        response
    }

    async fn export_in_time(
        &self,
        signal: Signal,
        request: Request<Incoming>,
        received: &mut u64,
    ) -> Result<Accepted, Failure> {
        let asked = timeout::from_headers(request.headers())?;
        let limit = asked.map_or(self.inner.request_timeout, |asked| {
            asked.min(self.inner.request_timeout)
        });
        let work = AssertUnwindSafe(self.accept(signal, request, received)).catch_unwind();
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => {
                tracing::error!(transport = "grpc", "an export panicked");
                Err(Failure::Internal)
            }
            Err(_elapsed) => Err(Failure::DeadlineExceeded),
        }
    }

    async fn accept(
        &self,
        signal: Signal,
        request: Request<Incoming>,
        received: &mut u64,
    ) -> Result<Accepted, Failure> {
        let inner = &*self.inner;
        let project = caller::project(&inner.gate, &request).await?;
        let is_native = request.uri().path() == NATIVE_EXPORT;
        let named = request.headers().get("grpc-encoding");
        let encoding = inner.encodings.select(named)?;
        let announced = request.body().size_hint().lower();
        let announced = announced.saturating_sub(PREFIX_LENGTH as u64);
        let mut admission = inner.sink.admit(Transport::Grpc, announced)?;
        let limit = inner.message_max;
        let body = request.into_body();
        let (is_compressed, message) = read_message(body, limit, &mut admission, received).await?;
        let encoding = match (is_compressed, encoding) {
            (false, _) => Encoding::Identity,
            (true, Encoding::Identity) => {
                return Err(malformed("a compressed message without grpc-encoding"));
            }
            (true, encoding) => encoding,
        };
        let heavy = &inner.heavy;
        let decoded = heavy.decode(admission, encoding, None, message, limit);
        let (mut admission, payload) = decoded.await?;
        let payload = if is_native {
            stream::as_otlp(&mut admission, payload)?
        } else {
            payload
        };
        let sink = &inner.sink;
        sink.export(&mut admission, signal, project, payload).await
    }
}

/// Whether the client reads compressed messages.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all("grpc-accept-encoding").iter();
    let mut names = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    names.any(|name| name.trim() == "gzip")
}

fn success(signal: Signal, accepted: &Accepted, accepts_gzip: bool) -> Response<Body> {
    let answer = Answer::new(signal, accepted.rejected, &accepted.error_message);
    let message = answer.protobuf();
    if accepts_gzip && message.len() as u64 >= compress::WORTH_BYTES {
        return beside::unary(&compress::gzip(&message), true);
    }
    beside::unary(&message, false)
}

/// The answer for a failure: headers only, with the status in them.
fn failed(failure: &Failure) -> Response<Body> {
    failure.grpc_status().into_http()
}

/// The answer to a request that never reached a service: there may be no gRPC client to read a gRPC
/// status.
pub(super) fn refuse(failure: &Failure, content_type: Option<&HeaderValue>) -> Response<Body> {
    if is_grpc(content_type) {
        failed(failure)
    } else {
        super::http::refuse(failure, content_type).map(Body::new)
    }
}

/// A content type without its parameters.
fn essence(content_type: Option<&HeaderValue>) -> &str {
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or("none").split(';').next();
    essence.unwrap_or_default().trim()
}

fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    let essence = essence(content_type);
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// Whether the request speaks gRPC at all.
fn check_protocol<B>(request: &Request<B>) -> Result<(), Failure> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !is_grpc(content_type) || request.version() != Version::HTTP_2 {
        return Err(Failure::UnsupportedType {
            given: essence(content_type).chars().take(64).collect(),
            supported: "application/grpc over HTTP/2 (OTLP/HTTP has a port of its own)",
        });
    }
    if request.method() != http::Method::POST {
        return Err(Failure::MethodNotAllowed { allow: "POST" });
    }
    Ok(())
}

/// Routes requests to the export, health and reflection services, and to the service beside them.
///
/// # Errors
/// [`StartError::Reflection`].
pub(super) fn service<S: Sink>(
    grpc: Grpc<S>,
    beside: Option<Arc<dyn Beside>>,
    readiness: &Readiness,
    tasks: &Tasks,
) -> Result<
    impl Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static,
    StartError,
> {
    let (reporter, service) = tonic_health::server::health_reporter();
    let health_service = service.max_decoding_message_size(SMALL_MESSAGE_MAX);
    let beside_name = beside.as_ref().map(|beside| beside.name());
    health::report(reporter, beside_name, readiness, tasks);
    let descriptors = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(opentelemetry_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(native::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        REFLECTED_SERVICES.into_iter().chain(beside_name).fold(
            builder,
            tonic_reflection::server::Builder::with_service_name,
        )
    };
    let reflection = descriptors().build_v1()?;
    let reflection = reflection.max_decoding_message_size(SMALL_MESSAGE_MAX);
    let reflection_alpha = descriptors().build_v1alpha()?;
    let reflection_alpha = reflection_alpha.max_decoding_message_size(SMALL_MESSAGE_MAX);
    let (tasks, shutdown) = (tasks.clone(), tasks.shutdown_token());
    Ok(tower::service_fn(move |request: Request<Incoming>| {
        let (grpc, beside) = (grpc.clone(), beside.clone());
        let health_service = health_service.clone();
        let (reflection, reflection_alpha) = (reflection.clone(), reflection_alpha.clone());
        let (tasks, shutdown) = (tasks.clone(), shutdown.clone());
        async move {
            if let Err(failure) = check_protocol(&request) {
                let content_type = request.headers().get(header::CONTENT_TYPE);
                return Ok(super::http::refuse(&failure, content_type).map(Body::new));
            }
            let path = request.uri().path();
            let exported = EXPORT_PATHS.iter().find(|(known, _)| *known == path);
            let name = path.strip_prefix('/').and_then(|path| path.split_once('/'));
            let service = name.map_or("", |(service, _)| service);
            let beside = beside.filter(|beside| beside.name() == service);
            let response = match service {
                _ if let Some(beside) = beside => {
                    beside.call(request, grpc.inner.wire.clone()).await
                }
                _ if let Some((_, signal)) = exported => grpc.export(*signal, request).await,
                _ if path == NATIVE_STREAM => stream::serve(grpc, request, &tasks).await,
                "grpc.health.v1.Health" => {
                    until::shutdown(call(health_service, request).await, shutdown)
                }
                "grpc.reflection.v1.ServerReflection" => {
                    until::shutdown(call(reflection, request).await, shutdown)
                }
                "grpc.reflection.v1alpha.ServerReflection" => {
                    until::shutdown(call(reflection_alpha, request).await, shutdown)
                }
                _ => failed(&Failure::NotServed {
                    what: path.chars().take(128).collect(),
                }),
            };
            Ok(response)
        }
    }))
}

async fn call<T>(mut service: T, request: Request<Incoming>) -> Response<Body>
where
    T: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
