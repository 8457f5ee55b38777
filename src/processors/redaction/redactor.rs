//! Applies compiled rules to requests.

use std::borrow::Cow;

use super::Action;
use super::detect::Detectors;
use super::escape::{Quotes, is_json};
use super::hash::Hasher;
use super::keys::{Keys, Rules};
use super::scan::{Found, Matchers, first_rule};
use crate::model::ProjectId;
use crate::otlp::protobuf::{
    AnyValue, DecodeError, KeyValue, LogRecord, Place, Reviser, TextEdits, Verdict, revise,
};
use crate::otlp::{Failure, Signal};
use crate::semconv::messages::content::{self, InRecord};

/// Most rules; each has a bit.
pub(super) const RULES_MAX: usize = 64;

/// What stands in for the value of a key, and for content, unless the rule says otherwise.
const KEY_MASK: &str = "[redacted]";
const CONTENT_MASK: &str = "[content]";

/// Rules that are ready to be applied.
#[derive(Debug)]
pub struct Redactor {
    pub(super) rules: Vec<Compiled>,
    /// Rules by where they look, by the number of the place.
    pub(super) of_places: [Rules; Place::ALL.len()],
    pub(super) keys: Keys,
    /// The rules that leave out content.
    pub(super) with_content: Rules,
    pub(super) matchers: Matchers,
    /// There when a rule needs it.
    pub(super) hasher: Option<Hasher>,
}

/// A rule, as far as it is not in the tables.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) mask: Option<String>,
    /// Sorted; empty for all.
    pub(super) projects: Vec<u32>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Redacted {
    /// The request as it may be kept; `None` when that is as it came.
    pub request: Option<Vec<u8>>,
    /// What was done.
    pub tally: Tally,
}

/// What was looked at and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of texts that were searched.
    pub scanned_bytes: u64,
    /// Values changed or left out, by the number of the rule.
    values: [u64; RULES_MAX],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            scanned_bytes: 0,
            values: [0; RULES_MAX],
        }
    }
}

impl Tally {
    /// Values changed or left out, by rule, in the order of [`Redactor::names`]; zeros at the end.
    #[must_use]
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    fn add(&mut self, rule: usize) {
        if let Some(count) = self.values.get_mut(rule) {
            *count += 1;
        }
    }
}

impl Redactor {
    /// The names of the rules, for metrics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// Applies the rules of a project to an encoded export request of a signal. `reserve` is asked
    /// before memory is taken, which it is only when something is changed.
    ///
    /// # Errors
    /// The bytes are not such a request, as far as they had to be read; the request became more than
    /// twice as large; what `reserve` says.
    pub fn redact(
        &self,
        project: ProjectId,
        signal: Signal,
        request: &[u8],
        reserve: &mut dyn FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Redacted, Failure> {
        let of_project = self.rules_of(project);
        let active = self.of_places.map(|rules| rules & of_project);
        let mut pass = Job {
            redactor: self,
            active,
            wanted: active.map(|rules| self.matchers.wanted(rules)),
            is_in_content_event: false,
            in_record: InRecord::Keys,
            tally: Tally::default(),
        };
        let request = if active == [0; Place::ALL.len()] {
            None
        } else {
            revise(signal, request, &mut pass, reserve)?
        };
        let tally = pass.tally;
        Ok(Redacted { request, tally })
    }

    fn rules_of(&self, project: ProjectId) -> Rules {
        let is_for = |rule: &Compiled| {
            rule.projects.is_empty() || rule.projects.binary_search(&project.0).is_ok()
        };
        let rules = self.rules.iter().enumerate();
        rules
            .filter(|(_, rule)| is_for(rule))
            .fold(0, |all, (number, _)| all | 1 << number)
    }

    /// What stands in for a value: nothing, a mask or a hash.
    fn stand_in<'s>(&'s self, rule: usize, mask: &'s str, value: &[u8]) -> Option<Cow<'s, str>> {
        let rule = self.rules.get(rule)?;
        match (rule.action, &self.hasher) {
            (Action::Remove, _) => None,
            (Action::Hash, Some(hasher)) => Some(Cow::Owned(hasher.hash(value))),
            (Action::Mask | Action::Hash, _) => {
                Some(Cow::Borrowed(rule.mask.as_deref().unwrap_or(mask)))
            }
        }
    }
}

/// One request.
struct Job<'r> {
    redactor: &'r Redactor,
    /// Rules and detectors by place.
    active: [Rules; Place::ALL.len()],
    wanted: [Detectors; Place::ALL.len()],
    is_in_content_event: bool,
    /// Where the log record holds what was said.
    in_record: InRecord,
    tally: Tally,
}

impl Job<'_> {
    fn active(&self, place: Place) -> Rules {
        let active = self.active.get(place as usize);
        active.copied().unwrap_or_default()
    }

    /// What becomes of an attribute that a rule takes whole. What is empty has nothing to hide, and
    /// what is masked already stays as it is.
    fn whole(&mut self, rule: usize, is_content: bool, pair: &[u8]) -> Verdict<'_> {
        let parsed = KeyValue::parse(pair).map(|pair| pair.value);
        self.whole_value(rule, is_content, parsed.as_ref(), pair)
    }

    fn whole_value(
        &mut self,
        rule: usize,
        is_content: bool,
        parsed: Result<&AnyValue<'_>, &DecodeError>,
        bytes: &[u8],
    ) -> Verdict<'_> {
        let redactor = self.redactor;
        let value = match parsed {
            Ok(value) => value.text(),
            // No valid attribute, but nothing that may be kept either.
            Err(_) => String::from_utf8_lossy(bytes),
        };
        let mask = if is_content { CONTENT_MASK } else { KEY_MASK };
        let Some(text) = redactor.stand_in(rule, mask, value.as_bytes()) else {
            self.tally.add(rule);
            return Verdict::Remove;
        };
        let is_done = match parsed {
            Ok(AnyValue::Empty) => true,
            Ok(AnyValue::Str(value)) => *value == text,
            _ => false,
        };
        if is_done {
            return Verdict::Keep;
        }
        self.tally.add(rule);
        Verdict::Replace(text)
    }
}

impl Reviser for Job<'_> {
    fn event(&mut self, name: &[u8]) {
        let is_asked = self.redactor.with_content & self.active(Place::Event) != 0;
        self.is_in_content_event =
            is_asked && std::str::from_utf8(name).is_ok_and(content::is_in_event);
    }

    fn record(&mut self, record: &[u8]) {
        let places = self.active(Place::Log) | self.active(Place::LogBody);
        let is_asked = self.redactor.with_content & places != 0;
        self.in_record = if is_asked {
            // What can't be read may be anything.
            LogRecord::parse(record).map_or(InRecord::Everywhere, |it| InRecord::of(&it))
        } else {
            InRecord::Keys
        };
    }

    fn body(&mut self, body: &[u8]) -> Verdict<'_> {
        let active = self.active(Place::LogBody);
        let with_content = self.redactor.with_content & active;
        match first_rule(with_content).filter(|_| self.in_record.is_in_body()) {
            Some(rule) => {
                let value = AnyValue::parse(body);
                self.whole_value(rule, true, value.as_ref(), body)
            }
            None if active == 0 => Verdict::Keep,
            None => Verdict::Look,
        }
    }

    fn attribute(&mut self, place: Place, key: &[u8], pair: &[u8]) -> Verdict<'_> {
        let active = self.active(place);
        if active == 0 {
            return Verdict::Keep;
        }
        let with_content = self.redactor.with_content;
        let mut rules = self.redactor.keys.rules_of(key);
        let key = std::str::from_utf8(key).unwrap_or_default();
        let is_content = match place {
            Place::Event => self.is_in_content_event && content::is_in_event_attribute(key),
            Place::Log => self.in_record.is_in_attribute(key),
            _ => false,
        };
        if is_content {
            rules |= with_content;
        }
        match first_rule(rules & active) {
            Some(rule) => self.whole(rule, with_content & 1 << rule != 0, pair),
            None => Verdict::Look,
        }
    }

    fn text(&mut self, place: Place, text: &[u8], edits: &mut TextEdits<'_, '_, '_>) {
        let (redactor, active) = (self.redactor, self.active(place));
        let matchers = &redactor.matchers;
        let wanted = self.wanted.get(place as usize).copied();
        let wanted = wanted.unwrap_or_default();
        if wanted == Detectors::default() && matchers.with_patterns & active == 0 {
            return;
        }
        self.tally.scanned_bytes += text.len() as u64;
        let (is_json, mut quotes) = (is_json(text), Quotes::default());
        let mut acted: Rules = 0;
        matchers.each(text, active, wanted, |found| {
            let Found { range, rule, mask } = found;
            let matched = text.get(range.clone()).unwrap_or_default();
            let stand_in = redactor.stand_in(rule, mask, matched);
            let with = if is_json && is_bare_number(text, matched, range.start, &mut quotes) {
                Cow::Owned(stand_in.map_or("null".to_owned(), |text| format!("\"{text}\"")))
            } else {
                stand_in.unwrap_or_default()
            };
            edits.replace(range, with.as_bytes());
            acted |= 1 << rule;
        });
        let numbers = 0..redactor.rules.len();
        numbers
            .filter(|rule| acted & 1 << rule != 0)
            .for_each(|rule| self.tally.add(rule));
    }
}

/// Whether a match in JSON is a number, in place of which a text must have quotes.
fn is_bare_number(text: &[u8], matched: &[u8], at: usize, quotes: &mut Quotes) -> bool {
    matched.iter().all(u8::is_ascii_digit) && !quotes.is_inside(text, at)
}
