//! Spans in few words, written as the rows that the pipeline hands to a store.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::{Backend, NOW, PROJECT, runtime};
use crate::model::genai::{GenAi, Usage};
use crate::model::sampling::Reason;
use crate::model::span::{Basics, Kind, Operation, Status, TimeMarks};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::queue::{LogId, Position};
use crate::storage::query::AttributeEquals;
use crate::storage::write::{Batch, ResourceRow, ScopeRow, SpanRow, WriteReport};
use crate::storage::{PageRequest, SpanFilter, TraceFilter};

pub(super) const OTHER: ProjectId = ProjectId(2);

/// A span.
#[derive(Debug, Clone)]
pub(super) struct TestSpan {
    pub(super) project: ProjectId,
    pub(super) trace: u64,
    pub(super) span: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    pub(super) start: u64,
    pub(super) duration: u64,
    /// Arrival, ns.
    pub(super) received: u64,
    pub(super) failed: bool,
    pub(super) is_recorded: bool,
    pub(super) sampled_out: Option<Reason>,
    pub(super) basics: Basics<'static>,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) resource_attributes: Vec<(&'static str, Value)>,
    /// Of the resource; none when empty.
    pub(super) environment: &'static str,
}

/// A root span of trace `trace` that starts at `start`.
pub(super) fn span(trace: u64, span: u64, start: u64) -> TestSpan {
    TestSpan {
        project: PROJECT,
        trace,
        span,
        parent: None,
        name: "op",
        service: "api",
        start,
        duration: 10,
        received: NOW,
        failed: false,
        is_recorded: false,
        sampled_out: None,
        basics: Basics {
            operation: Operation::Http,
            ..Basics::default()
        },
        attributes: Vec::new(),
        resource_attributes: Vec::new(),
        environment: "",
    }
}

/// Columns of a model call.
pub(super) fn call(model: &'static str, input: i64, output: i64) -> Basics<'static> {
    Basics {
        operation: Operation::GenAi("chat"),
        provider: Some("provider".into()),
        response_model: Some(model.into()),
        genai: Some(Box::new(GenAi {
            usage: Usage {
                input: Some(input),
                output: Some(output),
                ..Usage::default()
            },
            is_model_call: true,
            ..GenAi::default()
        })),
        ..Basics::default()
    }
}

pub(super) fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

pub(super) fn trace_id(trace: u64) -> TraceId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&trace.to_be_bytes());
    TraceId(id)
}

pub(super) fn span_id(span: u64) -> SpanId {
    SpanId(span.to_be_bytes())
}

/// What [`trace_id`] was made of.
pub(super) fn trace_number(id: TraceId) -> u64 {
    u64::from_be_bytes(id.0[8..].try_into().unwrap())
}

/// What [`span_id`] was made of.
pub(super) fn span_number(id: SpanId) -> u64 {
    u64::from_be_bytes(id.0)
}

impl TestSpan {
    /// With a session, and a user if it is not empty.
    pub(super) fn in_session(mut self, session: &'static str, user: &'static str) -> Self {
        self.basics.session_id = Some(session.into());
        self.basics.user_id = (!user.is_empty()).then(|| user.into());
        self
    }

    pub(super) fn message(&self) -> Vec<u8> {
        Span {
            trace_id: trace_id(self.trace).0.to_vec(),
            span_id: span_id(self.span).0.to_vec(),
            name: self.name.to_owned(),
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.start.saturating_add(self.duration),
            attributes: key_values(&self.attributes),
            ..Span::default()
        }
        .encode_to_vec()
    }

    fn resource(&self) -> ResourceRow<'static> {
        let mut attributes = key_values(&self.resource_attributes);
        attributes.extend(key_values(&[("service.name", text(self.service))]));
        let environment = Some(self.environment).filter(|environment| !environment.is_empty());
        if let Some(environment) = environment {
            attributes.extend(key_values(&[(
                "deployment.environment.name",
                text(environment),
            )]));
        }
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
            environment: environment.map(Cow::Borrowed),
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
            status_message: Cow::Borrowed(if self.failed { "failed" } else { "" }),
            start_unix_nano: self.start,
            end_unix_nano: self.start.saturating_add(self.duration),
            time_marks: TimeMarks::default(),
            resource: index,
            scope: index,
            received_unix_nano: self.received,
            basics: self.basics.clone(),
            message: Cow::Owned(self.message()),
            scope_digest: 0,
            is_derived: self.is_recorded,
            is_recorded: self.is_recorded,
            sampled_out: self.sampled_out,
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

/// The rows of some spans, each with a resource of its service.
pub(super) fn batch(spans: &[TestSpan]) -> Batch<'static> {
    let scope = |span: &TestSpan| ScopeRow {
        project: span.project,
        message: Cow::Borrowed(&[]),
        schema_url: "",
        name: "".into(),
        version: "".into(),
    };
    Batch {
        events: Vec::new(),
        log_id: LogId::default(),
        partition: 0,
        next: Position(1),
        resources: spans.iter().map(TestSpan::resource).collect(),
        scopes: spans.iter().map(scope).collect(),
        spans: (0..)
            .zip(spans)
            .map(|(index, span)| span.row(index))
            .collect(),
        ..Batch::default()
    }
}

/// Writes spans as one batch.
pub(super) fn write_spans(backend: &mut impl Backend, spans: &[TestSpan]) -> WriteReport {
    let batch = batch(spans);
    runtime().block_on(backend.writer().write(&batch)).unwrap()
}

pub(super) fn page(limit: usize) -> PageRequest {
    PageRequest { limit, after: None }
}

pub(super) fn attribute(key: &str, value: &str) -> Vec<AttributeEquals> {
    vec![AttributeEquals {
        key: key.to_owned(),
        value: value.to_owned(),
        or_absent: false,
    }]
}

pub(super) fn traces_with(set: impl FnOnce(&mut TraceFilter)) -> TraceFilter {
    let mut filter = TraceFilter::default();
    set(&mut filter);
    filter
}

pub(super) fn spans_with(set: impl FnOnce(&mut SpanFilter)) -> SpanFilter {
    let mut filter = SpanFilter::default();
    set(&mut filter);
    filter
}

pub(super) fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// All pages of the trace list, as the numbers of the traces.
pub(super) fn trace_list(backend: &impl Backend, filter: &TraceFilter, limit: usize) -> Vec<u64> {
    runtime().block_on(async {
        let mut request = page(limit);
        let mut found = Vec::new();
        loop {
            let answer = backend.reader().list_traces(PROJECT, filter, &request);
            let answer = answer.await.unwrap();
            assert!(answer.items.len() <= limit);
            found.extend(
                answer
                    .items
                    .iter()
                    .map(|trace| trace_number(trace.trace_id)),
            );
            match answer.next {
                Some(next) => request.after = Some(next),
                None => return found,
            }
        }
    })
}

/// All pages of the span list, as the numbers of the spans.
pub(super) fn span_list(backend: &impl Backend, filter: &SpanFilter, limit: usize) -> Vec<u64> {
    runtime().block_on(async {
        let mut request = page(limit);
        let mut found = Vec::new();
        loop {
            let answer = backend.reader().list_spans(PROJECT, filter, &request);
            let answer = answer.await.unwrap();
            assert!(answer.items.len() <= limit);
            found.extend(answer.items.iter().map(|span| span_number(span.span_id)));
            match answer.next {
                Some(next) => request.after = Some(next),
                None => return found,
            }
        }
    })
}
