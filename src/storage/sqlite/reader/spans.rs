//! The span list.
//!
//! Blocks are walked newest first; the spans of a block that match are held until no block that is
//! left can hold a later one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::blocks::Blocks;
use super::corrupt;
use super::keys::{self, Origins, SmallestKeys};
use super::pool::Session;
use super::scan::{Budget, last_included};
use super::walk::{Header, Statements};
use super::{signed, unsigned};
use crate::model::{ProjectId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::sqlite::columns::Columns;
use crate::storage::{Cursor, Error, Page, PageRequest, SpanFilter, SpanSummary, StatusFilter};

/// Answers the span list.
pub(super) fn list(
    session: &Session<'_>,
    project: ProjectId,
    filter: &SpanFilter,
    page: &PageRequest,
) -> Result<Page<SpanSummary>, Error> {
    let mut scan = Scan {
        session,
        project,
        filter,
        limit: page.limit.max(1),
        attributes: AttributeTest::new(&filter.attributes),
        origins: Origins::new(session, project),
        blocks: Blocks::new(session, project),
        budget: Budget::new(session),
        page: Page {
            items: Vec::new(),
            next: None,
        },
    };
    let after = page.after.as_ref().map(Place::of_cursor).transpose()?;
    let from = filter.range.start_unix_nano.map_or(i64::MIN, signed);
    let Some(to) = last_included(filter.range.end_unix_nano) else {
        return Ok(scan.page);
    };
    let wanted = Wanted { from, to, after };
    match filter.trace_id {
        Some(trace_id) => scan.walk_trace(trace_id, wanted)?,
        None => scan.walk_time(wanted)?,
    }
    Ok(scan.page)
}

/// Where a span is in the list: by start, then by where it is stored, all descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    start: i64,
    block_id: i64,
    place: usize,
}

impl Place {
    fn cursor(self) -> Cursor {
        let mut key = self.block_id.to_be_bytes().to_vec();
        key.extend((self.place as u64).to_be_bytes());
        Cursor {
            unix_nano: unsigned(self.start),
            key,
        }
    }

    fn of_cursor(cursor: &Cursor) -> Result<Self, Error> {
        let damaged = || corrupt("cursor of the span list");
        let (block_id, place) = cursor.key.split_first_chunk().ok_or_else(damaged)?;
        let place = u64::from_be_bytes(place.try_into().map_err(|_| damaged())?);
        Ok(Self {
            start: signed(cursor.unix_nano),
            block_id: i64::from_be_bytes(*block_id),
            place: usize::try_from(place).map_err(|_| damaged())?,
        })
    }
}

/// Which part of the list is wanted.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    from: i64,
    to: i64,
    after: Option<Place>,
}

impl Wanted {
    fn holds(&self, place: Place) -> bool {
        (self.from..=self.to).contains(&place.start) && self.after.is_none_or(|after| place < after)
    }

    /// The latest start that is wanted.
    fn latest(&self) -> i64 {
        self.after.map_or(self.to, |after| after.start.min(self.to))
    }
}

/// A span that matches and waits for its turn.
struct Candidate {
    place: Place,
    columns: Rc<Columns>,
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
struct Scan<'s, 'f> {
    session: &'s Session<'s>,
    project: ProjectId,
    filter: &'f SpanFilter,
    limit: usize,
    attributes: Option<AttributeTest<'f>>,
    origins: Origins<'s>,
    blocks: Blocks<'s>,
    budget: Budget,
    page: Page<SpanSummary>,
}

impl Scan<'_, '_> {
    fn walk_time(&mut self, wanted: Wanted) -> Result<(), Error> {
        let latest = wanted.latest();
        let mut statements = Statements::prepare(self.session)?;
        let mut walk = statements.walk(self.project, wanted.from, latest)?;
        let mut waiting: BinaryHeap<Candidate> = BinaryHeap::new();
        let mut last = None;
        loop {
            let frontier = walk.latest();
            while let Some(next) = waiting.peek()
                && frontier.is_none_or(|frontier| next.place.start > frontier)
            {
                if self.page.items.len() >= self.limit {
                    self.page.next = last.map(Place::cursor);
                    return Ok(());
                }
                last = Some(next.place);
                if let Some(next) = waiting.pop() {
                    self.answer(&next.columns, next.place)?;
                }
            }
            let Some(frontier) = frontier else {
                return Ok(());
            };
            // A page must get on: what begins later than anything wanted is looked at anyway.
            // Candidates at or before the frontier are looked at again by the next page.
            if frontier < latest && !self.budget.allows_row() {
                let all_that_start_then = Place {
                    start: frontier,
                    block_id: i64::MAX,
                    place: 0,
                };
                self.page.next = Some(all_that_start_then.cursor());
                return Ok(());
            }
            if let Some(header) = walk.next()? {
                self.open(&header, &wanted, &mut waiting)?;
            }
            self.trim(&mut waiting);
        }
    }

    /// Looks at the spans of a block.
    fn open(
        &mut self,
        header: &Header,
        wanted: &Wanted,
        waiting: &mut BinaryHeap<Candidate>,
    ) -> Result<(), Error> {
        let failed_only = self.filter.status_implied() == Some(StatusFilter::Error);
        if failed_only && header.error_count == 0 {
            return Ok(());
        }
        let columns = self.blocks.columns(header.block_id)?;
        self.budget.spend_spans(columns.len());
        if let Some(service) = &self.filter.service
            && !columns.has_service(service)
        {
            return Ok(());
        }
        if !self.filter.facts.iter().all(|fact| columns.may_say(fact)) {
            return Ok(());
        }
        for place in columns.places() {
            let at = Place {
                start: columns.start(place),
                block_id: header.block_id,
                place,
            };
            if wanted.holds(at)
                && self.columns_match(&columns, place)
                && self.attributes_match(at)?
            {
                waiting.push(Candidate {
                    place: at,
                    columns: Rc::clone(&columns),
                });
            }
        }
        Ok(())
    }

    /// Lets go of candidates that can't be on this page.
    fn trim(&self, waiting: &mut BinaryHeap<Candidate>) {
        // One more than fits tells that there is another page.
        let keep = self.limit - self.page.items.len().min(self.limit) + 1;
        if waiting.len() > keep.saturating_mul(2).max(1024) {
            let mut sorted = std::mem::take(waiting).into_sorted_vec();
            waiting.extend(sorted.drain(sorted.len().saturating_sub(keep)..));
        }
    }

    /// Walks the spans of one trace by their keys.
    fn walk_trace(&mut self, trace_id: TraceId, wanted: Wanted) -> Result<(), Error> {
        let Some(trace_key) = keys::trace_key(self.session, self.project, trace_id)? else {
            return Ok(());
        };
        let mut newest = SmallestKeys::new(Budget::rows_max() + 1);
        keys::visit_keys(self.session, self.project, trace_key, |key| {
            let place = Place {
                start: key.start,
                block_id: key.block_id,
                place: key.place,
            };
            if wanted.holds(place) {
                newest.push(std::cmp::Reverse(place));
            }
        })?;
        let mut last = None;
        for std::cmp::Reverse(place) in newest.into_sorted() {
            if self.page.items.len() >= self.limit || !self.budget.allows_row() {
                self.page.next = last.map(Place::cursor);
                return Ok(());
            }
            last = Some(place);
            let columns = self.blocks.columns(place.block_id)?;
            if self.columns_match(&columns, place.place) && self.attributes_match(place)? {
                self.answer(&columns, place)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, columns: &Columns, place: Place) -> Result<(), Error> {
        let item = columns
            .summary(place.place)
            .ok_or_else(|| corrupt(format!("columns of block {}", place.block_id)))?;
        self.page.items.push(item);
        Ok(())
    }

    fn columns_match(&self, columns: &Columns, place: usize) -> bool {
        let filter = self.filter;
        let duration = columns.duration_ns(place);
        let status = |wanted| columns.failed(place) == (wanted == StatusFilter::Error);
        filter.status_implied().is_none_or(status)
            && filter.duration_min_ns.is_none_or(|min| duration >= min)
            && filter.duration_max_ns.is_none_or(|max| duration <= max)
            && filter
                .name
                .as_deref()
                .is_none_or(|name| columns.name(place) == name)
            && filter
                .service
                .as_deref()
                .is_none_or(|service| columns.service(place) == service)
            && self.genai_matches(columns, place)
    }

    fn genai_matches(&self, columns: &Columns, place: usize) -> bool {
        let filter = self.filter;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&filter.session_id, columns.session(place))
            && is(&filter.user_id, columns.user(place))
            && filter
                .tokens_min
                .is_none_or(|min| columns.tokens(place) >= min)
            && filter
                .cost_min_nano_usd
                .is_none_or(|min| columns.cost_nano_usd(place) >= min)
            && filter.facts.iter().all(|fact| columns.says(place, fact))
    }

    fn attributes_match(&mut self, place: Place) -> Result<bool, Error> {
        let Some(test) = &mut self.attributes else {
            return Ok(true);
        };
        let (messages, unpacked) = self.blocks.messages(place.block_id)?;
        if unpacked {
            self.budget.spend_block();
        }
        let span = messages
            .span(place.place)
            .ok_or_else(|| corrupt(format!("messages of block {}", place.block_id)))?;
        self.origins.test(test, span)
    }
}
