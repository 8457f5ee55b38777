//! Dates in the words and with the slashes that JavaScript's `Date` takes beside ISO: `Jan 5, 2026`,
//! `2026/01/05 10:00`, `1/5/2026`, `Mon Jan 05 2026 10:00:00 GMT+0100 (CET)`. Pure.

use jiff::civil::Date;

use crate::receivers::pulse::scalar;

const NS_PER_SECOND: i128 = 1_000_000_000;
const DAY_NS: i128 = 86_400 * NS_PER_SECOND;
/// Longest text that is a date, in bytes.
const LONGEST: usize = 100;
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// What was read so far.
#[derive(Debug, Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    /// Time of the day, ns.
    clock: Option<i128>,
    /// East of UTC, seconds.
    offset: Option<i32>,
}

/// A time in ns since the Unix epoch; UTC where no zone is named.
pub(super) fn read(text: &str) -> Option<i128> {
    if text.len() > LONGEST {
        return None;
    }
    let text = without_comment(text)?.to_ascii_lowercase();
    let mut parts = Parts::default();
    for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
        parts.add(word)?;
    }
    parts.time()
}

/// What stands before words in brackets, which may only come last.
fn without_comment(text: &str) -> Option<&str> {
    match text.split_once('(') {
        None => Some(text),
        Some((date, comment)) => comment.trim_end().ends_with(')').then_some(date),
    }
}

fn set<T>(part: &mut Option<T>, value: T) -> Option<()> {
    // Told twice is not told.
    part.replace(value).is_none().then_some(())
}

impl Parts {
    fn add(&mut self, word: &str) -> Option<()> {
        if word.contains('/') {
            return self.add_slashed(word);
        }
        if word.contains(':') && self.clock.is_none() {
            return set(&mut self.clock, clock(word)?);
        }
        if let Some(named) = word
            .get(..3)
            .filter(|_| word.bytes().all(|it| it.is_ascii_alphabetic()))
        {
            if let Some(at) = MONTHS.iter().position(|month| *month == named) {
                return set(&mut self.month, i8::try_from(at + 1).ok()?);
            }
            if WEEKDAYS.contains(&named) {
                return Some(());
            }
        }
        match word {
            "am" | "pm" => self.add_half(word == "pm"),
            _ if word.bytes().all(|it| it.is_ascii_digit()) => self.add_number(word),
            _ => set(&mut self.offset, offset(word)?),
        }
    }

    /// `2026/1/5` or `1/5/2026`.
    fn add_slashed(&mut self, word: &str) -> Option<()> {
        let mut numbers = word.split('/');
        let [first, second, third] = [numbers.next()?, numbers.next()?, numbers.next()?];
        if numbers.next().is_some() {
            return None;
        }
        let [year, month, day] = if first.len() == 4 {
            [first, second, third]
        } else {
            [third, first, second]
        };
        set(&mut self.year, year_of(year)?)?;
        set(&mut self.month, small(month)?)?;
        set(&mut self.day, small(day)?)
    }

    fn add_number(&mut self, word: &str) -> Option<()> {
        if self.day.is_none() && word.len() <= 2 {
            return set(&mut self.day, small(word)?);
        }
        set(&mut self.year, year_of(word)?)
    }

    /// Morning or afternoon, said after the time.
    fn add_half(&mut self, is_afternoon: bool) -> Option<()> {
        let clock = self.clock.as_mut()?;
        let half = DAY_NS / 2;
        if *clock >= half + 3600 * NS_PER_SECOND {
            return None;
        }
        *clock = *clock % half + if is_afternoon { half } else { 0 };
        Some(())
    }

    fn time(self) -> Option<i128> {
        let day = self.day.filter(|day| (1..=31).contains(day))?;
        // The 31st of a shorter month is a day of the next one.
        let first = Date::new(self.year?, self.month?, 1).ok()?;
        let days = i128::from(day - 1) * DAY_NS;
        let clock = self.clock.unwrap_or_default();
        let offset = i128::from(self.offset.unwrap_or_default()) * NS_PER_SECOND;
        Some(scalar::unix_nano(first.at(0, 0, 0, 0)) + days + clock - offset)
    }
}

fn small(digits: &str) -> Option<i8> {
    (digits.len() <= 2).then(|| digits.parse().ok()).flatten()
}

/// Of two digits from 1950 on.
fn year_of(digits: &str) -> Option<i16> {
    let year: i16 = digits.parse().ok().filter(|year| *year >= 0)?;
    match digits.len() {
        2 => Some(year + if year < 50 { 2000 } else { 1900 }),
        4 => Some(year),
        _ => None,
    }
}

/// `9:05`, `09:05:00` or `09:05:00.5`.
fn clock(word: &str) -> Option<i128> {
    if word.find(':') == Some(1) {
        return scalar::clock(&format!("0{word}"));
    }
    scalar::clock(word)
}

/// `z`, `gmt`, `utc`, each with or without `+02`, `+0200` or `+02:00`, which may stand alone; in seconds.
pub(super) fn offset(word: &str) -> Option<i32> {
    let rest = ["gmt", "utc", "z"]
        .iter()
        .find_map(|zone| word.strip_prefix(zone));
    let digits = match rest {
        Some("") => return Some(0),
        Some(rest) => rest,
        None => word,
    };
    let (sign, digits) = match (digits.strip_prefix('+'), digits.strip_prefix('-')) {
        (Some(digits), _) => (1, digits),
        (None, Some(digits)) => (-1, digits),
        (None, None) => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    let number = if digits.len() == 2 {
        number * 100
    } else {
        number
    };
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_may_be_in_words() {
        for (text, shown) in [
            ("2026/01/05", "2026-01-05T00:00:00.000Z"),
            ("2026/1/5 9:30", "2026-01-05T09:30:00.000Z"),
            ("1/5/2026", "2026-01-05T00:00:00.000Z"),
            ("1/5/26", "2026-01-05T00:00:00.000Z"),
            ("12/31/99 23:59:59.5", "1999-12-31T23:59:59.500Z"),
            ("Jan 5, 2026", "2026-01-05T00:00:00.000Z"),
            ("January 5, 2026 10:00:00 UTC", "2026-01-05T10:00:00.000Z"),
            ("5 jan 2026 10:00 +01:00", "2026-01-05T09:00:00.000Z"),
            (
                "Mon Jan 05 2026 10:00:00 GMT+0100 (Central European Time)",
                "2026-01-05T09:00:00.000Z",
            ),
            ("1/5/2026, 12:00:00 AM", "2026-01-05T00:00:00.000Z"),
            ("1/5/2026, 1:30 PM", "2026-01-05T13:30:00.000Z"),
            ("2026/02/30", "2026-03-02T00:00:00.000Z"),
        ] {
            assert_eq!(
                read(text).map(scalar::iso).as_deref(),
                Some(shown),
                "{text}"
            );
        }
        for wrong in [
            "",
            "Jan 2026 2026",
            "Jan 5",
            "5 2026",
            "2026/13/01",
            "2026/01/32",
            "2026/1",
            "1/2/3/4",
            "Jan 5, 2026 25:00",
            "Jan 5, 2026 13:00 PM",
            "Jan 5, 2026 +9999",
            "Jan 5, 2026 (",
            "Jan Feb 5, 2026",
            "Mars 5, 2026 noon",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        // Scenario: texts that look like dates.
        // Guarantees: a time or none, never a panic.
        #[test]
        fn reading_never_panics(like in "([0-9/:+-]{1,5}|jan|pm|gmt|[(), ]){0,9}", any in any::<String>()) {
            for text in [like, any] {
                let time = read(&text);
                prop_assert!(time.is_none_or(|time| time.abs() < 400_000 * 365 * DAY_NS));
            }
        }
    }
}
