//! The messages of a log export and the names of their fields in JSON.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::de::MapAccess;

use super::message::{List, Member, Message, Object, ignore, message, set, set_some};
use super::scalar::{HexId, Integer, Named, Text};

message!(ExportLogsServiceRequest {
    b"resourceLogs" => resource_logs: set List<Object<ResourceLogs>>,
});

message!(ResourceLogs {
    b"resource" => resource: set_some Object<Resource>,
    b"scopeLogs" => scope_logs: set List<Object<ScopeLogs>>,
    b"schemaUrl" => schema_url: set Text,
});

message!(ScopeLogs {
    b"scope" => scope: set_some Object<InstrumentationScope>,
    b"logRecords" => log_records: set List<Object<LogRecord>>,
    b"schemaUrl" => schema_url: set Text,
});

message!(LogRecord {
    b"timeUnixNano" => time_unix_nano: set Integer<u64>,
    b"observedTimeUnixNano" => observed_time_unix_nano: set Integer<u64>,
    b"severityNumber" => severity_number: set Named<SeverityNumber>,
    b"severityText" => severity_text: set Text,
    b"body" => body: set_some Object<AnyValue>,
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"droppedAttributesCount" => dropped_attributes_count: set Integer<u32>,
    b"flags" => flags: set Integer<u32>,
    b"traceId" => trace_id: set HexId,
    b"spanId" => span_id: set HexId,
    b"eventName" => event_name: set Text,
});
