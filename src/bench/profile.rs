//! What the spans look like. A profile makes one request as an OTLP message in which ids and times
//! are placeholders: trace ids hold the trace's slot, span ids the position in the trace, times
//! the nanoseconds since the start of the trace plus one. [`super::template`] finds and replaces
//! them.

mod genai;
mod small;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::Serialize;

use super::layout::{Layout, Rng, Slot};

/// Which spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Service spans: HTTP servers and clients, 11 attributes, about 540 bytes each, 8 a trace.
    #[default]
    Small,
    /// LLM spans: an agent, a chat call with its messages and a tool call a trace, about
    /// 2.2 KB a span.
    Genai,
}

/// What a profile is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) profile: Profile,
    pub(super) layout: Layout,
    /// Services that take part.
    pub(super) services: u32,
    /// Share of failed spans, in hundredths of a percent.
    pub(super) errors_per_10_000: u64,
    /// Bytes of input and output messages of a chat span.
    pub(super) message_bytes: usize,
}

impl Profile {
    pub(super) const fn spans_per_trace(self) -> u32 {
        match self {
            Self::Small => 8,
            Self::Genai => 3,
        }
    }

    pub(super) const fn spans_per_request(self) -> u32 {
        match self {
            Self::Small => 512,
            Self::Genai => 510,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Genai => "genai",
        }
    }
}

/// The message of one request variant.
pub(super) fn message(shape: &Shape, variant: u64, rng: &mut Rng) -> ExportTraceServiceRequest {
    let services = shape.services.max(1);
    let mut groups: Vec<Vec<Span>> = (0..services).map(|_| Vec::new()).collect();
    for slot in shape.layout.slots(variant) {
        let failed = rng.below(10_000) < shape.errors_per_10_000;
        let (service, span) = match shape.profile {
            Profile::Small => small::span(slot, services, failed, rng),
            Profile::Genai => genai::span(slot, shape, failed, rng),
        };
        if let Some(group) = groups.get_mut(service as usize) {
            group.push(span);
        }
    }
    let resource_spans = groups
        .into_iter()
        .zip(0..)
        .filter(|(spans, _)| !spans.is_empty())
        .map(|(spans, service)| resource_spans(shape.profile, service, spans))
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

fn resource_spans(profile: Profile, service: u32, spans: Vec<Span>) -> ResourceSpans {
    let (names, scope): (&[&str], _) = match profile {
        Profile::Small => (&small::SERVICES, "opentelemetry.instrumentation.http"),
        Profile::Genai => (&genai::SERVICES, "opentelemetry.instrumentation.genai"),
    };
    let name = match names.get(service as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("service-{service:03}"),
    };
    let resource = Resource {
        attributes: vec![
            text("service.name", &name),
            text("service.version", format!("1.{}.0", service % 7)),
            text(
                "service.instance.id",
                format!("{name}-7c9d8f6b5-{service:05x}"),
            ),
            text("deployment.environment.name", "production"),
            text("telemetry.sdk.language", "python"),
            text("host.name", format!("node-{:02}", service % 16)),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: scope.to_owned(),
        version: "0.59.0".to_owned(),
        ..InstrumentationScope::default()
    };
    ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            spans,
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(
        key,
        Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)),
    )
}

/// Start and end of a span, ns since the start of its trace.
#[derive(Debug, Clone, Copy)]
struct Times {
    start: u64,
    end: u64,
}

/// A span with its placeholders.
fn placeholder(slot: Slot, parent: Option<u32>, times: Times) -> Span {
    let position = |position: u32| u64::from(position).to_be_bytes().to_vec();
    Span {
        trace_id: u128::from(slot.trace).to_be_bytes().to_vec(),
        span_id: position(slot.position),
        parent_span_id: parent.map(position).unwrap_or_default(),
        start_time_unix_nano: times.start + 1,
        end_time_unix_nano: times.end + 1,
        flags: 0x101,
        ..Span::default()
    }
}

/// Marks a span as failed, with an exception event as SDKs record it.
fn fail(span: &mut Span, error_type: &str, message: &str) {
    span.status = Some(Status {
        message: message.to_owned(),
        code: StatusCode::Error.into(),
    });
    span.attributes.push(text("error.type", error_type));
    let stack = format!(
        "Traceback (most recent call last):\n  File \"/app/handlers.py\", line 88, in handle\n    \
         return self.call(request)\n  File \"/app/client.py\", line 41, in call\n    \
         response.raise_for_status()\n{error_type}: {message}"
    );
    span.events.push(Event {
        time_unix_nano: span.end_time_unix_nano,
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", error_type),
            text("exception.message", message),
            text("exception.stacktrace", stack),
        ],
        dropped_attributes_count: 0,
    });
}
