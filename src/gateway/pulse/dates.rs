//! Dates in the forms that queries of the older servers take. Pure.

mod words;

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;

use crate::receivers::pulse::scalar;

const NS_PER_MS: i128 = 1_000_000;
const NS_PER_SECOND: i128 = 1_000 * NS_PER_MS;
const DAY_NS: i128 = 86_400_000_000_000;
/// Whole numbers below this are seconds, others milliseconds.
const MILLIS_MIN: i128 = 1_000_000_000_000;
/// The last millisecond that JavaScript's `Date` knows.
const MILLIS_MAX: i128 = 8_640_000_000_000_000;

/// A date or a time, ns since the Unix epoch. A date alone is its first millisecond, or its last
/// one as the end of a range. What names no zone is UTC.
pub(in crate::gateway) fn read(text: &str, is_end: bool) -> Option<i128> {
    if let Some(midnight) = scalar::day(text) {
        let last = if is_end { DAY_NS - NS_PER_MS } else { 0 };
        return Some(midnight + last);
    }
    if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) {
        let number = i128::from(text.parse::<u64>().ok()?);
        let unit = if number < MILLIS_MIN { 1000 } else { 1 };
        return (number * unit <= MILLIS_MAX).then_some(number * unit * NS_PER_MS);
    }
    scalar::datetime(text)
        .or_else(|| local(text))
        .or_else(|| month(text))
        .or_else(|| mail(text))
        .or_else(|| words::read(text))
        .map(|time| time.div_euclid(NS_PER_MS) * NS_PER_MS)
}

/// A time without a zone or with one in another form, or with a space in place of the `T`.
fn local(text: &str) -> Option<i128> {
    let text = text.trim().replacen(' ', "T", 1).replace(' ', "");
    if let Some(time) = scalar::datetime(&text) {
        return Some(time);
    }
    let (_, clock) = text.split_once('T')?;
    let is_of_clock = |it: char| it.is_ascii_digit() || matches!(it, ':' | '.' | ',');
    let zone = clock.trim_start_matches(is_of_clock);
    let time = text.strip_suffix(zone)?;
    let offset = match zone {
        "" => 0,
        zone => words::offset(&zone.to_ascii_lowercase())?,
    };
    let time: DateTime = time.parse().ok()?;
    Some(scalar::unix_nano(time) - i128::from(offset) * NS_PER_SECOND)
}

/// A month such as `2026-01`.
fn month(text: &str) -> Option<i128> {
    scalar::day(&format!("{text}-01"))
}

/// A time as in mail, such as `Mon, 05 Jan 2026 10:00:00 GMT`.
fn mail(text: &str) -> Option<i128> {
    let time = rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text);
    time.ok().map(|time| time.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_have_many_forms() {
        for (text, is_end, shown) in [
            ("2026-01-05", false, "2026-01-05T00:00:00.000Z"),
            ("2026-01-05", true, "2026-01-05T23:59:59.999Z"),
            ("1767607200", false, "2026-01-05T10:00:00.000Z"),
            ("1767607200123", true, "2026-01-05T10:00:00.123Z"),
            (
                "2026-01-05T10:00:00.1239Z",
                false,
                "2026-01-05T10:00:00.123Z",
            ),
            (
                "2026-01-05T12:00:00+02:00",
                false,
                "2026-01-05T10:00:00.000Z",
            ),
            ("2026-01-05T10:00:00", false, "2026-01-05T10:00:00.000Z"),
            ("2026-01-05 10:00", false, "2026-01-05T10:00:00.000Z"),
            (
                "2026-01-05T12:00:00+0200",
                false,
                "2026-01-05T10:00:00.000Z",
            ),
            (
                "2026-01-05 12:00:00 +0200",
                false,
                "2026-01-05T10:00:00.000Z",
            ),
            (
                "2026-01-05T12:00:00.5+02",
                false,
                "2026-01-05T10:00:00.500Z",
            ),
            ("2026-01-05T08:30-0130", false, "2026-01-05T10:00:00.000Z"),
            ("2026-01-05 10:00 GMT", false, "2026-01-05T10:00:00.000Z"),
            ("2026-01", true, "2026-01-01T00:00:00.000Z"),
            (
                "Mon, 05 Jan 2026 10:00:00 GMT",
                false,
                "2026-01-05T10:00:00.000Z",
            ),
            ("9999-12-31", true, "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T00:00:00", false, "9999-12-31T00:00:00.000Z"),
            ("2026/01/05", true, "2026-01-05T00:00:00.000Z"),
        ] {
            assert_eq!(
                read(text, is_end).map(scalar::iso).as_deref(),
                Some(shown),
                "{text}"
            );
        }
        let late = "8640000000000001";
        let named = "2026-01-05T10:00[Europe/Paris]";
        for wrong in [
            "",
            "soon",
            "2026-13-01",
            "2026-02-30",
            "-",
            "٣",
            late,
            named,
        ] {
            assert_eq!(read(wrong, false), None, "{wrong}");
        }
    }

    proptest! {
        // Scenario: any text.
        // Guarantees: a time or none, never a panic.
        #[test]
        fn reading_never_panics(text in any::<String>(), digits in "[0-9]{0,45}", like in "[0-9T: .+-]{0,24}") {
            for text in [text, digits, like] {
                prop_assert!(read(&text, true) >= read(&text, false));
            }
        }
    }
}
