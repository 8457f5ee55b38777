//! A span with everything it came with, and a trace of such spans.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use prost::Message as _;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{EventDetail, SpanSummary, TraceSummary, damaged, time, value};
use crate::otlp::protobuf;
use crate::semconv::messages::Messages;
use crate::storage::{Error, SpanEvents, StoredEvent, StoredSpan, StoredTrace};

/// A span as it came, beside its columns.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct SpanDetail {
    #[serde(flatten)]
    summary: SpanSummary,
    received_time: String,
    received_time_unix_nano: String,
    trace_state: String,
    flags: u32,
    attributes: Map<String, Value>,
    dropped_attributes_count: u32,
    events: Vec<Event>,
    dropped_events_count: u32,
    links: Vec<Link>,
    dropped_links_count: u32,
    resource: Resource,
    scope: Scope,
    /// Absent where it was not asked for, `null` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Option<Messages>>,
}

#[derive(Debug, Serialize)]
struct Event {
    name: String,
    time: String,
    time_unix_nano: String,
    attributes: Map<String, Value>,
    dropped_attributes_count: u32,
}

#[derive(Debug, Serialize)]
struct Link {
    trace_id: String,
    span_id: String,
    trace_state: String,
    flags: u32,
    attributes: Map<String, Value>,
    dropped_attributes_count: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Resource {
    attributes: Map<String, Value>,
    dropped_attributes_count: u32,
    schema_url: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Scope {
    name: String,
    version: String,
    attributes: Map<String, Value>,
    dropped_attributes_count: u32,
    schema_url: String,
}

impl SpanDetail {
    /// Decodes what is stored, and reads the messages, those in events of the span among them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a stored message is not what it should be.
    pub(in crate::gateway) fn with_messages(
        stored: StoredSpan,
        events: &[StoredEvent],
    ) -> Result<Self, Error> {
        let messages = messages(&stored, events);
        let mut detail = Self::new(stored)?;
        detail.messages = Some(messages);
        Ok(detail)
    }

    /// Decodes what is stored.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a stored message is not what it should be.
    pub(in crate::gateway) fn new(stored: StoredSpan) -> Result<Self, Error> {
        let span = Span::decode(stored.message.as_slice()).map_err(damaged("span"))?;
        let resource = ResourceMessage::decode(stored.resource.message.as_slice())
            .map_err(damaged("resource"))?;
        let scope = InstrumentationScope::decode(stored.scope.message.as_slice())
            .map_err(damaged("scope"))?;
        let mut summary = SpanSummary::from(stored.summary);
        // The message has the times as sent, whatever the columns can hold.
        summary.start_time = time(span.start_time_unix_nano);
        summary.start_time_unix_nano = span.start_time_unix_nano.to_string();
        summary.end_time = time(span.end_time_unix_nano);
        summary.end_time_unix_nano = span.end_time_unix_nano.to_string();
        Ok(Self {
            summary,
            received_time: time(stored.received_unix_nano),
            received_time_unix_nano: stored.received_unix_nano.to_string(),
            trace_state: span.trace_state,
            flags: span.flags,
            attributes: value::attributes(span.attributes),
            dropped_attributes_count: span.dropped_attributes_count,
            events: span.events.into_iter().map(Event::from).collect(),
            dropped_events_count: span.dropped_events_count,
            links: span.links.into_iter().map(Link::from).collect(),
            dropped_links_count: span.dropped_links_count,
            resource: Resource::new(resource, &stored.resource.schema_url),
            scope: Scope::new(scope, &stored.scope.schema_url),
            messages: None,
        })
    }
}

impl Resource {
    pub(super) fn new(message: ResourceMessage, schema_url: &str) -> Self {
        Self {
            attributes: value::attributes(message.attributes),
            dropped_attributes_count: message.dropped_attributes_count,
            schema_url: schema_url.to_owned(),
        }
    }
}

impl Scope {
    pub(super) fn new(message: InstrumentationScope, schema_url: &str) -> Self {
        Self {
            name: message.name,
            version: message.version,
            attributes: value::attributes(message.attributes),
            dropped_attributes_count: message.dropped_attributes_count,
            schema_url: schema_url.to_owned(),
        }
    }
}

impl From<span::Event> for Event {
    fn from(event: span::Event) -> Self {
        Self {
            name: event.name,
            time: time(event.time_unix_nano),
            time_unix_nano: event.time_unix_nano.to_string(),
            attributes: value::attributes(event.attributes),
            dropped_attributes_count: event.dropped_attributes_count,
        }
    }
}

impl From<span::Link> for Link {
    fn from(link: span::Link) -> Self {
        Self {
            trace_id: hex(&link.trace_id),
            span_id: hex(&link.span_id),
            trace_state: link.trace_state,
            flags: link.flags,
            attributes: value::attributes(link.attributes),
            dropped_attributes_count: link.dropped_attributes_count,
        }
    }
}

/// The messages of a span, with what those events say that are its own.
pub(in crate::gateway) fn messages(
    stored: &StoredSpan,
    events: &[StoredEvent],
) -> Option<Messages> {
    let scope = protobuf::Scope::parse(&stored.scope.message).unwrap_or_default();
    let span = protobuf::Span::parse(&stored.message).unwrap_or_default();
    let of_span = Some(stored.summary.span_id);
    let own = events
        .iter()
        .filter(|event| event.columns.span_id == of_span);
    let records = own.filter_map(|event| protobuf::LogRecord::parse(&event.message).ok());
    let records: Vec<_> = records.collect();
    Messages::joined(&span, scope.name, &records)
}

/// The id of a link, which nobody has checked, so that it may have any length.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a trace answer span by span and event by event, so that only one at a time is held decoded.
///
/// # Errors
/// [`Error::Corrupt`] when a stored message is not what it should be.
pub(in crate::gateway) fn write_trace(
    stored: StoredTrace,
    events: SpanEvents,
    next_cursor: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let mut json = b"{\"trace\":".to_vec();
    write_json(&mut json, &TraceSummary::from(stored.summary))?;
    json.extend(b",\"spans\":[");
    for (index, span) in stored.spans.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_json(&mut json, &SpanDetail::new(span)?)?;
    }
    json.extend(b"],\"events\":[");
    for (index, event) in events.events.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_json(&mut json, &EventDetail::new(event)?)?;
    }
    json.extend(b"],\"events_cut\":");
    write_json(&mut json, &events.is_cut)?;
    json.extend(b",\"next_cursor\":");
    write_json(&mut json, &next_cursor)?;
    json.push(b'}');
    Ok(json)
}

fn write_json(json: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(json, value).map_err(|source| Error::Corrupt {
        context: format!("render: {source}"),
    })
}
