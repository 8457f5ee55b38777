//! Conforming OTLP/JSON: lowerCamelCase keys, 64-bit integers in strings, ids in lower-case hex,
//! enums as numbers, fields with their default value left out.

mod metric;

use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::otlp::protobuf::non_finite_text;

/// Encodes a `TracesData` or `ExportTraceServiceRequest` of these spans.
#[must_use]
pub fn encode(resource_spans: &[ResourceSpans]) -> Vec<u8> {
    serde_json::to_vec(&Json(resource_spans)).unwrap_or_default()
}

/// Encodes a `LogsData` or `ExportLogsServiceRequest` of these log records.
#[must_use]
pub fn encode_logs(resource_logs: &[ResourceLogs]) -> Vec<u8> {
    serde_json::to_vec(&Json(resource_logs)).unwrap_or_default()
}

/// Encodes a `MetricsData` or `ExportMetricsServiceRequest` of these metrics.
#[must_use]
pub fn encode_metrics(resource_metrics: &[ResourceMetrics]) -> Vec<u8> {
    serde_json::to_vec(&Json(resource_metrics)).unwrap_or_default()
}

/// Shows an OTLP message to serde in its JSON form. For a slice of `ResourceSpans` that is the
/// whole `TracesData`, of `ResourceLogs` the whole `LogsData`, of `ResourceMetrics` the whole
/// `MetricsData`.
#[derive(Debug)]
pub struct Json<'a, T: ?Sized>(pub &'a T);

/// Writes the members of an object that are not at their default.
struct Members<S: SerializeMap>(S);

impl<S: SerializeMap> Members<S> {
    fn text(&mut self, key: &'static str, value: &str) -> Result<(), S::Error> {
        if value.is_empty() {
            return Ok(());
        }
        self.0.serialize_entry(key, value)
    }

    fn hex(&mut self, key: &'static str, value: &[u8]) -> Result<(), S::Error> {
        if value.is_empty() {
            return Ok(());
        }
        self.0.serialize_entry(key, &Shown(Hex(value)))
    }

    fn number<N: Serialize + Default + PartialEq>(
        &mut self,
        key: &'static str,
        value: &N,
    ) -> Result<(), S::Error> {
        if *value == N::default() {
            return Ok(());
        }
        self.0.serialize_entry(key, value)
    }

    fn long(&mut self, key: &'static str, value: u64) -> Result<(), S::Error> {
        if value == 0 {
            return Ok(());
        }
        self.0.serialize_entry(key, &Shown(value))
    }

    fn double(&mut self, key: &'static str, value: f64) -> Result<(), S::Error> {
        // Minus zero is not the default.
        if value.to_bits() == 0 {
            return Ok(());
        }
        self.some_double(key, Some(value))
    }

    fn some_double(&mut self, key: &'static str, value: Option<f64>) -> Result<(), S::Error> {
        match value {
            Some(value) => self.0.serialize_entry(key, &Double(value)),
            None => Ok(()),
        }
    }

    fn message<T>(&mut self, key: &'static str, value: Option<&T>) -> Result<(), S::Error>
    where
        for<'a> Json<'a, T>: Serialize,
    {
        match value {
            Some(value) => self.0.serialize_entry(key, &Json(value)),
            None => Ok(()),
        }
    }

    fn list<T>(&mut self, key: &'static str, values: &[T]) -> Result<(), S::Error>
    where
        for<'a> Json<'a, T>: Serialize,
    {
        if values.is_empty() {
            return Ok(());
        }
        self.0.serialize_entry(key, &List(values))
    }

    fn texts(&mut self, key: &'static str, values: &[String]) -> Result<(), S::Error> {
        if values.is_empty() {
            return Ok(());
        }
        self.0.serialize_entry(key, values)
    }
}

struct List<'a, T>(&'a [T]);

impl<T> Serialize for List<'_, T>
where
    for<'a> Json<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Json))
    }
}

/// Something that is a string in JSON.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A number, or the text of what JSON has no number for.
struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match non_finite_text(self.0) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_f64(self.0),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Implements the JSON form of a message as a list of its members.
macro_rules! object {
    ($it:ident: $message:ty { $($kind:ident $key:literal $value:expr;)* }) => {
        impl Serialize for Json<'_, $message> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $it = self.0;
                let mut members = Members(serializer.serialize_map(None)?);
                $(members.$kind($key, $value)?;)*
                members.0.end()
            }
        }
    };
}

use object;

object!(it: [ResourceSpans] {
    list "resourceSpans" it;
});

object!(it: ResourceSpans {
    message "resource" it.resource.as_ref();
    list "scopeSpans" &it.scope_spans;
    text "schemaUrl" &it.schema_url;
});

object!(it: [ResourceLogs] {
    list "resourceLogs" it;
});

object!(it: ResourceLogs {
    message "resource" it.resource.as_ref();
    list "scopeLogs" &it.scope_logs;
    text "schemaUrl" &it.schema_url;
});

object!(it: ScopeLogs {
    message "scope" it.scope.as_ref();
    list "logRecords" &it.log_records;
    text "schemaUrl" &it.schema_url;
});

object!(it: LogRecord {
    long "timeUnixNano" it.time_unix_nano;
    long "observedTimeUnixNano" it.observed_time_unix_nano;
    number "severityNumber" &it.severity_number;
    text "severityText" &it.severity_text;
    message "body" it.body.as_ref();
    list "attributes" &it.attributes;
    number "droppedAttributesCount" &it.dropped_attributes_count;
    number "flags" &it.flags;
    hex "traceId" &it.trace_id;
    hex "spanId" &it.span_id;
    text "eventName" &it.event_name;
});

object!(it: Resource {
    list "attributes" &it.attributes;
    number "droppedAttributesCount" &it.dropped_attributes_count;
    list "entityRefs" &it.entity_refs;
});

object!(it: EntityRef {
    text "schemaUrl" &it.schema_url;
    text "type" &it.r#type;
    texts "idKeys" &it.id_keys;
    texts "descriptionKeys" &it.description_keys;
});

object!(it: ScopeSpans {
    message "scope" it.scope.as_ref();
    list "spans" &it.spans;
    text "schemaUrl" &it.schema_url;
});

object!(it: InstrumentationScope {
    text "name" &it.name;
    text "version" &it.version;
    list "attributes" &it.attributes;
    number "droppedAttributesCount" &it.dropped_attributes_count;
});

object!(it: Span {
    hex "traceId" &it.trace_id;
    hex "spanId" &it.span_id;
    text "traceState" &it.trace_state;
    hex "parentSpanId" &it.parent_span_id;
    number "flags" &it.flags;
    text "name" &it.name;
    number "kind" &it.kind;
    long "startTimeUnixNano" it.start_time_unix_nano;
    long "endTimeUnixNano" it.end_time_unix_nano;
    list "attributes" &it.attributes;
    number "droppedAttributesCount" &it.dropped_attributes_count;
    list "events" &it.events;
    number "droppedEventsCount" &it.dropped_events_count;
    list "links" &it.links;
    number "droppedLinksCount" &it.dropped_links_count;
    message "status" it.status.as_ref();
});

object!(it: Event {
    long "timeUnixNano" it.time_unix_nano;
    text "name" &it.name;
    list "attributes" &it.attributes;
    number "droppedAttributesCount" &it.dropped_attributes_count;
});

object!(it: Link {
    hex "traceId" &it.trace_id;
    hex "spanId" &it.span_id;
    text "traceState" &it.trace_state;
    list "attributes" &it.attributes;
    number "droppedAttributesCount" &it.dropped_attributes_count;
    number "flags" &it.flags;
});

object!(it: Status {
    text "message" &it.message;
    number "code" &it.code;
});

object!(it: KeyValue {
    text "key" &it.key;
    message "value" it.value.as_ref();
    number "keyStrindex" &it.key_strindex;
});

object!(it: ArrayValue {
    list "values" &it.values;
});

object!(it: KeyValueList {
    list "values" &it.values;
});

impl Serialize for Json<'_, AnyValue> {
    /// The value's kind is always written, since zero and empty are values too.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0.value {
            None => {}
            Some(Value::StringValue(text)) => map.serialize_entry("stringValue", text)?,
            Some(Value::BoolValue(value)) => map.serialize_entry("boolValue", value)?,
            Some(Value::IntValue(value)) => map.serialize_entry("intValue", &Shown(value))?,
            Some(Value::DoubleValue(value)) => {
                map.serialize_entry("doubleValue", &Double(*value))?;
            }
            Some(Value::ArrayValue(array)) => map.serialize_entry("arrayValue", &Json(array))?,
            Some(Value::KvlistValue(list)) => map.serialize_entry("kvlistValue", &Json(list))?,
            Some(Value::BytesValue(bytes)) => {
                let base64 = Shown(Base64Display::new(bytes, &STANDARD));
                map.serialize_entry("bytesValue", &base64)?;
            }
            Some(Value::StringValueStrindex(index)) => {
                map.serialize_entry("stringValueStrindex", index)?;
            }
        }
        map.end()
    }
}
