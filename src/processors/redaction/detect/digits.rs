//! What begins with digits or has them near its start: one search for runs of digits serves cards,
//! account numbers and telephones.

use std::ops::Range;

use super::{Detection, Detector, Detectors, Text, iban, phone};

/// The first that begins at `from` or behind it. Runs are looked at one after another; what is looked
/// at behind a run is bounded.
pub(super) fn find(text: &Text<'_>, wanted: Detectors, from: usize) -> Option<Detection> {
    let mut position = from;
    loop {
        let start = next_digit(text.bytes, position)?;
        let end = start + length_of(text.bytes, start, u8::is_ascii_digit);
        // The digits of an escape are none of the text's.
        let inner = text.behind_escape(start);
        if inner < end
            && let Some(found) = at(text, wanted, from, inner..end)
        {
            return Some(found);
        }
        position = end.max(inner);
    }
}

fn at(text: &Text<'_>, wanted: Detectors, from: usize, run: Range<usize>) -> Option<Detection> {
    let found = |detector: Detector, range: Option<Range<usize>>| {
        let range = range.filter(|range| range.start >= from)?;
        Some(Detection { range, detector })
    };
    if wanted.has(Detector::Iban) {
        let range = iban::before_digits(text, run.start);
        if let Some(iban) = found(Detector::Iban, range) {
            return Some(iban);
        }
    }
    if wanted.has(Detector::PaymentCard)
        && let Some(card) = found(Detector::PaymentCard, card(text, &run))
    {
        return Some(card);
    }
    if wanted.has(Detector::Phone) {
        return found(Detector::Phone, phone::at_digits(text, &run));
    }
    None
}

/// Where the next digit is. Looks at 32 bytes at once as long as there is none.
fn next_digit(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let (blocks, tail) = rest.as_chunks::<32>();
    let mut skipped = from;
    for block in blocks {
        let any = block
            .iter()
            .fold(false, |any, byte| any | byte.is_ascii_digit());
        if any {
            return Some(skipped + block.iter().position(u8::is_ascii_digit)?);
        }
        skipped += block.len();
    }
    Some(skipped + tail.iter().position(u8::is_ascii_digit)?)
}

fn length_of(bytes: &[u8], from: usize, is: impl Fn(&u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().take_while(|byte| is(byte)).count()
}

/// Digits of the longest number of a card.
const CARD_DIGITS_MAX: usize = 19;
/// Digits in a group of a number that is written in groups.
const GROUP_DIGITS: Range<usize> = 3..8;

/// The number of a card that begins with a run: in one piece, or in groups with a space or a hyphen
/// between them. Of several that are right the longest.
fn card(text: &Text<'_>, run: &Range<usize>) -> Option<Range<usize>> {
    if !text.begins_at(run.start) || is_fraction(text, run.start) {
        return None;
    }
    let mut digits = [0; CARD_DIGITS_MAX];
    let mut count = 0;
    let mut group = run.clone();
    let mut separator = None;
    let mut best = None;
    loop {
        for byte in text.bytes.get(group.clone())? {
            let Some(place) = digits.get_mut(count) else {
                return best;
            };
            *place = byte - b'0';
            count += 1;
        }
        let is_end = text.ends_at(group.end) && !is_decimal_point(text, group.end);
        if is_end && is_card(digits.get(..count)?) {
            best = Some(run.start..group.end);
        }
        let Some(next) = text.at(group.end) else {
            return best;
        };
        let start = group.end + 1;
        let reach = text.bytes.get(..start + CARD_DIGITS_MAX);
        let length = length_of(reach.unwrap_or(text.bytes), start, u8::is_ascii_digit);
        let is_grouped = GROUP_DIGITS.contains(&group.len()) && GROUP_DIGITS.contains(&length);
        if !matches!(next, b' ' | b'-') || separator.is_some_and(|it| it != next) || !is_grouped {
            return best;
        }
        separator = Some(next);
        group = start..start + length;
    }
}

/// Whether digits are those behind a decimal point.
fn is_fraction(text: &Text<'_>, start: usize) -> bool {
    let is_point = text.before(start) == Some(b'.');
    is_point
        && start
            .checked_sub(2)
            .and_then(|at| text.at(at))
            .is_some_and(|byte| byte.is_ascii_digit())
}

fn is_decimal_point(text: &Text<'_>, end: usize) -> bool {
    text.at(end) == Some(b'.') && text.at(end + 1).is_some_and(|byte| byte.is_ascii_digit())
}

/// Whether a number is one that a scheme gives out, with the check digit it must have (ISO/IEC 7812).
fn is_card(digits: &[u8]) -> bool {
    let head = digits
        .iter()
        .take(6)
        .fold(0_u32, |head, digit| head * 10 + u32::from(*digit));
    let length = digits.len();
    let is_known = match head {
        // Visa
        400_000..=499_999 => matches!(length, 13 | 16 | 19),
        // American Express
        340_000..=349_999 | 370_000..=379_999 => length == 15,
        // Mastercard
        510_000..=559_999 | 222_100..=272_099 => length == 16,
        // Diners Club
        300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999 => {
            (14..=19).contains(&length)
        }
        // JCB, Mir
        352_800..=358_999 | 220_000..=220_499 => (16..=19).contains(&length),
        // Maestro, Discover, UnionPay and others
        500_000..=509_999 | 560_000..=589_999 | 600_000..=699_999 => (13..=19).contains(&length),
        _ => false,
    };
    is_known && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let weighted = u32::from(*digit) << (index % 2);
            weighted / 10 + weighted % 10
        })
        .sum();
    sum.is_multiple_of(10)
}
