//! Texts with a meaning: UUIDs and times.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, date};

/// The pattern of UUIDs, as errors show it.
pub const UUID_PATTERN: &str = "/^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$/";
/// The pattern of times, as errors show it.
pub const DATETIME_PATTERN: &str = r"/^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))T(?:(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z|([+-](?:[01]\d|2[0-3]):[0-5]\d)))$/";

const NS_PER_MINUTE: i64 = 60_000_000_000;
/// Where times are counted from. By the calendar, without a zone: the whole year 9999 is told so.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
const FIRST: DateTime = date(0, 1, 1).at(0, 0, 0, 0);
const LAST: DateTime = date(9999, 12, 31).at(23, 59, 59, 999_000_000);

/// The sixteen bytes of a text of the form 8-4-4-4-12.
#[must_use]
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let dashes = [8, 13, 18, 23];
    let is_dashed = bytes.len() == 36 && dashes.iter().all(|at| bytes.get(*at) == Some(&b'-'));
    if !is_dashed {
        return None;
    }
    let digits: Vec<u8> = bytes.iter().copied().filter(|it| *it != b'-').collect();
    hex_bytes(&digits)
}

/// The bytes of exactly enough hexadecimal digits.
pub(in crate::receivers) fn hex_bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let value = digit(*high)? << 4 | digit(*low)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

/// Whether a text is a UUID as the older servers took it: of version 1 to 8 and the usual variant,
/// or all zeros, or all `f`.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    let Some(bytes) = uuid_bytes(text) else {
        return false;
    };
    let [.., version, _, variant, _, _, _, _, _, _, _] = bytes;
    let is_plain = (1..=8).contains(&(version >> 4)) && variant >> 6 == 0b10;
    is_plain || bytes == [0; 16] || text == "ffffffff-ffff-ffff-ffff-ffffffffffff"
}

/// A time with a zone, in ns since the Unix epoch. What is finer than that is cut off.
#[must_use]
pub fn datetime(text: &str) -> Option<i128> {
    let (date, time) = text.split_once('T')?;
    let (time, offset) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let at = time.len().checked_sub(6)?;
            let (time, offset) = time.split_at_checked(at)?;
            (time, offset_minutes(offset)?)
        }
    };
    let local = day(date)?.checked_add(clock(time)?)?;
    Some(local - i128::from(offset * NS_PER_MINUTE))
}

/// Midnight of a date such as `2026-01-31`, in ns since the Unix epoch.
#[must_use]
pub fn day(date: &str) -> Option<i128> {
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (year, month, day) = (
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    );
    let date = Date::new(year, month, day).ok()?;
    Some(unix_nano(date.at(0, 0, 0, 0)))
}

/// A time of the calendar in UTC, in ns since the Unix epoch.
#[must_use]
pub fn unix_nano(time: DateTime) -> i128 {
    time.duration_since(EPOCH).as_nanos()
}

/// A time of day such as `10:00`, `10:00:00` or `10:00:00.123456789012`, in ns.
pub(crate) fn clock(time: &str) -> Option<i128> {
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let (hour, minute, second) = match numbers(time, ':', [2, 2, 2]) {
        Some([hour, minute, second]) => (hour, minute, second),
        None if fraction.is_none() => {
            let [hour, minute] = numbers(time, ':', [2, 2])?;
            (hour, minute, 0)
        }
        None => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match fraction {
        None => 0,
        Some(digits) => {
            if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
                return None;
            }
            let padded: String = digits.chars().chain("000000000".chars()).take(9).collect();
            padded.parse().ok()?
        }
    };
    let seconds = i128::from(hour) * 3600 + i128::from(minute) * 60 + i128::from(second);
    Some(seconds * 1_000_000_000 + nanos)
}

/// An offset such as `+02:00`, in minutes.
pub(super) fn offset_minutes(offset: &str) -> Option<i64> {
    let sign = match offset.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(offset.get(1..)?, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * i64::from(hours * 60 + minutes))
}

/// Numbers of so many digits each, with a sign between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// A time as the older servers write it: UTC, cut to milliseconds; before the year 0 and after 9999
/// the nearest that has four digits.
#[must_use]
pub fn iso(unix_nano: i128) -> String {
    let end = if unix_nano < 0 { FIRST } else { LAST };
    let millis = i64::try_from(unix_nano.div_euclid(1_000_000)).ok();
    let time = millis.and_then(|millis| {
        EPOCH
            .checked_add(SignedDuration::from_millis(millis))
            .ok()
            .filter(|time| (FIRST..=LAST).contains(time))
    });
    let time = time.unwrap_or(end);
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uuids_have_dashes_a_version_and_a_variant() {
        for good in [
            "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
            "0D5F6C0E-8D0C-8F7E-BD55-6A3C1F0F9A11",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert!(is_uuid(good), "{good}");
        }
        for bad in [
            "",
            "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11",
            "0d5f6c0e-8d0c-9f7e-9d55-6a3c1f0f9a11",
            "0d5f6c0e-8d0c-0f7e-9d55-6a3c1f0f9a11",
            "0d5f6c0e-8d0c-4f7e-7d55-6a3c1f0f9a11",
            "0d5f6c0e-8d0c-4f7e-cd55-6a3c1f0f9a11",
            "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a1g",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11 ",
        ] {
            assert!(!is_uuid(bad), "{bad}");
        }
    }

    #[test]
    fn times_need_a_zone_and_a_day_that_exists() {
        for (given, shown) in [
            ("2026-01-05T10:00:00.123Z", "2026-01-05T10:00:00.123Z"),
            ("2026-01-05T10:00Z", "2026-01-05T10:00:00.000Z"),
            (
                "2026-01-05T10:00:00.9999999+00:00",
                "2026-01-05T10:00:00.999Z",
            ),
            (
                "2026-01-05T10:00:00.123456+02:00",
                "2026-01-05T08:00:00.123Z",
            ),
            ("2024-02-29T23:59:59-23:59", "2024-03-01T23:58:59.000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.999Z"),
            ("0000-01-01T00:00:00+01:00", "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(datetime(given).map(iso).as_deref(), Some(shown), "{given}");
        }
        for bad in [
            "2026-01-05T10:00:00",
            "2026-01-05T10:00:00+0200",
            "2026-01-05T10:00:00z",
            "2026-01-05 10:00:00Z",
            "2026-02-30T10:00:00Z",
            "2025-02-29T10:00:00Z",
            "2026-01-05T10:00:60Z",
            "2026-01-05T24:00:00Z",
            "2026-01-05T10:00:00.Z",
            "2026-01-05T10:00.5Z",
            "2026-1-05T10:00:00Z",
            "2026-01-05T10:00:00+24:00",
            "2026-01-05",
            "",
        ] {
            assert_eq!(datetime(bad), None, "{bad}");
        }
    }

    proptest! {
        // Scenario: any text, and texts that look like times.
        // Guarantees: never a panic; what is taken is written back as the same millisecond.
        #[test]
        fn reading_never_panics(text in any::<String>(), like in "[0-9T:+Z. -]{0,30}") {
            for text in [text, like] {
                prop_assert!(!is_uuid(&text) || text.len() == 36);
                if let Some(time) = datetime(&text) {
                    let again = datetime(&iso(time)).map(|it| it.div_euclid(1_000_000));
                    prop_assert_eq!(again, Some(time.div_euclid(1_000_000)));
                }
            }
        }
    }
}
