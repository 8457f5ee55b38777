//! Why spans are not stored, and how many that were.

/// Why a span is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its trace is not among those that the head's percentage keeps.
    Head,
    /// Nothing speaks for its trace, and it is not among those that the tail's percentage keeps.
    Tail,
    /// It is among those, but there are more of them than may be kept.
    Rate,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Head, Self::Tail, Self::Rate];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Tail => "tail",
            Self::Rate => "rate",
        }
    }
}

/// Spans that were not stored, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SampledOut {
    /// [`Reason::Head`].
    pub head: u64,
    /// [`Reason::Tail`].
    pub tail: u64,
    /// [`Reason::Rate`].
    pub rate: u64,
}

impl SampledOut {
    /// Counts a span.
    pub fn count(&mut self, reason: Reason) {
        let count = match reason {
            Reason::Head => &mut self.head,
            Reason::Tail => &mut self.tail,
            Reason::Rate => &mut self.rate,
        };
        *count += 1;
    }

    /// Spans of one reason.
    #[must_use]
    pub const fn of(&self, reason: Reason) -> u64 {
        match reason {
            Reason::Head => self.head,
            Reason::Tail => self.tail,
            Reason::Rate => self.rate,
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.head += other.head;
        self.tail += other.tail;
        self.rate += other.rate;
    }

    /// All spans.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.head + self.tail + self.rate
    }
}
