//! Builds OTLP requests and sends them as they are.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tonic::transport::{Channel, Endpoint};

use crate::http::{self, Response};

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) fn key_value(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue {
        key: key.to_owned(),
        value,
        ..KeyValue::default()
    }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Value::StringValue(value.to_owned()))
}

/// Now, ns since the Unix epoch.
pub(crate) fn now() -> u64 {
    let elapsed = std::time::UNIX_EPOCH
        .elapsed()
        .expect("the clock is past 1970");
    u64::try_from(elapsed.as_nanos()).expect("the clock is before 2554")
}

/// A root span of one millisecond that starts now.
pub(crate) fn span(trace_id: &[u8], span_id: &[u8], name: &str) -> Span {
    let start = now();
    Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        name: name.to_owned(),
        kind: 1,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..Span::default()
    }
}

/// A request of one resource and one scope.
pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![text("service.name", service)],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "tests".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans,
        ..ScopeSpans::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends protobuf over HTTP.
pub(crate) fn post(address: SocketAddr, request: &ExportTraceServiceRequest) -> Response {
    http::post(address, "/v1/traces", &[PROTOBUF], &request.encode_to_vec()).expect("an answer")
}

/// Sends protobuf over HTTP and fails the test unless all of it is accepted.
pub(crate) fn post_accepted(address: SocketAddr, request: &ExportTraceServiceRequest) {
    let answer = post(address, request);
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, &[][..]),
        "{}",
        answer.text()
    );
}

/// The partial success in an answer to protobuf over HTTP.
pub(crate) fn partial_success(answer: &Response) -> Option<ExportTracePartialSuccess> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    ExportTraceServiceResponse::decode(answer.body.as_slice())
        .expect("a response")
        .partial_success
}

/// A gRPC client that connects when it is first used, and again when the connection is lost.
pub(crate) fn grpc_client(address: SocketAddr) -> TraceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a valid address");
    let endpoint = endpoint
        .connect_timeout(Duration::from_secs(1))
        .timeout(Duration::from_secs(10));
    TraceServiceClient::new(endpoint.connect_lazy())
}

/// A runtime for the clients of one test.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("make a runtime")
}
