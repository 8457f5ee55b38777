//! Events in the making, and the export request that holds them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{names, value};
use crate::model::event::EventSource;
use crate::model::{SpanId, TraceId};
use crate::receivers::pulse::scalar::{hex_bytes, uuid_bytes};

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For who looks closely.
    Debug,
    /// As usual.
    Info,
    /// Odd.
    Warning,
    /// Something failed.
    Error,
    /// Everything failed.
    Fatal,
}

impl Level {
    /// Its number in OTLP (logs.proto, `SeverityNumber`).
    #[must_use]
    pub const fn severity(self) -> i32 {
        match self {
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warning => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

/// What an event is of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Service.
    pub service: Option<String>,
    /// Version of the service.
    pub release: Option<String>,
    /// Deployment environment.
    pub environment: Option<String>,
}

impl Origin {
    fn resource(self) -> Resource {
        let named = [
            (names::SERVICE, self.service),
            (names::SERVICE_VERSION, self.release),
            (names::ENVIRONMENT, self.environment),
        ];
        let named = named.into_iter();
        Resource {
            attributes: named
                .filter_map(|(key, text)| Some(value::text(key, text?)))
                .collect(),
            ..Resource::default()
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What it is of.
    pub origin: Origin,
    /// What it says.
    pub record: LogRecord,
}

impl Draft {
    /// Adds an attribute.
    pub fn add(&mut self, key: impl Into<String>, value: Option<Any>) {
        if let Some(value) = value {
            self.record.attributes.push(value::attribute(key, value));
        }
    }

    /// Adds an attribute that is a text.
    pub fn add_text(&mut self, key: &str, text: Option<&str>) {
        self.add(key, text.map(|text| Any::StringValue(text.to_owned())));
    }

    /// Says what it tells.
    pub fn say(&mut self, message: &str) {
        self.record.body = Some(AnyValue {
            value: Some(Any::StringValue(message.to_owned())),
        });
    }

    /// Links it to a trace and a span, if these are ids of such.
    pub fn link(&mut self, trace: Option<&str>, span: Option<&str>) {
        let Some(trace_id) = trace.and_then(trace_id) else {
            return;
        };
        self.record.trace_id = trace_id.0.to_vec();
        let bytes = span.and_then(|span| hex_bytes::<{ SpanId::LENGTH }>(span.as_bytes()));
        if let Some(span_id) = bytes.and_then(|bytes| SpanId::from_bytes(&bytes)) {
            self.record.span_id = span_id.0.to_vec();
        }
    }
}

/// The trace that a text is the id of: 32 hexadecimal digits, or a UUID.
#[must_use]
pub fn trace_id(text: &str) -> Option<TraceId> {
    let bytes = uuid_bytes(text).or_else(|| hex_bytes(text.as_bytes()))?;
    TraceId::from_bytes(&bytes)
}

/// The request that holds some events of a source, in their order.
#[must_use]
pub fn request(source: EventSource, drafts: Vec<Draft>) -> ExportLogsServiceRequest {
    let mut groups: Vec<(Origin, Vec<LogRecord>)> = Vec::new();
    for draft in drafts {
        match groups.last_mut() {
            Some((origin, records)) if *origin == draft.origin => records.push(draft.record),
            _ => groups.push((draft.origin, vec![draft.record])),
        }
    }
    let resource_logs = groups
        .into_iter()
        .map(|(origin, log_records)| ResourceLogs {
            resource: Some(origin.resource()),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: source.scope().to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        });
    ExportLogsServiceRequest {
        resource_logs: resource_logs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(environment: Option<&str>) -> Draft {
        Draft {
            origin: Origin {
                environment: environment.map(str::to_owned),
                ..Origin::default()
            },
            record: LogRecord::default(),
        }
    }

    #[test]
    fn neighbours_of_one_origin_share_its_resource() {
        let drafts = [None, None, Some("a"), Some("a"), None].map(draft).to_vec();
        let made = request(EventSource::PulseKit, drafts);
        let sizes: Vec<_> = made
            .resource_logs
            .iter()
            .map(|it| it.scope_logs[0].log_records.len())
            .collect();
        assert_eq!(sizes, [2, 2, 1]);
        let resource = made.resource_logs[1].resource.as_ref().unwrap();
        assert_eq!(resource.attributes, [value::text(names::ENVIRONMENT, "a")]);
        let scope = made.resource_logs[0].scope_logs[0].scope.as_ref().unwrap();
        assert_eq!(EventSource::of_scope(&scope.name), EventSource::PulseKit);
    }

    #[test]
    fn only_ids_of_traces_are_links() {
        let linked = |trace: &str, span: &str| {
            let mut draft = draft(None);
            draft.link(Some(trace), Some(span));
            (draft.record.trace_id.len(), draft.record.span_id.len())
        };
        let hex = "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11";
        assert_eq!(linked(hex, "00f067aa0ba902b7"), (16, 8));
        assert_eq!(linked("0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11", "x"), (16, 0));
        assert_eq!(linked(hex, "0000000000000000"), (16, 0));
        for wrong in ["", "1767607200000-ab12cd34e", &"0".repeat(32)] {
            assert_eq!(linked(wrong, "00f067aa0ba902b7"), (0, 0), "{wrong}");
        }
    }
}
