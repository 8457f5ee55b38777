//! What the pipeline hands to a store.

use std::borrow::Cow;

use super::metrics::identity::Instrument;
use crate::model::event::{EventFacts, EventId, EventSource, Outline};
use crate::model::metric::{Point, SeriesId};
use crate::model::sampling::{Reason, SampledOut};
use crate::model::span::{Basics, Kind, Status, TimeMarks};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::otlp::protobuf::KeyValues;
use crate::queue::{LogId, Position};

/// One transaction's worth of spans, events and data points, borrowed from the log records they came in.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Which life of the log the position is of; a checkpoint says nothing about another one.
    pub log_id: LogId,
    /// Log partition the batch was read from.
    pub partition: u32,
    /// Position of the first record that is *not* in this batch; becomes the checkpoint. Zero
    /// leaves the checkpoint where it is: more of the same record follows. No other batch of this
    /// log and partition has the same position, so a checkpoint tells whether a batch is stored.
    pub next: Position,
    /// Resources that [`SpanRow::resource`] indexes.
    pub resources: Vec<ResourceRow<'a>>,
    /// Scopes that [`SpanRow::scope`] indexes.
    pub scopes: Vec<ScopeRow<'a>>,
    /// The spans.
    pub spans: Vec<SpanRow<'a>>,
    /// The events.
    pub events: Vec<EventRow<'a>>,
    /// Data points of metrics, and what they are of.
    pub metrics: MetricRows<'a>,
    /// How long spans that are sampled out are remembered, ns; absent where none are.
    pub remember_ns: Option<i64>,
}

impl Batch<'_> {
    /// Arrival of its newest span, event or data point, ns since the Unix epoch; zero when it is empty.
    #[must_use]
    pub fn received_unix_nano(&self) -> u64 {
        let spans = self.spans.iter().map(|span| span.received_unix_nano);
        let events = self.events.iter().map(|event| event.received_unix_nano);
        let points = self.metrics.points.iter();
        let points = points.map(|point| point.received_unix_nano);
        spans.chain(events).chain(points).max().unwrap_or(0)
    }

    /// Rows in it.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.spans.len() + self.events.len() + self.metrics.points.len()
    }
}

/// A resource as it came.
#[derive(Debug, Clone)]
pub struct ResourceRow<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Encoded OTLP `Resource` message.
    pub message: Cow<'a, [u8]>,
    /// `ResourceSpans.schema_url`.
    pub schema_url: &'a str,
    /// `service.name`, or `unknown_service`.
    pub service_name: Cow<'a, str>,
    /// `service.version`.
    pub service_version: Option<Cow<'a, str>>,
    /// `service.instance.id`.
    pub service_instance: Option<Cow<'a, str>>,
    /// `deployment.environment.name`, or the older `deployment.environment`.
    pub environment: Option<Cow<'a, str>>,
}

/// An instrumentation scope as it came.
#[derive(Debug, Clone)]
pub struct ScopeRow<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Encoded OTLP `InstrumentationScope` message.
    pub message: Cow<'a, [u8]>,
    /// `ScopeSpans.schema_url`.
    pub schema_url: &'a str,
    /// Scope name.
    pub name: Cow<'a, str>,
    /// Scope version.
    pub version: Cow<'a, str>,
}

/// One span: the columns, and the message they were taken from.
#[derive(Debug, Clone)]
pub struct SpanRow<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Parent span; absent for a root.
    pub parent_span_id: Option<SpanId>,
    /// Span name.
    pub name: Cow<'a, str>,
    /// Span kind; unspecified is read as internal.
    pub kind: Kind,
    /// Status; missing is unset.
    pub status: Status,
    /// Status message.
    pub status_message: Cow<'a, str>,
    /// Start, ns since the Unix epoch, as sent.
    pub start_unix_nano: u64,
    /// End, ns since the Unix epoch, as sent.
    pub end_unix_nano: u64,
    /// What is implausible about the times.
    pub time_marks: TimeMarks,
    /// Index into [`Batch::resources`].
    pub resource: usize,
    /// Index into [`Batch::scopes`].
    pub scope: usize,
    /// When the request was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
    /// Columns taken from attributes.
    pub basics: Basics<'a>,
    /// Encoded OTLP `Span` message, after limits.
    pub message: Cow<'a, [u8]>,
    /// What tells the name of its scope from others; 0 when it has none.
    pub scope_digest: u32,
    /// Whether it was made of a log record.
    pub is_derived: bool,
    /// Whether, besides, it is in a trace of such spans only.
    pub is_recorded: bool,
    /// Why it is not to be stored, but only counted, unless its trace is stored.
    pub sampled_out: Option<Reason>,
}

impl SpanRow<'_> {
    /// End minus start in ns; zero when the end is before the start.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }
}

/// One event: the columns, and the message they were taken from.
#[derive(Debug, Clone)]
pub struct EventRow<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Identity, with the time.
    pub id: EventId,
    /// When it was collected, ns since the Unix epoch; zero when unknown.
    pub observed_unix_nano: u64,
    /// When the request was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
    /// Severity, 1 (trace) to 24 (fatal); zero when unknown.
    pub severity: u8,
    /// What the source calls the severity.
    pub severity_text: Cow<'a, str>,
    /// Trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// Span of that trace.
    pub span_id: Option<SpanId>,
    /// Where it comes from.
    pub source: EventSource,
    /// Columns taken from attributes.
    pub facts: EventFacts<'a>,
    /// What it is about, where it has a fingerprint.
    pub outline: Option<Outline<'a>>,
    /// Index into [`Batch::resources`].
    pub resource: usize,
    /// Index into [`Batch::scopes`].
    pub scope: usize,
    /// Encoded OTLP `LogRecord` message, after limits.
    pub message: Cow<'a, [u8]>,
}

/// Data points, and the series, resources and scopes they are of.
#[derive(Debug, Clone, Default)]
pub struct MetricRows<'a> {
    /// Series a project may have at most.
    pub series_max: u32,
    /// Resources that [`SeriesRow::resource`] indexes.
    pub resources: Vec<ResourceRow<'a>>,
    /// Scopes that [`SeriesRow::scope`] indexes.
    pub scopes: Vec<ScopeRow<'a>>,
    /// The series, each once.
    pub series: Vec<SeriesRow<'a>>,
    /// The points.
    pub points: Vec<PointRow>,
}

/// A series of a metric.
#[derive(Debug, Clone)]
pub struct SeriesRow<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Identity.
    pub id: SeriesId,
    /// The metric.
    pub instrument: Instrument<'a>,
    /// What the metric is, for people.
    pub description: &'a str,
    /// Attributes of its points.
    pub attributes: KeyValues<'a>,
    /// Index into [`MetricRows::resources`].
    pub resource: usize,
    /// Index into [`MetricRows::scopes`].
    pub scope: usize,
    /// When the latest of its points was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
}

/// A data point. It is identified by its project, its series, its time and its start.
#[derive(Debug, Clone)]
pub struct PointRow {
    /// Index into [`MetricRows::series`].
    pub series: usize,
    /// When it was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
    /// The point.
    pub point: Point,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteReport {
    /// Spans stored.
    pub spans_stored: u64,
    /// Spans that were stored, or left out, already.
    pub spans_duplicate: u64,
    /// Spans left out, but counted.
    pub spans_sampled_out: SampledOut,
    /// Events stored.
    pub events_stored: u64,
    /// Events that were stored already.
    pub events_duplicate: u64,
    /// Data points stored.
    pub points_stored: u64,
    /// Data points that were stored already.
    pub points_duplicate: u64,
    /// Of those stored, the ones under a series for those beyond the limit.
    pub points_overflow: u64,
}

/// Spans by project, trace id and span id; of those with one identity only the first that arrived.
pub(in crate::storage) fn by_trace<'b>(spans: &'b [SpanRow<'b>]) -> Vec<&'b SpanRow<'b>> {
    let key = |(place, span): (usize, &SpanRow<'_>)| {
        // Numbers compare in a step; their order is that of the bytes.
        let trace_id = u128::from_be_bytes(span.trace_id.0);
        let span_id = u64::from_be_bytes(span.span_id.0);
        (span.project, trace_id, span_id, place)
    };
    let mut order: Vec<_> = spans.iter().enumerate().map(key).collect();
    order.sort_unstable();
    order.dedup_by_key(|(project, trace_id, span_id, _)| (*project, *trace_id, *span_id));
    let places = order.into_iter().map(|(.., place)| place);
    places.filter_map(|place| spans.get(place)).collect()
}
