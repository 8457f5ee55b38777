//! Writes a message as OTLP JSON (ids in hex, 64-bit numbers as strings) and notes where its
//! placeholders are. Only what the profiles use is written.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

use super::{Patch, PatchKind, TIME_DIGITS, span_patch, string_patches, trace_slot};

pub(super) fn encode(message: &ExportTraceServiceRequest) -> (Vec<u8>, Vec<Patch>) {
    let mut writer = Writer::default();
    writer.raw("{\"resourceSpans\":");
    writer.list(&message.resource_spans, Writer::resource_spans);
    writer.raw("}");
    (writer.out, writer.patches)
}

#[derive(Debug, Default)]
struct Writer {
    out: Vec<u8>,
    patches: Vec<Patch>,
    /// Trace of the span being written; `None` outside of spans.
    trace: Option<u32>,
}

impl Writer {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.raw("[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw("]");
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let start = self.out.len();
        let quoted = serde_json::Value::from(text).to_string();
        let escaped = quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        self.raw(escaped.unwrap_or_default());
        if let (Some(trace), Some(written)) = (self.trace, self.out.get(start..)) {
            string_patches(written, start, trace, &mut self.patches);
        }
        self.out.push(b'"');
    }

    fn resource_spans(&mut self, item: &ResourceSpans) {
        self.raw("{\"resource\":{\"attributes\":");
        let resource = item.resource.as_ref();
        let attributes = resource.map(|resource| resource.attributes.as_slice());
        self.list(attributes.unwrap_or_default(), Self::attribute);
        self.raw("},\"scopeSpans\":");
        self.list(&item.scope_spans, |writer, scope_spans| {
            writer.raw("{\"scope\":{\"name\":");
            let scope = scope_spans.scope.clone().unwrap_or_default();
            writer.string(&scope.name);
            writer.raw(",\"version\":");
            writer.string(&scope.version);
            writer.raw("},\"spans\":");
            writer.list(&scope_spans.spans, Self::span);
            writer.raw("}");
        });
        self.raw("}");
    }

    fn span(&mut self, span: &Span) {
        self.trace = trace_slot(&span.trace_id);
        self.raw("{\"traceId\":\"");
        self.patch(Some(PatchKind::TraceId), 32);
        self.raw("\",\"spanId\":\"");
        self.patch(span_patch(&span.span_id), 16);
        if let Some(parent) = span_patch(&span.parent_span_id) {
            self.raw("\",\"parentSpanId\":\"");
            self.patch(Some(parent), 16);
        }
        self.raw(&format!(
            "\",\"flags\":{},\"kind\":{},\"name\":",
            span.flags, span.kind
        ));
        self.string(&span.name);
        self.raw(",\"startTimeUnixNano\":");
        self.time(span.start_time_unix_nano);
        self.raw(",\"endTimeUnixNano\":");
        self.time(span.end_time_unix_nano);
        self.raw(",\"attributes\":");
        self.list(&span.attributes, Self::attribute);
        if !span.events.is_empty() {
            self.raw(",\"events\":");
            self.list(&span.events, Self::event);
        }
        if let Some(status) = &span.status {
            self.raw(&format!(
                ",\"status\":{{\"code\":{},\"message\":",
                status.code
            ));
            self.string(&status.message);
            self.raw("}");
        }
        self.raw("}");
        self.trace = None;
    }

    fn event(&mut self, event: &Event) {
        self.raw("{\"timeUnixNano\":");
        self.time(event.time_unix_nano);
        self.raw(",\"name\":");
        self.string(&event.name);
        self.raw(",\"attributes\":");
        self.list(&event.attributes, |writer, attribute| {
            // Texts of events stay as they are, as in protobuf.
            let trace = writer.trace.take();
            writer.attribute(attribute);
            writer.trace = trace;
        });
        self.raw("}");
    }

    fn attribute(&mut self, attribute: &KeyValue) {
        self.raw("{\"key\":");
        self.string(&attribute.key);
        self.raw(",\"value\":");
        self.value(attribute.value.as_ref());
        self.raw("}");
    }

    fn value(&mut self, value: Option<&AnyValue>) {
        match value.and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => {
                self.raw("{\"stringValue\":");
                self.string(text);
            }
            Some(Value::IntValue(number)) => {
                self.raw(&format!("{{\"intValue\":\"{number}\""));
            }
            Some(Value::DoubleValue(number)) => {
                self.raw(&format!("{{\"doubleValue\":{number}"));
            }
            Some(Value::BoolValue(flag)) => self.raw(&format!("{{\"boolValue\":{flag}")),
            Some(Value::ArrayValue(array)) => {
                self.raw("{\"arrayValue\":{\"values\":");
                self.list(&array.values, |writer, value| writer.value(Some(value)));
                self.raw("}");
            }
            _ => self.raw("{"),
        }
        self.raw("}");
    }

    /// A quoted time.
    fn time(&mut self, placeholder: u64) {
        self.raw("\"");
        let offset = placeholder.checked_sub(1);
        self.patch(offset.map(PatchKind::Time), TIME_DIGITS);
        self.raw("\"");
    }

    /// Room for a value that is written later.
    fn patch(&mut self, kind: Option<PatchKind>, width: usize) {
        if let (Some(kind), Some(trace)) = (kind, self.trace) {
            let offset = self.out.len();
            self.patches.push(Patch {
                offset,
                trace,
                kind,
            });
        }
        self.out.resize(self.out.len() + width, b'0');
    }
}
