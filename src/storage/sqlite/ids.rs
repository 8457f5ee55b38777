//! Row keys by random id, at a cost that does not grow with what is stored.
//!
//! An index over random ids touches a page of its own for nearly every id once it is larger than
//! a batch, and every page touched is written twice. Here new ids go to a small table; when that is
//! full it becomes a run of sorted entries, written front to back; eight runs of one size become one
//! of the next, a few rows with every batch. An id is looked for in all runs, the newest first; a
//! Bloom filter each, kept in memory, spares the writer nearly all of those looks.
//!
//! Ids and entries are changed only inside the writer's transaction; after a rollback the memory is
//! read anew ([`IdIndex::forget`]).

mod filter;
mod merge;
mod run;

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::storage::Error;
use filter::Filter;
use merge::Merge;
use run::Entry;

/// Ids kept one by one before they become a run.
const RECENT_MAX: usize = 8192;

/// Runs of one size that become one of the next.
const FAN_OUT: usize = 8;

/// States of a run.
const IN_USE: i64 = 0;
const BEING_WRITTEN: i64 = 1;
const BEING_DELETED: i64 = 2;

/// An id, 16 bytes, random by nature.
pub(super) type Id = [u8; 16];

/// What the ids are of. The numbers lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Trace ids; the keys are of `trace`.
    Traces = 0,
    /// Digests of session ids; the keys are of `session`.
    Sessions = 1,
}

/// Row keys by id in one space.
#[derive(Debug)]
pub(super) struct IdIndex {
    space: i64,
    memory: Option<Memory>,
}

/// What is kept of the committed state, plus what the open transaction did.
#[derive(Debug)]
struct Memory {
    recent: HashMap<(Id, u32), i64>,
    /// Runs in use, oldest first.
    runs: Vec<Run>,
    /// Runs whose rows are to be deleted.
    deleting: Vec<i64>,
    merge: Option<Merge>,
    /// Ids added since work was done last.
    added: usize,
}

#[derive(Debug)]
struct Run {
    run_id: i64,
    entries: usize,
    row_key_max: i64,
    filter: Filter,
}

impl IdIndex {
    pub(super) const fn new(space: Space) -> Self {
        Self {
            space: space as i64,
            memory: None,
        }
    }

    /// Forgets what is in memory: after a rollback it may be ahead of the store.
    pub(super) fn forget(&mut self) {
        self.memory = None;
    }

    /// Calls `look` with the keys that an id may have, the newest first, until it answers something.
    /// A key may be of a row that has been deleted.
    pub(super) fn find<T>(
        &mut self,
        transaction: &Transaction<'_>,
        project: ProjectId,
        id: &Id,
        mut look: impl FnMut(i64) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let memory = Memory::of(&mut self.memory, transaction, self.space)?;
        if let Some(key) = memory.recent.get(&(*id, project.0))
            && let Some(found) = look(*key)?
        {
            return Ok(Some(found));
        }
        for run in memory.runs.iter().rev() {
            if run.filter.may_hold(id, project.0)
                && let Some(key) = run::look_up(transaction, run.run_id, id, project.0)?
                && let Some(found) = look(key)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Adds an id that [`IdIndex::find`] does not find.
    pub(super) fn insert(
        &mut self,
        transaction: &Transaction<'_>,
        project: ProjectId,
        id: &Id,
        key: i64,
    ) -> Result<(), Error> {
        let failed = storage_error("store an id");
        let memory = Memory::of(&mut self.memory, transaction, self.space)?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO id_recent VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut insert| insert.execute(params![self.space, id, project.0, key]))
            .map_err(failed)?;
        memory.recent.insert((*id, project.0), key);
        memory.added += 1;
        Ok(())
    }

    /// Does the share of sorting and merging that is due after a batch. Entries of rows below
    /// `oldest_key` are dropped: those rows have been deleted.
    pub(super) fn maintain(
        &mut self,
        transaction: &Transaction<'_>,
        oldest_key: i64,
    ) -> Result<(), Error> {
        let space = self.space;
        let memory = Memory::of(&mut self.memory, transaction, space)?;
        // An entry is written once per size of runs, and deleted as often.
        let mut chunks = 16 + memory.added / (run::CHUNK_ENTRIES / 16);
        memory.added = 0;
        if memory.recent.len() >= RECENT_MAX {
            memory.flush(transaction, space, oldest_key)?;
        }
        memory.drop_dead_runs(transaction, oldest_key)?;
        while chunks > 0 {
            let done = memory.step(transaction, space, oldest_key)?;
            if done == 0 {
                break;
            }
            chunks = chunks.saturating_sub(done);
        }
        Ok(())
    }
}

impl Memory {
    /// The memory, read from the store when there is none.
    fn of<'m>(
        slot: &'m mut Option<Self>,
        transaction: &Transaction<'_>,
        space: i64,
    ) -> Result<&'m mut Self, Error> {
        match slot {
            Some(memory) => Ok(memory),
            None => Ok(slot.insert(Self::load(transaction, space)?)),
        }
    }

    fn load(transaction: &Transaction<'_>, space: i64) -> Result<Self, Error> {
        let failed = storage_error("read the id runs");
        let mut select = transaction
            .prepare("SELECT id, project_id, row_key FROM id_recent WHERE space = ?1")
            .map_err(&failed)?;
        let recent = select
            .query_map([space], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
            .map_err(&failed)?
            .collect::<Result<_, _>>()
            .map_err(&failed)?;
        let mut memory = Self {
            recent,
            runs: Vec::new(),
            deleting: Vec::new(),
            merge: None,
            added: 0,
        };
        let mut select = transaction
            .prepare(
                "SELECT run_id, state, entry_count, row_key_max, filter FROM id_run
                 WHERE space = ?1 ORDER BY run_id",
            )
            .map_err(&failed)?;
        let mut rows = select.query([space]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let run_id: i64 = row.get(0).map_err(&failed)?;
            let state: i64 = row.get(1).map_err(&failed)?;
            if state != IN_USE {
                // A merge that was cut off begins anew.
                memory.deleting.push(run_id);
                continue;
            }
            let entries: i64 = row.get(2).map_err(&failed)?;
            let filter: Vec<u8> = row.get(4).map_err(&failed)?;
            memory.runs.push(Run {
                run_id,
                entries: usize::try_from(entries).unwrap_or(0),
                row_key_max: row.get(3).map_err(&failed)?,
                filter: Filter::decode(&filter),
            });
        }
        Ok(memory)
    }

    /// Turns the recent ids into a run.
    fn flush(
        &mut self,
        transaction: &Transaction<'_>,
        space: i64,
        oldest_key: i64,
    ) -> Result<(), Error> {
        let failed = storage_error("write an id run");
        let mut entries: Vec<Entry> = self
            .recent
            .iter()
            .filter(|(_, key)| **key >= oldest_key)
            .map(|((id, project), key)| Entry::new(id, *project, *key))
            .collect();
        entries.sort_unstable();
        let mut writer = run::Writer::begin(transaction, space, entries.len())?;
        for entry in entries {
            writer.push(transaction, entry)?;
        }
        let run = writer.finish(transaction)?;
        self.runs.extend(run);
        transaction
            .execute("DELETE FROM id_recent WHERE space = ?1", [space])
            .map_err(failed)?;
        self.recent.clear();
        Ok(())
    }

    /// Lets go of runs of which every row has been deleted.
    fn drop_dead_runs(
        &mut self,
        transaction: &Transaction<'_>,
        oldest_key: i64,
    ) -> Result<(), Error> {
        if self.merge.is_some() {
            return Ok(());
        }
        let dead = self.runs.extract_if(.., |run| run.row_key_max < oldest_key);
        for run in dead {
            run::set_state(transaction, run.run_id, BEING_DELETED)?;
            self.deleting.push(run.run_id);
        }
        Ok(())
    }

    /// Merges or deletes a few chunks; answers how many, none when there is nothing to do.
    fn step(
        &mut self,
        transaction: &Transaction<'_>,
        space: i64,
        oldest_key: i64,
    ) -> Result<usize, Error> {
        if let Some(run_id) = self.deleting.last() {
            let deleted = run::delete_some(transaction, *run_id)?;
            if deleted == 0 {
                self.deleting.pop();
            }
            return Ok(deleted.max(1));
        }
        let mut merge = match self.merge.take() {
            Some(merge) => merge,
            None => match self.begin_merge(transaction, space)? {
                Some(merge) => merge,
                None => return Ok(0),
            },
        };
        let (chunks, ended) = merge.step(transaction, oldest_key)?;
        if ended {
            self.end_merge(transaction, merge)?;
        } else {
            self.merge = Some(merge);
        }
        Ok(chunks.max(1))
    }

    /// Begins to merge the oldest runs of a size of which there are enough.
    fn begin_merge(
        &self,
        transaction: &Transaction<'_>,
        space: i64,
    ) -> Result<Option<Merge>, Error> {
        for size in 0..usize::BITS {
            let of_size = self.runs.iter().filter(|run| size_of(run.entries) == size);
            let chosen: Vec<&Run> = of_size.take(FAN_OUT).collect();
            if chosen.len() == FAN_OUT {
                let entries = chosen.iter().map(|run| run.entries).sum();
                let run_ids = chosen.iter().map(|run| run.run_id).collect();
                return Merge::begin(transaction, space, run_ids, entries).map(Some);
            }
        }
        Ok(None)
    }

    fn end_merge(&mut self, transaction: &Transaction<'_>, merge: Merge) -> Result<(), Error> {
        let (run, sources) = merge.finish(transaction)?;
        self.runs.retain(|run| !sources.contains(&run.run_id));
        for run_id in sources {
            run::set_state(transaction, run_id, BEING_DELETED)?;
            self.deleting.push(run_id);
        }
        // What was flushed meanwhile is newer.
        let place = run.as_ref().map(|new| {
            self.runs
                .partition_point(|run| run.row_key_max < new.row_key_max)
        });
        if let (Some(run), Some(place)) = (run, place) {
            self.runs.insert(place, run);
        }
        Ok(())
    }
}

/// The size class of a run: each holds up to [`FAN_OUT`] times the entries of the one before.
fn size_of(entries: usize) -> u32 {
    (entries / RECENT_MAX).max(1).ilog(FAN_OUT)
}

/// The keys that the store has for an id, newest run first, without what is in memory: for readers.
pub(super) const FIND: &str = "SELECT row_key FROM id_recent
    WHERE space = ?1 AND id = ?2 AND project_id = ?3";
pub(super) const RUNS: &str = "SELECT run_id FROM id_run WHERE space = ?1 AND state = 0
    ORDER BY row_key_max DESC";

/// The row key of an id, among those of which `exists` says that there is a row.
pub(super) fn find(
    connection: &rusqlite::Connection,
    space: Space,
    project: ProjectId,
    id: &Id,
    mut exists: impl FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Option<i64>> {
    let recent: Option<i64> = connection
        .prepare_cached(FIND)?
        .query_row(params![space as i64, id, project.0], |row| row.get(0))
        .optional()?;
    if let Some(key) = recent
        && exists(key)?
    {
        return Ok(Some(key));
    }
    let mut runs = connection.prepare_cached(RUNS)?;
    let mut runs = runs.query([space as i64])?;
    while let Some(row) = runs.next()? {
        if let Some(key) = run::look_up_in(connection, row.get(0)?, id, project.0)?
            && exists(key)?
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
