//! The forms in which a term may be stored, and finding any of them.

use std::fmt::Write as _;
use std::ops::Range;

use memchr::memmem;

use super::may_hold;

/// What marks text that JSON had to escape; without it no form with it needs to be looked for.
const ESCAPED: &[u8] = b"\\u";

/// Finds a term in text whose ASCII letters are lower case.
#[derive(Debug)]
pub(super) struct Forms(Vec<Form>);

#[derive(Debug)]
struct Form {
    finder: memmem::Finder<'static>,
    is_escaped: bool,
}

impl Forms {
    /// All forms of a term.
    pub(super) fn of(term: &str) -> Self {
        let mut texts = Vec::new();
        for variant in variants(term) {
            let once = [escaped(&variant, false), escaped(&variant, true)];
            let twice = once
                .iter()
                .flat_map(|text| [escaped(text, false), escaped(text, true)]);
            let twice: Vec<_> = twice.collect();
            texts.push(variant);
            texts.extend(once);
            texts.extend(twice);
        }
        let mut forms: Vec<Form> = Vec::new();
        for text in texts {
            let text = text.to_ascii_lowercase().into_bytes();
            if forms.iter().all(|form| form.finder.needle() != text) {
                forms.push(Form {
                    is_escaped: memmem::find(&text, ESCAPED).is_some(),
                    finder: memmem::Finder::new(&text).into_owned(),
                });
            }
        }
        Self(forms)
    }

    /// Whether any form occurs.
    pub(super) fn are_in(&self, folded: &[u8]) -> bool {
        let mut has_escapes = None;
        self.0.iter().any(|form| {
            let may_occur = !form.is_escaped
                || *has_escapes.get_or_insert_with(|| memmem::find(folded, ESCAPED).is_some());
            may_occur && form.finder.find(folded).is_some()
        })
    }

    /// Whether any form may be in the block that a sieve is of.
    pub(super) fn may_be_in(&self, sieve: &[u8]) -> bool {
        let mut forms = self.0.iter();
        forms.any(|form| may_hold(sieve, form.finder.needle()))
    }

    /// Where a form occurs first.
    pub(super) fn find(&self, folded: &[u8]) -> Option<Range<usize>> {
        let found = self.0.iter().filter_map(|form| {
            let start = form.finder.find(folded)?;
            Some(start..start + form.finder.needle().len())
        });
        found.min_by_key(|range| (range.start, std::cmp::Reverse(range.end)))
    }
}

/// A term in the cases it is looked for in, beside those of ASCII letters.
fn variants(term: &str) -> Vec<String> {
    if term.is_ascii() {
        return vec![term.to_owned()];
    }
    let lower: String = term.chars().map(lower).collect();
    let mut chars = lower.chars();
    let first = chars.next().map(upper);
    let capitalized = first.into_iter().chain(chars).collect();
    let upper = term.chars().map(upper).collect();
    vec![term.to_owned(), lower, capitalized, upper]
}

fn lower(c: char) -> char {
    single(c, c.to_lowercase())
}

fn upper(c: char) -> char {
    single(c, c.to_uppercase())
}

/// The other case of a letter, where that is one letter.
fn single(c: char, mut other: impl Iterator<Item = char>) -> char {
    match (other.next(), other.next()) {
        (Some(other), None) => other,
        _ => c,
    }
}

/// A text as JSON writes it within a string; what is not ASCII escaped or as it is.
fn escaped(text: &str, only_ascii: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (only_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let written = write!(out, "\\u{unit:04x}");
                    debug_assert!(written.is_ok(), "a string takes all text");
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_in(term: &str, text: &str) -> bool {
        let folded = text.to_ascii_lowercase();
        let forms = Forms::of(term);
        let found = forms.find(folded.as_bytes());
        assert_eq!(found.is_some(), forms.are_in(folded.as_bytes()));
        found.is_some()
    }

    #[test]
    fn a_plain_word_has_one_form() {
        assert_eq!(Forms::of("Refund_9").0.len(), 1);
        assert_eq!(Forms::of("Refund").find(b"a refund"), Some(2..8));
    }

    #[test]
    fn terms_are_found_in_their_forms() {
        let found = [
            ("refund", "No REFUNDS today"),
            ("no refund", "No refund"),
            ("Zürich", "in ZÜRICH"),
            ("zürich", "Zürich"),
            ("ÉTÉ", "été"),
            ("привет", "ПРИВЕТ, мир"),
            ("Привет", "привет"),
            ("你好", "说你好"),
            ("zürich", r#"{"city": "Z\u00FCrich"}"#),
            ("ÜBER", r"\u00fcber"),
            ("😀", r"ok \ud83d\uDE00"),
            ("zürich", r#""{\"city\": \"Z\\u00fcrich\"}""#),
            ("say \"hi\"", r#"say "hi""#),
            ("say \"hi\"", r#"say \"hi\""#),
            ("say \"hi\"", r#"say \\\"hi\\\""#),
            ("one\ntwo", r"one\ntwo"),
            ("a\\b", r"a\\b"),
        ];
        for (term, text) in found {
            assert!(is_in(term, text), "{term} in {text}");
        }
        let not_found = [
            ("refund", "re fund"),
            ("one two", "one  two"),
            ("straße", "STRASSE"),
            ("привет", "приВет"),
            ("é", "e"),
            ("a/b", r"a\/b"),
        ];
        for (term, text) in not_found {
            assert!(!is_in(term, text), "{term} in {text}");
        }
    }

    proptest! {
        // Scenario: any term, in text as it is and as a JSON library writes it once and twice.
        // Guarantees: it is found, at the place it is at, and never between two characters.
        #[test]
        fn a_term_is_found_however_json_writes_it(
            before in "[a-z \"é]{0,9}",
            term in "[A-Zéß你😀\"\\\\\n\u{1} -]{2,12}",
        ) {
            let plain = format!("{before}{term}!");
            let once = serde_json::to_string(&plain).unwrap();
            let twice = serde_json::to_string(&once).unwrap();
            for text in [plain, once, twice] {
                let folded = text.to_ascii_lowercase();
                let range = Forms::of(&term).find(folded.as_bytes()).unwrap();
                prop_assert!(text.get(range).is_some(), "{}", text);
            }
        }
    }
}
