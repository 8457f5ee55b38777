//! Deleting the events that arrived first, a block at a time.

use std::collections::VecDeque;

use rusqlite::{Transaction, params};

use crate::storage::event_feed;
use crate::storage::sqlite::error::storage_error;
use crate::storage::sqlite::retention::is_too_large;
use crate::storage::summary::clamp_time;
use crate::storage::{Error, RetentionConfig};

/// Blocks deleted in one transaction.
const BLOCKS_PER_STEP: usize = 100;

/// A block of events.
struct Oldest {
    block_id: i64,
    project: u32,
    received: i64,
}

/// The blocks that arrived first, as many as one step deletes.
pub(in crate::storage::sqlite) struct OldestEvents {
    blocks: VecDeque<Oldest>,
    /// Whether there are more than those.
    is_cut: bool,
    due: bool,
}

impl OldestEvents {
    pub(in crate::storage::sqlite) fn read(transaction: &Transaction<'_>) -> Result<Self, Error> {
        let failed = storage_error("find events to delete");
        let mut select = transaction
            .prepare_cached(
                "SELECT block_id, project_id, received_unix_nano FROM event_block
                 ORDER BY received_unix_nano, block_id LIMIT ?1",
            )
            .map_err(&failed)?;
        let limit = i64::try_from(BLOCKS_PER_STEP + 1).unwrap_or(i64::MAX);
        let rows = select
            .query_map([limit], |row| {
                Ok(Oldest {
                    block_id: row.get(0)?,
                    project: row.get(1)?,
                    received: row.get(2)?,
                })
            })
            .map_err(&failed)?;
        let mut blocks: VecDeque<_> = rows.collect::<Result<_, _>>().map_err(&failed)?;
        let is_cut = blocks.len() > BLOCKS_PER_STEP;
        blocks.truncate(BLOCKS_PER_STEP);
        Ok(Self {
            blocks,
            is_cut,
            due: false,
        })
    }

    /// Whether the next block is to be deleted, for its age or for the size of the store.
    pub(in crate::storage::sqlite) fn is_due(
        &mut self,
        transaction: &Transaction<'_>,
        config: &RetentionConfig,
        bound: Option<i64>,
    ) -> Result<bool, Error> {
        self.due = match (self.blocks.front(), bound) {
            (None, _) => return Ok(false),
            (Some(block), Some(bound)) if block.received < bound => true,
            _ => is_too_large(transaction, config)?,
        };
        Ok(self.due)
    }

    /// When the next block arrived.
    pub(in crate::storage::sqlite) fn next_received(&self) -> Option<i64> {
        self.blocks.front().map(|block| block.received)
    }

    /// Whether another step has blocks to delete.
    pub(in crate::storage::sqlite) fn has_more(&self) -> bool {
        self.due && self.is_cut && self.blocks.is_empty()
    }

    /// Deletes the blocks that arrived before a time, as far as this step goes.
    pub(in crate::storage::sqlite) fn delete_before(
        &mut self,
        transaction: &Transaction<'_>,
        received: i64,
    ) -> Result<(), Error> {
        while self
            .blocks
            .front()
            .is_some_and(|block| block.received < received)
        {
            self.due = true;
            self.delete_one(transaction)?;
        }
        Ok(())
    }

    /// Deletes the next block and its events; answers when the last of them arrived.
    pub(in crate::storage::sqlite) fn delete_one(
        &mut self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<i64>, Error> {
        let failed = storage_error("delete events");
        let Some(block) = self.blocks.pop_front() else {
            return Ok(None);
        };
        let keys: Vec<u8> = transaction
            .prepare_cached("DELETE FROM event_block WHERE block_id = ?1 RETURNING keys")
            .and_then(|mut delete| delete.query_row([block.block_id], |row| row.get(0)))
            .map_err(&failed)?;
        let mut delete = transaction
            .prepare_cached(
                "DELETE FROM event
                 WHERE project_id = ?1 AND time_unix_nano = ?2 AND digest = ?3 AND block_id = ?4",
            )
            .map_err(&failed)?;
        for id in event_feed::keys(&keys) {
            let time = clamp_time(id.unix_nano);
            delete
                .execute(params![block.project, time, id.digest, block.block_id])
                .map_err(&failed)?;
        }
        Ok(Some(block.received))
    }
}
