//! One session: the conversation in its order.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::Params;
use super::problem::{Code, Problem};
use super::{Shared, render};
use crate::model::{ProjectId, TraceId};
use crate::storage::{Cursor, PageRequest, StoredSpan};

/// Traces of a page when the client does not say, and at most.
const TRACES_DEFAULT: u32 = 20;
const TRACES_MAX: u32 = 100;
/// Model calls of a page at most.
const CALLS_MAX: usize = 500;
/// Bytes of spans a page holds about at most, though always one call.
const BYTES_MAX: usize = 16 << 20;

/// `GET /api/v1/sessions/{session_id}`: its traces, oldest first, with their model calls.
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(session_id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    let (page, binding) = params.finish_page(&shared, TRACES_DEFAULT, TRACES_MAX)?;
    let place = page.after.as_ref().map(Place::of_cursor).transpose()?;
    let limit = shared.config.query_timeout.0;
    let answer = tokio::time::timeout(limit, async {
        let _permit = shared.trace_permits.acquire().await.ok();
        read(&shared, caller.project, &session_id, page.limit, place).await
    });
    let Ok(answer) = answer.await else {
        let detail = "the session took longer to read than a query may; ask for fewer traces";
        return Err(Problem::new(Code::QueryTimeout, detail));
    };
    let (mut conversation, next) = answer?;
    let next = next.map(|next| shared.cursors().seal(&binding, &next.cursor()));
    conversation.next_cursor = next;
    Ok(Json(conversation).into_response())
}

/// Where a conversation goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// A trace, by its start.
    trace: Cursor,
    /// The call of that trace after which it goes on; absent: after the trace.
    call: Option<Cursor>,
}

impl Place {
    fn cursor(&self) -> Cursor {
        let mut key = self.trace.key.clone();
        if let Some(call) = &self.call {
            key.extend(call.unix_nano.to_be_bytes());
            key.extend(&call.key);
        }
        Cursor {
            unix_nano: self.trace.unix_nano,
            key,
        }
    }

    fn of_cursor(cursor: &Cursor) -> Result<Self, Problem> {
        let parts = cursor.key.split_at_checked(TraceId::LENGTH);
        let (trace, call) = parts.ok_or_else(Problem::internal)?;
        let call = call.split_first_chunk::<8>().map(|(time, key)| Cursor {
            unix_nano: u64::from_be_bytes(*time),
            key: key.to_vec(),
        });
        Ok(Self {
            trace: Cursor {
                unix_nano: cursor.unix_nano,
                key: trace.to_vec(),
            },
            call,
        })
    }

    /// After which trace to look: for the rest of a trace, after the id before its own.
    fn after(&self) -> Cursor {
        let id = <[u8; TraceId::LENGTH]>::try_from(self.trace.key.as_slice());
        match (&self.call, id) {
            (Some(_), Ok(id)) => Cursor {
                unix_nano: self.trace.unix_nano,
                key: (u128::from_be_bytes(id).saturating_sub(1))
                    .to_be_bytes()
                    .to_vec(),
            },
            _ => self.trace.clone(),
        }
    }
}

/// A page, and where it goes on.
async fn read(
    shared: &Shared,
    project: ProjectId,
    session_id: &str,
    limit: usize,
    place: Option<Place>,
) -> Result<(render::Conversation, Option<Place>), Problem> {
    let request = PageRequest {
        limit,
        after: place.as_ref().map(Place::after),
    };
    let found = shared.reader.session(project, session_id, &request).await?;
    let session = found.ok_or_else(|| Problem::new(Code::NotFound, "no such session"))?;
    let mut traces = Vec::with_capacity(session.traces.len());
    let mut next = session.next.map(|trace| Place { trace, call: None });
    let (mut calls_left, mut bytes_left) = (CALLS_MAX, BYTES_MAX);
    let mut before = None;
    for trace in session.traces {
        if calls_left == 0 || bytes_left == 0 {
            next = before;
            break;
        }
        let at = trace.cursor();
        let resumed = place.as_ref().filter(|place| place.trace.key == at.key);
        let after = resumed.and_then(|place| place.call.clone());
        let request = PageRequest {
            limit: calls_left,
            after,
        };
        let calls = shared.reader.model_calls(project, trace.trace_id, &request);
        let calls = calls.await?;
        let bytes: usize = calls.items.iter().map(bytes_of).sum();
        calls_left = calls_left.saturating_sub(calls.items.len());
        bytes_left = bytes_left.saturating_sub(bytes);
        let is_ours = |call: &StoredSpan| {
            let named = call.summary.session_id.as_deref();
            named.is_none_or(|named| named == session_id)
        };
        let ours: Vec<_> = calls.items.into_iter().filter(is_ours).collect();
        let ours = with_events(shared, project, trace.trace_id, ours).await?;
        traces.push(render::TraceOf {
            trace: trace.into(),
            calls: ours,
        });
        if calls.next.is_some() {
            next = Some(Place {
                trace: at,
                call: calls.next,
            });
            break;
        }
        before = Some(Place {
            trace: at,
            call: None,
        });
    }
    let conversation = render::Conversation {
        session: session.summary.into(),
        traces,
        next_cursor: None,
    };
    Ok((conversation, next))
}

/// The calls of a trace with their messages, those that came as events among them.
async fn with_events(
    shared: &Shared,
    project: ProjectId,
    trace_id: TraceId,
    calls: Vec<StoredSpan>,
) -> Result<Vec<render::CallOf>, Problem> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let of_trace = shared.reader.events_of(project, trace_id, None).await?;
    let mut answered = Vec::with_capacity(calls.len());
    for call in calls {
        if of_trace.is_cut {
            // More than are answered at once: those of the call may not be among them.
            let span_id = Some(call.summary.span_id);
            let own = shared.reader.events_of(project, trace_id, span_id).await?;
            answered.push(render::CallOf::new(call, &own.events));
        } else {
            answered.push(render::CallOf::new(call, &of_trace.events));
        }
    }
    Ok(answered)
}

fn bytes_of(span: &StoredSpan) -> usize {
    span.message.len() + span.resource.message.len() + span.scope.message.len()
}
