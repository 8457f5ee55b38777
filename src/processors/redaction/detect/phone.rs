//! Telephone numbers. National ones look like anything else, so only those with a country code are
//! found, and North American ones in the forms they are written in.

use std::ops::Range;

use super::Text;

/// Digits of a number with its country code (E.164).
const DIGITS_MIN: usize = 8;
const DIGITS_MAX: usize = 15;

/// The number that a run of digits begins, or begins but for its `+` or `(`.
pub(super) fn at_digits(text: &Text<'_>, run: &Range<usize>) -> Option<Range<usize>> {
    match text.before(run.start) {
        Some(b'+') => international(text, run.start - 1, run.start),
        Some(b'(') => {
            let bracket = run.start - 1;
            match text.before(bracket) {
                Some(b'+') => international(text, bracket - 1, run.start),
                _ => north_american(text, bracket),
            }
        }
        _ => north_american(text, run.start),
    }
}

/// A number with a country code, which is at `digits`.
fn international(text: &Text<'_>, start: usize, digits: usize) -> Option<Range<usize>> {
    let code = text.bytes.get(digits..)?;
    if !text.begins_at(start) || !is_country_code(code) {
        return None;
    }
    // Numbers of North America have a fixed length.
    let most = if code.first() == Some(&b'1') {
        11
    } else {
        DIGITS_MAX
    };
    let (mut count, mut separators) = (0, 0);
    let mut end = None;
    let mut at = digits;
    while let Some(byte) = text.at(at) {
        match byte {
            b'0'..=b'9' if count < most => {
                count += 1;
                separators = 0;
                let is_group_end = !text.at(at + 1).is_some_and(|next| next.is_ascii_digit());
                if is_group_end && count >= DIGITS_MIN && text.ends_at(at + 1) {
                    end = Some(at + 1);
                }
            }
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' if separators < 2 && count < most => {
                separators += 1;
            }
            _ => break,
        }
        at += 1;
    }
    Some(start..end?)
}

/// Country codes of two digits (E.164, list of assigned codes).
const CODES: &[u8] = &[
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56,
    57, 58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
];

/// First digits of those of three.
const CODE_HEADS: &[u8] = &[
    21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99,
];

/// Whether digits begin with a code that is given out.
fn is_country_code(digits: &[u8]) -> bool {
    let digit = |index: usize| {
        let byte = digits.get(index).filter(|byte| byte.is_ascii_digit());
        byte.map(|byte| byte - b'0')
    };
    let (first, second, third) = (digit(0), digit(1), digit(2));
    if matches!(first, Some(1 | 7)) {
        return true;
    }
    let (Some(first), Some(second)) = (first, second) else {
        return false;
    };
    match first * 10 + second {
        99 => matches!(third, Some(2..=8)),
        head => CODES.contains(&head) || CODE_HEADS.contains(&head) && third.is_some(),
    }
}

/// `(212) 555-0123`, `212-555-0123`, `212.555.0123`, `212 555 0123`, with or without a `1` before.
fn north_american(text: &Text<'_>, start: usize) -> Option<Range<usize>> {
    let is_joined = text
        .before(start)
        .is_some_and(|byte| b"-._".contains(&byte));
    if !text.begins_at(start) || is_joined {
        return None;
    }
    let mut rest = Rest { text, at: start };
    if rest.peek() == Some(b'1') {
        rest.at += 1;
        rest.separator()?;
    }
    let is_bracketed = rest.peek() == Some(b'(');
    if is_bracketed {
        rest.at += 1;
    }
    rest.group(3, b'2')?;
    if is_bracketed {
        rest.take(b')')?;
        // The space may be left out.
        rest.separator().unwrap_or_default();
    } else {
        rest.separator()?;
    }
    rest.group(3, b'2')?;
    rest.separator()?;
    rest.group(4, b'0')?;
    let goes_on = text.at(rest.at).is_some_and(|byte| b"-.".contains(&byte))
        && text
            .at(rest.at + 1)
            .is_some_and(|byte| byte.is_ascii_digit());
    (text.ends_at(rest.at) && !goes_on).then_some(start..rest.at)
}

/// What is still to be read.
struct Rest<'t> {
    text: &'t Text<'t>,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.at(self.at)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn separator(&mut self) -> Option<()> {
        let is_one = self.peek().is_some_and(|byte| b" -.".contains(&byte));
        is_one.then(|| self.at += 1)
    }

    /// So many digits, of which the first is not less than `least`.
    fn group(&mut self, count: usize, least: u8) -> Option<()> {
        let digits = self.text.bytes.get(self.at..self.at + count)?;
        let are_digits = digits.iter().all(u8::is_ascii_digit);
        let is_one = are_digits && digits.first().is_some_and(|first| *first >= least);
        is_one.then(|| self.at += count)
    }
}
