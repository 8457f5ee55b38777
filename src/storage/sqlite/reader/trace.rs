//! One trace with a page of its spans, and one span.

use super::blocks::Blocks;
use super::keys::{self, Origins, SmallestKeys, SpanKey};
use super::pool::Session;
use super::{corrupt, signed, traces, unsigned};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::{Cursor, Error, Page, PageRequest, StoredSpan, StoredTrace};

/// Bytes of messages one page of a trace holds at most, though always one span.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// A trace with its spans from the cursor on, in (start, span id) order.
pub(super) fn load(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    page: &PageRequest,
) -> Result<Option<StoredTrace>, Error> {
    let Some(trace_key) = keys::trace_key(session, project, trace_id)? else {
        return Ok(None);
    };
    let summary = traces::one(session, project, trace_key)?;
    let page = read_page(session, project, trace_key, page, Choice::All)?;
    Ok(Some(StoredTrace {
        summary,
        spans: page.items,
        next: page.next,
    }))
}

/// The model calls of a trace from the cursor on, in (start, span id) order.
pub(super) fn load_calls(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    page: &PageRequest,
) -> Result<Page<StoredSpan>, Error> {
    match keys::trace_key(session, project, trace_id)? {
        Some(trace_key) => read_page(session, project, trace_key, page, Choice::ModelCalls),
        None => Ok(Page {
            items: Vec::new(),
            next: None,
        }),
    }
}

/// Which spans of a trace are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    All,
    ModelCalls,
}

fn read_page(
    session: &Session<'_>,
    project: ProjectId,
    trace_key: i64,
    page: &PageRequest,
    choice: Choice,
) -> Result<Page<StoredSpan>, Error> {
    let after = page.after.as_ref().map(split_cursor).transpose()?;
    let limit = page.limit.max(1);
    let mut smallest = SmallestKeys::new(limit.saturating_add(1));
    let mut blocks = Blocks::new(session, project);
    let mut is_chosen = |key: &SpanKey| match choice {
        Choice::All => Ok(true),
        Choice::ModelCalls => {
            let columns = blocks.columns(key.block_id)?;
            Ok(columns.is_model_call(key.place))
        }
    };
    let mut chosen = Ok(());
    keys::visit_keys(session, project, trace_key, |key| {
        let is_after = after.is_none_or(|after| (key.start, key.span_id) > after);
        if chosen.is_err() || !is_after {
            return;
        }
        match is_chosen(&key) {
            Ok(true) => smallest.push(key),
            Ok(false) => {}
            Err(error) => chosen = Err(error),
        }
    })?;
    chosen?;
    let keys = smallest.into_sorted();
    let wanted = keys.get(..limit.min(keys.len())).unwrap_or(&keys);
    let spans = Loader::new(session, project).load(wanted)?;
    let last = spans
        .len()
        .checked_sub(1)
        .filter(|_| spans.len() < keys.len())
        .and_then(|last| keys.get(last));
    Ok(Page {
        next: last.map(cursor),
        items: spans,
    })
}

/// One span.
pub(super) fn load_span(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    span_id: SpanId,
) -> Result<Option<StoredSpan>, Error> {
    let Some(trace_key) = keys::trace_key(session, project, trace_id)? else {
        return Ok(None);
    };
    let mut found = None;
    keys::visit_keys(session, project, trace_key, |key| {
        if key.span_id == span_id {
            found = Some(key);
        }
    })?;
    let mut loader = Loader::new(session, project);
    Ok(loader.load(found.as_slice())?.pop())
}

/// Loads spans whose keys are known.
struct Loader<'s> {
    origins: Origins<'s>,
    blocks: Blocks<'s>,
}

impl<'s> Loader<'s> {
    fn new(session: &'s Session<'s>, project: ProjectId) -> Self {
        Self {
            origins: Origins::new(session, project),
            blocks: Blocks::new(session, project),
        }
    }

    /// Loads spans in the order of the keys; fewer when the page's bytes are used up.
    fn load(&mut self, keys: &[SpanKey]) -> Result<Vec<StoredSpan>, Error> {
        let mut loaded = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for key in keys {
            let span = self.load_one(key)?;
            bytes += span.message.len() + span.resource.message.len() + span.scope.message.len();
            if bytes > PAGE_BYTES_MAX && !loaded.is_empty() {
                break;
            }
            loaded.push(span);
        }
        Ok(loaded)
    }

    fn load_one(&mut self, key: &SpanKey) -> Result<StoredSpan, Error> {
        let damaged = || corrupt(format!("block {} lacks span {}", key.block_id, key.span_id));
        let columns = self.blocks.columns(key.block_id)?;
        let summary = columns.summary(key.place).ok_or_else(damaged)?;
        if summary.span_id != key.span_id {
            return Err(damaged());
        }
        let (messages, _) = self.blocks.messages(key.block_id)?;
        let span = messages.span(key.place).ok_or_else(damaged)?;
        Ok(StoredSpan {
            summary,
            resource: self.origins.resource(span.resource_id)?,
            scope: self.origins.scope(span.scope_id)?,
            message: span.message.to_vec(),
            received_unix_nano: key.received_unix_nano,
        })
    }
}

fn cursor(key: &SpanKey) -> Cursor {
    Cursor {
        unix_nano: unsigned(key.start),
        key: key.span_id.0.to_vec(),
    }
}

fn split_cursor(cursor: &Cursor) -> Result<(i64, SpanId), Error> {
    let span_id = cursor.key.as_slice().try_into();
    let span_id = span_id.map_err(|_| corrupt("cursor of a trace's spans"))?;
    Ok((signed(cursor.unix_nano), SpanId(span_id)))
}
