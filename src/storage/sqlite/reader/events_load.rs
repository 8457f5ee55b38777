//! Completing events with what lies in their blocks.

use std::collections::VecDeque;
use std::rc::Rc;

use rusqlite::{OptionalExtension as _, params};

use super::corrupt;
use super::events::EventPlace;
use super::failure::read_error;
use super::keys::{Origins, blob};
use super::pool::Session;
use super::scan::Budget;
use crate::model::ProjectId;
use crate::storage::attributes::AttributeTest;
use crate::storage::content::{self, BlockSpan, DecodedBlock};
use crate::storage::{Error, StoredEvent};

/// Blocks kept unpacked: neighbours in a list are mostly of one block.
const BLOCKS_KEPT: usize = 8;

/// Messages of a block of events.
pub(super) const BLOCK: &str =
    "SELECT codec, content FROM event_block WHERE block_id = ?1 AND project_id = ?2";

/// Loads messages, resources and scopes.
pub(super) struct Loader<'s> {
    session: &'s Session<'s>,
    project: ProjectId,
    origins: Origins<'s>,
    blocks: VecDeque<(i64, Rc<DecodedBlock>)>,
    loaded_bytes: usize,
}

impl<'s> Loader<'s> {
    pub(super) fn new(session: &'s Session<'s>, project: ProjectId) -> Self {
        Self {
            session,
            project,
            origins: Origins::new(session, project),
            blocks: VecDeque::new(),
            loaded_bytes: 0,
        }
    }

    /// Bytes of the messages loaded.
    pub(super) const fn loaded_bytes(&self) -> usize {
        self.loaded_bytes
    }

    pub(super) fn load(&mut self, found: EventPlace) -> Result<StoredEvent, Error> {
        let (block, _) = self.block(found.block_id)?;
        let event = entry(&block, &found)?;
        self.loaded_bytes = self.loaded_bytes.saturating_add(event.message.len());
        Ok(StoredEvent {
            resource: self.origins.resource(event.resource_id)?,
            scope: self.origins.scope(event.scope_id)?,
            message: event.message.to_vec(),
            columns: found.columns,
        })
    }

    /// Whether an event, with its resource, has all attributes that a test wants.
    pub(super) fn test(
        &mut self,
        test: &mut AttributeTest<'_>,
        found: &EventPlace,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        let (block, is_new) = self.block(found.block_id)?;
        if is_new {
            budget.spend_block();
        }
        let event = entry(&block, found)?;
        if !test.knows(event.resource_id) {
            let resource = self.origins.resource(event.resource_id)?;
            test.learn(event.resource_id, &resource.message)?;
        }
        test.matches_event(event)
    }

    /// A block; also whether it had to be unpacked.
    fn block(&mut self, block_id: i64) -> Result<(Rc<DecodedBlock>, bool), Error> {
        if let Some((_, block)) = self.blocks.iter().find(|(id, _)| *id == block_id) {
            return Ok((Rc::clone(block), false));
        }
        self.session.check()?;
        let block = self
            .session
            .connection
            .prepare_cached(BLOCK)
            .and_then(|mut statement| {
                statement
                    .query_row(params![block_id, self.project.0], |row| {
                        Ok(content::decode(row.get(0)?, blob(row, 1)?))
                    })
                    .optional()
            })
            .map_err(read_error("read a block of events"))?
            .ok_or_else(|| corrupt(format!("block {block_id} of events is missing")))?
            .map_err(|damage| corrupt(format!("block {block_id} of events: {damage}")))?;
        let block = Rc::new(block);
        if self.blocks.len() >= BLOCKS_KEPT {
            self.blocks.pop_front();
        }
        self.blocks.push_back((block_id, Rc::clone(&block)));
        Ok((block, true))
    }
}

fn entry<'b>(block: &'b DecodedBlock, found: &EventPlace) -> Result<BlockSpan<'b>, Error> {
    block.span(found.place).ok_or_else(|| {
        let (block_id, place) = (found.block_id, found.place);
        corrupt(format!("block {block_id} of events has no place {place}"))
    })
}
