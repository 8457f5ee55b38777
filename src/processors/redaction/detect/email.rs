//! Email addresses: found by their `@`, with a plausible domain behind it.

use std::ops::Range;

use super::Text;

/// The first address that begins at `from` or behind it. Every byte is looked at twice at most: what
/// is before an `@` ends at the `@` before.
pub(super) fn find(text: &Text<'_>, from: usize) -> Option<Range<usize>> {
    let mut position = from;
    loop {
        let rest = text.bytes.get(position..)?;
        let at = position + memchr::memchr(b'@', rest)?;
        if let Some(range) = around(text, position, at) {
            return Some(range);
        }
        position = at + 1;
    }
}

fn around(text: &Text<'_>, floor: usize, at: usize) -> Option<Range<usize>> {
    let head = text.bytes.get(floor..at)?;
    let local = head.iter().rev().take_while(|byte| is_local(**byte));
    let start = whole_character(text, at - local.count());
    let start = text.behind_escape(start);
    // A dot is in the middle of names only.
    let dots = text.bytes.get(start..at)?.iter();
    let start = start + dots.take_while(|byte| **byte == b'.').count();
    if start >= at || text.before(at) == Some(b'.') {
        return None;
    }
    let end = domain_end(text, at + 1)?;
    Some(start..end)
}

/// Letters of all scripts that are written with spaces are two bytes long in UTF-8 at most; beyond
/// them an address can't be told from the sentence around it.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || b"._%+-".contains(&byte)
        || (0x80..=0xbf).contains(&byte)
        || (0xc3..=0xdf).contains(&byte)
}

/// A start that is not within a character.
fn whole_character(text: &Text<'_>, mut start: usize) -> usize {
    while text.at(start).is_some_and(|byte| byte & 0xc0 == 0x80) {
        start += 1;
    }
    start
}

/// Where the domain ends that begins here; `None` when it has no top-level domain of letters.
fn domain_end(text: &Text<'_>, start: usize) -> Option<usize> {
    let rest = text.bytes.get(start..)?;
    let is_domain = |byte: &&u8| {
        byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'.' | 0x80..=0xbf | 0xc3..=0xdf)
    };
    let length = rest.iter().take_while(is_domain).count();
    let domain = rest.get(..length)?;
    // What ends a sentence is not the domain's.
    let trailing = domain
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'.' | b'-'));
    let domain = domain.get(..length - trailing.count())?;
    let mut labels = domain.split(|byte| *byte == b'.');
    let top = labels.next_back()?;
    let is_top = top.len() >= 2
        && (top
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
            || top.starts_with(b"xn--"));
    let (mut others, mut are_empty) = (0, false);
    for label in labels {
        others += 1;
        are_empty |= label.is_empty();
    }
    // `icon@2x.png` is a file.
    let is_file = domain.first().is_some_and(u8::is_ascii_digit) && domain.get(1..3) == Some(b"x.");
    (is_top && others > 0 && !are_empty && !is_file).then_some(start + domain.len())
}
