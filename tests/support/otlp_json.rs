//! OTLP/JSON, written apart from the daemon's own encoder and decoder so that both can be checked
//! against it. Decoding takes exactly what the specification lets a server emit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Map, Value, json};

use crate::otlp::hex;

/// An object whose members are taken out one by one; what is left in the end is an error.
struct Object(Map<String, Value>);

impl Object {
    fn of(value: &Value) -> Self {
        Self(
            value
                .as_object()
                .unwrap_or_else(|| panic!("not an object: {value}"))
                .clone(),
        )
    }

    fn text(&mut self, name: &str) -> String {
        match self.0.remove(name) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => panic!("{name} is not a string: {other}"),
        }
    }

    /// 64-bit integers are strings.
    fn u64(&mut self, name: &str) -> u64 {
        match self.text(name).as_str() {
            "" => 0,
            digits => digits
                .parse()
                .unwrap_or_else(|error| panic!("{name}: {error}: {digits}")),
        }
    }

    /// 32-bit integers and enums are numbers.
    fn number<T: TryFrom<i64> + Default>(&mut self, name: &str) -> T {
        let Some(value) = self.0.remove(name) else {
            return T::default();
        };
        let number = value
            .as_i64()
            .unwrap_or_else(|| panic!("{name} is not a number: {value}"));
        T::try_from(number).unwrap_or_else(|_| panic!("{name} is out of range: {number}"))
    }

    fn id(&mut self, name: &str) -> Vec<u8> {
        unhex(&self.text(name))
    }

    fn each<T>(&mut self, name: &str, decode: impl Fn(&Value) -> T) -> Vec<T> {
        match self.0.remove(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items.iter().map(decode).collect(),
            Some(other) => panic!("{name} is not an array: {other}"),
        }
    }

    fn maybe<T>(&mut self, name: &str, decode: impl Fn(&Value) -> T) -> Option<T> {
        self.0.remove(name).as_ref().map(decode)
    }

    fn end(self) {
        assert!(
            self.0.is_empty(),
            "members that OTLP does not have: {:?}",
            self.0
        );
    }
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "not hex: {text}");
    let digit =
        |range| u8::from_str_radix(&text[range], 16).unwrap_or_else(|_| panic!("not hex: {text}"));
    (0..text.len())
        .step_by(2)
        .map(|at| digit(at..at + 2))
        .collect()
}

/// Reads `{"resourceSpans": […]}`.
pub(crate) fn decode(value: &Value) -> ExportTraceServiceRequest {
    let mut object = Object::of(value);
    let resource_spans = object.each("resourceSpans", resource_spans);
    object.end();
    ExportTraceServiceRequest { resource_spans }
}

fn resource_spans(value: &Value) -> ResourceSpans {
    let mut object = Object::of(value);
    let decoded = ResourceSpans {
        resource: object.maybe("resource", resource),
        scope_spans: object.each("scopeSpans", scope_spans),
        schema_url: object.text("schemaUrl"),
    };
    object.end();
    decoded
}

fn resource(value: &Value) -> Resource {
    let mut object = Object::of(value);
    let decoded = Resource {
        attributes: object.each("attributes", key_value),
        dropped_attributes_count: object.number("droppedAttributesCount"),
        entity_refs: object.each("entityRefs", entity_ref),
    };
    object.end();
    decoded
}

fn entity_ref(value: &Value) -> EntityRef {
    let mut object = Object::of(value);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let decoded = EntityRef {
        schema_url: object.text("schemaUrl"),
        r#type: object.text("type"),
        id_keys: object.each("idKeys", text),
        description_keys: object.each("descriptionKeys", text),
    };
    object.end();
    decoded
}

fn scope_spans(value: &Value) -> ScopeSpans {
    let mut object = Object::of(value);
    let decoded = ScopeSpans {
        scope: object.maybe("scope", scope),
        spans: object.each("spans", span),
        schema_url: object.text("schemaUrl"),
    };
    object.end();
    decoded
}

fn scope(value: &Value) -> InstrumentationScope {
    let mut object = Object::of(value);
    let decoded = InstrumentationScope {
        name: object.text("name"),
        version: object.text("version"),
        attributes: object.each("attributes", key_value),
        dropped_attributes_count: object.number("droppedAttributesCount"),
    };
    object.end();
    decoded
}

fn span(value: &Value) -> Span {
    let mut object = Object::of(value);
    let decoded = Span {
        trace_id: object.id("traceId"),
        span_id: object.id("spanId"),
        trace_state: object.text("traceState"),
        parent_span_id: object.id("parentSpanId"),
        flags: object.number("flags"),
        name: object.text("name"),
        kind: object.number("kind"),
        start_time_unix_nano: object.u64("startTimeUnixNano"),
        end_time_unix_nano: object.u64("endTimeUnixNano"),
        attributes: object.each("attributes", key_value),
        dropped_attributes_count: object.number("droppedAttributesCount"),
        events: object.each("events", event),
        dropped_events_count: object.number("droppedEventsCount"),
        links: object.each("links", link),
        dropped_links_count: object.number("droppedLinksCount"),
        status: object.maybe("status", status),
    };
    object.end();
    decoded
}

fn event(value: &Value) -> Event {
    let mut object = Object::of(value);
    let decoded = Event {
        time_unix_nano: object.u64("timeUnixNano"),
        name: object.text("name"),
        attributes: object.each("attributes", key_value),
        dropped_attributes_count: object.number("droppedAttributesCount"),
    };
    object.end();
    decoded
}

fn link(value: &Value) -> Link {
    let mut object = Object::of(value);
    let decoded = Link {
        trace_id: object.id("traceId"),
        span_id: object.id("spanId"),
        trace_state: object.text("traceState"),
        attributes: object.each("attributes", key_value),
        dropped_attributes_count: object.number("droppedAttributesCount"),
        flags: object.number("flags"),
    };
    object.end();
    decoded
}

fn status(value: &Value) -> Status {
    let mut object = Object::of(value);
    let decoded = Status {
        message: object.text("message"),
        code: object.number("code"),
    };
    object.end();
    decoded
}

fn key_value(value: &Value) -> KeyValue {
    let mut object = Object::of(value);
    let decoded = KeyValue {
        key: object.text("key"),
        value: object.maybe("value", any_value),
        ..KeyValue::default()
    };
    object.end();
    decoded
}

fn any_value(value: &Value) -> AnyValue {
    let members = value
        .as_object()
        .unwrap_or_else(|| panic!("not an object: {value}"));
    assert!(members.len() <= 1, "more than one value: {value}");
    let value = members
        .iter()
        .next()
        .map(|(kind, value)| match kind.as_str() {
            "stringValue" => Kind::StringValue(value.as_str().expect("a string").to_owned()),
            "boolValue" => Kind::BoolValue(value.as_bool().expect("a boolean")),
            "intValue" => Kind::IntValue(
                value
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .expect("an integer"),
            ),
            "doubleValue" => Kind::DoubleValue(double(value)),
            "bytesValue" => Kind::BytesValue(
                STANDARD
                    .decode(value.as_str().expect("a string"))
                    .expect("base64"),
            ),
            "arrayValue" => {
                let mut object = Object::of(value);
                let values = object.each("values", any_value);
                object.end();
                Kind::ArrayValue(ArrayValue { values })
            }
            "kvlistValue" => {
                let mut object = Object::of(value);
                let values = object.each("values", key_value);
                object.end();
                Kind::KvlistValue(KeyValueList { values })
            }
            other => panic!("no such kind of value: {other}"),
        });
    AnyValue { value }
}

fn double(value: &Value) -> f64 {
    match value.as_str() {
        None => value.as_f64().expect("a number"),
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(other) => panic!("not a double: {other}"),
    }
}

/// Writes a request as a client would.
pub(crate) fn encode(request: &ExportTraceServiceRequest) -> Value {
    let resource_spans = request.resource_spans.iter().map(|item| {
        json!({
            "resource": item.resource.as_ref().map_or(json!({}), |resource| json!({
                "attributes": write_attributes(&resource.attributes),
                "droppedAttributesCount": resource.dropped_attributes_count,
                "entityRefs": resource.entity_refs.iter().map(write_entity_ref).collect::<Vec<_>>(),
            })),
            "scopeSpans": item.scope_spans.iter().map(write_scope_spans).collect::<Vec<_>>(),
            "schemaUrl": item.schema_url,
        })
    });
    json!({ "resourceSpans": resource_spans.collect::<Vec<_>>() })
}

fn write_entity_ref(entity: &EntityRef) -> Value {
    json!({
        "schemaUrl": entity.schema_url,
        "type": entity.r#type,
        "idKeys": entity.id_keys,
        "descriptionKeys": entity.description_keys,
    })
}

fn write_scope_spans(item: &ScopeSpans) -> Value {
    json!({
        "scope": item.scope.as_ref().map_or(json!({}), |scope| json!({
            "name": scope.name,
            "version": scope.version,
            "attributes": write_attributes(&scope.attributes),
            "droppedAttributesCount": scope.dropped_attributes_count,
        })),
        "spans": item.spans.iter().map(write_span).collect::<Vec<_>>(),
        "schemaUrl": item.schema_url,
    })
}

fn write_span(span: &Span) -> Value {
    let events = span.events.iter().map(|event| {
        json!({
            "timeUnixNano": event.time_unix_nano.to_string(),
            "name": event.name,
            "attributes": write_attributes(&event.attributes),
            "droppedAttributesCount": event.dropped_attributes_count,
        })
    });
    let links = span.links.iter().map(|link| {
        json!({
            "traceId": hex(&link.trace_id),
            "spanId": hex(&link.span_id),
            "traceState": link.trace_state,
            "attributes": write_attributes(&link.attributes),
            "droppedAttributesCount": link.dropped_attributes_count,
            "flags": link.flags,
        })
    });
    let mut value = json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "traceState": span.trace_state,
        "parentSpanId": hex(&span.parent_span_id),
        "flags": span.flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "endTimeUnixNano": span.end_time_unix_nano.to_string(),
        "attributes": write_attributes(&span.attributes),
        "droppedAttributesCount": span.dropped_attributes_count,
        "events": events.collect::<Vec<_>>(),
        "droppedEventsCount": span.dropped_events_count,
        "links": links.collect::<Vec<_>>(),
        "droppedLinksCount": span.dropped_links_count,
    });
    if let Some(status) = &span.status {
        value["status"] = json!({ "message": status.message, "code": status.code });
    }
    value
}

fn write_attributes(attributes: &[KeyValue]) -> Value {
    attributes.iter().map(write_key_value).collect()
}

fn write_key_value(attribute: &KeyValue) -> Value {
    match &attribute.value {
        Some(value) => json!({ "key": attribute.key, "value": write_any_value(value) }),
        None => json!({ "key": attribute.key }),
    }
}

fn write_any_value(value: &AnyValue) -> Value {
    match &value.value {
        // An index into a table of strings means nothing outside profiles.
        None | Some(Kind::StringValueStrindex(_)) => json!({}),
        Some(Kind::StringValue(text)) => json!({ "stringValue": text }),
        Some(Kind::BoolValue(value)) => json!({ "boolValue": value }),
        Some(Kind::IntValue(value)) => json!({ "intValue": value.to_string() }),
        Some(Kind::DoubleValue(value)) if value.is_nan() => json!({ "doubleValue": "NaN" }),
        Some(Kind::DoubleValue(value)) if value.is_infinite() => {
            json!({ "doubleValue": if *value > 0.0 { "Infinity" } else { "-Infinity" } })
        }
        Some(Kind::DoubleValue(value)) => json!({ "doubleValue": value }),
        Some(Kind::BytesValue(bytes)) => json!({ "bytesValue": STANDARD.encode(bytes) }),
        Some(Kind::ArrayValue(array)) => {
            json!({ "arrayValue": { "values": array.values.iter().map(write_any_value).collect::<Vec<_>>() } })
        }
        Some(Kind::KvlistValue(list)) => {
            json!({ "kvlistValue": { "values": write_attributes(&list.values) } })
        }
    }
}
