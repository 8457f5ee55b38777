//! Events: what logs tell.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use prost::Message as _;
use serde::Serialize;
use serde_json::{Map, Value};

use super::detail::{Resource, Scope};
use super::genai::Usage;
use super::{damaged, time, value};
use crate::model::{SpanId, TraceId};
use crate::storage::{Error, StoredEvent};

/// An event as it came, beside its columns.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct EventDetail {
    event_id: String,
    time: Option<String>,
    time_unix_nano: Option<String>,
    observed_time: Option<String>,
    observed_time_unix_nano: Option<String>,
    received_time: String,
    received_time_unix_nano: String,
    source: &'static str,
    severity_number: Option<u8>,
    severity_text: Option<String>,
    name: Option<Cow<'static, str>>,
    body: Value,
    attributes: Map<String, Value>,
    dropped_attributes_count: u32,
    flags: u32,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    service_name: String,
    environment: Option<String>,
    release: Option<String>,
    session_id: Option<Cow<'static, str>>,
    model: Option<Cow<'static, str>>,
    usage: Usage,
    cost_nano_usd: Option<i64>,
    duration_ns: Option<i64>,
    fingerprint: Option<String>,
    resource: Resource,
    scope: Scope,
}

/// A time twice; absent when it is zero, which is how OTLP says that it is not known.
pub(super) fn known(unix_nano: u64) -> (Option<String>, Option<String>) {
    let known = (unix_nano > 0).then_some(unix_nano);
    (known.map(time), known.map(|time| time.to_string()))
}

impl EventDetail {
    /// Decodes what is stored.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a stored message is not what it should be.
    pub(in crate::gateway) fn new(stored: StoredEvent) -> Result<Self, Error> {
        let record = LogRecord::decode(stored.message.as_slice()).map_err(damaged("log record"))?;
        let resource = ResourceMessage::decode(stored.resource.message.as_slice())
            .map_err(damaged("resource"))?;
        let scope = InstrumentationScope::decode(stored.scope.message.as_slice())
            .map_err(damaged("scope"))?;
        let columns = stored.columns;
        // The message has the times as sent, whatever the columns can hold.
        let (happened, happened_unix_nano) = known(record.time_unix_nano);
        let (observed, observed_unix_nano) = known(record.observed_time_unix_nano);
        Ok(Self {
            event_id: columns.id.to_string(),
            time: happened,
            time_unix_nano: happened_unix_nano,
            observed_time: observed,
            observed_time_unix_nano: observed_unix_nano,
            received_time: time(columns.received_unix_nano),
            received_time_unix_nano: columns.received_unix_nano.to_string(),
            source: columns.source.as_str(),
            severity_number: (columns.severity > 0).then_some(columns.severity),
            severity_text: columns.severity_text,
            name: columns.facts.name,
            body: value::value(record.body),
            attributes: value::attributes(record.attributes),
            dropped_attributes_count: record.dropped_attributes_count,
            flags: record.flags,
            trace_id: columns.trace_id,
            span_id: columns.span_id,
            service_name: columns.service_name,
            environment: columns.environment,
            release: columns.release,
            session_id: columns.facts.session_id,
            model: columns.facts.model,
            usage: columns.facts.usage.into(),
            cost_nano_usd: columns.facts.cost_nano_usd,
            duration_ns: columns.facts.duration_ns,
            fingerprint: columns
                .facts
                .fingerprint
                .map(|print| format!("{print:016x}")),
            resource: Resource::new(resource, &stored.resource.schema_url),
            scope: Scope::new(scope, &stored.scope.schema_url),
        })
    }
}
