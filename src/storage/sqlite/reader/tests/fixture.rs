//! A store in a temporary directory, filled through the real writer.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::FutureExt as _;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::model::span::{Basics, Kind, Operation, Status, TimeMarks};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::queue::Position;
use crate::storage::sqlite::{Config, SqliteReader, SqliteWriter};
use crate::storage::write::{Batch, ResourceRow, ScopeRow, SpanRow};
use crate::storage::{RetentionConfig, SpanWriter as _};

pub(super) const PROJECT: ProjectId = ProjectId::DEFAULT;
pub(super) const OTHER: ProjectId = ProjectId(2);

pub(super) struct Store {
    pub(super) writer: SqliteWriter,
    pub(super) reader: SqliteReader,
    pub(super) path: std::path::PathBuf,
    // Dropped last, after the connections.
    _directory: tempfile::TempDir,
}

impl Store {
    pub(super) fn open() -> Self {
        Self::with_timeout(Duration::from_secs(30))
    }

    pub(super) fn with_timeout(query_timeout: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pulse.db");
        let config = Config {
            readers: 2,
            ..Config::default()
        };
        let writer = SqliteWriter::open(&path, &config, RetentionConfig::default(), 1).unwrap();
        let reader = SqliteReader::open(&path, &config, query_timeout).unwrap();
        Self {
            writer,
            reader,
            path,
            _directory: directory,
        }
    }

    /// Writes spans as one batch, each with a resource of its service.
    pub(super) fn write(&mut self, spans: &[TestSpan]) {
        let resources = spans.iter().map(TestSpan::resource).collect();
        let scope = |span: &TestSpan| ScopeRow {
            project: span.project,
            message: Cow::Borrowed(&[]),
            schema_url: "",
            name: "".into(),
            version: "".into(),
        };
        let batch = Batch {
            partition: 0,
            next: Position(1),
            resources,
            scopes: spans.iter().map(scope).collect(),
            spans: spans
                .iter()
                .enumerate()
                .map(|(index, span)| span.row(index))
                .collect(),
            ..Batch::default()
        };
        self.writer.write(&batch).now_or_never().unwrap().unwrap();
    }
}

/// A span in few words.
#[derive(Debug, Clone)]
pub(super) struct TestSpan {
    pub(super) project: ProjectId,
    pub(super) trace: u8,
    pub(super) span: u16,
    pub(super) parent: Option<u16>,
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    pub(super) start: u64,
    pub(super) duration: u64,
    pub(super) failed: bool,
    pub(super) session: Option<&'static str>,
    pub(super) user: Option<&'static str>,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) resource_attributes: Vec<(&'static str, Value)>,
}

/// A root span of trace `trace` that starts at `start`.
pub(super) fn span(trace: u8, span: u16, start: u64) -> TestSpan {
    TestSpan {
        project: PROJECT,
        trace,
        span,
        parent: None,
        name: "op",
        service: "api",
        start,
        duration: 10,
        failed: false,
        session: None,
        user: None,
        attributes: Vec::new(),
        resource_attributes: Vec::new(),
    }
}

pub(super) fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

pub(super) fn trace_id(trace: u8) -> TraceId {
    TraceId([trace; 16])
}

pub(super) fn span_id(span: u16) -> SpanId {
    let [high, low] = span.to_be_bytes();
    SpanId([1, 0, 0, 0, 0, 0, high, low])
}

impl TestSpan {
    pub(super) fn message(&self) -> Vec<u8> {
        Span {
            trace_id: trace_id(self.trace).0.to_vec(),
            span_id: span_id(self.span).0.to_vec(),
            name: self.name.to_owned(),
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.start + self.duration,
            attributes: key_values(&self.attributes),
            ..Span::default()
        }
        .encode_to_vec()
    }

    fn resource(&self) -> ResourceRow<'static> {
        let mut attributes = key_values(&self.resource_attributes);
        attributes.extend(key_values(&[("service.name", text(self.service))]));
        let message = Resource {
            attributes,
            ..Resource::default()
        };
        ResourceRow {
            project: self.project,
            message: Cow::Owned(message.encode_to_vec()),
            schema_url: "",
            service_name: self.service.into(),
            service_version: None,
            service_instance: None,
            environment: None,
        }
    }

    fn row(&self, index: usize) -> SpanRow<'static> {
        SpanRow {
            project: self.project,
            trace_id: trace_id(self.trace),
            span_id: span_id(self.span),
            parent_span_id: self.parent.map(span_id),
            name: Cow::Borrowed(self.name),
            kind: Kind::Server,
            status: if self.failed {
                Status::Error
            } else {
                Status::Unset
            },
            status_message: Cow::Borrowed(""),
            start_unix_nano: self.start,
            end_unix_nano: self.start + self.duration,
            time_marks: TimeMarks::default(),
            resource: index,
            scope: index,
            received_unix_nano: 7,
            basics: Basics {
                operation: Operation::Http,
                session_id: self.session.map(Cow::Borrowed),
                user_id: self.user.map(Cow::Borrowed),
                ..Basics::default()
            },
            message: Cow::Owned(self.message()),
            scope_digest: 0,
            is_derived: false,
            is_recorded: false,
            sampled_out: None,
        }
    }
}

fn key_values(pairs: &[(&'static str, Value)]) -> Vec<KeyValue> {
    pairs
        .iter()
        .map(|(key, value)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue {
                value: Some(value.clone()),
            }),
            ..KeyValue::default()
        })
        .collect()
}
