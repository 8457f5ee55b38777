//! Following what is stored.
//!
//! Blocks carry the number of the transaction that stored them. Only those of transactions before
//! the oldest of this database that is still under way are answered: no transaction with a smaller
//! number can add one any more, so that a position is never overtaken. Numbers are given out to all
//! databases of a server; who is connected to another one is not waited for. The ids in a block's
//! messages say which rows of `span` to read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::types::Type;

use super::super::writer::block_id::first_at;
use super::blocks;
use super::columns::{Columns, SpanColumns, span_columns};
use super::session::{Param, Session, Sessions};
use super::slices::whole;
use super::{corrupt, project_id};
use crate::model::{ProjectId, TraceId};
use crate::otlp::protobuf::Span;
use crate::storage::Error;
use crate::storage::content::{self, DecodedBlock};
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest, FeedSpan, WholeSpan};
use crate::storage::summary::clamp_time;

/// Transactions of other databases. Asked before the snapshot is taken: one that ends in between is
/// known then, where it would have to be taken for one of this database, and the end of the feed for
/// an earlier one than was answered before.
pub(super) const ELSEWHERE: &str = "SELECT own.transactionid::text \
     FROM pg_locks AS own JOIN pg_stat_activity AS backend USING (pid) \
     WHERE own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock' \
         AND backend.datname <> current_database()";

/// The oldest transaction under way that may be one of this database, else the next. A replica knows
/// them by their oldest only.
pub(super) const SETTLED: &str = "SELECT CASE WHEN pg_is_in_recovery() \
     THEN pg_snapshot_xmin(pg_current_snapshot()) ELSE coalesce( \
     (SELECT open.id FROM pg_snapshot_xip(pg_current_snapshot()) AS open (id) \
      WHERE open.id::xid::text <> ALL($1) ORDER BY open.id LIMIT 1), \
     pg_snapshot_xmax(pg_current_snapshot())) END::text";

/// The next blocks of a project, as many as fit into a number of bytes, at least one. Only the
/// partitions of the last day are looked at: what arrived before it and is stored only now is not
/// news. Sorted by the number, not by the text that is answered, which would have its name.
pub(super) const NEXT: &str = "SELECT block.committed::text, block_id, codec, content, found FROM ( \
     SELECT committed, block_id, codec, content, count(*) OVER () AS found, sum(octet_length(content)) \
         OVER (ORDER BY committed, block_id) - octet_length(content) AS before FROM ( \
         SELECT committed, block_id, codec, content FROM content_block \
         WHERE project_id = $1 AND (committed, block_id) >= ($2::text::xid8, $3) \
             AND committed < $7::text::xid8 AND block_id >= $4 AND event_keys IS NULL \
         ORDER BY committed, block_id LIMIT $5) AS found) AS block \
     WHERE before < $6 ORDER BY block.committed, block_id";

/// The rows of some traces that are of some blocks. What arrived before its trace belongs to one
/// that was deleted.
pub(super) const SPANS: &str = concat!(
    "SELECT part.* FROM unnest($2::bytea[]) AS wanted (id) CROSS JOIN LATERAL (SELECT ",
    span_columns!(),
    " FROM span WHERE project_id = $1 AND span.trace_id = wanted.id \
     AND start_time >= $3 AND start_time < $4 AND block_id = ANY($5) \
     AND received_unix_nano >= (SELECT trace.received_unix_nano FROM trace \
         WHERE trace.project_id = $1 AND trace.trace_id = wanted.id) OFFSET 0) AS part"
);

/// The last block of any kind.
const LAST: &str = "SELECT content_block.committed::text, block_id FROM content_block \
     WHERE project_id = $1 AND (committed, block_id) >= ($2::text::xid8, $3) \
         AND committed < $5::text::xid8 AND block_id >= $4 \
     ORDER BY content_block.committed DESC, block_id DESC LIMIT 1";

/// Blocks of one page at most.
pub(super) const BLOCKS_MAX: i64 = 32;
/// Compressed bytes of one page.
pub(super) const BYTES_MAX: i64 = 2 << 20;
/// The same, unpacked; the first block may be larger.
pub(super) const UNPACKED_BYTES_MAX: usize = 16 << 20;
/// How far back a block's arrival may be.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Begins a question to the feed.
pub(super) async fn begin(sessions: &Sessions) -> Result<Session, Error> {
    sessions.begin_after(Some(ELSEWHERE)).await
}

/// Where the feed ends now.
pub(super) async fn end(session: &Session) -> Result<FeedPosition, Error> {
    settled(session).await.map(FeedPosition::before)
}

/// Transactions before this one have all ended. For a question that began with [`begin`].
pub(super) async fn settled(session: &Session) -> Result<u64, Error> {
    const CONTEXT: &str = "find the oldest transaction";
    let elsewhere = session.before.iter();
    let elsewhere: Result<Vec<&str>, _> = elsewhere.map(|row| Columns::new(row).take()).collect();
    let elsewhere = elsewhere?;
    let params: [Param<'_>; 1] = [(&elsewhere, Type::TEXT_ARRAY)];
    let rows = session.query(SETTLED, &params, CONTEXT).await?;
    let row = rows.first().ok_or_else(|| corrupt("no snapshot"))?;
    transaction(&mut Columns::new(row))
}

/// A number of a transaction, which comes as a text: the driver does not know its type.
pub(super) fn transaction(columns: &mut Columns<'_>) -> Result<u64, Error> {
    let text: String = columns.take()?;
    text.parse().map_err(|_| corrupt("a transaction's number"))
}

/// What was stored after a position.
pub(super) async fn page(
    session: &Session,
    project: ProjectId,
    request: &FeedRequest,
) -> Result<FeedPage, Error> {
    let after = request.after;
    let mut page = FeedPage {
        spans: Vec::new(),
        next: after,
        more: false,
    };
    let settled = settled(session).await?;
    let found = next_blocks(session, project, after, settled).await?;
    let mut wanted = Vec::new();
    let mut spans = 0;
    // As many as are looked for, or cut off by their bytes.
    let there = found.first().map_or(0, |block| block.there);
    page.more = there >= BLOCKS_MAX || i64::try_from(found.len()).is_ok_and(|it| it < there);
    for block in found {
        if spans >= request.spans_min.max(1) {
            page.more = true;
            break;
        }
        page.next = page
            .next
            .max(FeedPosition::after_block(block.commit, block.id));
        let before = if (block.commit, block.id) == (after.commit, after.block_id) {
            after.place
        } else {
            0
        };
        let all = block.messages.spans().count();
        spans += all.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
        wanted.push(block);
    }
    if wanted.is_empty() {
        // What is passed over, as blocks of events, is not to be again.
        page.next = last(session, project, after, settled).await?;
    }
    let mut rows = rows_of(session, project, &wanted).await?;
    for block in &wanted {
        for (place, _) in (0_u32..).zip(block.messages.spans()) {
            let position = FeedPosition {
                commit: block.commit,
                block_id: block.id,
                place: place.saturating_add(1),
            };
            if position > after
                && let Some(row) = rows.remove(&(block.id, i64::from(place)))
            {
                page.spans.push(FeedSpan {
                    position,
                    summary: row.summary,
                    whole: None,
                });
            }
        }
    }
    if request.whole {
        complete(session, project, &wanted, &mut page.spans).await?;
    }
    Ok(page)
}

/// The position after all blocks that there are, of spans or not. It is that of a block, not of a
/// transaction's number: after a crash the server gives out again those of which nothing was stored.
async fn last(
    session: &Session,
    project: ProjectId,
    after: FeedPosition,
    settled: u64,
) -> Result<FeedPosition, Error> {
    let (commit, settled) = (after.commit.to_string(), settled.to_string());
    let params: [Param<'_>; 5] = [
        (&project_id(project), Type::INT8),
        (&commit, Type::TEXT),
        (&after.block_id, Type::INT8),
        (&first_block(), Type::INT8),
        (&settled, Type::TEXT),
    ];
    let rows = session.walk(LAST, &params, "find the last block").await?;
    let Some(row) = rows.first() else {
        return Ok(after);
    };
    let mut columns = Columns::new(row);
    let last = FeedPosition::after_block(transaction(&mut columns)?, columns.take()?);
    Ok(last.max(after))
}

/// A block of the feed.
struct Block {
    commit: u64,
    id: i64,
    messages: DecodedBlock,
    /// Blocks that the question found, this one included.
    there: i64,
}

/// Blocks before this one are no news.
pub(super) fn first_block() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    first_at(now_ms - DAY_MS)
}

async fn next_blocks(
    session: &Session,
    project: ProjectId,
    after: FeedPosition,
    settled: u64,
) -> Result<Vec<Block>, Error> {
    let (commit, settled) = (after.commit.to_string(), settled.to_string());
    let project = project_id(project);
    let params: [Param<'_>; 7] = [
        (&project, Type::INT8),
        (&commit, Type::TEXT),
        (&after.block_id, Type::INT8),
        (&first_block(), Type::INT8),
        (&BLOCKS_MAX, Type::INT8),
        (&BYTES_MAX, Type::INT8),
        (&settled, Type::TEXT),
    ];
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for row in &session.walk(NEXT, &params, "list new blocks").await? {
        let mut columns = Columns::new(row);
        let commit = transaction(&mut columns)?;
        let (id, codec): (i64, i16) = (columns.take()?, columns.take()?);
        let content: &[u8] = columns.take()?;
        bytes += content::unpacked_len(i64::from(codec), content);
        if bytes > UNPACKED_BYTES_MAX && !blocks.is_empty() {
            break;
        }
        let messages = content::decode(i64::from(codec), content)
            .map_err(|source| corrupt(format!("block {id}: {source}")))?;
        blocks.push(Block {
            commit,
            id,
            messages,
            there: columns.take()?,
        });
    }
    Ok(blocks)
}

/// The rows of the spans in some blocks, by block and place.
async fn rows_of(
    session: &Session,
    project: ProjectId,
    blocks: &[Block],
) -> Result<HashMap<(i64, i64), SpanColumns>, Error> {
    let mut traces = BTreeSet::new();
    let (mut from, mut to) = (i64::MAX, i64::MIN);
    for message in blocks.iter().flat_map(|block| block.messages.spans()) {
        // Blocks of events are passed over: none of their messages has the ids of a span.
        let Ok(span) = Span::parse(message.message) else {
            continue;
        };
        let Some(trace_id) = TraceId::from_bytes(span.trace_id) else {
            continue;
        };
        traces.insert(trace_id.0);
        let start = clamp_time(span.start_unix_nano);
        (from, to) = (from.min(start), to.max(start));
    }
    if traces.is_empty() {
        return Ok(HashMap::new());
    }
    let traces: Vec<_> = traces
        .iter()
        .map(<[u8; TraceId::LENGTH]>::as_slice)
        .collect();
    let ids: Vec<_> = blocks.iter().map(|block| block.id).collect();
    let (project, slice) = (project_id(project), whole(from, to));
    let params: [Param<'_>; 5] = [
        (&project, Type::INT8),
        (&traces, Type::BYTEA_ARRAY),
        (&slice.from, Type::TIMESTAMPTZ),
        (&slice.before, Type::TIMESTAMPTZ),
        (&ids, Type::INT8_ARRAY),
    ];
    let rows = session.query(SPANS, &params, "read new spans").await?;
    rows.iter()
        .map(|row| {
            let row = SpanColumns::read(&mut Columns::new(row))?;
            Ok(((row.block_id, i64::from(row.block_place)), row))
        })
        .collect()
}

/// Adds what attribute filters look at.
async fn complete(
    session: &Session,
    project: ProjectId,
    blocks: &[Block],
    spans: &mut [FeedSpan],
) -> Result<(), Error> {
    let places = blocks.iter().flat_map(|block| {
        let places = (1_u32..).zip(block.messages.spans());
        places.map(|(place, span)| ((block.id, place), span))
    });
    let messages: HashMap<_, _> = places.collect();
    let ids = messages.values().map(|span| span.resource_id).collect();
    let resources = blocks::resources(session, project_id(project), &ids).await?;
    for span in spans {
        let at = (span.position.block_id, span.position.place);
        let found = messages.get(&at).and_then(|found| {
            Some(WholeSpan {
                resource_id: found.resource_id,
                resource: Arc::clone(resources.get(&found.resource_id)?),
                message: found.message.to_vec(),
            })
        });
        span.whole = Some(found.ok_or_else(|| corrupt("what a new span refers to"))?);
    }
    Ok(())
}
