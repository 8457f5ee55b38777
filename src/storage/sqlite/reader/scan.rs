//! Walking an index newest first: where a page starts, and how far it may go.

use std::time::Instant;

use super::pool::Session;
use super::signed;
use crate::storage::{Cursor, TimeRange};

/// Work a list may do for one page, in rows looked at.
const ROWS_MAX: u32 = 20_000;
/// Unpacking a block to look into its messages costs as much as looking at this many rows.
const ROWS_PER_BLOCK: u32 = 100;
/// Spans of a block whose columns cost as much to look at as one row.
const SPANS_PER_ROW: usize = 4;

/// How much work is left for one page, in rows and in time.
#[derive(Debug)]
pub(super) struct Budget {
    rows: u32,
    deadline: Instant,
    looked: bool,
}

impl Budget {
    /// The budget of one page.
    pub(super) fn new(session: &Session<'_>) -> Self {
        Self {
            rows: ROWS_MAX,
            deadline: session.scan_deadline,
            looked: false,
        }
    }

    /// Most rows this budget allows to look at.
    pub(super) const fn rows_max() -> usize {
        ROWS_MAX as usize
    }

    /// Whether another row may be looked at. The first always may, so that every page gets on.
    pub(super) fn allows_row(&mut self) -> bool {
        let allowed = !self.looked || (self.rows > 0 && Instant::now() < self.deadline);
        self.looked = true;
        self.rows = self.rows.saturating_sub(1);
        allowed
    }

    /// Accounts for a block that was unpacked.
    pub(super) fn spend_block(&mut self) {
        self.rows = self.rows.saturating_sub(ROWS_PER_BLOCK);
    }

    /// Accounts for spans whose columns were looked at.
    pub(super) fn spend_spans(&mut self, spans: usize) {
        let rows = u32::try_from(spans.div_ceil(SPANS_PER_ROW)).unwrap_or(u32::MAX);
        self.rows = self.rows.saturating_sub(rows);
    }
}

/// A stretch of an index, walked downwards. A page that goes on after an item first walks what
/// shares its time, then what is older: both are one range of the index each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stretch {
    /// Rows at this time whose tie-break is below the cursor's.
    Tie {
        /// The time.
        at: i64,
        /// The cursor's tie-break.
        key: Vec<u8>,
    },
    /// Rows within these times, both included.
    Between {
        /// Earliest time.
        from: i64,
        /// Latest time.
        to: i64,
    },
}

/// The stretches that hold the rest of a list, in the order to walk them.
pub(super) fn stretches(range: &TimeRange, after: Option<&Cursor>) -> Vec<Stretch> {
    let from = range.start_unix_nano.map_or(i64::MIN, signed);
    let Some(mut to) = last_included(range.end_unix_nano) else {
        return Vec::new();
    };
    let mut stretches = Vec::with_capacity(2);
    if let Some(cursor) = after {
        let at = signed(cursor.unix_nano);
        if (from..=to).contains(&at) {
            stretches.push(Stretch::Tie {
                at,
                key: cursor.key.clone(),
            });
        }
        to = to.min(at.saturating_sub(1));
    }
    if from <= to {
        stretches.push(Stretch::Between { from, to });
    }
    stretches
}

/// The last time before an end, in the stored form; `None` when there is none.
pub(super) fn last_included(end: Option<u64>) -> Option<i64> {
    match end {
        None => Some(i64::MAX),
        Some(end) => end.checked_sub(1).map(signed),
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
            key: vec![7],
        }
    }

    #[test]
    fn the_first_page_is_one_stretch_with_the_end_excluded() {
        assert_eq!(
            stretches(&range(Some(5), Some(10)), None),
            [Stretch::Between { from: 5, to: 9 }]
        );
        assert_eq!(
            stretches(&range(None, None), None),
            [Stretch::Between {
                from: i64::MIN,
                to: i64::MAX
            }]
        );
    }

    #[test]
    fn a_later_page_finishes_the_time_it_stopped_in() {
        assert_eq!(
            stretches(&range(Some(5), Some(10)), Some(&cursor(7))),
            [
                Stretch::Tie {
                    at: 7,
                    key: vec![7]
                },
                Stretch::Between { from: 5, to: 6 }
            ]
        );
        assert_eq!(
            stretches(&range(Some(7), None), Some(&cursor(7))),
            [Stretch::Tie {
                at: 7,
                key: vec![7]
            }]
        );
    }

    #[test]
    fn empty_ranges_and_clamped_times_are_walked_right() {
        assert_eq!(stretches(&range(None, Some(0)), None), []);
        assert_eq!(stretches(&range(Some(9), Some(9)), None), []);
        assert_eq!(
            stretches(&range(Some(u64::MAX), None), None),
            [Stretch::Between {
                from: i64::MAX,
                to: i64::MAX
            }]
        );
    }
}
