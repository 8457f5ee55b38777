//! A run: sorted entries, some in a row.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::filter::Filter;
use super::{BEING_WRITTEN, IN_USE, Id, Run};
use crate::storage::Error;
use crate::storage::sqlite::error::storage_error;

/// Bytes of an entry: id, project, key.
pub(super) const ENTRY_BYTES: usize = 32;
/// Bytes by which entries are sorted: id and project.
const SORT_BYTES: usize = 24;
/// Entries in a row: four rows fill a page, and a longer row would not be kept in one.
pub(super) const CHUNK_ENTRIES: usize = 60;
/// Rows deleted at a time.
const DELETE_CHUNKS: i64 = 64;

/// An entry. Sorts by id and project, then by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry([u8; ENTRY_BYTES]);

impl Entry {
    pub(super) fn new(id: &Id, project: u32, key: i64) -> Self {
        let mut bytes = [0; ENTRY_BYTES];
        let (sort, tail) = bytes.split_at_mut(SORT_BYTES);
        sort.copy_from_slice(&sort_key(id, project));
        tail.copy_from_slice(&key.to_be_bytes());
        Self(bytes)
    }

    pub(super) const fn from_bytes(bytes: [u8; ENTRY_BYTES]) -> Self {
        Self(bytes)
    }

    /// What it is sorted by.
    pub(super) fn sort_key(&self) -> &[u8] {
        self.0.split_at(SORT_BYTES).0
    }

    pub(super) fn row_key(&self) -> i64 {
        self.0
            .last_chunk()
            .map_or(0, |key| i64::from_be_bytes(*key))
    }

    fn id(&self) -> Id {
        self.0.first_chunk().copied().unwrap_or_default()
    }

    fn project(&self) -> u32 {
        // The upper four of its eight bytes are zero.
        let project = self.0.get(20..).and_then(<[u8]>::first_chunk);
        project.map_or(0, |project| u32::from_be_bytes(*project))
    }
}

fn sort_key(id: &Id, project: u32) -> [u8; SORT_BYTES] {
    let mut bytes = [0; SORT_BYTES];
    let (head, tail) = bytes.split_at_mut(16);
    head.copy_from_slice(id);
    tail.copy_from_slice(&u64::from(project).to_be_bytes());
    bytes
}

/// Writes a run front to back.
#[derive(Debug)]
pub(super) struct Writer {
    run_id: i64,
    entries: usize,
    row_key_max: i64,
    filter: Filter,
    chunk: Vec<u8>,
}

impl Writer {
    /// Begins a run of at most so many entries.
    pub(super) fn begin(
        transaction: &Transaction<'_>,
        space: i64,
        entries_max: usize,
    ) -> Result<Self, Error> {
        transaction
            .prepare_cached(
                "INSERT INTO id_run (space, state, entry_count, row_key_max, filter)
                 VALUES (?1, ?2, 0, 0, x'')",
            )
            .and_then(|mut insert| insert.execute(params![space, BEING_WRITTEN]))
            .map_err(storage_error("begin an id run"))?;
        Ok(Self {
            run_id: transaction.last_insert_rowid(),
            entries: 0,
            row_key_max: 0,
            filter: Filter::for_ids(entries_max),
            chunk: Vec::with_capacity(CHUNK_ENTRIES * ENTRY_BYTES),
        })
    }

    /// Adds an entry, larger than the last one; answers whether a row was written.
    pub(super) fn push(
        &mut self,
        transaction: &Transaction<'_>,
        entry: Entry,
    ) -> Result<bool, Error> {
        self.filter.add(&entry.id(), entry.project());
        self.chunk.extend_from_slice(&entry.0);
        self.entries += 1;
        self.row_key_max = self.row_key_max.max(entry.row_key());
        let full = self.chunk.len() >= CHUNK_ENTRIES * ENTRY_BYTES;
        if full {
            self.save_chunk(transaction)?;
        }
        Ok(full)
    }

    /// Puts the run to use. `None` when there is nothing in it.
    pub(super) fn finish(mut self, transaction: &Transaction<'_>) -> Result<Option<Run>, Error> {
        let failed = storage_error("end an id run");
        self.save_chunk(transaction)?;
        if self.entries == 0 {
            transaction
                .execute("DELETE FROM id_run WHERE run_id = ?1", [self.run_id])
                .map_err(failed)?;
            return Ok(None);
        }
        let entries = i64::try_from(self.entries).unwrap_or(i64::MAX);
        transaction
            .execute(
                "UPDATE id_run SET state = ?2, entry_count = ?3, row_key_max = ?4, filter = ?5
                 WHERE run_id = ?1",
                params![
                    self.run_id,
                    IN_USE,
                    entries,
                    self.row_key_max,
                    self.filter.encode()
                ],
            )
            .map_err(failed)?;
        Ok(Some(Run {
            run_id: self.run_id,
            entries: self.entries,
            row_key_max: self.row_key_max,
            filter: self.filter,
        }))
    }

    fn save_chunk(&mut self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let Some(first) = self.chunk.get(..SORT_BYTES) else {
            return Ok(());
        };
        transaction
            .prepare_cached("INSERT INTO id_run_chunk VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute(params![self.run_id, first, self.chunk]))
            .map_err(storage_error("write an id run"))?;
        self.chunk.clear();
        Ok(())
    }
}

/// The row key of an id in a run.
pub(super) fn look_up(
    transaction: &Transaction<'_>,
    run_id: i64,
    id: &Id,
    project: u32,
) -> Result<Option<i64>, Error> {
    look_up_in(transaction, run_id, id, project).map_err(storage_error("look up an id"))
}

/// As [`look_up`], for readers.
pub(super) fn look_up_in(
    connection: &Connection,
    run_id: i64,
    id: &Id,
    project: u32,
) -> rusqlite::Result<Option<i64>> {
    let wanted = sort_key(id, project);
    let mut select = connection.prepare_cached(
        "SELECT entries FROM id_run_chunk WHERE run_id = ?1 AND first <= ?2
         ORDER BY first DESC LIMIT 1",
    )?;
    let found = select.query_row(params![run_id, wanted], |row| {
        let (entries, _) = row.get_ref(0)?.as_blob()?.as_chunks::<ENTRY_BYTES>();
        let place = entries.binary_search_by(|entry| entry.split_at(SORT_BYTES).0.cmp(&wanted));
        let entry = place.ok().and_then(|place| entries.get(place));
        Ok(entry.map(|entry| Entry::from_bytes(*entry).row_key()))
    });
    Ok(found.optional()?.flatten())
}

/// The entries of the row after the one that begins with `after`; an empty `after` is before all.
pub(super) fn next_chunk(
    transaction: &Transaction<'_>,
    run_id: i64,
    after: &[u8],
) -> Result<Vec<Entry>, Error> {
    let found = transaction
        .prepare_cached(
            "SELECT entries FROM id_run_chunk WHERE run_id = ?1 AND first > ?2
             ORDER BY first LIMIT 1",
        )
        .and_then(|mut select| {
            select
                .query_row(params![run_id, after], |row| {
                    let (entries, _) = row.get_ref(0)?.as_blob()?.as_chunks::<ENTRY_BYTES>();
                    Ok(entries
                        .iter()
                        .map(|entry| Entry::from_bytes(*entry))
                        .collect())
                })
                .optional()
        })
        .map_err(storage_error("read an id run"))?;
    Ok(found.unwrap_or_default())
}

/// Sets the state of a run.
pub(super) fn set_state(
    transaction: &Transaction<'_>,
    run_id: i64,
    state: i64,
) -> Result<(), Error> {
    transaction
        .prepare_cached("UPDATE id_run SET state = ?2 WHERE run_id = ?1")
        .and_then(|mut update| update.execute([run_id, state]))
        .map_err(storage_error("change an id run"))?;
    Ok(())
}

/// Deletes some rows of a run, and in the end the run; answers how many, none when it is gone.
pub(super) fn delete_some(transaction: &Transaction<'_>, run_id: i64) -> Result<usize, Error> {
    let failed = storage_error("delete an id run");
    let deleted = transaction
        .prepare_cached(
            "DELETE FROM id_run_chunk WHERE run_id = ?1 AND first <= (
                SELECT max(first) FROM (SELECT first FROM id_run_chunk WHERE run_id = ?1
                    ORDER BY first LIMIT ?2))",
        )
        .and_then(|mut delete| delete.execute([run_id, DELETE_CHUNKS]))
        .map_err(&failed)?;
    if deleted == 0 {
        transaction
            .execute("DELETE FROM id_run WHERE run_id = ?1", [run_id])
            .map_err(&failed)?;
    }
    Ok(deleted)
}
