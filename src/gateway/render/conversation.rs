//! A session as a conversation: its traces with what the model was told and what it answered.

use serde::Serialize;

use super::detail::messages;
use super::{Session, SpanSummary, TraceSummary};
use crate::semconv::messages::Messages;
use crate::storage::{StoredEvent, StoredSpan};

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

impl CallOf {
    /// A call, with what those events say that are its own.
    pub(in crate::gateway) fn new(stored: StoredSpan, events: &[StoredEvent]) -> Self {
        Self {
            messages: messages(&stored, events),
            span: stored.summary.into(),
        }
    }
}
