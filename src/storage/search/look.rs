//! Looking at the texts of one message.

use std::ops::Range;

use super::fields::Field;
use super::matcher::Matcher;
use super::snippet::Snippet;
use super::{MATCHES_MAX, Match};

/// Hits in one text that are nearer to each other than this many bytes are shown once.
const NEAR_BYTES: usize = 100;

/// Where a term was found.
struct Place<'a> {
    field: Field<'a>,
    hit: Range<usize>,
}

impl Place<'_> {
    /// Whether a snippet of the one would show the other as well.
    fn shows(&self, other: &Self) -> bool {
        std::ptr::eq(self.field.text, other.field.text)
            && self.hit.start.abs_diff(other.hit.start) < NEAR_BYTES
    }

    fn to_match(&self) -> Match {
        let snippet = Snippet::of(self.field.text, self.hit.clone());
        Match {
            event: self.field.event.map(str::to_owned),
            field: self.field.name.to_owned(),
            snippet: snippet.text,
            offset: snippet.offset,
            length: snippet.length,
        }
    }
}

/// A look at the texts of one message.
pub(super) struct Look<'m, 'a> {
    matcher: &'m Matcher,
    message: &'a [u8],
    folded: &'a [u8],
    /// Which wanted terms were found.
    seen: Vec<bool>,
    /// Where each was found first, and where else.
    first: Vec<Place<'a>>,
    other: Vec<Place<'a>>,
}

impl<'m, 'a> Look<'m, 'a> {
    pub(super) fn new(matcher: &'m Matcher, message: &'a [u8], folded: &'a [u8]) -> Self {
        Self {
            matcher,
            message,
            folded,
            seen: vec![false; matcher.wanted.len()],
            first: Vec::new(),
            other: Vec::new(),
        }
    }

    /// Looks at a text; answers whether the message may still match.
    pub(super) fn at(&mut self, field: Field<'a>) -> bool {
        let Some(folded) = within(self.message, field.text, self.folded) else {
            return true;
        };
        let Matcher {
            wanted, unwanted, ..
        } = self.matcher;
        if unwanted.iter().any(|forms| forms.are_in(folded)) {
            return false;
        }
        for (forms, seen) in wanted.iter().zip(&mut self.seen) {
            if *seen && self.other.len() >= MATCHES_MAX {
                continue;
            }
            let Some(hit) = forms.find(folded) else {
                continue;
            };
            let list = if *seen {
                &mut self.other
            } else {
                &mut self.first
            };
            list.push(Place { field, hit });
            *seen = true;
        }
        true
    }

    /// Where it matches, if it does; `wanted` is whether all texts were looked at.
    pub(super) fn finish(self, wanted: bool) -> Option<Vec<Match>> {
        if !wanted || self.seen.contains(&false) {
            return None;
        }
        let mut shown: Vec<Place<'_>> = Vec::with_capacity(MATCHES_MAX);
        for place in self.first.into_iter().chain(self.other) {
            if shown.len() < MATCHES_MAX && !shown.iter().any(|shown| shown.shows(&place)) {
                shown.push(place);
            }
        }
        Some(shown.iter().map(Place::to_match).collect())
    }
}

/// The part of `copy` that lies where `part` lies in `whole`.
fn within<'c>(whole: &[u8], part: &str, copy: &'c [u8]) -> Option<&'c [u8]> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    copy.get(start..start.checked_add(part.len())?)
}
