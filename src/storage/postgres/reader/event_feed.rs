//! Following the events that are stored. As with spans, only blocks of transactions before the oldest
//! that is still under way are answered; see [`super::feed`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::columns::Columns;
use super::events::{BY_KEYS, Found, read};
use super::feed::{BLOCKS_MAX, BYTES_MAX, UNPACKED_BYTES_MAX, first_block, settled, transaction};
use super::session::{Param, Session};
use super::{blocks, corrupt, project_id, signed};
use crate::model::ProjectId;
use crate::model::event::EventId;
use crate::storage::content::{self, DecodedBlock};
use crate::storage::event_feed::{EventPage, FeedEvent, keys};
use crate::storage::feed::FeedPosition;
use crate::storage::{Error, StoredEvent};

/// The next blocks of a project, as many as fit into a number of bytes, at least one. Only the
/// partitions of the last day are looked at.
pub(super) const NEXT: &str = "SELECT block.committed::text, block_id, codec, content, event_keys, found \
     FROM (SELECT committed, block_id, codec, content, event_keys, count(*) OVER () AS found, \
         sum(octet_length(content)) OVER (ORDER BY committed, block_id) - octet_length(content) \
             AS before FROM ( \
         SELECT committed, block_id, codec, content, event_keys FROM content_block \
         WHERE project_id = $1 AND (committed, block_id) >= ($2::text::xid8, $3) \
             AND committed < $7::text::xid8 AND block_id >= $4 AND event_keys IS NOT NULL \
         ORDER BY committed, block_id LIMIT $5) AS found) AS block \
     WHERE before < $6 ORDER BY block.committed, block_id";

/// A block of the feed.
struct Block {
    commit: u64,
    id: i64,
    messages: DecodedBlock,
    keys: Vec<EventId>,
    /// Blocks that the question found, this one included.
    there: i64,
}

/// What was stored after a position.
pub(super) async fn page(
    session: &Session,
    project: ProjectId,
    after: FeedPosition,
    events_min: usize,
) -> Result<EventPage, Error> {
    let mut page = EventPage {
        events: Vec::new(),
        next: after,
        more: false,
    };
    let settled = settled(session).await?;
    let found = next_blocks(session, project, after, settled).await?;
    // As many as are looked for, or cut off by their bytes.
    let there = found.first().map_or(0, |block| block.there);
    page.more = there >= BLOCKS_MAX || i64::try_from(found.len()).is_ok_and(|it| it < there);
    let mut wanted = Vec::new();
    let mut events = 0;
    for block in found {
        if events >= events_min.max(1) {
            page.more = true;
            break;
        }
        page.next = page
            .next
            .max(FeedPosition::after_block(block.commit, block.id));
        let fresh = positions(&block).filter(|(position, _)| *position > after);
        events += fresh.count();
        wanted.push(block);
    }
    page.events = complete(session, project, after, &wanted).await?;
    Ok(page)
}

/// The places of a block, as the positions after them, with the events that lie there.
fn positions(block: &Block) -> impl Iterator<Item = (FeedPosition, EventId)> {
    (1_u32..).zip(&block.keys).map(|(place, id)| {
        let position = FeedPosition {
            commit: block.commit,
            block_id: block.id,
            place,
        };
        (position, *id)
    })
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
    let rows = session.walk(NEXT, &params, "list new blocks of events");
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for row in &rows.await? {
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
            keys: keys(columns.take()?).collect(),
            there: columns.take()?,
        });
    }
    Ok(blocks)
}

/// The rows of the events in some blocks, by block and place.
async fn rows_of(
    session: &Session,
    project: ProjectId,
    wanted: &[EventId],
) -> Result<HashMap<(i64, usize), Found>, Error> {
    let times: Vec<_> = wanted.iter().map(|id| signed(id.unix_nano)).collect();
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Ok(HashMap::new());
    };
    let digests: Vec<_> = wanted.iter().map(|id| id.digest.as_slice()).collect();
    let project = project_id(project);
    let params: [Param<'_>; 5] = [
        (&project, Type::INT8),
        (&times, Type::INT8_ARRAY),
        (&digests, Type::BYTEA_ARRAY),
        (first, Type::INT8),
        (last, Type::INT8),
    ];
    let rows = session.query(BY_KEYS, &params, "read new events").await?;
    rows.iter()
        .map(|row| {
            let row = read(row)?;
            Ok(((row.block_id, row.place), row))
        })
        .collect()
}

/// The events of some blocks after a position, but those that were deleted.
async fn complete(
    session: &Session,
    project: ProjectId,
    after: FeedPosition,
    blocks: &[Block],
) -> Result<Vec<FeedEvent>, Error> {
    let fresh = || {
        blocks.iter().flat_map(|block| {
            let fresh = positions(block).filter(|(position, _)| *position > after);
            fresh.map(move |(position, id)| (block, position, id))
        })
    };
    let ids: Vec<_> = fresh().map(|(_, _, id)| id).collect();
    let mut rows = rows_of(session, project, &ids).await?;
    let messages = || blocks.iter().flat_map(|block| block.messages.spans());
    let resource_ids: BTreeSet<_> = messages().map(|it| it.resource_id).collect();
    let scope_ids: BTreeSet<_> = messages().map(|it| it.scope_id).collect();
    let owner = project_id(project);
    let resources = blocks::resources(session, owner, &resource_ids).await?;
    let scopes = blocks::scopes(session, owner, &scope_ids).await?;
    let missing = || corrupt("a resource or scope that a new event refers to is missing");
    let mut events = Vec::new();
    for (block, position, _) in fresh() {
        let place = usize::try_from(position.place)
            .unwrap_or(0)
            .saturating_sub(1);
        let Some(row) = rows.remove(&(block.id, place)) else {
            continue;
        };
        let entry = block.messages.span(place);
        let entry = entry.ok_or_else(|| corrupt(format!("places of block {}", block.id)))?;
        let event = StoredEvent {
            resource: Arc::clone(resources.get(&entry.resource_id).ok_or_else(missing)?),
            scope: Arc::clone(scopes.get(&entry.scope_id).ok_or_else(missing)?),
            message: entry.message.to_vec(),
            columns: row.columns,
        };
        events.push(FeedEvent { position, event });
    }
    Ok(events)
}
