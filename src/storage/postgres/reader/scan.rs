//! Walking an index newest first: where a page starts, how far it may go, and when it is full.

use std::time::Instant;

use super::session::Session;
use super::signed;
use crate::storage::{Cursor, Page, PageRequest, TimeRange};

/// Work a list may do for one page, in rows looked at.
const ROWS_MAX: i64 = 20_000;
/// Fetching and unpacking a block to look into its messages costs as much as looking at this many
/// rows.
const ROWS_PER_BLOCK: i64 = 50;
/// Spans looked at beside their trace cost as much as looking at one row.
const SPANS_PER_ROW: u64 = 4;
/// Rows of the first piece of a walk that looks for something; each further piece is larger.
const PIECE_ROWS_MIN: i64 = 500;
/// Rows of a piece at most, so that the time is looked at often enough.
const PIECE_ROWS_MAX: i64 = 8_000;
/// Rows of a piece whose rows are tested one by one here.
const PIECE_ROWS_TESTED: i64 = 250;

/// The first and the last time of the rest of a list, both included; `None` when nothing is left.
pub(super) fn bounds(range: &TimeRange, after: Option<&Cursor>) -> Option<(i64, i64)> {
    let from = range.start_unix_nano.map_or(0, signed);
    let mut to = match range.end_unix_nano {
        None => i64::MAX,
        Some(end) => end.checked_sub(1).map(signed)?,
    };
    if let Some(cursor) = after {
        to = to.min(signed(cursor.unix_nano));
    }
    (from <= to).then_some((from, to))
}

/// How the rows of a list are found to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matching {
    /// As a rule, all do.
    All,
    /// The server tells.
    Server,
    /// What the server lets through is tested here.
    Here,
}

/// The next piece of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Rows to look at.
    pub(super) rows: i64,
    /// Rows to answer at most.
    pub(super) answers: i64,
}

/// A page being filled.
#[derive(Debug)]
pub(super) struct Walk<T> {
    limit: usize,
    matching: Matching,
    rows_left: i64,
    rows_next: i64,
    deadline: Instant,
    last: Option<Cursor>,
    page: Page<T>,
}

impl<T> Walk<T> {
    /// An empty page.
    pub(super) fn new(session: &Session, request: &PageRequest, matching: Matching) -> Self {
        Self {
            limit: request.limit.max(1),
            matching,
            rows_left: ROWS_MAX,
            rows_next: match matching {
                Matching::Here => PIECE_ROWS_TESTED,
                Matching::All | Matching::Server => PIECE_ROWS_MIN,
            },
            deadline: session.scan_deadline,
            last: None,
            page: Page {
                items: Vec::new(),
                next: None,
            },
        }
    }

    /// What to ask for next: one match more than the page has room for says that it goes on.
    pub(super) fn piece(&self) -> Piece {
        let room = self.limit.saturating_sub(self.page.items.len());
        let answers = i64::try_from(room).unwrap_or(i64::MAX).saturating_add(1);
        let rows = match self.matching {
            Matching::All => answers,
            Matching::Server | Matching::Here => self.rows_next,
        };
        let rows = rows.min(self.rows_left).max(1);
        let answers = match self.matching {
            Matching::Here => rows,
            Matching::All | Matching::Server => answers,
        };
        Piece { rows, answers }
    }

    /// Looks at the next row, `None` when it does not match; answers whether to go on.
    pub(super) fn take(&mut self, cursor: Cursor, item: Option<T>) -> bool {
        if self.page.items.len() >= self.limit {
            self.stop();
            return false;
        }
        self.last = Some(cursor);
        self.page.items.extend(item);
        true
    }

    /// Accounts for rows that were looked at; answers whether to go on.
    pub(super) fn spend(&mut self, rows: i64) -> bool {
        self.rows_left = self.rows_left.saturating_sub(rows);
        // Not for slices without a row, as those ahead of time are.
        if self.matching != Matching::Here && rows > 0 {
            self.rows_next = self.rows_next.saturating_mul(4).min(PIECE_ROWS_MAX);
        }
        // A page without a row has nowhere to go on from, and so must go on.
        if self.is_spent() && self.last.is_some() {
            self.stop();
            return false;
        }
        true
    }

    /// Accounts for blocks that were looked into.
    pub(super) fn spend_blocks(&mut self, blocks: usize) {
        let blocks = i64::try_from(blocks).unwrap_or(i64::MAX);
        let rows = blocks.saturating_mul(ROWS_PER_BLOCK);
        self.rows_left = self.rows_left.saturating_sub(rows);
    }

    /// Accounts for spans of which some columns were looked at.
    pub(super) fn spend_spans(&mut self, spans: u64) {
        let rows = i64::try_from(spans.div_ceil(SPANS_PER_ROW)).unwrap_or(i64::MAX);
        self.rows_left = self.rows_left.saturating_sub(rows);
    }

    /// Whether the page may do no more work.
    pub(super) fn is_spent(&self) -> bool {
        self.rows_left <= 0 || Instant::now() >= self.deadline
    }

    /// Ends the page after the last row looked at.
    pub(super) fn stop(&mut self) {
        self.page.next = self.last.take();
    }

    /// The page.
    pub(super) fn finish(self) -> Page<T> {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: Option<u64>, end: Option<u64>) -> TimeRange {
        TimeRange {
            start_unix_nano: start,
            end_unix_nano: end,
        }
    }

    fn cursor(unix_nano: u64) -> Cursor {
        Cursor {
            unix_nano,
            key: Vec::new(),
        }
    }

    #[test]
    fn a_page_goes_on_at_the_time_where_it_stopped() {
        assert_eq!(bounds(&range(None, None), None), Some((0, i64::MAX)));
        assert_eq!(bounds(&range(Some(5), Some(10)), None), Some((5, 9)));
        assert_eq!(
            bounds(&range(Some(5), Some(10)), Some(&cursor(7))),
            Some((5, 7))
        );
        assert_eq!(
            bounds(&range(Some(5), Some(10)), Some(&cursor(20))),
            Some((5, 9))
        );
        assert_eq!(bounds(&range(Some(8), Some(10)), Some(&cursor(7))), None);
        assert_eq!(bounds(&range(None, Some(0)), None), None);
        assert_eq!(bounds(&range(Some(9), Some(9)), None), None);
        let last = Some((i64::MAX, i64::MAX));
        assert_eq!(bounds(&range(Some(u64::MAX), None), None), last);
    }

    fn walk(limit: usize, matching: Matching) -> Walk<u64> {
        Walk {
            limit,
            matching,
            rows_left: ROWS_MAX,
            rows_next: PIECE_ROWS_MIN,
            deadline: Instant::now() + std::time::Duration::from_secs(3600),
            last: None,
            page: Page {
                items: Vec::new(),
                next: None,
            },
        }
    }

    #[test]
    fn a_full_page_goes_on_only_when_there_is_another_row() {
        let mut full = walk(2, Matching::All);
        assert_eq!(
            full.piece(),
            Piece {
                rows: 3,
                answers: 3
            }
        );
        assert!(full.take(cursor(9), Some(9)) && full.take(cursor(8), Some(8)));
        assert_eq!(
            full.piece(),
            Piece {
                rows: 1,
                answers: 1
            }
        );
        assert!(!full.take(cursor(7), None));
        let page = full.finish();
        assert_eq!((page.items, page.next), (vec![9, 8], Some(cursor(8))));

        let mut whole = walk(2, Matching::All);
        assert!(whole.take(cursor(9), Some(9)));
        assert_eq!(whole.finish().next, None);
    }

    #[test]
    fn the_budget_ends_a_page_where_it_has_looked() {
        let mut walk = walk(2, Matching::Server);
        let mut looked = 0;
        loop {
            let piece = walk.piece();
            assert_eq!(piece.answers, 3);
            looked += piece.rows;
            assert!(walk.take(cursor(1), None));
            if !walk.spend(piece.rows) {
                break;
            }
        }
        assert_eq!(looked, ROWS_MAX);
        assert_eq!(walk.finish().next, Some(cursor(1)));
    }
}
