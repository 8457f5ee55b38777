//! Blocks that a query has read: neighbours in a list are mostly of one block.

use std::collections::VecDeque;
use std::rc::Rc;

use rusqlite::{OptionalExtension as _, params};

use super::corrupt;
use super::failure::read_error;
use super::keys::{blob, place};
use super::pool::Session;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::content::{self, DecodedBlock};
use crate::storage::sqlite::columns::Columns;

/// Blocks whose columns, and whose messages, are kept.
const COLUMNS_KEPT: usize = 64;
const MESSAGES_KEPT: usize = 8;

/// Columns of a block, and how many of its traces are left.
pub(super) const COLUMNS: &str = "SELECT columns, part_count FROM block CROSS JOIN block_use \
     USING (block_id) WHERE block_id = ?1 AND project_id = ?2";
/// Whether a block holds spans of a trace that is there.
pub(super) const PART: &str = "SELECT 1 FROM trace_part WHERE trace_key = ?1 AND block_id = ?2";
/// Messages of a block.
pub(super) const MESSAGES: &str =
    "SELECT codec, content FROM block WHERE block_id = ?1 AND project_id = ?2";

/// Which texts may be in a block; older blocks have none.
pub(super) const SIEVE: &str = "SELECT sieve FROM block_sieve WHERE block_id = ?1";

/// Reads blocks, and keeps the last few.
#[derive(Debug)]
pub(super) struct Blocks<'s> {
    session: &'s Session<'s>,
    project: ProjectId,
    columns: VecDeque<(i64, Rc<Columns>)>,
    messages: VecDeque<(i64, Rc<DecodedBlock>)>,
}

impl<'s> Blocks<'s> {
    pub(super) fn new(session: &'s Session<'s>, project: ProjectId) -> Self {
        Self {
            session,
            project,
            columns: VecDeque::new(),
            messages: VecDeque::new(),
        }
    }

    /// The columns of a block.
    pub(super) fn columns(&mut self, block_id: i64) -> Result<Rc<Columns>, Error> {
        if let Some((_, columns)) = self.columns.iter().find(|(id, _)| *id == block_id) {
            return Ok(Rc::clone(columns));
        }
        self.session.check()?;
        let (mut columns, parts) = self.read(block_id, COLUMNS, |row| {
            let bytes = blob(row, 0)?;
            let parts: usize = place(row, 1)?;
            let columns = Columns::decode(bytes).map_err(|source| source.to_string());
            Ok(columns.map(|columns| (columns, parts)))
        })?;
        if parts < columns.trace_keys().count() {
            self.leave_deleted_out(block_id, &mut columns)?;
        }
        let columns = Rc::new(columns);
        keep(&mut self.columns, COLUMNS_KEPT, block_id, &columns);
        Ok(columns)
    }

    /// Retention deletes traces; a block goes with the last of its own.
    fn leave_deleted_out(&self, block_id: i64, columns: &mut Columns) -> Result<(), Error> {
        let failed = read_error("look for the traces of a block");
        let mut find = self
            .session
            .connection
            .prepare_cached(PART)
            .map_err(&failed)?;
        let mut gone = Vec::new();
        for (trace, key) in columns.trace_keys().enumerate() {
            if !find.exists(params![key, block_id]).map_err(&failed)? {
                gone.push(trace);
            }
        }
        for trace in gone {
            columns.leave_out(trace);
        }
        Ok(())
    }

    /// The messages of a block; also whether it had to be unpacked.
    pub(super) fn messages(&mut self, block_id: i64) -> Result<(Rc<DecodedBlock>, bool), Error> {
        if let Some((_, messages)) = self.messages.iter().find(|(id, _)| *id == block_id) {
            return Ok((Rc::clone(messages), false));
        }
        self.session.check()?;
        let messages = self.read(block_id, MESSAGES, |row| {
            let codec = row.get(0)?;
            let content = blob(row, 1)?;
            Ok(content::decode(codec, content).map_err(|source| source.to_string()))
        })?;
        let messages = Rc::new(messages);
        keep(&mut self.messages, MESSAGES_KEPT, block_id, &messages);
        Ok((messages, true))
    }

    fn read<T>(
        &self,
        block_id: i64,
        sql: &str,
        decode: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<Result<T, String>>,
    ) -> Result<T, Error> {
        self.session
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row(params![block_id, self.project.0], decode)
                    .optional()
            })
            .map_err(read_error("read a block"))?
            .ok_or_else(|| corrupt(format!("block {block_id} is missing")))?
            .map_err(|damage| corrupt(format!("block {block_id}: {damage}")))
    }
}

fn keep<T>(kept: &mut VecDeque<(i64, Rc<T>)>, most: usize, block_id: i64, value: &Rc<T>) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back((block_id, Rc::clone(value)));
}
