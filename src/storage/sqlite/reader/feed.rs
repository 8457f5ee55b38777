//! Following what is stored: blocks in the order of their rows, which the one writer adds in the
//! order of its commits.

use std::sync::Arc;

use rusqlite::params;

use super::blocks::Blocks;
use super::corrupt;
use super::failure::read_error;
use super::keys::Origins;
use super::pool::Session;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest, FeedSpan, WholeSpan};

/// The newest block of anybody.
pub(super) const LAST: &str = "SELECT coalesce(max(block_id), 0) FROM block";
/// The next blocks of a project, walked by row.
pub(super) const NEXT: &str = "SELECT block_id FROM block NOT INDEXED \
     WHERE block_id >= ?1 AND project_id = ?2 ORDER BY block_id LIMIT ?3";

/// Blocks looked at for one page.
const BLOCKS_MAX: i64 = 64;

/// Where the feed ends now.
pub(super) fn end(session: &Session<'_>) -> Result<FeedPosition, Error> {
    let last = session
        .connection
        .prepare_cached(LAST)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(read_error("find the newest block"))?;
    Ok(FeedPosition::after_block(0, last))
}

/// What was stored after a position.
pub(super) fn page(
    session: &Session<'_>,
    project: ProjectId,
    request: &FeedRequest,
) -> Result<FeedPage, Error> {
    // Row numbers begin again when retention has deleted the newest.
    let last = end(session)?;
    let after = request.after.min(last);
    let mut page = FeedPage {
        spans: Vec::new(),
        next: after,
        more: false,
    };
    let ids = next_blocks(session, project, after.block_id)?;
    let mut blocks = Blocks::new(session, project);
    let mut origins = Origins::new(session, project);
    page.more = i64::try_from(ids.len()).is_ok_and(|found| found >= BLOCKS_MAX);
    for block_id in ids {
        if page.spans.len() >= request.spans_min.max(1) {
            page.more = true;
            break;
        }
        let columns = blocks.columns(block_id)?;
        for place in columns.places() {
            let position = position_after(block_id, place)?;
            if position <= after {
                continue;
            }
            let damaged = || corrupt(format!("columns of block {block_id}"));
            let summary = columns.summary(place).ok_or_else(damaged)?;
            let whole = if request.whole {
                Some(whole(&mut blocks, &mut origins, block_id, place)?)
            } else {
                None
            };
            page.spans.push(FeedSpan {
                position,
                summary,
                whole,
            });
        }
        page.next = page.next.max(FeedPosition::after_block(0, block_id));
    }
    if !page.more {
        // What others stored meanwhile is not looked at again.
        page.next = page.next.max(last);
    }
    Ok(page)
}

fn next_blocks(session: &Session<'_>, project: ProjectId, from: i64) -> Result<Vec<i64>, Error> {
    session
        .connection
        .prepare_cached(NEXT)
        .and_then(|mut statement| {
            let rows = statement.query_map(params![from, project.0, BLOCKS_MAX], |row| row.get(0));
            rows?.collect()
        })
        .map_err(read_error("list new blocks"))
}

fn position_after(block_id: i64, place: usize) -> Result<FeedPosition, Error> {
    let place = u32::try_from(place)
        .ok()
        .and_then(|place| place.checked_add(1));
    Ok(FeedPosition {
        commit: 0,
        block_id,
        place: place.ok_or_else(|| corrupt(format!("places of block {block_id}")))?,
    })
}

fn whole(
    blocks: &mut Blocks<'_>,
    origins: &mut Origins<'_>,
    block_id: i64,
    place: usize,
) -> Result<WholeSpan, Error> {
    let (messages, _) = blocks.messages(block_id)?;
    let span = messages
        .span(place)
        .ok_or_else(|| corrupt(format!("messages of block {block_id}")))?;
    Ok(WholeSpan {
        resource_id: span.resource_id,
        resource: Arc::clone(&origins.resource(span.resource_id)?),
        message: span.message.to_vec(),
    })
}
