//! The canonical span's small vocabulary: kind, status, operation and the columns that are taken
//! from attributes.

use std::borrow::Cow;

/// Span kind (OTLP `SpanKind`). Unspecified and unknown numbers are read as internal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// An operation inside an application.
    Internal = 1,
    /// The server side of a request.
    Server = 2,
    /// The client side of a request.
    Client = 3,
    /// Sends a message.
    Producer = 4,
    /// Receives a message.
    Consumer = 5,
}

impl Kind {
    /// Reads the number on the wire.
    #[must_use]
    pub const fn from_wire(number: i32) -> Self {
        match number {
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Internal,
        }
    }

    /// Lower-case name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// Span status (OTLP `Status.StatusCode`). Missing and unknown numbers are read as unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Not set.
    Unset = 0,
    /// Explicitly fine.
    Ok = 1,
    /// Failed.
    Error = 2,
}

impl Status {
    /// Reads the number on the wire.
    #[must_use]
    pub const fn from_wire(number: i32) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// Lower-case name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// Columns taken from the attributes and events of one span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Basics<'a> {
    /// What the span does: a GenAI operation, else `http`, `db`, `rpc`, `messaging` or `other`.
    pub operation: Operation<'a>,
    /// What only GenAI spans have; absent for all others.
    pub genai: Option<Box<super::genai::GenAi<'a>>>,
    /// Who serves the model, by its name in the OpenTelemetry conventions where it has one
    /// (`openai`, `aws.bedrock`, …).
    pub provider: Option<Cow<'a, str>>,
    /// The model asked for, as sent.
    pub request_model: Option<Cow<'a, str>>,
    /// The model that answered, as sent.
    pub response_model: Option<Cow<'a, str>>,
    /// `session.id`, else the conversation or thread by its name in the span's dialect.
    pub session_id: Option<Cow<'a, str>>,
    /// `user.id`, else the end user by its name in the span's dialect.
    pub user_id: Option<Cow<'a, str>>,
    /// `error.type`, or `exception.type` of the span's last exception event.
    pub error_type: Option<Cow<'a, str>>,
    /// Message of the span's last exception event, else the dialect's own.
    pub error_message: Option<Cow<'a, str>>,
    /// What kind of failure a failed span tells of.
    pub error_kind: Option<super::failure::ErrorKind>,
    /// `http.request.method`, or the older `http.method`.
    pub http_method: Option<Cow<'a, str>>,
    /// `http.route`, else `url.path`, else the older `http.target`.
    pub http_route: Option<Cow<'a, str>>,
    /// `http.response.status_code`, or the older `http.status_code`.
    pub http_status_code: Option<i64>,
    /// `db.system.name`, or the older `db.system`.
    pub db_system: Option<Cow<'a, str>>,
    /// `db.operation.name`, or the older `db.operation`.
    pub db_operation: Option<Cow<'a, str>>,
    /// `rpc.system`.
    pub rpc_system: Option<Cow<'a, str>>,
    /// `rpc.service`.
    pub rpc_service: Option<Cow<'a, str>>,
    /// `rpc.method`.
    pub rpc_method: Option<Cow<'a, str>>,
}

/// What a span does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Operation<'a> {
    /// A GenAI operation: `chat`, `text_completion`, `generate_content`, `embeddings`, `rerank`,
    /// `retrieval`, `execute_tool`, `invoke_agent`, `create_agent`, `workflow`, `chain`,
    /// `guardrail`, `evaluation`, `prompt`, or one that is not known, as sent.
    GenAi(&'a str),
    /// An HTTP call, either side.
    Http,
    /// A database call.
    Db,
    /// A remote procedure call.
    Rpc,
    /// A message sent or received.
    Messaging,
    /// Anything else.
    #[default]
    Other,
}

impl Basics<'_> {
    /// The model that answered, else the one asked for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.response_model
            .as_deref()
            .or(self.request_model.as_deref())
    }
}

impl<'a> Operation<'a> {
    /// Name stored and served.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        match self {
            Self::GenAi(name) => name,
            Self::Http => "http",
            Self::Db => "db",
            Self::Rpc => "rpc",
            Self::Messaging => "messaging",
            Self::Other => "other",
        }
    }
}

/// What is implausible about the times of a span. Such a span is kept, with these marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeMarks(pub u8);

/// A start this far ahead of the time of receipt can't be a plausible clock difference, ns.
const FUTURE_TOLERANCE_NS: u64 = 24 * 3600 * 1_000_000_000;
/// A start this far before the time of receipt is older than any backfill we expect, ns.
const PAST_TOLERANCE_NS: u64 = 10 * 365 * 24 * 3600 * 1_000_000_000;

impl TimeMarks {
    /// The names of the marks, in bit order.
    const NAMES: [&'static str; 4] = [
        "end_before_start",
        "start_missing",
        "start_in_future",
        "start_in_distant_past",
    ];

    /// Judges a span's times against the time of receipt. All in ns since the Unix epoch.
    #[must_use]
    pub const fn judge(start: u64, end: u64, received: u64) -> Self {
        let mut bits = 0;
        if end < start {
            bits |= 1;
        }
        if start == 0 {
            bits |= 2;
        } else if start > received.saturating_add(FUTURE_TOLERANCE_NS) {
            bits |= 4;
        } else if start < received.saturating_sub(PAST_TOLERANCE_NS) {
            bits |= 8;
        }
        Self(bits)
    }

    /// The names of the marks that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter_map(move |(bit, name)| (self.0 & (1 << bit) != 0).then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implausible_times_are_marked() {
        let day = FUTURE_TOLERANCE_NS;
        let now = 1_800_000_000_000_000_000;
        let marks = |start, end| {
            TimeMarks::judge(start, end, now)
                .names()
                .collect::<Vec<_>>()
        };
        assert_eq!(marks(now - day, now), Vec::<&str>::new());
        assert_eq!(marks(now, now - 1), ["end_before_start"]);
        assert_eq!(marks(0, now), ["start_missing"]);
        assert_eq!(
            marks(now + day + 1, now),
            ["end_before_start", "start_in_future"]
        );
        assert_eq!(marks(u64::MAX, u64::MAX), ["start_in_future"]);
        assert_eq!(marks(1, now), ["start_in_distant_past"]);
    }
}
