//! Searching what events say.
//!
//! Rows are read newest first, a piece at a time. The blocks that hold the messages of those that
//! match so far are looked through, each once, on the threads of all searches; then the rows whose
//! messages match are completed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::types::Type;

use super::blocks::{BLOCKS, FETCH_BLOCKS, FETCH_BYTES, SIEVES};
use super::columns::Columns;
use super::events::{self, EVENTS_TOGETHER, Found, LAST_DIGEST};
use super::scan::bounds;
use super::session::{Param, Session};
use super::{corrupt, project_id, signed};
use crate::model::ProjectId;
use crate::storage::attributes::AttributeTest;
use crate::storage::search::{
    EventBlockTask, EventHits, EventSearch, FoundEvent, SearchPage, Searchers,
};
use crate::storage::{Cursor, Error, PageRequest};

/// Rows of the first piece, and of the largest: each is four times the one before.
const PIECE_ROWS_MIN: i64 = 250;
const PIECE_ROWS_MAX: i64 = 4_000;

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) project: ProjectId,
    pub(super) query: &'a EventSearch,
    pub(super) page: &'a PageRequest,
    pub(super) searchers: &'a Searchers,
    /// From here on the answer is what was found.
    pub(super) deadline: Instant,
}

/// Answers a search.
pub(super) async fn search(
    session: &Session,
    asked: &Asked<'_>,
) -> Result<SearchPage<FoundEvent>, Error> {
    let filter = &asked.query.filter;
    let mut search = Search {
        session,
        asked,
        attributes: AttributeTest::new(&filter.attributes),
        hits: HashMap::new(),
        page: SearchPage {
            items: Vec::new(),
            next: None,
            complete: true,
            searched_to_unix_nano: filter.range.start_unix_nano.unwrap_or(0),
            searched_spans: 0,
            searched_bytes: 0,
        },
    };
    let after = asked.page.after.as_ref();
    let Some(range) = bounds(&filter.range, after) else {
        return Ok(search.page);
    };
    let mut below = match after {
        None => (i64::MAX, LAST_DIGEST.to_vec()),
        Some(cursor) => (signed(cursor.unix_nano), cursor.key.clone()),
    };
    let mut limit = PIECE_ROWS_MIN;
    loop {
        let rows = events::piece_of(session, asked.project, filter, range, &below, limit).await?;
        let seen = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if let Some(last) = rows.last() {
            let id = last.columns.id;
            below = (signed(id.unix_nano), id.digest.to_vec());
        }
        if !search.take(rows).await? || seen < limit {
            return Ok(search.page);
        }
        limit = limit.saturating_mul(4).min(PIECE_ROWS_MAX);
    }
}

/// A page being filled.
struct Search<'a> {
    session: &'a Session,
    asked: &'a Asked<'a>,
    attributes: Option<AttributeTest<'a>>,
    /// What matches in the blocks that were looked through.
    hits: HashMap<i64, EventHits>,
    page: SearchPage<FoundEvent>,
}

impl Search<'_> {
    /// Takes the next rows; answers whether to go on.
    async fn take(&mut self, rows: Vec<Found>) -> Result<bool, Error> {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            // As many as their blocks can be looked through at once.
            let mut part = Vec::new();
            let mut blocks = BTreeSet::new();
            let mut last = None;
            while blocks.len() < FETCH_BLOCKS
                && let Some(row) = rows.next()
            {
                last = Some(row.columns.cursor());
                if row.columns.matches(&self.asked.query.filter) {
                    if !self.hits.contains_key(&row.block_id) {
                        blocks.insert(row.block_id);
                    }
                    part.push(row);
                }
            }
            self.look_through(blocks.into_iter().collect()).await?;
            part.retain(|row| {
                let hits = self.hits.get(&row.block_id);
                hits.is_some_and(|hits| hits.holds(row.place))
            });
            while !part.is_empty() {
                let rest = part.split_off(part.len().min(EVENTS_TOGETHER));
                if !self.answer(std::mem::replace(&mut part, rest)).await? {
                    return Ok(false);
                }
            }
            if Instant::now() >= self.asked.deadline {
                self.stop(last, false);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the page after a row.
    fn stop(&mut self, at: Option<Cursor>, complete: bool) {
        self.page.complete = complete;
        if let Some(at) = &at {
            self.page.searched_to_unix_nano = at.unix_nano;
        }
        self.page.next = at;
    }

    /// Looks through blocks. One that is gone held deleted events only.
    async fn look_through(&mut self, mut ids: Vec<i64>) -> Result<(), Error> {
        let project = project_id(self.asked.project);
        for id in &ids {
            self.hits.insert(*id, EventHits::default());
        }
        self.pass_over(project, &mut ids).await?;
        while !ids.is_empty() {
            let params: [Param<'_>; 3] = [
                (&project, Type::INT8),
                (&ids, Type::INT8_ARRAY),
                (&FETCH_BYTES, Type::INT8),
            ];
            let rows = self.session.query(BLOCKS, &params, "read blocks").await?;
            if rows.is_empty() {
                break;
            }
            let mut looked = Vec::with_capacity(rows.len());
            for row in &rows {
                let mut columns = Columns::new(row);
                let (block_id, codec): (i64, i16) = (columns.take()?, columns.take()?);
                let task = EventBlockTask {
                    matcher: Arc::clone(&self.asked.query.matcher),
                    codec: i64::from(codec),
                    content: columns.take()?,
                };
                ids.retain(|id| *id != block_id);
                let answer = self.asked.searchers.submit(|buffers| task.run(buffers));
                looked.push((block_id, answer));
            }
            for (block_id, answer) in looked {
                let found = answer.await;
                let found = found
                    .map_err(|_| corrupt(format!("searching block {block_id} panicked")))?
                    .map_err(|source| corrupt(format!("block {block_id}: {source}")))?;
                self.page.searched_spans += found.events;
                self.page.searched_bytes += found.bytes;
                self.hits.insert(block_id, found);
            }
        }
        Ok(())
    }

    /// Leaves out the blocks in which what is searched for can't be.
    async fn pass_over(&self, project: i64, ids: &mut Vec<i64>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let params: [Param<'_>; 2] = [(&project, Type::INT8), (&*ids, Type::INT8_ARRAY)];
        let context = "read what may be in blocks";
        let rows = self.session.query(SIEVES, &params, context).await?;
        for row in &rows {
            let mut columns = Columns::new(row);
            let block_id: i64 = columns.take()?;
            let sieve: Option<&[u8]> = columns.take()?;
            if sieve.is_some_and(|sieve| !self.asked.query.matcher.may_be_in(sieve)) {
                ids.retain(|id| *id != block_id);
            }
        }
        Ok(())
    }

    /// Answers rows whose messages match; answers whether the page has room for more.
    async fn answer(&mut self, rows: Vec<Found>) -> Result<bool, Error> {
        let completed = events::complete(self.session, self.asked.project, rows).await?;
        for event in completed.into_iter().flatten() {
            let tested = match &mut self.attributes {
                Some(test) => events::test_one(test, event)?,
                None => Some(event),
            };
            let Some(event) = tested else {
                continue;
            };
            let id = event.columns.id;
            let damaged = |_| corrupt(format!("the message of event {id}"));
            let matches = self.asked.query.matcher.matches_record(&event.message);
            let Some(matches) = matches.map_err(damaged)? else {
                continue;
            };
            let cursor = event.columns.cursor();
            self.page.items.push(FoundEvent {
                event: event.columns,
                matches,
            });
            if self.page.items.len() >= self.asked.page.limit.max(1) {
                self.stop(Some(cursor), true);
                return Ok(false);
            }
        }
        Ok(true)
    }
}
