//! What a project may send.

use std::fmt;

/// What a project may send. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Spans, log records and data points a second, of every collector on its own. What was not
    /// used in the last seconds may be sent at once.
    pub items_per_second: Option<u32>,
    /// Bytes of uncompressed telemetry a day (UTC), of all collectors together.
    pub bytes_per_day: Option<u64>,
}

impl Quota {
    /// Largest number of bytes a day: what every JSON reader can tell from the next.
    pub const BYTES_PER_DAY_MAX: u64 = (1 << 53) - 1;

    /// Whether anything is limited.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.items_per_second.is_none() && self.bytes_per_day.is_none()
    }
}

impl fmt::Display for Quota {
    /// As people read it: `100 items/s, 1000000 bytes/day`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.items_per_second, self.bytes_per_day) {
            (None, None) => formatter.write_str("no limit"),
            (Some(items), None) => write!(formatter, "{items} items/s"),
            (None, Some(bytes)) => write!(formatter, "{bytes} bytes/day"),
            (Some(items), Some(bytes)) => write!(formatter, "{items} items/s, {bytes} bytes/day"),
        }
    }
}

/// A day, in days since 1970-01-01 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Day(pub u32);

impl Day {
    /// Nanoseconds of a day.
    pub const NS: u64 = 86_400_000_000_000;

    /// The day of a moment, ns since the Unix epoch.
    #[must_use]
    pub const fn of(unix_nano: u64) -> Self {
        // 2^64 ns are 213,503 days.
        Self((unix_nano / Self::NS) as u32)
    }

    /// When it begins, ns since the Unix epoch.
    #[must_use]
    pub const fn start(self) -> u64 {
        (self.0 as u64).saturating_mul(Self::NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!(Day::of(0), Day(0));
        assert_eq!(Day::of(Day::NS - 1), Day(0));
        assert_eq!(Day::of(Day(20_000).start()), Day(20_000));
        assert_eq!(Day::of(Day(20_000).start() - 1), Day(19_999));
        assert_eq!(Day::of(u64::MAX), Day(213_503));
    }

    #[test]
    fn one_limit_is_a_limit() {
        assert!(Quota::default().is_none());
        let day = Quota {
            bytes_per_day: Some(1),
            ..Quota::default()
        };
        assert!(!day.is_none());
        assert_eq!(day.to_string(), "1 bytes/day");
        let both = Quota {
            items_per_second: Some(5),
            ..day
        };
        assert_eq!(both.to_string(), "5 items/s, 1 bytes/day");
        assert_eq!(Quota::default().to_string(), "no limit");
    }
}
