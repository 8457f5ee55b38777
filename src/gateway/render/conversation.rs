//! A session as a conversation: its traces with what the model was told and what it answered.

use serde::Serialize;

use super::{Session, SpanSummary, TraceSummary};
use crate::otlp::protobuf;
use crate::semconv::messages::Messages;
use crate::storage::StoredSpan;

/// A session and a page of its traces.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Conversation {
    pub(in crate::gateway) session: Session,
    pub(in crate::gateway) traces: Vec<TraceOf>,
    pub(in crate::gateway) next_cursor: Option<String>,
}

/// A trace with its model calls.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct TraceOf {
    pub(in crate::gateway) trace: TraceSummary,
    pub(in crate::gateway) calls: Vec<CallOf>,
}

/// A model call with its messages.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct CallOf {
    #[serde(flatten)]
    span: SpanSummary,
    messages: Option<Messages>,
}

impl From<StoredSpan> for CallOf {
    fn from(stored: StoredSpan) -> Self {
        let scope = protobuf::Scope::parse(&stored.scope.message).unwrap_or_default();
        let span = protobuf::Span::parse(&stored.message).unwrap_or_default();
        Self {
            messages: Messages::of(&span, scope.name),
            span: stored.summary.into(),
        }
    }
}
