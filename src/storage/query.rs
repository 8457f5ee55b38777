//! What a store is asked, and what it answers.

mod analytics;
mod filter;

use std::sync::Arc;

use crate::model::genai::{GenAi, Totals};
use crate::model::{SpanId, TraceId};

pub use analytics::{AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, Details, Dimension, Measures};
pub use filter::{
    AttributeEquals, Fact, SessionFilter, SpanFilter, StatusFilter, TimeRange, TraceFilter,
};

/// Where a list goes on: the sort key of the last item looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Sort time of that item, ns since the Unix epoch.
    pub unix_nano: u64,
    /// Tie-break; its meaning is the backend's.
    pub key: Vec<u8>,
}

/// Which page of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items answered.
    pub limit: usize,
    /// Go on after this item.
    pub after: Option<Cursor>,
}

/// A page of a list. It may hold fewer items than asked while `next` is set: the scan budget was
/// used up, and `next` goes on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; absent at the end.
    pub next: Option<Cursor>,
}

/// What is known of a trace without reading its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSummary {
    /// Trace.
    pub trace_id: TraceId,
    /// Name of the root span; of the earliest span while no root has arrived.
    pub name: String,
    /// Service of that span.
    pub service_name: String,
    /// The root span; absent while none has arrived.
    pub root_span_id: Option<SpanId>,
    /// Earliest start, ns.
    pub start_unix_nano: u64,
    /// Latest end, ns.
    pub end_unix_nano: u64,
    /// Spans stored.
    pub span_count: u64,
    /// Spans with status error.
    pub error_count: u64,
    /// Spans with a GenAI operation.
    pub genai_span_count: u64,
    /// Tokens and cost of its model calls.
    pub totals: Totals,
    /// Services taking part, sorted, at most 64.
    pub services: Vec<String>,
    /// Models used, sorted, at most 16.
    pub models: Vec<String>,
    /// Session, when any span names one.
    pub session_id: Option<String>,
    /// User, when any span names one.
    pub user_id: Option<String>,
    /// The earliest failed span.
    pub first_error: Option<FirstError>,
}

/// The earliest failed span of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstError {
    /// The span.
    pub span_id: SpanId,
    /// Its name.
    pub name: String,
    /// Its error type, when known.
    pub error_type: Option<String>,
    /// Its status message, or the message of its exception.
    pub message: String,
}

/// A resource as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredResource {
    /// Encoded OTLP `Resource` message.
    pub message: Vec<u8>,
    /// `ResourceSpans.schema_url`.
    pub schema_url: String,
    /// Service name.
    pub service_name: String,
}

/// A scope as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredScope {
    /// Encoded OTLP `InstrumentationScope` message.
    pub message: Vec<u8>,
    /// `ScopeSpans.schema_url`.
    pub schema_url: String,
}

/// A span as it came, after limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSpan {
    /// Its columns.
    pub summary: SpanSummary,
    /// Its resource; spans of one answer share it.
    pub resource: Arc<StoredResource>,
    /// Its scope; spans of one answer share it.
    pub scope: Arc<StoredScope>,
    /// Encoded OTLP `Span` message.
    pub message: Vec<u8>,
    /// When it was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
}

/// A trace and a page of its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTrace {
    /// Summary over all spans.
    pub summary: TraceSummary,
    /// Spans in (start, span id) order.
    pub spans: Vec<StoredSpan>,
    /// Where the spans go on; absent at the end.
    pub next: Option<Cursor>,
}

/// What is known of a span without reading its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanSummary {
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Parent; absent for a root.
    pub parent_span_id: Option<SpanId>,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: crate::model::span::Kind,
    /// Status.
    pub status: crate::model::span::Status,
    /// Status message.
    pub status_message: String,
    /// Service.
    pub service_name: String,
    /// Start, ns.
    pub start_unix_nano: u64,
    /// End minus start, ns.
    pub duration_ns: u64,
    /// What is implausible about the times.
    pub time_marks: crate::model::span::TimeMarks,
    /// Operation name.
    pub operation: String,
    /// What only GenAI spans have.
    pub genai: Option<Box<GenAi<'static>>>,
    /// Provider.
    pub provider: Option<String>,
    /// Model asked for.
    pub request_model: Option<String>,
    /// Model that answered.
    pub response_model: Option<String>,
    /// Session.
    pub session_id: Option<String>,
    /// User.
    pub user_id: Option<String>,
    /// Error type.
    pub error_type: Option<String>,
    /// Kind of failure, of a span that failed.
    pub error_kind: Option<crate::model::failure::ErrorKind>,
    /// HTTP method.
    pub http_method: Option<String>,
    /// HTTP route or path.
    pub http_route: Option<String>,
    /// HTTP status code.
    pub http_status_code: Option<i64>,
    /// Database system.
    pub db_system: Option<String>,
    /// Database operation.
    pub db_operation: Option<String>,
    /// RPC system.
    pub rpc_system: Option<String>,
    /// RPC service.
    pub rpc_service: Option<String>,
    /// RPC method.
    pub rpc_method: Option<String>,
}

impl SpanSummary {
    /// Goes on after this span in its trace.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            unix_nano: self.start_unix_nano,
            key: self.span_id.0.to_vec(),
        }
    }
}

/// A service seen in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSummary {
    /// Service name.
    pub name: String,
    /// Earliest span start, ns.
    pub first_seen_unix_nano: u64,
    /// Latest span start, ns.
    pub last_seen_unix_nano: u64,
    /// Spans stored.
    pub span_count: u64,
    /// Spans with status error.
    pub error_count: u64,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    /// Session.
    pub session_id: String,
    /// User, when any span names one.
    pub user_id: Option<String>,
    /// Earliest span start, ns.
    pub start_unix_nano: u64,
    /// Latest span end, ns.
    pub end_unix_nano: u64,
    /// Traces with a span of this session.
    pub trace_count: u64,
    /// Spans that name this session.
    pub span_count: u64,
    /// Those with status error.
    pub error_count: u64,
    /// Tokens and cost of its model calls.
    pub totals: Totals,
}

/// A session and a page of its traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Summary over all its spans.
    pub summary: SessionSummary,
    /// Traces with a span of the session, in (start, trace id) order.
    pub traces: Vec<TraceSummary>,
    /// Where the traces go on, as [`TraceSummary::cursor`] makes it; absent at the end.
    pub next: Option<Cursor>,
}

impl TraceSummary {
    /// Goes on after this trace in a session.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            unix_nano: self.start_unix_nano,
            key: self.trace_id.0.to_vec(),
        }
    }
}

/// A question about users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersQuery {
    /// First trace start included, ns.
    pub start_unix_nano: u64,
    /// First trace start excluded, ns.
    pub end_unix_nano: u64,
    /// Which page: users who were seen earlier than the cursor's time, or then and with a larger
    /// id than its key.
    pub page: PageRequest,
}

/// What is known of a user from the traces of some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSummary {
    /// User.
    pub user_id: String,
    /// Earliest start of a trace, ns.
    pub first_seen_unix_nano: u64,
    /// Latest end of a trace, ns.
    pub last_seen_unix_nano: u64,
    /// Traces.
    pub trace_count: u64,
    /// Those with a failed span.
    pub failed_trace_count: u64,
    /// Spans of the traces.
    pub span_count: u64,
    /// Tokens and cost of the traces' model calls.
    pub totals: Totals,
}

/// Users, last seen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersAnswer {
    /// A page of them.
    pub page: Page<UserSummary>,
    /// Where the work that a query may do did not suffice for the whole time: only traces that
    /// start here or later are counted, ns.
    pub counted_from_unix_nano: Option<u64>,
}

/// A span the store refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Why it was refused.
    pub reason: String,
    /// When it was set aside, ns since the Unix epoch.
    pub created_unix_nano: u64,
    /// Encoded OTLP `Span` message.
    pub message: Vec<u8>,
}
