//! One trace with a page of its spans, and one span.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio_postgres::types::Type;

use super::blocks::{self, Blocks};
use super::columns::{Columns, SpanColumns, span_columns};
use super::session::{Param, Session};
use super::slices::whole;
use super::traces::TraceRow;
use super::{corrupt, project_id, signed, traces};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::{Cursor, Error, Page, PageRequest, StoredSpan, StoredTrace};

/// Bytes of messages one page of a trace holds at most, though always one span.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Spans of a trace in their order, after a place. What arrived before the trace belongs to one
/// that was deleted.
macro_rules! select_spans {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            span_columns!(),
            " FROM span WHERE project_id = $1 AND trace_id = $2 \
             AND start_time >= $3 AND start_time < $4 AND received_unix_nano >= $5 ",
            $rest
        )
    };
}

/// A page of a trace's spans. Sorted, never walked by start: the sum is in no index.
pub(super) const SPANS: &str = select_spans!(
    "AND (NOT $9 OR is_model_call) AND (start_unix_nano + 0, span_id) > ($6, $7) \
     ORDER BY start_unix_nano + 0, span_id LIMIT $8"
);
/// One span.
pub(super) const SPAN: &str = select_spans!("AND span_id = $6");

/// The trace of a span, newest first by the index of starts, which has the ids of spans too.
const FIND_SPAN: &str = "SELECT trace_id FROM span WHERE project_id = $1 AND span_id = $2 \
     AND received_unix_nano >= (SELECT trace.received_unix_nano FROM trace \
         WHERE trace.project_id = $1 AND trace.trace_id = span.trace_id) \
     ORDER BY start_unix_nano DESC LIMIT 1";

/// The trace of a span.
pub(super) async fn find_span(
    session: &Session,
    project: ProjectId,
    span_id: SpanId,
) -> Result<Option<TraceId>, Error> {
    let (project, id) = (project_id(project), span_id.0.as_slice());
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&id, Type::BYTEA)];
    let rows = session.query(FIND_SPAN, &params, "look for a span").await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let found: Vec<u8> = Columns::new(row).take()?;
    let found = TraceId::from_bytes(&found).ok_or_else(|| corrupt("the trace of a span"))?;
    Ok(Some(found))
}

/// A trace with its spans from the cursor on, in (start, span id) order.
pub(super) async fn load(
    session: &Session,
    project: ProjectId,
    trace_id: TraceId,
    page: &PageRequest,
) -> Result<Option<StoredTrace>, Error> {
    let Some(trace) = traces::one(session, project, trace_id).await? else {
        return Ok(None);
    };
    let spans = read_page(session, project, &trace, page, Choice::All).await?;
    Ok(Some(StoredTrace {
        summary: trace.summary,
        spans: spans.items,
        next: spans.next,
    }))
}

/// The model calls of a trace from the cursor on, in (start, span id) order.
pub(super) async fn load_calls(
    session: &Session,
    project: ProjectId,
    trace_id: TraceId,
    page: &PageRequest,
) -> Result<Page<StoredSpan>, Error> {
    match traces::one(session, project, trace_id).await? {
        Some(trace) => read_page(session, project, &trace, page, Choice::ModelCalls).await,
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

async fn read_page(
    session: &Session,
    project: ProjectId,
    trace: &TraceRow,
    page: &PageRequest,
    choice: Choice,
) -> Result<Page<StoredSpan>, Error> {
    let (mut from, to) = (trace.start, trace.last_start);
    let after = match &page.after {
        None => (-1, Vec::new()),
        Some(cursor) => {
            let span_id = SpanId::from_bytes(&cursor.key);
            let span_id = span_id.ok_or_else(|| corrupt("cursor of a trace's spans"))?;
            (signed(cursor.unix_nano), span_id.0.to_vec())
        }
    };
    from = from.max(after.0);
    let limit = page.limit.max(1);
    let one_more = i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1));
    let (project_id, slice) = (project_id(project), whole(from, to.max(from)));
    let id = trace.summary.trace_id.0.as_slice();
    let calls_only = choice == Choice::ModelCalls;
    let params: [Param<'_>; 9] = [
        (&project_id, Type::INT8),
        (&id, Type::BYTEA),
        (&slice.from, Type::TIMESTAMPTZ),
        (&slice.before, Type::TIMESTAMPTZ),
        (&trace.received, Type::INT8),
        (&after.0, Type::INT8),
        (&after.1, Type::BYTEA),
        (&one_more, Type::INT8),
        (&calls_only, Type::BOOL),
    ];
    let rows = session
        .query(SPANS, &params, "read the spans of a trace")
        .await?;
    let has_more = rows.len() > limit;
    let rows = rows.iter().take(limit);
    let rows: Result<Vec<_>, Error> = rows
        .map(|row| SpanColumns::read(&mut Columns::new(row)))
        .collect();
    let rows = rows?;
    let found = rows.len();
    let spans = complete(session, project, rows).await?;
    let is_cut = has_more || spans.len() < found;
    let next = spans.last().filter(|_| is_cut).map(|span| Cursor {
        unix_nano: span.summary.start_unix_nano,
        key: span.summary.span_id.0.to_vec(),
    });
    Ok(Page { items: spans, next })
}

/// One span.
pub(super) async fn load_span(
    session: &Session,
    project: ProjectId,
    trace_id: TraceId,
    span_id: SpanId,
) -> Result<Option<StoredSpan>, Error> {
    let Some(trace) = traces::one(session, project, trace_id).await? else {
        return Ok(None);
    };
    let (project_id, slice) = (project_id(project), whole(trace.start, trace.last_start));
    let (trace_id, span_id) = (trace_id.0.as_slice(), span_id.0.as_slice());
    let params: [Param<'_>; 6] = [
        (&project_id, Type::INT8),
        (&trace_id, Type::BYTEA),
        (&slice.from, Type::TIMESTAMPTZ),
        (&slice.before, Type::TIMESTAMPTZ),
        (&trace.received, Type::INT8),
        (&span_id, Type::BYTEA),
    ];
    let rows = session.query(SPAN, &params, "read a span").await?;
    let row = rows
        .first()
        .map(|row| SpanColumns::read(&mut Columns::new(row)));
    let row: Vec<_> = row.transpose()?.into_iter().collect();
    Ok(complete(session, project, row).await?.pop())
}

/// Adds messages, resources and scopes to rows, in their order; fewer when the page's bytes are
/// used up.
async fn complete(
    session: &Session,
    project: ProjectId,
    mut rows: Vec<SpanColumns>,
) -> Result<Vec<StoredSpan>, Error> {
    let messages = messages(session, project, &rows).await?;
    rows.truncate(messages.len());
    let project = project_id(project);
    let resource_ids: BTreeSet<_> = rows.iter().map(|row| row.resource_id).collect();
    let scope_ids: BTreeSet<_> = rows.iter().map(|row| row.scope_id).collect();
    let resources = blocks::resources(session, project, &resource_ids).await?;
    let scopes = blocks::scopes(session, project, &scope_ids).await?;
    let missing = || corrupt("a resource or scope that a span refers to is missing");
    let spans = rows.into_iter().zip(messages).map(|(row, message)| {
        Ok(StoredSpan {
            resource: resources.get(&row.resource_id).ok_or_else(missing)?.clone(),
            scope: scopes.get(&row.scope_id).ok_or_else(missing)?.clone(),
            received_unix_nano: row.received_unix_nano,
            summary: row.summary,
            message,
        })
    });
    spans.collect()
}

/// The messages of the first rows, up to the page's bytes.
async fn messages(
    session: &Session,
    project: ProjectId,
    rows: &[SpanColumns],
) -> Result<Vec<Vec<u8>>, Error> {
    let blocks = Blocks::new(session, project);
    let mut of_block: HashMap<i64, Vec<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        of_block.entry(row.block_id).or_default().push(index);
    }
    let mut found: Vec<Option<Vec<u8>>> = Vec::new();
    found.resize_with(rows.len(), || None);
    let (mut first_missing, mut bytes) = (0, 0_usize);
    while bytes <= PAGE_BYTES_MAX {
        let is_missing = |message: &Option<Vec<u8>>| message.is_none();
        let ahead = found.iter().skip(first_missing).position(is_missing);
        let Some(ahead) = ahead else { break };
        first_missing += ahead;
        let ids = next_blocks(rows, &found, first_missing);
        for (id, block) in blocks.fetch(&ids).await? {
            for index in of_block.remove(&id).unwrap_or_default() {
                let place = rows
                    .get(index)
                    .and_then(|row| usize::try_from(row.block_place).ok());
                let span = place.and_then(|place| block.span(place));
                let span =
                    span.ok_or_else(|| corrupt(format!("a span of block {id} is missing")))?;
                bytes = bytes.saturating_add(span.message.len());
                if let Some(slot) = found.get_mut(index) {
                    *slot = Some(span.message.to_vec());
                }
            }
        }
    }
    Ok(cut(found))
}

/// The next blocks that rows without a message are in.
fn next_blocks(rows: &[SpanColumns], found: &[Option<Vec<u8>>], first: usize) -> Vec<i64> {
    let missing = rows
        .iter()
        .zip(found)
        .skip(first)
        .filter(|(_, message)| message.is_none());
    let mut seen = HashSet::new();
    let ids = missing
        .map(|(row, _)| row.block_id)
        .filter(|id| seen.insert(*id));
    ids.take(blocks::FETCH_BLOCKS).collect()
}

/// The messages up to the first that was not fetched, and up to the page's bytes.
fn cut(found: Vec<Option<Vec<u8>>>) -> Vec<Vec<u8>> {
    let mut bytes = 0_usize;
    let mut messages = Vec::with_capacity(found.len());
    for message in found.into_iter().map_while(|message| message) {
        bytes = bytes.saturating_add(message.len());
        if bytes > PAGE_BYTES_MAX && !messages.is_empty() {
            break;
        }
        messages.push(message);
    }
    messages
}
