//! Trace summaries: what a group of spans adds to one, and how two are merged.
//!
//! Pure, and independent of order: every field is a sum, a minimum, a maximum, or the smallest
//! few of a set, so that any split and order of the same spans gives the same summary. Tokens and
//! cost are not of that kind; see `calls`.

use std::borrow::Cow;

use super::write::{ResourceRow, SpanRow};
use crate::model::SpanId;
use crate::model::span::{Operation, Status};

/// Services kept per trace.
pub const SERVICES_MAX: usize = 64;
/// Models kept per trace.
pub const MODELS_MAX: usize = 16;

/// A summary over some spans of one trace. Times are clamped to 63 bits, as stores keep them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Earliest arrival, ns.
    pub received: i64,
    /// Earliest start, ns.
    pub start: i64,
    /// Latest end, ns.
    pub end: i64,
    /// Spans.
    pub span_count: i64,
    /// Spans with status error.
    pub error_count: i64,
    /// Spans with a GenAI operation.
    pub genai_span_count: i64,
    /// The span that names the trace.
    pub head: Head<'a>,
    /// Services, sorted; the smallest [`SERVICES_MAX`].
    pub services: Vec<Cow<'a, str>>,
    /// Models, sorted; the smallest [`MODELS_MAX`].
    pub models: Vec<Cow<'a, str>>,
    /// Session; the smallest when spans disagree.
    pub session_id: Option<Cow<'a, str>>,
    /// User; the smallest when spans disagree.
    pub user_id: Option<Cow<'a, str>>,
    /// The earliest failed span.
    pub first_error: Option<FailedSpan<'a>>,
}

/// The span that names a trace: a root before any other, then the earliest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// Whether it names a parent.
    pub has_parent: bool,
    /// Its start, ns.
    pub start: i64,
    /// The span.
    pub span_id: SpanId,
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its service.
    pub service: Cow<'a, str>,
}

/// A failed span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSpan<'a> {
    /// Its start, ns.
    pub start: i64,
    /// The span.
    pub span_id: SpanId,
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its error type.
    pub error_type: Option<Cow<'a, str>>,
    /// Its status message, else its exception's message.
    pub message: Cow<'a, str>,
}

/// Clamps a time on the wire to what stores keep.
#[must_use]
pub fn clamp_time(unix_nano: u64) -> i64 {
    i64::try_from(unix_nano).unwrap_or(i64::MAX)
}

impl<'a> Summary<'a> {
    /// The summary of a single span.
    #[must_use]
    pub fn of(span: &'a SpanRow<'a>, resource: &'a ResourceRow<'a>) -> Self {
        let start = clamp_time(span.start_unix_nano);
        let mut summary = Self {
            received: clamp_time(span.received_unix_nano),
            start,
            end: start,
            span_count: 0,
            error_count: 0,
            genai_span_count: 0,
            head: Head::of(span, resource),
            services: Vec::new(),
            models: Vec::new(),
            session_id: None,
            user_id: None,
            first_error: None,
        };
        summary.add(span, resource);
        summary
    }

    /// Adds a span of the same trace.
    pub fn add(&mut self, span: &'a SpanRow<'a>, resource: &'a ResourceRow<'a>) {
        let start = clamp_time(span.start_unix_nano);
        let basics = &span.basics;
        let failed = span.status == Status::Error;
        self.received = self.received.min(clamp_time(span.received_unix_nano));
        self.start = self.start.min(start);
        self.end = self.end.max(clamp_time(span.end_unix_nano)).max(start);
        self.span_count += 1;
        self.error_count += i64::from(failed);
        self.genai_span_count += i64::from(matches!(basics.operation, Operation::GenAi(_)));
        if (span.parent_span_id.is_some(), start, span.span_id) < self.head.rank() {
            self.head = Head::of(span, resource);
        }
        if failed {
            self.note_error(FailedSpan::of(span));
        }
        insert_sorted(
            &mut self.services,
            Cow::Borrowed(&resource.service_name),
            SERVICES_MAX,
        );
        if let Some(model) = basics.model() {
            insert_sorted(&mut self.models, Cow::Borrowed(model), MODELS_MAX);
        }
        keep_smallest(
            &mut self.session_id,
            basics.session_id.as_deref().map(Cow::Borrowed),
        );
        keep_smallest(
            &mut self.user_id,
            basics.user_id.as_deref().map(Cow::Borrowed),
        );
    }

    /// Adds another summary of the same trace.
    pub fn merge(&mut self, other: Self) {
        self.received = self.received.min(other.received);
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.span_count += other.span_count;
        self.error_count += other.error_count;
        self.genai_span_count += other.genai_span_count;
        if other.head.rank() < self.head.rank() {
            self.head = other.head;
        }
        for service in other.services {
            insert_sorted(&mut self.services, service, SERVICES_MAX);
        }
        for model in other.models {
            insert_sorted(&mut self.models, model, MODELS_MAX);
        }
        keep_smallest(&mut self.session_id, other.session_id);
        keep_smallest(&mut self.user_id, other.user_id);
        if let Some(theirs) = other.first_error {
            self.note_error(theirs);
        }
    }

    fn note_error(&mut self, theirs: FailedSpan<'a>) {
        match &self.first_error {
            Some(ours) if ours.rank() <= theirs.rank() => {}
            _ => self.first_error = Some(theirs),
        }
    }
}

impl<'a> Head<'a> {
    fn of(span: &'a SpanRow<'a>, resource: &'a ResourceRow<'a>) -> Self {
        Self {
            has_parent: span.parent_span_id.is_some(),
            start: clamp_time(span.start_unix_nano),
            span_id: span.span_id,
            name: Cow::Borrowed(&span.name),
            service: Cow::Borrowed(&resource.service_name),
        }
    }

    fn rank(&self) -> (bool, i64, SpanId) {
        (self.has_parent, self.start, self.span_id)
    }
}

impl<'a> FailedSpan<'a> {
    fn of(span: &'a SpanRow<'a>) -> Self {
        let message = if span.status_message.is_empty() {
            span.basics.error_message.as_deref().unwrap_or_default()
        } else {
            &span.status_message
        };
        Self {
            start: clamp_time(span.start_unix_nano),
            span_id: span.span_id,
            name: Cow::Borrowed(&span.name),
            error_type: span.basics.error_type.as_deref().map(Cow::Borrowed),
            message: Cow::Borrowed(message),
        }
    }

    fn rank(&self) -> (i64, SpanId) {
        (self.start, self.span_id)
    }
}

fn insert_sorted<'a>(texts: &mut Vec<Cow<'a, str>>, text: Cow<'a, str>, keep: usize) {
    if let Err(place) = texts.binary_search(&text) {
        texts.insert(place, text);
        texts.truncate(keep);
    }
}

fn keep_smallest<'a>(ours: &mut Option<Cow<'a, str>>, theirs: Option<Cow<'a, str>>) {
    if let Some(theirs) = theirs {
        match ours {
            Some(mine) if *mine <= theirs => {}
            _ => *ours = Some(theirs),
        }
    }
}
