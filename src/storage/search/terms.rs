//! The query language: words, "phrases", and `-` before what must not occur.

/// Terms of a query at most.
pub(super) const TERMS_MAX: usize = 16;
/// Bytes of a term.
const TERM_BYTES_MIN: usize = 2;
const TERM_BYTES_MAX: usize = 200;

/// Words and phrases, as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Each must occur; at least one.
    pub wanted: Vec<String>,
    /// None may occur.
    pub unwanted: Vec<String>,
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Nothing but blanks.
    #[error("has no word")]
    Empty,
    /// A phrase has no end.
    #[error("a quote is not closed")]
    OpenQuote,
    /// Too many terms.
    #[error("has more than {TERMS_MAX} words and phrases")]
    TooMany,
    /// A term that would be found everywhere.
    #[error("\"{0}\" has less than {TERM_BYTES_MIN} bytes")]
    TooShort(String),
    /// A term beyond the limit.
    #[error("a word or phrase has more than {TERM_BYTES_MAX} bytes")]
    TooLong,
    /// All terms are unwanted.
    #[error("says only what must not occur; at least one word must")]
    OnlyUnwanted,
}

impl Terms {
    /// Reads a query: terms are separated by blanks; a term in quotes is a phrase, in which `\"` and
    /// `\\` stand for a quote and a backslash; a term after `-` must not occur.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn parse(query: &str) -> Result<Self, TermsError> {
        let mut terms = Self {
            wanted: Vec::new(),
            unwanted: Vec::new(),
        };
        let mut rest = query.trim_start();
        while !rest.is_empty() {
            let after_minus = rest.strip_prefix('-');
            let after_minus = after_minus.filter(|rest| !rest.is_empty() && !starts_blank(rest));
            let list = match after_minus {
                Some(_) => &mut terms.unwanted,
                None => &mut terms.wanted,
            };
            let (term, after) = one(after_minus.unwrap_or(rest))?;
            match term.len() {
                ..TERM_BYTES_MIN => return Err(TermsError::TooShort(term)),
                TERM_BYTES_MIN..=TERM_BYTES_MAX => list.push(term),
                _ => return Err(TermsError::TooLong),
            }
            if terms.wanted.len() + terms.unwanted.len() > TERMS_MAX {
                return Err(TermsError::TooMany);
            }
            rest = after.trim_start();
        }
        match (terms.wanted.is_empty(), terms.unwanted.is_empty()) {
            (true, true) => Err(TermsError::Empty),
            (true, false) => Err(TermsError::OnlyUnwanted),
            (false, _) => Ok(terms),
        }
    }
}

fn starts_blank(text: &str) -> bool {
    text.starts_with(char::is_whitespace)
}

/// The first term, and what follows it.
fn one(text: &str) -> Result<(String, &str), TermsError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == '"');
        let (word, rest) = text
            .split_at_checked(end.unwrap_or(text.len()))
            .unwrap_or((text, ""));
        return Ok((word.to_owned(), rest));
    };
    let mut phrase = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().ok_or(TermsError::OpenQuote)? {
            '"' => return Ok((phrase, chars.as_str())),
            '\\' => {
                let mut ahead = chars.clone();
                match ahead.next() {
                    Some(escaped @ ('"' | '\\')) => {
                        phrase.push(escaped);
                        chars = ahead;
                    }
                    _ => phrase.push('\\'),
                }
            }
            other => phrase.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> (Vec<String>, Vec<String>) {
        let terms = Terms::parse(query).unwrap();
        (terms.wanted, terms.unwanted)
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_phrases_and_what_must_not_occur_are_told_apart() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            ("one  two\tthree ", &["one", "two", "three"], &[]),
            ("\"one two\" three", &["one two", "three"], &[]),
            ("one -two -\"three four\"", &["one"], &["two", "three four"]),
            ("one--two five-", &["one--two", "five-"], &[]),
            ("--two one", &["one"], &["-two"]),
            (r#""say \"hi\" \\ \n""#, &[r#"say "hi" \ \n"#], &[]),
            (r"back\slash", &[r"back\slash"], &[]),
            ("ab\"cd ef\"gh", &["ab", "cd ef", "gh"], &[]),
            ("你好 é", &["你好", "é"], &[]),
        ];
        for (query, wanted, unwanted) in cases {
            assert_eq!(parsed(query), (owned(wanted), owned(unwanted)), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = "a".repeat(201);
        let many = "ab ".repeat(17);
        let cases = [
            ("", TermsError::Empty),
            (" \t", TermsError::Empty),
            ("\"open", TermsError::OpenQuote),
            ("one \"two\\\"", TermsError::OpenQuote),
            ("one -", TermsError::TooShort("-".to_owned())),
            ("a", TermsError::TooShort("a".to_owned())),
            ("\"\"", TermsError::TooShort(String::new())),
            (&long, TermsError::TooLong),
            (&many, TermsError::TooMany),
            ("-one -two", TermsError::OnlyUnwanted),
        ];
        for (query, wrong) in cases {
            assert_eq!(Terms::parse(query), Err(wrong), "{query}");
        }
        assert!(Terms::parse(&"ab ".repeat(16)).is_ok());
        assert!(Terms::parse(&"a".repeat(200)).is_ok());
    }

    proptest::proptest! {
        // Scenario: any text as a query, and any terms written as phrases.
        // Guarantees: never a panic, nothing beyond the limits; phrases come back as they were.
        #[test]
        fn any_text_is_read_or_refused(
            query in "[-\"\\\\ a-zé]{0,60}",
            phrases in proptest::collection::vec("[-\"\\\\ a-zé\n]{2,20}", 1..16),
        ) {
            if let Ok(terms) = Terms::parse(&query) {
                let count = terms.wanted.len() + terms.unwanted.len();
                proptest::prop_assert!(!terms.wanted.is_empty() && count <= TERMS_MAX);
            }
            let quoted = phrases.iter().map(|phrase| {
                format!("\"{}\" ", phrase.replace('\\', "\\\\").replace('"', "\\\""))
            });
            let terms = Terms::parse(&quoted.collect::<String>()).unwrap();
            proptest::prop_assert_eq!(terms.wanted, phrases);
        }
    }
}
