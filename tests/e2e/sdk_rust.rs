//! What the OpenTelemetry Rust SDK sends is served as it was sent.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{
    Compression, Protocol, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use serde_json::json;

use crate::daemon::Daemon;
use crate::otlp::runtime;
use crate::sdk;

/// An exporter that keeps what the SDK holds, beside the one that sends it.
#[derive(Debug, Clone, Default)]
struct Recorder {
    resource: Option<Resource>,
    spans: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl opentelemetry_sdk::trace::SpanExporter for Recorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource = self.resource.as_ref().expect("the SDK sets it");
        let mut spans = self.spans.lock().unwrap();
        spans.extend(batch.iter().map(|span| record(resource, span)));
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = Some(resource.clone());
    }
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
        .to_string()
}

fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => json!({ "bool": value }),
        Value::I64(value) => json!({ "int": value.to_string() }),
        Value::F64(value) => json!({ "double": value }),
        Value::String(text) => json!({ "string": text.as_str() }),
        Value::Array(array) => {
            let items: Vec<_> = match array {
                Array::Bool(items) => items
                    .iter()
                    .map(|&item| self::value(&item.into()))
                    .collect(),
                Array::I64(items) => items
                    .iter()
                    .map(|&item| self::value(&item.into()))
                    .collect(),
                Array::F64(items) => items
                    .iter()
                    .map(|&item| self::value(&item.into()))
                    .collect(),
                Array::String(items) => items
                    .iter()
                    .map(|item| self::value(&Value::String(item.clone())))
                    .collect(),
                other => panic!("no such array: {other:?}"),
            };
            json!({ "array": items })
        }
        other => panic!("no such value: {other:?}"),
    }
}

fn attributes<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> serde_json::Value {
    let members = attributes
        .into_iter()
        .map(|item| (item.key.to_string(), value(&item.value)));
    members.collect::<serde_json::Map<_, _>>().into()
}

fn record(resource: &Resource, span: &SpanData) -> serde_json::Value {
    let parent = span.parent_span_id;
    let is_root = parent == opentelemetry::trace::SpanId::INVALID;
    let (code, message) = match &span.status {
        Status::Unset => (0, ""),
        Status::Ok => (1, ""),
        Status::Error { description } => (2, description.as_ref()),
    };
    let kind = match span.span_kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let events = span.events.iter().map(|event| {
        json!({
            "time": nanos(event.timestamp),
            "name": event.name,
            "attributes": attributes(&event.attributes),
        })
    });
    let links = span.links.iter().map(|link| {
        json!({
            "traceId": link.span_context.trace_id().to_string(),
            "spanId": link.span_context.span_id().to_string(),
            "attributes": attributes(&link.attributes),
        })
    });
    let of_resource = resource
        .iter()
        .map(|(key, item)| (key.to_string(), value(item)));
    let scope = &span.instrumentation_scope;
    json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "parentSpanId": if is_root { String::new() } else { parent.to_string() },
        "traceState": span.span_context.trace_state().header(),
        "name": span.name,
        "kind": kind,
        "start": nanos(span.start_time),
        "end": nanos(span.end_time),
        "status": { "code": code, "message": message },
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "resource": of_resource.collect::<serde_json::Map<_, _>>(),
        "scope": {
            "name": scope.name(),
            "version": scope.version().unwrap_or_default(),
            "attributes": attributes(scope.attributes()),
        },
    })
}

fn send_spans(provider: &SdkTracerProvider) {
    let scope = InstrumentationScope::builder("web.server").with_version("1.2.3");
    let scope = scope
        .with_attributes([KeyValue::new("scope.key", "scope value")])
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let text = |text: &str| Value::String(text.to_owned().into());
    let server = tracer
        .span_builder("GET /überraschung/{id}")
        .with_kind(SpanKind::Server);
    let mut server = server.start(&tracer);
    server.set_attributes([
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.route", "/überraschung/{id}"),
        KeyValue::new("text", text("zwölf Boxkämpfer 拳闘 🥊 \u{0} \u{202e}")),
        KeyValue::new("empty", ""),
        KeyValue::new("yes", true),
        KeyValue::new("largest", i64::MAX),
        KeyValue::new("smallest", i64::MIN),
        KeyValue::new("ratio", 0.1),
        KeyValue::new("tiny", 5e-324),
        KeyValue::new(
            "texts",
            Value::Array(Array::String(vec!["a".into(), "".into(), "ß".into()])),
        ),
        KeyValue::new(
            "numbers",
            Value::Array(Array::I64(vec![1, -1, (1 << 53) + 1])),
        ),
        KeyValue::new("ratios", Value::Array(Array::F64(vec![0.5, -1.5]))),
        KeyValue::new("flags", Value::Array(Array::Bool(vec![true, false]))),
        KeyValue::new("session.id", "session-rust"),
        KeyValue::new("user.id", "user-1"),
    ]);
    server.add_event(
        "cache miss",
        vec![KeyValue::new("key", "k"), KeyValue::new("tries", 3)],
    );
    server.set_status(Status::Ok);
    let link = Link::new(
        server.span_context().clone(),
        vec![KeyValue::new("reason", "same")],
        0,
    );
    let inside = Context::current_with_span(server);
    let query = tracer
        .span_builder("SELECT")
        .with_kind(SpanKind::Client)
        .with_links(vec![link]);
    let mut query = query.start_with_context(&tracer, &inside);
    query.set_attribute(KeyValue::new("db.system.name", "postgresql"));
    query.set_status(Status::error("Zeile fehlt: 行がありません"));
    query.end();
    inside.span().end();
    let remote = SpanContext::new(
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319e_u128.into(),
        0x00f0_67aa_0ba9_02b7_u64.into(),
        TraceFlags::SAMPLED,
        true,
        TraceState::from_key_value([("vendor", "opaque-1"), ("other", "2")]).unwrap(),
    );
    let parent = Context::new().with_remote_span_context(remote);
    let tracer = provider.tracer("llm.client");
    let mut chat = tracer.start_with_context("chat gpt-x", &parent);
    chat.set_attributes([
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("gen_ai.request.model", "gpt-x"),
        KeyValue::new("gen_ai.usage.input_tokens", 1234),
        KeyValue::new("gen_ai.input.messages", "Ünïcode ".repeat(400)),
    ]);
    chat.end();
}

fn send(daemon: &Daemon, exporter: SpanExporter) {
    let recorder = Recorder::default();
    let resource = Resource::builder()
        .with_service_name("rust")
        .with_attributes([
            KeyValue::new("service.version", "9.8"),
            KeyValue::new("host.cpus", 4),
        ]);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_simple_exporter(recorder.clone())
        .with_batch_exporter(exporter)
        .build();
    send_spans(&provider);
    provider
        .force_flush()
        .expect("the exporter delivers its spans");
    provider.shutdown().expect("the exporter ends");
    let spans = recorder.spans.lock().unwrap().clone();
    sdk::assert_served(daemon, &spans);
}

// Scenario: a Rust application sends its spans over gRPC, and over gRPC with gzip.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn rust_spans_over_grpc_are_served_as_sent() {
    for compression in [None, Some(Compression::Gzip)] {
        let daemon = Daemon::spawn(&[]);
        let runtime = runtime();
        let _inside = runtime.enter();
        let endpoint = format!("http://{}", daemon.addresses().grpc);
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        let exporter = match compression {
            Some(compression) => exporter.with_compression(compression),
            None => exporter,
        };
        send(&daemon, exporter.build().unwrap());
    }
}

// Scenario: a Rust application sends its spans over HTTP, as protobuf and as JSON.
// Guarantees: every field of every span is served as the SDK holds it.
#[test]
fn rust_spans_over_http_are_served_as_sent() {
    for protocol in [Protocol::HttpBinary, Protocol::HttpJson] {
        let daemon = Daemon::spawn(&[]);
        let endpoint = format!("http://{}/v1/traces", daemon.addresses().http);
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint);
        send(&daemon, exporter.with_protocol(protocol).build().unwrap());
    }
}
