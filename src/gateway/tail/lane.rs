//! One feed as one client follows it: what it has looked at, and what it has yet to read.

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;

use super::hub::{self, Batch, Entry, Form, Found, Kind, Reached, Seat};
use crate::gateway::Shared;
use crate::model::ProjectId;
use crate::storage::event_feed::EventTest;
use crate::storage::events::EventFilter;
use crate::storage::feed::{FeedPosition, FeedTest};
use crate::storage::{Error, SpanFilter};
use std::sync::Arc;

/// Spans or events that are looked at for a client which connects again, and told it, whatever its
/// rate; the rest went by.
const CATCH_UP_ITEMS: usize = 50_000;
const CATCH_UP_TOLD: u32 = 10_000;
/// Questions that the store may leave unanswered in a row before a client goes on with what is new.
const CATCH_UP_FAILURES: u32 = 10;
/// Spans or events read from the store at once for one client.
const CATCH_UP_PAGE: usize = 500;

/// What a client wants of a feed.
#[derive(Debug, Clone)]
pub(in crate::gateway) enum Filter {
    Spans(Box<SpanFilter>),
    Events(Box<EventFilter>),
}

impl Filter {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Spans(_) => Kind::Spans,
            Self::Events(_) => Kind::Events,
        }
    }

    /// Whether it leaves nothing out.
    fn is_everything(&self) -> bool {
        match self {
            Self::Spans(filter) => **filter == SpanFilter::default(),
            Self::Events(filter) => **filter == EventFilter::default(),
        }
    }

    /// Whether columns are not enough to tell what matches; events always come whole.
    pub(super) fn needs_whole(&self) -> bool {
        match self {
            Self::Spans(filter) => !filter.attributes.is_empty(),
            Self::Events(_) => false,
        }
    }
}

/// Tests what was found against a filter.
enum Test<'f> {
    Spans(FeedTest<'f>),
    Events(EventTest<'f>),
}

impl<'f> Test<'f> {
    fn new(filter: &'f Filter) -> Self {
        match filter {
            Filter::Spans(filter) => Self::Spans(FeedTest::new(filter)),
            Filter::Events(filter) => Self::Events(EventTest::new(filter)),
        }
    }

    /// What can't be read matches nothing.
    fn matches(&mut self, found: &Found) -> bool {
        match (self, &found.entry) {
            (Self::Spans(test), Entry::Span(span)) => test.matches(span).unwrap_or(false),
            (Self::Events(test), Entry::Event(event)) => {
                test.matches(&event.event).unwrap_or(false)
            }
            _ => false,
        }
    }
}

/// How far a client that connected again has got.
#[derive(Debug, Clone, Copy)]
struct CatchUp {
    /// Where the feed was when the client came.
    until: FeedPosition,
    items_left: usize,
    told_left: u32,
}

impl CatchUp {
    const fn to(until: FeedPosition) -> Self {
        Self {
            until,
            items_left: CATCH_UP_ITEMS,
            told_left: CATCH_UP_TOLD,
        }
    }
}

/// What became of looking at some items.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What matches, with the position after it.
    pub(super) told: Vec<(FeedPosition, Bytes)>,
    /// What matches beyond what may be told.
    pub(super) over: u64,
}

/// What became of a question about what was missed.
pub(super) enum Caught {
    /// Some of it.
    Some(Looked),
    /// Some of it, and the rest is given up.
    GaveUp(Looked),
    /// The store did not answer.
    Nothing,
}

/// A feed that a client follows.
pub(super) struct Lane {
    project: ProjectId,
    filter: Filter,
    /// See [`Filter::is_everything`].
    wants_all: bool,
    form: Form,
    seat: Seat,
    /// Everything up to here was looked at.
    pub(super) position: FeedPosition,
    /// See [`hub::Reached::epoch`].
    epoch: u64,
    /// Questions about what was missed that were not answered in a row.
    failures: u32,
    /// Number of the item of the feed that comes next, as its task counts them.
    expected: u64,
    /// What is read from the store before the feed is followed.
    catching_up: Option<CatchUp>,
}

impl Lane {
    /// Goes on after a position, or now.
    pub(super) fn new(
        (project, filter, form): (ProjectId, Filter, Form),
        seat: Seat,
        resume: Option<FeedPosition>,
    ) -> Self {
        let until = seat.reached.position;
        Self {
            project,
            wants_all: filter.is_everything(),
            filter,
            form,
            position: resume.unwrap_or(until),
            epoch: seat.reached.epoch,
            failures: 0,
            expected: seat.reached.found,
            catching_up: resume
                .filter(|position| *position < until)
                .map(|_| CatchUp::to(until)),
            seat,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.filter.kind()
    }

    pub(super) const fn is_behind(&self) -> bool {
        self.catching_up.is_some()
    }

    /// The next page; `None` when there will be none.
    pub(super) async fn next_page(&mut self) -> Option<Arc<Batch>> {
        loop {
            match self.seat.pages.recv().await {
                Ok(batch) => return Some(batch),
                // The next page says how much went by.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Notes a page; answers how much went by before it.
    pub(super) fn begin_page(&mut self, batch: &Batch) -> u64 {
        let went_by = batch.before.saturating_sub(self.expected);
        self.expected = batch.before + batch.items.len() as u64;
        if batch.epoch != self.epoch {
            self.epoch = batch.epoch;
            self.position = FeedPosition::before(0);
        }
        went_by
    }

    /// Looks at a page; tells so many items at most.
    pub(super) fn take(&mut self, batch: &Batch, told_max: u32) -> Looked {
        if self.filter.needs_whole() && !batch.whole {
            // Read before this client came.
            self.catching_up = Some(CatchUp::to(batch.end));
            return Looked::default();
        }
        let looked = self.look_at(&batch.items, told_max);
        self.position = self.position.max(batch.end);
        looked
    }

    fn look_at(&self, items: &[Found], told_max: u32) -> Looked {
        let told_max = usize::try_from(told_max).unwrap_or(usize::MAX);
        let mut looked = Looked::default();
        let mut test = Test::new(&self.filter);
        // What was read while catching up comes again, and before what is new.
        let seen = items.partition_point(|found| found.position() <= self.position);
        let mut items = items.get(seen..).unwrap_or_default().iter();
        while let Some(found) = items.next() {
            if !self.wants_all && !test.matches(found) {
                continue;
            }
            if looked.told.len() >= told_max {
                looked.over += 1;
                if self.wants_all {
                    // A thousand clients that want all would look at each span a thousand times.
                    looked.over += items.len() as u64;
                    break;
                }
                continue;
            }
            if let Some(said) = found.said(self.project, self.form) {
                looked.told.push((found.position(), said.clone()));
            }
        }
        looked
    }

    /// Reads a piece of what was stored while the client was away.
    pub(super) async fn catch_up(&mut self, shared: &Shared) -> Caught {
        let Some(state) = self.catching_up else {
            return Caught::Some(Looked::default());
        };
        let Ok(page) = self.read(shared).await else {
            self.failures += 1;
            if self.failures > CATCH_UP_FAILURES {
                self.give_up();
                return Caught::GaveUp(Looked::default());
            }
            return Caught::Nothing;
        };
        self.failures = 0;
        let looked = self.look_at(&page.items, state.told_left);
        let (count, told) = (page.items.len(), looked.told.len());
        self.position = self.position.max(page.next);
        if !page.more && count == 0 {
            // Nothing is left up to there: a feed that stands still must not hold up the other one.
            self.position = self.position.max(state.until);
        }
        let told = u32::try_from(told).unwrap_or(u32::MAX);
        let state = CatchUp {
            items_left: state.items_left.saturating_sub(count),
            told_left: state.told_left.saturating_sub(told),
            ..state
        };
        self.catching_up = Some(state);
        if !page.more && count == 0 || self.position >= state.until {
            if !self.caught_up() {
                return Caught::GaveUp(looked);
            }
        } else if state.items_left == 0 || state.told_left == 0 {
            self.give_up();
            return Caught::GaveUp(looked);
        }
        Caught::Some(looked)
    }

    async fn read(&self, shared: &Shared) -> Result<hub::Page, Error> {
        let _turn = shared.tail.turn().await;
        let key = (self.project, self.kind());
        let asked = (self.position, self.filter.needs_whole(), CATCH_UP_PAGE);
        hub::read(&*shared.reader, key, asked).await
    }

    /// Goes on with what is new, or reads on: pages that were found meanwhile may be gone. Answers
    /// whether nothing went by unseen.
    fn caught_up(&mut self) -> bool {
        let now = self.seat.reached();
        if now.epoch != self.epoch {
            self.give_up();
            return false;
        }
        if self.position < now.position {
            if let Some(state) = &mut self.catching_up {
                state.until = now.position;
            }
            return true;
        }
        let reached = self.seat.skip();
        if reached.epoch != self.epoch {
            self.go_on(reached);
            return false;
        }
        self.expected = reached.found;
        // What was found between the two looks.
        self.catching_up =
            (self.position < reached.position).then(|| CatchUp::to(reached.position));
        true
    }

    /// Goes on with what is new; what went by is not known.
    fn give_up(&mut self) {
        let reached = self.seat.skip();
        self.go_on(reached);
    }

    fn go_on(&mut self, reached: Reached) {
        self.catching_up = None;
        self.expected = reached.found;
        // Positions that began again say nothing about those before.
        self.position = if reached.epoch == self.epoch {
            self.position.max(reached.position)
        } else {
            reached.position
        };
        self.epoch = reached.epoch;
    }
}
