//! What a list is asked for.

use crate::model::TraceId;
use crate::model::failure::ErrorKind;

/// A half-open range `[start, end)` of start times, ns since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// Earliest start included.
    pub start_unix_nano: Option<u64>,
    /// First start excluded.
    pub end_unix_nano: Option<u64>,
}

/// Which statuses a list answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// Traces with at least one failed span; spans with status error.
    Error,
    /// Traces without a failed span; spans with any other status.
    Ok,
}

/// An attribute that must be present with this value, compared in its string form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeEquals {
    /// Attribute key of a span or its resource.
    pub key: String,
    /// String form: strings as they are, numbers in decimal, booleans `true`/`false`.
    pub value: String,
    /// Whether what has no attribute of this key, neither itself nor in its resource, is meant too.
    pub or_absent: bool,
}

/// Something that the columns of a span say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Its operation.
    Operation(String),
    /// Its provider.
    Provider(String),
    /// The model that answered, else the one asked for.
    Model(String),
    /// Name or id of its agent.
    Agent(String),
    /// Name of the tool it calls.
    Tool(String),
    /// One of its tags.
    Tag(String),
    /// It failed, and so.
    ErrorKind(ErrorKind),
}

/// Filters of the trace list. All given ones must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceFilter {
    /// Trace start.
    pub range: TimeRange,
    /// A service that takes part in the trace.
    pub service: Option<String>,
    /// Name of the root span.
    pub name: Option<String>,
    /// Failed or not.
    pub status: Option<StatusFilter>,
    /// Shortest trace, ns.
    pub duration_min_ns: Option<u64>,
    /// Longest trace, ns.
    pub duration_max_ns: Option<u64>,
    /// A session that a span of the trace names.
    pub session_id: Option<String>,
    /// User of the trace, the smallest where its spans disagree.
    pub user_id: Option<String>,
    /// Least input and output tokens of its model calls together.
    pub tokens_min: Option<i64>,
    /// Least cost of its model calls, nano-USD.
    pub cost_min_nano_usd: Option<i64>,
    /// For each of these there must be a span of the trace that says it, whichever; at most one of
    /// a kind.
    pub facts: Vec<Fact>,
    /// Attributes that one span of the trace (with its resource) must all have.
    pub attributes: Vec<AttributeEquals>,
}

/// Filters of the span list. All given ones must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanFilter {
    /// Span start.
    pub range: TimeRange,
    /// Trace of the span.
    pub trace_id: Option<TraceId>,
    /// Service of the span.
    pub service: Option<String>,
    /// Span name.
    pub name: Option<String>,
    /// Failed or not.
    pub status: Option<StatusFilter>,
    /// Shortest span, ns.
    pub duration_min_ns: Option<u64>,
    /// Longest span, ns.
    pub duration_max_ns: Option<u64>,
    /// Session the span names.
    pub session_id: Option<String>,
    /// User the span names.
    pub user_id: Option<String>,
    /// Least input and output tokens together; those that are not known count as none.
    pub tokens_min: Option<i64>,
    /// Least cost, nano-USD; a cost that is not known counts as none.
    pub cost_min_nano_usd: Option<i64>,
    /// What the span must say, all of it; at most one of a kind.
    pub facts: Vec<Fact>,
    /// Attributes the span (with its resource) must all have.
    pub attributes: Vec<AttributeEquals>,
}

/// Filters of the session list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFilter {
    /// Latest activity of the session.
    pub range: TimeRange,
    /// User of the session.
    pub user_id: Option<String>,
}

impl TraceFilter {
    /// Which traces can match at all: a kind of failure is one of a failed span.
    #[must_use]
    pub fn status_implied(&self) -> Option<StatusFilter> {
        self.status.or_else(|| failure_of(&self.facts))
    }
}

impl SpanFilter {
    /// Which spans can match at all: a kind of failure is one of a failed span.
    #[must_use]
    pub fn status_implied(&self) -> Option<StatusFilter> {
        self.status.or_else(|| failure_of(&self.facts))
    }
}

fn failure_of(facts: &[Fact]) -> Option<StatusFilter> {
    let is_failure = |fact: &Fact| matches!(fact, Fact::ErrorKind(_));
    facts.iter().any(is_failure).then_some(StatusFilter::Error)
}
