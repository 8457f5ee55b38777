//! Single values: times, durations, limits, and the nearest known name.

/// Duration units, longest first where one ends with another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Longest text repeated in a message.
const SHOWN_CHARS_MAX: usize = 64;

/// RFC 3339, or ns since the Unix epoch as digits.
pub(super) fn time(text: &str) -> Result<u64, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .map_err(|_| "does not fit in 64 bits".to_owned());
    }
    // A plus sign that was not encoded arrives as a space.
    let text = text.replace(' ', "+");
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        "expected an RFC 3339 time with its offset, or nanoseconds since 1970".to_owned()
    })?;
    u64::try_from(time.as_nanosecond()).map_err(|_| "is before 1970 or after 2554".to_owned())
}

/// A number with a unit, or ns as digits.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    let expected = || "expected a duration such as 200ms, 1.5s or 2m, or nanoseconds".to_owned();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" if number.contains('.') => return Err(expected()),
        "" => 1,
        unit => UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(expected)?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(expected());
    }
    let too_long = || "does not fit in 64 bits of nanoseconds".to_owned();
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    whole
        .checked_mul(factor)
        .and_then(|ns| ns.checked_add(fraction_of(fraction, factor)))
        .ok_or_else(too_long)
}

/// A duration of whole minutes, at least one.
pub(super) fn whole_minutes(text: &str) -> Result<u32, String> {
    const NS_PER_MINUTE: u64 = 60_000_000_000;
    let ns = duration(text)?;
    let minutes = u32::try_from(ns / NS_PER_MINUTE).ok();
    minutes
        .filter(|minutes| *minutes > 0 && ns.is_multiple_of(NS_PER_MINUTE))
        .ok_or_else(|| "expected whole minutes, such as 1m, 1h or 1d".to_owned())
}

/// The digits after the point times the unit, in ns; what is finer than a nanosecond is cut off.
fn fraction_of(digits: &str, factor: u64) -> u64 {
    let (mut ns, mut unit) = (0, u128::from(factor) * 1_000_000_000);
    for digit in digits.chars().filter_map(|digit| digit.to_digit(10)) {
        unit /= 10;
        ns += unit * u128::from(digit);
    }
    u64::try_from(ns / 1_000_000_000).unwrap_or(0)
}

/// An amount of money in US dollars, in nano-USD.
pub(super) fn usd(text: &str) -> Result<i64, String> {
    const NANO_PER_USD: i64 = 1_000_000_000;
    let expected = || "expected US dollars such as 2 or 0.015".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(expected());
    }
    if fraction.len() > 9 && fraction.bytes().skip(9).any(|digit| digit != b'0') {
        return Err("has more than nine digits after the point".to_owned());
    }
    let too_much = || "is more than can be counted".to_owned();
    let whole: i64 = whole.parse().map_err(|_| too_much())?;
    let digits = fraction.chars().chain(std::iter::repeat('0')).take(9);
    let fraction = digits
        .filter_map(|digit| digit.to_digit(10))
        .fold(0, |nano, digit| nano * 10 + i64::from(digit));
    whole
        .checked_mul(NANO_PER_USD)
        .and_then(|nano| nano.checked_add(fraction))
        .ok_or_else(too_much)
}

/// A whole number, zero or more.
pub(super) fn count(text: &str) -> Result<i64, String> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    let count = text.parse().ok().filter(|_| is_number);
    count.ok_or_else(|| "expected a whole number of at most 63 bits".to_owned())
}

/// A severity: 1 to 24, or the name of the range that begins there (logs.proto).
pub(super) fn severity(text: &str) -> Result<u8, String> {
    let names = ["trace", "debug", "info", "warn", "error", "fatal"];
    if let Some((start, _)) = (1..).step_by(4).zip(names).find(|(_, name)| *name == text) {
        return Ok(start);
    }
    let number = text.parse().ok().filter(|number| (1..=24).contains(number));
    number.ok_or_else(|| "expected 1 to 24, trace, debug, info, warn, error or fatal".to_owned())
}

/// A page size.
pub(super) fn limit(text: &str, max: u32) -> Result<u32, String> {
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("expected a number from 1 to {max}"))
}

/// The known name with the fewest edits, when few enough.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    known
        .iter()
        .map(|candidate| (edits(&name, candidate), *candidate))
        .min()
        .filter(|(edits, candidate)| *edits <= candidate.chars().count().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// A name as it is repeated in a message.
pub(super) fn shorten(name: &str) -> String {
    name.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Levenshtein distance, row by row.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut above = row.into_iter();
        let mut diagonal = above.next().unwrap_or(0);
        let mut next = vec![index + 1];
        let mut before = index + 1;
        for (to, over) in right.chars().zip(above) {
            let replaced = diagonal + usize::from(from != to);
            before = replaced.min(over + 1).min(before + 1);
            diagonal = over;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_nanoseconds() {
        assert_eq!(time("1700000000000000001"), Ok(1_700_000_000_000_000_001));
        assert_eq!(
            time("2023-11-14T22:13:20.000000001Z"),
            Ok(1_700_000_000_000_000_001)
        );
        assert_eq!(
            time("2023-11-14T23:13:20 01:00"),
            Ok(1_700_000_000_000_000_000)
        );
        for bad in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "-1",
            "99999999999999999999",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_exact_to_the_nanosecond() {
        let cases = [
            ("15", 15),
            ("200ms", 200_000_000),
            ("1.5s", 1_500_000_000),
            ("0.0000000019s", 1),
            ("2m", 120_000_000_000),
            ("1.000001us", 1_000),
            ("3µs", 3_000),
            ("1d", 86_400_000_000_000),
        ];
        for (text, ns) in cases {
            assert_eq!(duration(text), Ok(ns), "{text}");
        }
        for bad in [
            "",
            "s",
            "1.5",
            "1.s",
            ".5s",
            "-1s",
            "1w",
            "1 s",
            "1e3s",
            "99999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_are_whole_minutes() {
        for (text, minutes) in [("1m", 1), ("90m", 90), ("1.5h", 90), ("1d", 1440)] {
            assert_eq!(whole_minutes(text), Ok(minutes), "{text}");
        }
        for bad in ["0m", "59s", "61s", "1.01m", "60", "hour", "99999999d"] {
            assert!(whole_minutes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn money_is_exact_to_the_billionth() {
        let cases = [
            ("0", 0),
            ("2", 2_000_000_000),
            ("0.015", 15_000_000),
            ("1.0000000010", 1_000_000_001),
            ("9223372036.854775807", i64::MAX),
        ];
        for (text, nano) in cases {
            assert_eq!(usd(text), Ok(nano), "{text}");
        }
        for bad in [
            "",
            ".5",
            "1.",
            "-1",
            "1e3",
            "$1",
            "0.0000000001",
            "9223372036.854775808",
            "99999999999999999999",
        ] {
            assert!(usd(bad).is_err(), "{bad}");
        }
        assert_eq!(count("9223372036854775807"), Ok(i64::MAX));
        for bad in ["", "-1", "+1", "1.5", "9223372036854775808"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_stay_within_their_range() {
        assert_eq!(limit("1", 10), Ok(1));
        assert_eq!(limit("10", 10), Ok(10));
        for bad in ["0", "11", "-1", "ten", "4294967296"] {
            assert!(limit(bad, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_unless_it_is_far() {
        let known = ["service", "session_id", "start"];
        assert_eq!(nearest("sevrice", &known), Some("service"));
        assert_eq!(nearest("session", &known), Some("session_id"));
        assert_eq!(nearest("strat", &known), Some("start"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
    }

    proptest::proptest! {
        // Scenario: arbitrary text given as a value.
        // Guarantees: it is read or refused, never a panic.
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            drop(time(&text));
            drop(duration(&text));
            drop(limit(&text, 5));
            drop(usd(&text));
            drop(count(&text));
            proptest::prop_assert!(nearest(&text, &["start"]).is_none_or(|near| near == "start"));
        }
    }
}
