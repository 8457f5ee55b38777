//! What a partition holds, and what it is called.

use std::ops::Range;

use super::super::writer::block_id;

pub(in super::super) const NS_PER_SECOND: i64 = 1_000_000_000;
pub(super) const SECONDS_PER_HOUR: i64 = 3600;
const SECONDS_PER_DAY: i64 = 86_400;

/// A partitioned table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Table {
    Span,
    Event,
    MetricChunk,
    ContentBlock,
}

impl Table {
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Event => "event",
            Self::MetricChunk => "metric_chunk",
            Self::ContentBlock => "content_block",
        }
    }

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Span => "start_time",
            Self::Event => "time_unix_nano",
            Self::MetricChunk => "slot_unix_nano",
            Self::ContentBlock => "block_id",
        }
    }

    /// The bound of a partition at this time, as SQL.
    pub(super) fn bound(self, seconds: i64) -> String {
        match self {
            Self::Span => format!("'{}+00'", at(seconds, "%Y-%m-%d %H:%M:%S")),
            Self::Event | Self::MetricChunk => seconds.saturating_mul(NS_PER_SECOND).to_string(),
            Self::ContentBlock => block_id::first_at(seconds.saturating_mul(1000)).to_string(),
        }
    }
}

/// Seconds since the Unix epoch, as text.
fn at(seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

/// Times a partition holds, seconds since the Unix epoch: the end is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Slot {
    pub(in super::super) start: i64,
    pub(in super::super) end: i64,
}

impl Slot {
    /// The slot that a time falls in.
    pub(in super::super) fn of(unix_nano: i64, interval_seconds: i64) -> Self {
        let seconds = unix_nano.div_euclid(NS_PER_SECOND);
        let start = seconds.div_euclid(interval_seconds) * interval_seconds;
        Self {
            start,
            end: start + interval_seconds,
        }
    }

    /// First time after it, ns since the Unix epoch.
    pub(in super::super) const fn end_unix_nano(self) -> i64 {
        self.end.saturating_mul(NS_PER_SECOND)
    }

    pub(super) const fn start_unix_nano(self) -> i64 {
        self.start.saturating_mul(NS_PER_SECOND)
    }

    /// Whether any of these partitions holds some of its times.
    pub(super) fn overlaps_any(self, table: Table, names: &[String]) -> bool {
        names
            .iter()
            .filter_map(|name| Self::parse(table, name))
            .any(|other| other.start < self.end && self.start < other.end)
    }

    pub(in super::super) fn name(self, table: Table) -> String {
        let day = at(self.start, "%Y%m%d");
        let hours = if self.end - self.start == SECONDS_PER_DAY {
            String::new()
        } else {
            let from = self.start.rem_euclid(SECONDS_PER_DAY) / SECONDS_PER_HOUR;
            let to = from + (self.end - self.start) / SECONDS_PER_HOUR;
            format!("_{from:02}_{to:02}")
        };
        format!("{}_p{day}{hours}", table.name())
    }

    /// Reads the name of a partition; `None` for a partition that we did not make.
    pub(in super::super) fn parse(table: Table, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(table.name())?.strip_prefix("_p")?;
        let mut parts = rest.split('_');
        let day = parts.next().filter(|day| day.len() == 8)?;
        let number = |range: Range<usize>| day.get(range)?.parse::<i8>().ok();
        let year: i16 = day.get(..4)?.parse().ok()?;
        let date = jiff::civil::Date::new(year, number(4..6)?, number(6..8)?).ok()?;
        let midnight = date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second();
        let hours = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => Some((0, 24)),
            (Some(from), Some(to), None) => Some((from.parse().ok()?, to.parse().ok()?)),
            _ => None,
        };
        let (from, to): (i64, i64) =
            hours.filter(|(from, to)| (0..*to).contains(from) && *to <= 24)?;
        Some(Self {
            start: midnight + from * SECONDS_PER_HOUR,
            end: midnight + to * SECONDS_PER_HOUR,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 07:30:00 UTC.
    const NOW: i64 = 1_795_246_200 * NS_PER_SECOND;
    const HOUR: i64 = SECONDS_PER_HOUR;

    #[test]
    fn names_say_what_a_partition_holds_and_are_read_back() {
        for (hours, name) in [
            (24, "span_p20261121"),
            (6, "span_p20261121_06_12"),
            (1, "span_p20261121_07_08"),
        ] {
            let slot = Slot::of(NOW, hours * HOUR);
            assert_eq!(slot.name(Table::Span), name);
            assert_eq!(Slot::parse(Table::Span, name), Some(slot));
        }
        let last = Slot::of(NOW + 16 * HOUR * NS_PER_SECOND, HOUR);
        assert_eq!(
            last.name(Table::ContentBlock),
            "content_block_p20261121_23_24"
        );
        assert_eq!(
            Slot::parse(Table::ContentBlock, "content_block_p20261121_23_24"),
            Some(last)
        );
        for name in [
            "span_default",
            "span_p2026112",
            "span_p20261341",
            "span_p20261121_06",
            "span_p20261121_06_99",
            "span_p20261121_06_06",
            "span_p20261121_06_12_x",
            "content_block_p20261121",
        ] {
            assert_eq!(Slot::parse(Table::Span, name), None, "{name}");
        }
    }

    #[test]
    fn bounds_are_utc() {
        let slot = Slot::of(NOW, SECONDS_PER_DAY);
        assert_eq!(Table::Span.bound(slot.start), "'2026-11-21 00:00:00+00'");
        let blocks = Table::ContentBlock;
        assert!(blocks.bound(slot.start) < blocks.bound(slot.end));
    }
}
