//! Searching what spans say.
//!
//! Spans are walked newest first, a piece of the index at a time, of which the server tells only in
//! which blocks they are. Blocks that were not looked through yet are fetched, and the threads look
//! through them while the next are on their way. What they find waits until the walk comes by; then
//! its rows are read, which also tells whether they are still there.

pub(super) mod rows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio_postgres::types::Type;

use super::blocks::{self, BLOCKS, FETCH_BLOCKS, FETCH_BYTES, SIEVES};
use super::columns::Columns;
use super::scan::{Piece, bounds};
use super::session::{Param, Session};
use super::slices::{Slice, slices, whole};
use super::spans::{Place, Question, above_all_at};
use super::{corrupt, project_id, traces, unsigned};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::content::{self, BlockSpan};
use crate::storage::search::{
    BlockHits, BlockTask, Found, Hit, SearchPage, SearchQuery, Searchers,
};
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Error, PageRequest};

/// Rows of the first piece, and of the largest: each is four times the one before.
const PIECE_ROWS_MIN: i64 = 500;
const PIECE_ROWS_MAX: i64 = 16_000;
/// Rows of what was found that are read at once.
const ROWS_TOGETHER: usize = 64;

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) project: ProjectId,
    pub(super) query: &'a SearchQuery,
    pub(super) page: &'a PageRequest,
    pub(super) searchers: &'a Searchers,
    /// From here on the answer is what was found.
    pub(super) deadline: Instant,
}

/// Answers a search.
pub(super) async fn search(session: &Session, asked: &Asked<'_>) -> Result<SearchPage, Error> {
    let filter = &asked.query.filter;
    let mut page = SearchPage {
        items: Vec::new(),
        next: None,
        complete: true,
        searched_to_unix_nano: filter.range.start_unix_nano.unwrap_or(0),
        searched_spans: 0,
        searched_bytes: 0,
    };
    let Some((mut from, mut to)) = bounds(&filter.range, asked.page.after.as_ref()) else {
        return Ok(page);
    };
    let slices = match filter.trace_id {
        None => slices(session, from, to).await?,
        Some(trace_id) => {
            let Some(trace) = traces::one(session, asked.project, trace_id).await? else {
                return Ok(page);
            };
            from = from.max(trace.start);
            to = to.min(trace.last_start);
            if from > to {
                return Ok(page);
            }
            vec![whole(from, to)]
        }
    };
    let mut search = Search {
        session,
        asked,
        question: Question::new(asked.project, filter),
        attributes: AttributeTest::new(&filter.attributes),
        place: Place {
            from,
            to,
            below: below(asked.page)?,
        },
        latest: to,
        rows_next: PIECE_ROWS_MIN,
        got_on: false,
        looked_through: HashSet::new(),
        waiting: BTreeMap::new(),
        page: &mut page,
    };
    for slice in slices {
        if !search.walk(slice).await? {
            break;
        }
    }
    Ok(page)
}

/// Where the walk goes on. A cursor without ids stands before all rows of its time.
fn below(page: &PageRequest) -> Result<(i64, Vec<u8>, Vec<u8>), Error> {
    let Some(cursor) = &page.after else {
        return Ok(above_all_at(i64::MAX));
    };
    let start = clamp_time(cursor.unix_nano);
    if cursor.key.is_empty() {
        return Ok(above_all_at(start));
    }
    let key = cursor.key.split_at_checked(SpanId::LENGTH);
    let key = key.filter(|(_, trace)| trace.len() == TraceId::LENGTH);
    let (span, trace) = key.ok_or_else(|| corrupt("cursor of a search"))?;
    Ok((start, span.to_vec(), trace.to_vec()))
}

/// Where a span is in the list.
pub(super) type Key = (i64, Vec<u8>, Vec<u8>);

/// A part of the walk, as the blocks it is in.
struct Walked {
    /// The blocks with matching rows, with when the latest of these starts; latest first.
    blocks: Vec<(i64, i64)>,
    /// The last row.
    last: Key,
    /// Rows.
    rows: i64,
}

/// A block that is being looked through.
struct LookedThrough {
    block_id: i64,
    answer: oneshot::Receiver<Result<BlockHits, content::Error>>,
}

/// How far a piece was looked through.
enum Reached {
    /// All of it.
    End,
    /// What starts after this time; then the time was up.
    Start(i64),
    /// What starts after this time, in which there may be enough for a page.
    Enough(i64),
}

/// A page being filled.
struct Search<'a> {
    session: &'a Session,
    asked: &'a Asked<'a>,
    question: Question,
    attributes: Option<AttributeTest<'a>>,
    place: Place,
    /// The latest start that is wanted.
    latest: i64,
    rows_next: i64,
    /// Whether the page could end without standing still.
    got_on: bool,
    looked_through: HashSet<i64>,
    /// What was found in blocks and not passed by the walk yet, by key and block: a span that was
    /// deleted and sent again is in two.
    waiting: BTreeMap<(Key, i64), Hit>,
    page: &'a mut SearchPage,
}

impl Search<'_> {
    /// Walks a slice to its end; answers whether to go on with the next.
    async fn walk(&mut self, slice: Slice) -> Result<bool, Error> {
        loop {
            if self.got_on && self.is_over() {
                let (start, span, trace) = &self.place.below;
                let key = if span.len() == SpanId::LENGTH {
                    [span.as_slice(), trace].concat()
                } else {
                    Vec::new()
                };
                let start = *start;
                self.stop(start, key);
                return Ok(false);
            }
            let rows = self.rows_next;
            let Some(walked) = self.ask(slice, rows).await? else {
                return Ok(true);
            };
            // Not for slices without a row, as those ahead of time are.
            self.rows_next = rows.saturating_mul(4).min(PIECE_ROWS_MAX);
            loop {
                let reached = self.look_through(&walked.blocks).await?;
                if self.answer(&walked, &reached).await? {
                    return Ok(false);
                }
                match reached {
                    Reached::End => break,
                    Reached::Start(start) => {
                        self.stop(start, Vec::new());
                        return Ok(false);
                    }
                    // Some of it was not what it seemed.
                    Reached::Enough(_) => {}
                }
            }
            self.got_on = true;
            self.place.below = walked.last;
            if walked.rows < rows {
                return Ok(true);
            }
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.asked.deadline
    }

    /// Ends the page because the time is up.
    fn stop(&mut self, start: i64, key: Vec<u8>) {
        self.page.complete = false;
        self.page.searched_to_unix_nano = unsigned(start);
        self.page.next = Some(Cursor {
            unix_nano: unsigned(start),
            key,
        });
    }

    /// The next piece of a slice; `None` at its end.
    async fn ask(&self, slice: Slice, rows: i64) -> Result<Option<Walked>, Error> {
        let piece = Piece { rows, answers: 0 };
        let sql = self.question.driver.blocks_sql();
        let found = self
            .question
            .ask(self.session, sql, slice, &self.place, piece)
            .await?;
        let mut walked = Walked {
            blocks: Vec::with_capacity(found.len()),
            last: above_all_at(0),
            rows: 0,
        };
        for row in &found {
            let mut columns = Columns::new(row);
            let (block_id, matching): (i64, i64) = (columns.take()?, columns.take()?);
            let latest: Option<i64> = columns.take()?;
            walked.rows += columns.take::<i64>()?;
            let last: Option<i64> = columns.take()?;
            let ids: (Option<Vec<u8>>, Option<Vec<u8>>) = (columns.take()?, columns.take()?);
            if let (Some(start), (Some(span), Some(trace))) = (last, ids) {
                walked.last = (start, span, trace);
            }
            if let Some(latest) = latest.filter(|_| matching > 0) {
                walked.blocks.push((block_id, latest));
            }
        }
        walked
            .blocks
            .sort_unstable_by_key(|(block_id, latest)| (Reverse(*latest), *block_id));
        Ok((walked.rows > 0).then_some(walked))
    }

    /// Looks through the blocks of a piece that were not yet, the latest first.
    async fn look_through(&mut self, blocks: &[(i64, i64)]) -> Result<Reached, Error> {
        let new: Vec<_> = blocks
            .iter()
            .filter(|(block_id, _)| !self.looked_through.contains(block_id))
            .copied()
            .collect();
        let mut before = Vec::new();
        for chunk in new.chunks(FETCH_BLOCKS) {
            let latest = chunk.first().map_or(i64::MIN, |(_, latest)| *latest);
            // A page must get on: what starts as late as anything wanted, and a few blocks more, is
            // looked at anyway.
            if latest < self.latest {
                if self.got_on && self.is_over() {
                    self.collect(before).await?;
                    return Ok(Reached::Start(latest));
                }
                self.got_on = true;
            }
            let ids = chunk.iter().map(|(block_id, _)| *block_id).collect();
            // These are looked through while the next ones are fetched.
            let now = self.fetch(ids).await?;
            self.collect(std::mem::replace(&mut before, now)).await?;
            if self.has_enough_after(latest) {
                self.collect(before).await?;
                return Ok(Reached::Enough(latest));
            }
        }
        self.collect(before).await?;
        Ok(Reached::End)
    }

    /// Whether what was found and starts after a time may fill the page.
    fn has_enough_after(&self, start: i64) -> bool {
        let room = self.asked.page.limit.max(1);
        let room = room.saturating_sub(self.page.items.len());
        let found = self.waiting.range((above_all_at(start), i64::MIN)..);
        found.take(room).count() == room
    }

    /// Fetches blocks and has them looked through. A block that is gone held deleted spans only.
    async fn fetch(&mut self, mut ids: Vec<i64>) -> Result<Vec<LookedThrough>, Error> {
        let project = project_id(self.asked.project);
        self.pass_over(project, &mut ids).await?;
        let mut fetched = Vec::with_capacity(ids.len());
        while !ids.is_empty() {
            let params: [Param<'_>; 3] = [
                (&project, Type::INT8),
                (&ids, Type::INT8_ARRAY),
                (&FETCH_BYTES, Type::INT8),
            ];
            let rows = self.session.query(BLOCKS, &params, "read blocks").await?;
            if rows.is_empty() {
                self.looked_through.extend(ids);
                break;
            }
            for row in &rows {
                let mut columns = Columns::new(row);
                let (block_id, codec): (i64, i16) = (columns.take()?, columns.take()?);
                let task = BlockTask {
                    matcher: Arc::clone(&self.asked.query.matcher),
                    codec: i64::from(codec),
                    content: columns.take()?,
                    keep_messages: self.attributes.is_some(),
                };
                ids.retain(|id| *id != block_id);
                let answer = self.asked.searchers.submit(|buffers| task.run(buffers));
                fetched.push(LookedThrough { block_id, answer });
            }
        }
        Ok(fetched)
    }

    /// Leaves out the blocks in which what is searched for can't be.
    async fn pass_over(&mut self, project: i64, ids: &mut Vec<i64>) -> Result<(), Error> {
        let params: [Param<'_>; 2] = [(&project, Type::INT8), (&*ids, Type::INT8_ARRAY)];
        let context = "read what may be in blocks";
        let rows = self.session.query(SIEVES, &params, context).await?;
        for row in &rows {
            let mut columns = Columns::new(row);
            let block_id: i64 = columns.take()?;
            let sieve: Option<&[u8]> = columns.take()?;
            if sieve.is_some_and(|sieve| !self.asked.query.matcher.may_be_in(sieve)) {
                ids.retain(|id| *id != block_id);
                self.looked_through.insert(block_id);
            }
        }
        Ok(())
    }

    /// Waits for what was found in blocks, and keeps what the walk has yet to come by.
    async fn collect(&mut self, blocks: Vec<LookedThrough>) -> Result<(), Error> {
        for LookedThrough { block_id, answer } in blocks {
            let found = answer.await;
            let found = found
                .map_err(|_| corrupt(format!("searching block {block_id} panicked")))?
                .map_err(|source| corrupt(format!("block {block_id}: {source}")))?;
            self.looked_through.insert(block_id);
            self.page.searched_spans += found.spans;
            self.page.searched_bytes += found.bytes;
            for hit in found.hits {
                let start = clamp_time(hit.start_unix_nano);
                let key = (start, hit.span_id.0.to_vec(), hit.trace_id.0.to_vec());
                let of_trace = self.asked.query.filter.trace_id;
                if (self.place.from..=self.place.to).contains(&start)
                    && key < self.place.below
                    && of_trace.is_none_or(|trace_id| trace_id == hit.trace_id)
                {
                    self.waiting.insert((key, block_id), hit);
                }
            }
        }
        Ok(())
    }

    /// Answers what was found in the part of a piece that was looked through; answers whether the
    /// page is full.
    async fn answer(&mut self, walked: &Walked, reached: &Reached) -> Result<bool, Error> {
        let last = match reached {
            Reached::End => walked.last.clone(),
            Reached::Start(start) | Reached::Enough(start) => above_all_at(*start),
        };
        let mut passed = self.waiting.split_off(&(last, i64::MIN));
        while !passed.is_empty() {
            let mut part = Vec::with_capacity(ROWS_TOGETHER);
            while part.len() < ROWS_TOGETHER
                && let Some(last) = passed.pop_last()
            {
                part.push(last);
            }
            let mut rows = rows::read(self.session, &self.question, &part).await?;
            self.learn_resources(&part).await?;
            for ((key, block_id), hit) in part {
                let Some(row) = rows.remove(&(hit.trace_id, hit.span_id)) else {
                    continue;
                };
                let place = usize::try_from(row.block_place).ok();
                let is_it = row.block_id == block_id && place == Some(hit.place);
                if !is_it || !self.has_attributes(&hit)? {
                    continue;
                }
                let (start, span, trace) = key;
                let cursor = Cursor {
                    unix_nano: unsigned(start),
                    key: [span, trace].concat(),
                };
                self.page.items.push(Found {
                    span: row.summary,
                    matches: hit.matches,
                    cursor: cursor.clone(),
                });
                if self.page.items.len() >= self.asked.page.limit.max(1) {
                    self.page.searched_to_unix_nano = cursor.unix_nano;
                    self.page.next = Some(cursor);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn learn_resources(&mut self, found: &[((Key, i64), Hit)]) -> Result<(), Error> {
        let Some(test) = &mut self.attributes else {
            return Ok(());
        };
        let ids = found.iter().map(|(_, hit)| hit.resource_id);
        let unknown = ids.filter(|id| !test.knows(*id)).collect();
        let project = project_id(self.asked.project);
        for (id, resource) in blocks::resources(self.session, project, &unknown).await? {
            test.learn(id, &resource.message)?;
        }
        Ok(())
    }

    fn has_attributes(&self, hit: &Hit) -> Result<bool, Error> {
        let Some(test) = &self.attributes else {
            return Ok(true);
        };
        test.matches(BlockSpan {
            resource_id: hit.resource_id,
            scope_id: 0,
            message: &hit.message,
        })
    }
}
