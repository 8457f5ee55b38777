//! The span list.
//!
//! Spans of one trace are read by its key, all others by start, slice by slice of the partitions. A
//! span whose trace has been deleted is not there any more, even while its partition still is.

mod question;
mod sql;

use tokio_postgres::Row;

use super::blocks::Blocks;
use super::columns::{Columns, SpanColumns};
use super::scan::{Matching, Walk, bounds};
use super::session::Session;
use super::slices::{Slice, slices, whole};
use super::{corrupt, signed, traces};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::{Cursor, Error, Page, PageRequest, SpanFilter, SpanSummary, StatusFilter};
pub(super) use question::Question;

/// Answers the span list.
pub(super) async fn list(
    session: &Session,
    project: ProjectId,
    filter: &SpanFilter,
    page: &PageRequest,
) -> Result<Page<SpanSummary>, Error> {
    let mut walk = Walk::new(session, page, matching(filter));
    let Some((mut from, mut to)) = bounds(&filter.range, page.after.as_ref()) else {
        return Ok(walk.finish());
    };
    let slices = match filter.trace_id {
        None => slices(session, from, to).await?,
        Some(trace_id) => {
            let Some(trace) = traces::one(session, project, trace_id).await? else {
                return Ok(walk.finish());
            };
            from = from.max(trace.start);
            to = to.min(trace.last_start);
            if from > to {
                return Ok(walk.finish());
            }
            vec![whole(from, to)]
        }
    };
    let mut scan = Scan {
        question: Question::new(project, filter),
        place: Place::new(from, to, page)?,
        attributes: AttributeTest::new(&filter.attributes),
        blocks: Blocks::new(session, project),
        session,
    };
    for slice in slices {
        if !scan.walk(slice, &mut walk).await? {
            break;
        }
    }
    Ok(walk.finish())
}

fn matching(filter: &SpanFilter) -> Matching {
    let driven_by_failed =
        filter.trace_id.is_none() && filter.status_implied() == Some(StatusFilter::Error);
    let is_filtered = filter.service.is_some()
        || filter.name.is_some()
        || (filter.status_implied().is_some() && !driven_by_failed)
        || filter.duration_min_ns.is_some()
        || filter.duration_max_ns.is_some()
        || filter.session_id.is_some()
        || filter.user_id.is_some()
        || filter.tokens_min.is_some()
        || filter.cost_min_nano_usd.is_some()
        || !filter.facts.is_empty();
    if !filter.attributes.is_empty() {
        Matching::Here
    } else if is_filtered {
        Matching::Server
    } else {
        Matching::All
    }
}

struct Scan<'s, 'f> {
    session: &'s Session,
    question: Question,
    place: Place,
    attributes: Option<AttributeTest<'f>>,
    blocks: Blocks<'s>,
}

impl Scan<'_, '_> {
    /// Walks a slice to its end; answers whether to go on with the next.
    async fn walk(&mut self, slice: Slice, walk: &mut Walk<SpanSummary>) -> Result<bool, Error> {
        loop {
            let piece = walk.piece();
            let sql = self.question.driver.sql();
            let rows = self
                .question
                .ask(self.session, sql, slice, &self.place, piece)
                .await?;
            let looked: Result<Vec<_>, Error> = rows.iter().map(Looked::read).collect();
            let mut looked = looked?;
            let seen = looked.last().map_or(0, |row| row.number);
            if let Some(last) = looked.last() {
                let summary = &last.span.summary;
                let start = signed(summary.start_unix_nano);
                let (span, trace) = (summary.span_id.0.to_vec(), summary.trace_id.0.to_vec());
                self.place.below = (start, span, trace);
            }
            if let Some(test) = &mut self.attributes {
                self.blocks.test_spans(test, &mut looked, walk).await?;
            }
            for row in looked {
                let item = row.matches.then_some(row.span.summary);
                if !walk.take(row.cursor, item) {
                    return Ok(false);
                }
            }
            if self.attributes.is_some() && walk.is_spent() {
                walk.stop();
                return Ok(false);
            }
            if !walk.spend(seen) {
                return Ok(false);
            }
            if seen < piece.rows {
                return Ok(true);
            }
        }
    }
}

/// What is left of the list.
pub(super) struct Place {
    pub(super) from: i64,
    pub(super) to: i64,
    /// The last row looked at.
    pub(super) below: (i64, Vec<u8>, Vec<u8>),
}

impl Place {
    fn new(from: i64, to: i64, page: &PageRequest) -> Result<Self, Error> {
        let below = match &page.after {
            None => above_all_at(i64::MAX),
            Some(cursor) => {
                let key = cursor.key.split_at_checked(SpanId::LENGTH);
                let key = key.filter(|(_, trace)| trace.len() == TraceId::LENGTH);
                let (span, trace) = key.ok_or_else(|| corrupt("cursor of the span list"))?;
                (signed(cursor.unix_nano), span.to_vec(), trace.to_vec())
            }
        };
        Ok(Self { from, to, below })
    }
}

/// A place before all rows of a time: every id is shorter, and so sorts before this one.
pub(super) fn above_all_at(start: i64) -> (i64, Vec<u8>, Vec<u8>) {
    (start, vec![u8::MAX; SpanId::LENGTH + 1], Vec::new())
}

/// A row that was looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) span: SpanColumns,
    /// Counted within its piece.
    number: i64,
    /// Whether it was found to match so far.
    pub(super) matches: bool,
    cursor: Cursor,
}

impl Looked {
    fn read(row: &Row) -> Result<Self, Error> {
        let mut columns = Columns::new(row);
        let (number, matches) = (columns.take()?, columns.take()?);
        let span = SpanColumns::read(&mut columns)?;
        let mut key = span.summary.span_id.0.to_vec();
        key.extend(span.summary.trace_id.0);
        Ok(Self {
            cursor: Cursor {
                unix_nano: span.summary.start_unix_nano,
                key,
            },
            span,
            number,
            matches,
        })
    }
}
