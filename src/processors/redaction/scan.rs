//! Finds what rules look for in one text, from front to back, with what overlaps made one.

use std::ops::Range;

use regex::bytes::{Regex, RegexSet};

use super::detect::{DETECTORS, Detection, Detector, Detectors, Pass, Text, Tokens};
use super::escape::after_escape;
use super::keys::Rules;

/// What stands in for what an expression finds, unless the rule says otherwise.
pub(super) const PATTERN_MASK: &str = "[redacted]";

/// Everything that is looked for in texts.
#[derive(Debug)]
pub(super) struct Matchers {
    pub(super) tokens: Tokens,
    /// The rules of each detector, by its number.
    pub(super) of_detectors: [Rules; DETECTORS],
    pub(super) patterns: Vec<Pattern>,
    /// All expressions at once, to see whether any is found; `None` without expressions.
    pub(super) any_pattern: Option<RegexSet>,
    /// The rules that have expressions.
    pub(super) with_patterns: Rules,
}

/// An expression of a rule.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    pub(super) rule: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) rule: usize,
    /// What stands in for it, unless the rule says otherwise.
    pub(super) mask: &'static str,
}

/// One of those that look, and the next that it found.
struct Source {
    kind: Kind,
    next: Option<Found>,
}

#[derive(Clone, Copy)]
enum Kind {
    Pass(Pass),
    Pattern(usize),
}

impl Matchers {
    /// The detectors that some of the rules have.
    pub(super) fn wanted(&self, active: Rules) -> Detectors {
        let mut wanted = Detectors::default();
        for (detector, rules) in Detector::ALL.into_iter().zip(self.of_detectors) {
            if rules & active != 0 {
                wanted.add(detector);
            }
        }
        wanted
    }

    /// Tells of everything that active rules find. Allocates nothing when they find nothing.
    pub(super) fn each(
        &self,
        bytes: &[u8],
        active: Rules,
        wanted: Detectors,
        mut found: impl FnMut(Found),
    ) {
        let search = Search {
            matchers: self,
            text: Text::new(bytes),
            active,
            wanted,
        };
        let passes = Pass::ALL.map(|pass| search.source(Kind::Pass(pass)));
        let has_pattern = self.with_patterns & active != 0
            && self
                .any_pattern
                .as_ref()
                .is_some_and(|any| any.is_match(bytes));
        if !has_pattern && passes.iter().all(|source| source.next.is_none()) {
            return;
        }
        let mut sources = Vec::from(passes);
        if has_pattern {
            let numbers = 0..self.patterns.len();
            sources.extend(numbers.map(|number| search.source(Kind::Pattern(number))));
        }
        while let Some(first) = search.take_first(&mut sources) {
            found(first);
        }
    }
}

struct Search<'m, 't> {
    matchers: &'m Matchers,
    text: Text<'t>,
    active: Rules,
    wanted: Detectors,
}

impl Search<'_, '_> {
    fn source(&self, kind: Kind) -> Source {
        Source {
            kind,
            next: self.find(kind, 0),
        }
    }

    /// The earliest of all, with what overlaps it: of the rules that found parts of it the first
    /// counts.
    fn take_first(&self, sources: &mut [Source]) -> Option<Found> {
        let pending = sources.iter().filter_map(|source| source.next.as_ref());
        let mut first = pending
            .min_by_key(|found| (found.range.start, found.rule))?
            .clone();
        loop {
            let mut has_grown = false;
            for source in &mut *sources {
                let Some(next) = &source.next else { continue };
                if next.range.start >= first.range.end {
                    continue;
                }
                if next.rule < first.rule {
                    first.rule = next.rule;
                    first.mask = next.mask;
                }
                first.range.end = first.range.end.max(next.range.end);
                source.next = self.find(source.kind, first.range.end);
                has_grown = true;
            }
            if !has_grown {
                return Some(first);
            }
        }
    }

    /// The first at `from` or behind it.
    fn find(&self, kind: Kind, from: usize) -> Option<Found> {
        match kind {
            Kind::Pass(pass) => {
                let found = pass.find(&self.text, self.wanted, &self.matchers.tokens, from)?;
                self.of_detection(found)
            }
            Kind::Pattern(number) => self.find_pattern(number, from),
        }
    }

    fn of_detection(&self, detection: Detection) -> Option<Found> {
        let of_detector = self
            .matchers
            .of_detectors
            .get(detection.detector as usize)?;
        Some(Found {
            range: detection.range,
            rule: first_rule(of_detector & self.active)?,
            mask: detection.detector.mask(),
        })
    }

    fn find_pattern(&self, number: usize, from: usize) -> Option<Found> {
        let pattern = self.matchers.patterns.get(number)?;
        if self.active & 1 << pattern.rule == 0 {
            return None;
        }
        let bytes = self.text.bytes;
        let mut at = from;
        while at <= bytes.len() {
            let found = pattern.regex.find_at(bytes, at)?;
            let range = self.whole(found.range(), from);
            if !range.is_empty() {
                return Some(Found {
                    range,
                    rule: pattern.rule,
                    mask: PATTERN_MASK,
                });
            }
            at = found.end().max(found.start() + 1);
        }
        None
    }

    /// A match without parts of escapes and of characters, so that what is left is still JSON and
    /// UTF-8 if it was that.
    fn whole(&self, found: Range<usize>, from: usize) -> Range<usize> {
        if found.is_empty() {
            return found;
        }
        let Range { mut start, mut end } = found;
        if self.text.is_json {
            start = after_escape(self.text.bytes, start);
            end = after_escape(self.text.bytes, end);
        }
        let is_within = |at: usize| {
            let byte = self.text.bytes.get(at);
            byte.is_some_and(|byte| byte & 0xc0 == 0x80)
        };
        while start > from && is_within(start) {
            start -= 1;
        }
        while is_within(end) {
            end += 1;
        }
        start..end.max(start)
    }
}

/// The first of some rules.
pub(super) fn first_rule(rules: Rules) -> Option<usize> {
    (rules != 0).then(|| rules.trailing_zeros() as usize)
}
