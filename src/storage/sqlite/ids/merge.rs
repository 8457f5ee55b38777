//! Merging runs into one, a few rows at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::vec::IntoIter;

use rusqlite::Transaction;

use super::Run;
use super::run::{self, Entry, Writer};
use crate::storage::Error;

/// Rows written in a step.
const STEP_CHUNKS: usize = 8;

/// Runs that become one.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    /// The next entry of each source that has one.
    next: BinaryHeap<Reverse<(Entry, usize)>>,
    target: Writer,
    /// An entry that waits to see whether another follows for the same id.
    held: Option<Entry>,
}

/// A run that is read front to back.
#[derive(Debug)]
struct Source {
    run_id: i64,
    /// Where its last row began.
    after: Vec<u8>,
    entries: IntoIter<Entry>,
}

impl Source {
    fn next(&mut self, transaction: &Transaction<'_>) -> Result<Option<Entry>, Error> {
        if let Some(entry) = self.entries.next() {
            return Ok(Some(entry));
        }
        let entries = run::next_chunk(transaction, self.run_id, &self.after)?;
        if let Some(first) = entries.first() {
            self.after = first.sort_key().to_vec();
        }
        self.entries = entries.into_iter();
        Ok(self.entries.next())
    }
}

impl Merge {
    /// Begins to merge runs that hold so many entries together.
    pub(super) fn begin(
        transaction: &Transaction<'_>,
        space: i64,
        run_ids: Vec<i64>,
        entries: usize,
    ) -> Result<Self, Error> {
        let mut merge = Self {
            sources: Vec::with_capacity(run_ids.len()),
            next: BinaryHeap::with_capacity(run_ids.len()),
            target: Writer::begin(transaction, space, entries)?,
            held: None,
        };
        for run_id in run_ids {
            merge.sources.push(Source {
                run_id,
                after: Vec::new(),
                entries: Vec::new().into_iter(),
            });
            merge.advance(transaction, merge.sources.len() - 1)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, transaction: &Transaction<'_>, place: usize) -> Result<(), Error> {
        if let Some(source) = self.sources.get_mut(place)
            && let Some(entry) = source.next(transaction)?
        {
            self.next.push(Reverse((entry, place)));
        }
        Ok(())
    }

    /// Writes some rows; answers how many, and whether that was all.
    pub(super) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        oldest_key: i64,
    ) -> Result<(usize, bool), Error> {
        let (mut chunks, mut dropped) = (0, 0);
        while chunks + dropped / run::CHUNK_ENTRIES < STEP_CHUNKS {
            let Some(Reverse((entry, place))) = self.next.pop() else {
                if let Some(held) = self.held.take() {
                    self.target.push(transaction, held)?;
                }
                return Ok((chunks, true));
            };
            self.advance(transaction, place)?;
            if entry.row_key() < oldest_key {
                dropped += 1;
                continue;
            }
            // Of entries with one id the last has the newest key: the others' rows are gone.
            if let Some(held) = self.held.replace(entry)
                && held.sort_key() != entry.sort_key()
            {
                chunks += usize::from(self.target.push(transaction, held)?);
            }
        }
        Ok((chunks, false))
    }

    /// Puts the result to use; answers it with the runs it replaces.
    pub(super) fn finish(
        self,
        transaction: &Transaction<'_>,
    ) -> Result<(Option<Run>, Vec<i64>), Error> {
        let sources = self.sources.iter().map(|source| source.run_id).collect();
        Ok((self.target.finish(transaction)?, sources))
    }
}
