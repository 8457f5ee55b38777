//! International bank account numbers (ISO 13616).

use std::ops::Range;

use super::Text;

/// Characters of a country's numbers, by country.
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The number whose check digits are at `digits`.
pub(super) fn before_digits(text: &Text<'_>, digits: usize) -> Option<Range<usize>> {
    let start = digits.checked_sub(2)?;
    let country: &[u8; 2] = text.bytes.get(start..)?.first_chunk()?;
    let (_, length) = LENGTHS.iter().find(|(known, _)| *known == country)?;
    if !text.begins_at(start) || text.behind_escape(start) != start {
        return None;
    }
    let mut remainder = Remainder::default();
    let mut head = [0; 4];
    let (mut count, mut at) = (0, start);
    while count < *length {
        let byte = text.at(at)?;
        // In groups of four, with a space between them.
        let is_space = byte == b' ' && count % 4 == 0 && text.before(at) != Some(b' ');
        if !is_space {
            if !byte.is_ascii_digit() && !byte.is_ascii_uppercase() {
                return None;
            }
            match head.get_mut(count) {
                Some(place) => *place = byte,
                None => remainder.add(byte),
            }
            count += 1;
        }
        at += 1;
    }
    head.into_iter().for_each(|byte| remainder.add(byte));
    (remainder.0 == 1 && text.ends_at(at)).then_some(start..at)
}

/// The number so far, letters as two digits, modulo 97.
#[derive(Debug, Default)]
struct Remainder(u32);

impl Remainder {
    fn add(&mut self, byte: u8) {
        self.0 = match byte {
            b'0'..=b'9' => (self.0 * 10 + u32::from(byte - b'0')) % 97,
            _ => (self.0 * 100 + u32::from(byte.saturating_sub(b'A')) + 10) % 97,
        };
    }
}
