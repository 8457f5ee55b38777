//! Searching what events say.
//!
//! Rows are walked newest first, as for the list. The blocks that hold their messages are looked
//! through a few ahead of the rows, on the threads of all searches, each block once; a row then only
//! asks whether its message was among those that match.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{OptionalExtension as _, Row, Rows, params};
use tokio::sync::oneshot;

use super::corrupt;
use super::events::{
    EVENTS_BETWEEN, EVENTS_TIE, EventPlace, OF_TRACE_BETWEEN, OF_TRACE_TIE, event_place,
};
use super::events_load::{BLOCK, Loader};
use super::failure::read_error;
use super::pool::Session;
use super::scan::{Budget, Stretch, stretches};
use crate::model::ProjectId;
use crate::storage::attributes::AttributeTest;
use crate::storage::content;
use crate::storage::search::{
    EventBlockTask, EventHits, EventSearch, FoundEvent, SearchPage, Searchers,
};
use crate::storage::{Cursor, Error, PageRequest};

/// Which texts may be in a block of events.
const SIEVE: &str = "SELECT sieve FROM event_block_sieve WHERE block_id = ?1";
/// Rows that wait for their blocks at most.
const ROWS_WAITING_MAX: usize = 2048;
/// Rows read between two looks at the clock.
const ROWS_PER_LOOK: usize = 64;

/// Answers a search.
pub(super) fn search(
    session: &Session<'_>,
    project: ProjectId,
    query: &EventSearch,
    page: &PageRequest,
    searchers: &Searchers,
    deadline: Instant,
) -> Result<SearchPage<FoundEvent>, Error> {
    let mut search = Search {
        session,
        project,
        query,
        searchers,
        deadline,
        limit: page.limit.max(1),
        attributes: AttributeTest::new(&query.filter.attributes),
        loader: Loader::new(session, project),
        budget: Budget::new(session),
        blocks: HashMap::new(),
        pending: 0,
        waiting: VecDeque::new(),
        walked: None,
        page: SearchPage {
            items: Vec::new(),
            next: None,
            complete: true,
            searched_to_unix_nano: query.filter.range.start_unix_nano.unwrap_or(0),
            searched_spans: 0,
            searched_bytes: 0,
        },
    };
    for stretch in stretches(&query.filter.range, page.after.as_ref()) {
        if !search.walk(&stretch)? {
            break;
        }
    }
    Ok(search.page)
}

/// A block some rows of which were met.
enum Looked {
    /// It is being looked through.
    Pending(oneshot::Receiver<Result<EventHits, content::Error>>),
    /// What matches in it; nothing where nothing can.
    Done(EventHits),
}

/// A page being filled.
struct Search<'s, 'q> {
    session: &'s Session<'s>,
    project: ProjectId,
    query: &'q EventSearch,
    searchers: &'q Searchers,
    deadline: Instant,
    limit: usize,
    attributes: Option<AttributeTest<'q>>,
    loader: Loader<'s>,
    /// Not a bound here, where time is; what tests attributes wants one.
    budget: Budget,
    blocks: HashMap<i64, Looked>,
    /// Blocks that are being looked through.
    pending: usize,
    /// Rows that match so far and whose blocks may, newest first.
    waiting: VecDeque<EventPlace>,
    /// The last row that was walked over.
    walked: Option<Cursor>,
    page: SearchPage<FoundEvent>,
}

impl Search<'_, '_> {
    /// Walks a stretch to its end; answers whether to go on with the next.
    fn walk(&mut self, stretch: &Stretch) -> Result<bool, Error> {
        let read = read_error("search events");
        let trace_id = self.query.filter.trace_id.map(|id| id.0);
        let sql = match (stretch, trace_id) {
            (Stretch::Tie { .. }, None) => EVENTS_TIE,
            (Stretch::Between { .. }, None) => EVENTS_BETWEEN,
            (Stretch::Tie { .. }, Some(_)) => OF_TRACE_TIE,
            (Stretch::Between { .. }, Some(_)) => OF_TRACE_BETWEEN,
        };
        let connection = self.session.connection;
        let mut statement = connection.prepare_cached(sql).map_err(&read)?;
        let project = self.project.0;
        let mut rows = match (stretch, trace_id) {
            (Stretch::Tie { at, key }, None) => statement.query(params![project, at, key]),
            (Stretch::Between { from, to }, None) => statement.query(params![project, from, to]),
            (Stretch::Tie { at, key }, Some(id)) => statement.query(params![project, at, key, id]),
            (Stretch::Between { from, to }, Some(id)) => {
                statement.query(params![project, from, to, id])
            }
        }
        .map_err(&read)?;
        let mut has_more = true;
        loop {
            self.session.check()?;
            has_more = has_more && self.read_ahead(&mut rows)?;
            let Some(next) = self.waiting.pop_front() else {
                if !has_more {
                    return Ok(true);
                }
                if self.is_over() {
                    let walked = self.walked.clone();
                    return Ok(self.stop(walked, false));
                }
                continue;
            };
            let cursor = next.columns.cursor();
            self.answer(next)?;
            if self.page.items.len() >= self.limit {
                return Ok(self.stop(Some(cursor), true));
            }
            if self.is_over() {
                return Ok(self.stop(Some(cursor), false));
            }
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Ends the page after a row.
    fn stop(&mut self, at: Option<Cursor>, complete: bool) -> bool {
        self.page.complete = complete;
        if let Some(at) = &at {
            self.page.searched_to_unix_nano = at.unix_nano;
        }
        self.page.next = at;
        false
    }

    /// Reads rows and has their blocks looked through; answers whether there may be more. Reads at
    /// least one, so that a page gets on.
    fn read_ahead(&mut self, rows: &mut Rows<'_>) -> Result<bool, Error> {
        for number in 0.. {
            let is_enough = self.pending >= self.searchers.depth()
                || self.waiting.len() >= ROWS_WAITING_MAX
                || (!self.waiting.is_empty() && self.is_over());
            if is_enough && !self.waiting.is_empty() {
                return Ok(true);
            }
            // Nothing waits, and what was walked over is as good a place to stop at.
            if number > 0 && number % ROWS_PER_LOOK == 0 && self.is_over() {
                return Ok(true);
            }
            let Some(row) = rows.next().map_err(read_error("search events"))? else {
                return Ok(false);
            };
            self.take(row)?;
        }
        Ok(true)
    }

    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let found = event_place(row).map_err(read_error("search events"))??;
        self.walked = Some(found.columns.cursor());
        if !found.columns.matches(&self.query.filter) {
            return Ok(());
        }
        if !self.blocks.contains_key(&found.block_id) {
            let looked = self.look_through(found.block_id)?;
            self.blocks.insert(found.block_id, looked);
        }
        let may_match = match self.blocks.get(&found.block_id) {
            Some(Looked::Done(hits)) => hits.holds(found.place),
            _ => true,
        };
        if may_match {
            self.waiting.push_back(found);
        }
        Ok(())
    }

    /// Has a block looked through, unless nothing in it can match.
    fn look_through(&mut self, block_id: i64) -> Result<Looked, Error> {
        let matcher = &self.query.matcher;
        let connection = self.session.connection;
        let may_hold: Option<bool> = connection
            .prepare_cached(SIEVE)
            .and_then(|mut select| {
                let row = select.query_row([block_id], |row| {
                    let sieve = row.get_ref(0)?.as_blob();
                    Ok(sieve.map_or(true, |sieve| matcher.may_be_in(sieve)))
                });
                row.optional()
            })
            .map_err(read_error("read what may be in a block of events"))?;
        if may_hold == Some(false) {
            return Ok(Looked::Done(EventHits::default()));
        }
        let block: Option<(i64, Vec<u8>)> = connection
            .prepare_cached(BLOCK)
            .and_then(|mut select| {
                let key = params![block_id, self.project.0];
                let row = select.query_row(key, |row| Ok((row.get(0)?, row.get(1)?)));
                row.optional()
            })
            .map_err(read_error("read a block of events"))?;
        let missing = || corrupt(format!("block {block_id} of events is missing"));
        let (codec, content) = block.ok_or_else(missing)?;
        let task = EventBlockTask {
            matcher: Arc::clone(matcher),
            codec,
            content,
        };
        self.pending += 1;
        let answer = self.searchers.submit(|buffers| task.run(buffers));
        Ok(Looked::Pending(answer))
    }

    /// Whether a row's message matches; waits for its block.
    fn is_hit(&mut self, row: &EventPlace) -> Result<bool, Error> {
        let block_id = row.block_id;
        let hits = match self.blocks.remove(&block_id) {
            Some(Looked::Done(hits)) => hits,
            Some(Looked::Pending(answer)) => {
                self.pending = self.pending.saturating_sub(1);
                let panicked = |_| corrupt(format!("searching block {block_id} panicked"));
                let hits = answer
                    .blocking_recv()
                    .map_err(panicked)?
                    .map_err(|source| corrupt(format!("block {block_id} of events: {source}")))?;
                self.page.searched_spans += hits.events;
                self.page.searched_bytes += hits.bytes;
                hits
            }
            None => EventHits::default(),
        };
        let holds = hits.holds(row.place);
        self.blocks.insert(block_id, Looked::Done(hits));
        Ok(holds)
    }

    /// Answers a row if it matches.
    fn answer(&mut self, row: EventPlace) -> Result<(), Error> {
        if !self.is_hit(&row)? {
            return Ok(());
        }
        if let Some(test) = &mut self.attributes
            && !self.loader.test(test, &row, &mut self.budget)?
        {
            return Ok(());
        }
        let id = row.columns.id;
        let event = self.loader.load(row)?;
        let damaged = |_| corrupt(format!("the message of event {id}"));
        let matches = self.query.matcher.matches_record(&event.message);
        if let Some(matches) = matches.map_err(damaged)? {
            self.page.items.push(FoundEvent {
                event: event.columns,
                matches,
            });
        }
        Ok(())
    }
}
