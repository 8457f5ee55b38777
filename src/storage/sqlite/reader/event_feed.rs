//! Following the events that are stored: their blocks in the order of their rows, which the one writer
//! adds in the order of its commits.

use rusqlite::{OptionalExtension as _, params};

use super::events::{EVENT, EventPlace, event_place};
use super::events_load::Loader;
use super::failure::read_error;
use super::keys::blob;
use super::pool::Session;
use super::signed;
use crate::model::ProjectId;
use crate::model::event::EventId;
use crate::storage::Error;
use crate::storage::event_feed::{EventPage, FeedEvent, keys};
use crate::storage::events::EVENT_BYTES_MAX;
use crate::storage::feed::FeedPosition;

/// The newest block of events that anybody ever stored: their numbers are never used again.
const LAST: &str = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event_block'";
/// The next blocks of a project, walked by row.
pub(super) const NEXT: &str = "SELECT block_id, keys FROM event_block NOT INDEXED \
     WHERE block_id >= ?1 AND project_id = ?2 ORDER BY block_id LIMIT ?3";

/// Blocks looked at for one page.
const BLOCKS_MAX: i64 = 64;

/// A block, and what its events are found by.
type Block = (i64, Vec<u8>);

/// Where the feed ends now.
pub(super) fn end(session: &Session<'_>) -> Result<FeedPosition, Error> {
    let last = session
        .connection
        .prepare_cached(LAST)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(read_error("find the newest block of events"))?;
    Ok(FeedPosition::after_block(0, last))
}

/// What was stored after a position.
pub(super) fn page(
    session: &Session<'_>,
    project: ProjectId,
    after: FeedPosition,
    events_min: usize,
) -> Result<EventPage, Error> {
    // A position from the future is one of before this file was restored.
    let last = end(session)?;
    let after = after.min(last);
    let mut page = EventPage {
        events: Vec::new(),
        next: after,
        more: false,
    };
    let blocks = next_blocks(session, project, after.block_id)?;
    let mut loader = Loader::new(session, project);
    page.more = i64::try_from(blocks.len()).is_ok_and(|found| found >= BLOCKS_MAX);
    for (block_id, ids) in blocks {
        let is_full = page.events.len() >= events_min.max(1);
        if is_full || loader.loaded_bytes() > EVENT_BYTES_MAX {
            page.more = true;
            break;
        }
        for (place, id) in (1_u32..).zip(keys(&ids)) {
            let position = FeedPosition {
                commit: 0,
                block_id,
                place,
            };
            if position > after
                && let Some(found) = row(session, project, id, block_id)?
            {
                let event = loader.load(found)?;
                page.events.push(FeedEvent { position, event });
            }
        }
        page.next = page.next.max(FeedPosition::after_block(0, block_id));
    }
    if !page.more {
        // What others stored meanwhile is not looked at again.
        page.next = page.next.max(last);
    }
    Ok(page)
}

fn next_blocks(session: &Session<'_>, project: ProjectId, from: i64) -> Result<Vec<Block>, Error> {
    session
        .connection
        .prepare_cached(NEXT)
        .and_then(|mut statement| {
            let rows = statement.query_map(params![from, project.0, BLOCKS_MAX], |row| {
                Ok((row.get(0)?, blob(row, 1)?.to_vec()))
            });
            rows?.collect()
        })
        .map_err(read_error("list new blocks of events"))
}

/// The row of an event of a block, unless it was deleted.
fn row(
    session: &Session<'_>,
    project: ProjectId,
    id: EventId,
    block_id: i64,
) -> Result<Option<EventPlace>, Error> {
    session.check()?;
    let found = session
        .connection
        .prepare_cached(EVENT)
        .and_then(|mut statement| {
            let key = params![project.0, signed(id.unix_nano), id.digest];
            statement.query_row(key, event_place).optional()
        })
        .map_err(read_error("read a new event"))?;
    let found = found.transpose()?;
    // Deleted, and stored again: it comes with the other block.
    Ok(found.filter(|found| found.block_id == block_id))
}
