//! How many spans are kept by the percentage.

use super::Tail;

/// How many spans may be kept by the percentage: a bucket that fills as requests are received, so that
/// reading the log again decides alike. It holds a second's worth. A trace is taken whole, however
/// little is left.
#[derive(Debug)]
pub struct Budget {
    spans_per_second: i64,
    /// Spans, times 10^9; less than zero is owed.
    left: i64,
    /// Until when it was filled, ns.
    filled: u64,
}

/// A span in the units of [`Budget`].
const SPAN: i64 = 1_000_000_000;

impl Budget {
    /// A full one.
    #[must_use]
    pub fn new(tail: &Tail) -> Self {
        let spans_per_second = i64::from(tail.spans_per_second);
        Self {
            spans_per_second,
            left: spans_per_second.saturating_mul(SPAN),
            filled: 0,
        }
    }

    /// Fills it up to when a request was received, ns.
    pub fn fill(&mut self, received: u64) {
        let passed = received.saturating_sub(self.filled);
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let more = passed.saturating_mul(self.spans_per_second);
        let most = self.spans_per_second.saturating_mul(SPAN);
        self.left = self.left.saturating_add(more).min(most);
        self.filled = self.filled.max(received);
    }

    /// The clock was set back to a time, ns: it fills from then on.
    pub fn set_back(&mut self, time: u64) {
        self.filled = self.filled.min(time);
    }

    pub(super) const fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Takes spans out.
    pub fn take(&mut self, spans: u64) {
        let spans = i64::try_from(spans).unwrap_or(i64::MAX);
        self.left = self.left.saturating_sub(spans.saturating_mul(SPAN));
    }
}
