//! Points in time as people give them on a command line.

use std::str::FromStr;

use crate::config::Duration;
use crate::storage::remap::Range;

/// Two uses of one command are about the same time when they are this close, ns: "7d" is another
/// time each time it is said.
const ABOUT_NS: u64 = 24 * 3600 * 1_000_000_000;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Ns since the Unix epoch.
    At(u64),
    /// Ns before the time of the command.
    Ago(u64),
}

/// Why a text is no point in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected a time such as 2026-11-01T00:00:00Z, a date such as 2026-11-01, how long ago, such as \
     36h or 7d, or now"
)]
pub(super) struct ParseError;

impl FromStr for Moment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "now" {
            return Ok(Self::Ago(0));
        }
        if let Ok(ago) = text.parse::<Duration>() {
            let ago = u64::try_from(ago.0.as_nanos()).map_err(|_| ParseError)?;
            return Ok(Self::Ago(ago));
        }
        let at = match text.parse::<jiff::civil::Date>() {
            Ok(date) if text.len() == "2026-11-01".len() => date
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|_| ParseError)?
                .timestamp(),
            _ => text.parse::<jiff::Timestamp>().map_err(|_| ParseError)?,
        };
        u64::try_from(at.as_nanosecond())
            .map(Self::At)
            .map_err(|_| ParseError)
    }
}

impl Moment {
    /// In ns since the Unix epoch, given the time of the command.
    pub(super) fn before(self, now: u64) -> u64 {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.saturating_sub(ago),
        }
    }

    /// Whether it may have been meant by a time that was worked out earlier.
    pub(super) fn is_about(self, earlier: u64, now: u64) -> bool {
        match self {
            Self::At(at) => at == earlier,
            Self::Ago(_) => self.before(now).abs_diff(earlier) < ABOUT_NS,
        }
    }
}

/// A range as people read it.
pub(super) fn range(range: &Range) -> String {
    let time = |unix_nano: u64| {
        jiff::Timestamp::from_nanosecond(i128::from(unix_nano))
            .map_or_else(|_| unix_nano.to_string(), |time| format!("{time:.0}"))
    };
    if range.start_unix_nano == 0 {
        format!("all before {}", time(range.end_unix_nano))
    } else {
        format!(
            "from {} to {}",
            time(range.start_unix_nano),
            time(range.end_unix_nano)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600 * 1_000_000_000;

    #[test]
    fn times_are_read_as_people_write_them() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let november = 1_793_491_200_000_000_000;
        assert_eq!(at("2026-11-01T00:00:00Z"), Moment::At(november));
        assert_eq!(at("2026-11-01T01:00:00+01:00"), Moment::At(november));
        assert_eq!(at("2026-11-01"), Moment::At(november));
        assert_eq!(at("36h"), Moment::Ago(36 * HOUR));
        assert_eq!(at("7d"), Moment::Ago(7 * 24 * HOUR));
        assert_eq!(at("now").before(5), 5);
        assert_eq!(at("1h").before(HOUR + 1), 1);
        for wrong in [
            "",
            "yesterday",
            "2026-13-01",
            "1960-01-01",
            "2026-11-01T00:00:00",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_words_mean_the_interrupted_job() {
        let began = 100 * 24 * HOUR;
        let later = began + HOUR;
        let week = "7d".parse::<Moment>().unwrap();
        assert!(week.is_about(week.before(began), later));
        assert!(!week.is_about(week.before(began), later + 48 * HOUR));
        assert!(Moment::At(5).is_about(5, later));
        assert!(!Moment::At(5).is_about(6, later));
    }

    #[test]
    fn ranges_are_said_in_full_seconds() {
        let said = |start_unix_nano| {
            range(&Range {
                start_unix_nano,
                end_unix_nano: 1_793_491_200_000_000_000,
            })
        };
        assert_eq!(said(0), "all before 2026-11-01T00:00:00Z");
        let november = "from 2026-10-31T23:59:59Z to 2026-11-01T00:00:00Z";
        assert_eq!(said(1_793_491_199_000_000_000), november);
    }
}
