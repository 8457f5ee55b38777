//! Searching what spans say.
//!
//! Blocks are walked newest first, as for the span list. This thread reads them and hands them to
//! the threads that look through them, a few at a time; what they find waits until no block that is
//! left can hold a later span. The columns of a block say which of its spans are still there.

mod source;

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::blocks::{Blocks, MESSAGES, SIEVE};
use super::column_test::ColumnTest;
use super::failure::read_error;
use super::keys::Origins;
use super::pool::Session;
use super::scan::last_included;
use super::spans::{Place, Wanted};
use super::walk::{Header, Statements};
use super::{corrupt, signed, unsigned};
use crate::model::ProjectId;
use crate::storage::attributes::AttributeTest;
use crate::storage::content::{self, BlockSpan};
use crate::storage::search::{
    BlockHits, BlockTask, Found, Hit, Match, SearchPage, SearchQuery, Searchers,
};
use crate::storage::sqlite::columns::Columns;
use crate::storage::{Error, PageRequest};
use source::{Source, blocks_of_trace};

/// Answers a search.
pub(super) fn search(
    session: &Session<'_>,
    project: ProjectId,
    query: &SearchQuery,
    page: &PageRequest,
    searchers: &Searchers,
    deadline: Instant,
) -> Result<SearchPage, Error> {
    let filter = &query.filter;
    let from = filter.range.start_unix_nano.map_or(i64::MIN, signed);
    let mut search = Search {
        session,
        project,
        query,
        searchers,
        deadline,
        limit: page.limit.max(1),
        test: ColumnTest(filter),
        attributes: AttributeTest::new(&filter.attributes),
        origins: Origins::new(session, project),
        blocks: Blocks::new(session, project),
        looked_through: VecDeque::new(),
        waiting: BinaryHeap::new(),
        page: SearchPage {
            items: Vec::new(),
            next: None,
            complete: true,
            searched_to_unix_nano: unsigned(from),
            searched_spans: 0,
            searched_bytes: 0,
        },
    };
    let after = page.after.as_ref().map(Place::of_cursor).transpose()?;
    let Some(to) = last_included(filter.range.end_unix_nano) else {
        return Ok(search.page);
    };
    let wanted = Wanted { from, to, after };
    match filter.trace_id {
        Some(trace_id) => {
            let blocks = blocks_of_trace(session, project, trace_id, &wanted)?;
            search.walk(Source::Trace(blocks), &wanted)?;
        }
        None => {
            let mut statements = Statements::prepare(session)?;
            let walk = statements.walk(project, from, wanted.latest())?;
            search.walk(Source::Time(walk), &wanted)?;
        }
    }
    Ok(search.page)
}

/// A block that is being looked through; without an answer to wait for where nothing in it can
/// match.
struct LookedThrough {
    header: Header,
    answer: Option<oneshot::Receiver<Result<BlockHits, content::Error>>>,
}

/// A span that matches and waits for its turn.
struct Candidate {
    place: Place,
    columns: Rc<Columns>,
    matches: Vec<Match>,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

/// A page being filled.
struct Search<'s, 'q> {
    session: &'s Session<'s>,
    project: ProjectId,
    query: &'q SearchQuery,
    searchers: &'q Searchers,
    deadline: Instant,
    limit: usize,
    test: ColumnTest<'q>,
    attributes: Option<AttributeTest<'q>>,
    origins: Origins<'s>,
    blocks: Blocks<'s>,
    looked_through: VecDeque<LookedThrough>,
    waiting: BinaryHeap<Candidate>,
    page: SearchPage,
}

impl Search<'_, '_> {
    fn walk(&mut self, mut source: Source<'_>, wanted: &Wanted) -> Result<(), Error> {
        let latest = wanted.latest();
        let mut got_on = false;
        loop {
            self.session.check()?;
            self.read_ahead(&mut source)?;
            let first = self.looked_through.front();
            let frontier = first.map_or_else(|| source.latest(), |it| Some(it.header.start_max));
            if self.answer_after(frontier)? {
                return Ok(());
            }
            let Some(frontier) = frontier else {
                return Ok(());
            };
            // A page must get on: what begins as late as anything wanted, and one block more, is
            // looked at anyway. What waits is looked for again by the next page.
            if frontier < latest {
                if got_on && self.is_over() {
                    self.page.complete = false;
                    self.page.searched_to_unix_nano = unsigned(frontier);
                    self.page.next = Some(Place::all_at(frontier).cursor());
                    return Ok(());
                }
                got_on = true;
            }
            if let Some(next) = self.looked_through.pop_front() {
                self.collect(next, wanted)?;
            }
            self.trim();
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Has the next blocks looked through.
    fn read_ahead(&mut self, source: &mut Source<'_>) -> Result<(), Error> {
        while self.looked_through.len() < self.searchers.depth()
            && (self.looked_through.is_empty() || !self.is_over())
            && let Some(header) = source.next()?
        {
            let answer = if self.rules_out(&header)? {
                None
            } else {
                Some(self.submit(header.block_id)?)
            };
            self.looked_through
                .push_back(LookedThrough { header, answer });
        }
        Ok(())
    }

    fn rules_out(&mut self, header: &Header) -> Result<bool, Error> {
        if self.test.rules_out(header) || !self.may_hold(header.block_id)? {
            return Ok(true);
        }
        if !self.test.is_needed() {
            return Ok(false);
        }
        let columns = self.blocks.columns(header.block_id)?;
        let matches = |place| self.test.matches(&columns, place);
        Ok(!self.test.may_match(&columns) || !columns.places().any(matches))
    }

    /// Whether what is searched for may be in a block.
    fn may_hold(&self, block_id: i64) -> Result<bool, Error> {
        let matcher = &self.query.matcher;
        let held: Option<bool> = self
            .session
            .connection
            .prepare_cached(SIEVE)
            .and_then(|mut select| {
                let row = select.query_row([block_id], |row| {
                    let sieve = row.get_ref(0)?.as_blob();
                    Ok(sieve.map_or(true, |sieve| matcher.may_be_in(sieve)))
                });
                row.optional()
            })
            .map_err(read_error("read what may be in a block"))?;
        Ok(held.unwrap_or(true))
    }

    fn submit(
        &self,
        block_id: i64,
    ) -> Result<oneshot::Receiver<Result<BlockHits, content::Error>>, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let block: Option<(i64, Vec<u8>)> = self
            .session
            .connection
            .prepare_cached(MESSAGES)
            .and_then(|mut statement| {
                let row = statement.query_row(params![block_id, self.project.0], read);
                row.optional()
            })
            .map_err(read_error("read a block"))?;
        let (codec, content) =
            block.ok_or_else(|| corrupt(format!("block {block_id} is missing")))?;
        let task = BlockTask {
            matcher: Arc::clone(&self.query.matcher),
            codec,
            content,
            keep_messages: self.attributes.is_some(),
        };
        Ok(self.searchers.submit(|buffers| task.run(buffers)))
    }

    /// Waits for what was found in a block, and keeps what may be answered.
    fn collect(&mut self, looked: LookedThrough, wanted: &Wanted) -> Result<(), Error> {
        let block_id = looked.header.block_id;
        let Some(answer) = looked.answer else {
            return Ok(());
        };
        let found = answer
            .blocking_recv()
            .map_err(|_| corrupt(format!("searching block {block_id} panicked")))?
            .map_err(|source| corrupt(format!("block {block_id}: {source}")))?;
        self.page.searched_spans += found.spans;
        self.page.searched_bytes += found.bytes;
        if found.hits.is_empty() {
            return Ok(());
        }
        let columns = self.blocks.columns(block_id)?;
        for hit in found.hits {
            let place = Place {
                start: columns.start(hit.place),
                block_id,
                place: hit.place,
            };
            if wanted.holds(place) && columns.is_there(hit.place) && self.passes(&columns, &hit)? {
                self.waiting.push(Candidate {
                    place,
                    columns: Rc::clone(&columns),
                    matches: hit.matches,
                });
            }
        }
        Ok(())
    }

    /// Whether a hit passes the filters.
    fn passes(&mut self, columns: &Columns, hit: &Hit) -> Result<bool, Error> {
        let of_trace = self.query.filter.trace_id;
        if of_trace.is_some_and(|trace_id| trace_id != hit.trace_id)
            || !self.test.matches(columns, hit.place)
        {
            return Ok(false);
        }
        let Some(test) = &mut self.attributes else {
            return Ok(true);
        };
        let span = BlockSpan {
            resource_id: hit.resource_id,
            scope_id: 0,
            message: &hit.message,
        };
        self.origins.test(test, span)
    }

    /// Answers what starts after a time, `None` for everything; answers whether the page is full.
    fn answer_after(&mut self, frontier: Option<i64>) -> Result<bool, Error> {
        while self
            .waiting
            .peek()
            .is_some_and(|next| frontier.is_none_or(|frontier| next.place.start > frontier))
        {
            let Some(next) = self.waiting.pop() else {
                break;
            };
            let span = next.columns.summary(next.place.place);
            let damaged = || corrupt(format!("columns of block {}", next.place.block_id));
            self.page.items.push(Found {
                span: span.ok_or_else(damaged)?,
                matches: next.matches,
                cursor: next.place.cursor(),
            });
            if self.page.items.len() >= self.limit {
                self.page.searched_to_unix_nano = unsigned(next.place.start);
                self.page.next = Some(next.place.cursor());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets go of candidates that can't be on this page.
    fn trim(&mut self) {
        let keep = self.limit - self.page.items.len().min(self.limit);
        if self.waiting.len() > keep.saturating_mul(2).max(256) {
            let mut sorted = std::mem::take(&mut self.waiting).into_sorted_vec();
            let older = sorted.len().saturating_sub(keep);
            self.waiting.extend(sorted.drain(older..));
        }
    }
}
