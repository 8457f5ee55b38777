//! Which rules name a key.

use std::collections::HashMap;
use std::fmt::Write as _;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Rules by number.
pub(super) type Rules = u64;

/// Keys, and patterns of keys, of all rules.
#[derive(Debug, Default)]
pub(super) struct Keys {
    exact: HashMap<Vec<u8>, Rules>,
    /// All patterns at once; looked at only when it says that one matches.
    globs: Option<RegexSet>,
    /// The rules of each pattern.
    of_globs: Vec<Rules>,
}

/// Collects keys.
#[derive(Debug, Default)]
pub(super) struct Builder {
    exact: HashMap<Vec<u8>, Rules>,
    globs: Vec<String>,
    of_globs: Vec<Rules>,
}

/// Largest search for keys, compiled.
const GLOBS_SIZE_MAX: usize = 16 << 20;

impl Builder {
    /// Adds a key, or a pattern with `*` for any text and `?` for one character.
    pub(super) fn add(&mut self, glob: &str, rules: Rules) {
        if glob.contains(['*', '?']) {
            self.globs.push(expression(glob));
            self.of_globs.push(rules);
        } else {
            *self.exact.entry(glob.into()).or_default() |= rules;
        }
    }

    /// # Errors
    /// The patterns are too many.
    pub(super) fn build(self) -> Result<Keys, regex::Error> {
        let globs = if self.globs.is_empty() {
            None
        } else {
            let mut builder = RegexSetBuilder::new(self.globs);
            Some(builder.size_limit(GLOBS_SIZE_MAX).build()?)
        };
        Ok(Keys {
            exact: self.exact,
            globs,
            of_globs: self.of_globs,
        })
    }
}

fn expression(glob: &str) -> String {
    let mut expression = "^".to_owned();
    for character in glob.chars() {
        let mut buffer = [0; 4];
        expression.push_str(match character {
            '*' => "(?s-u:.)*",
            '?' => "(?s:.)",
            other => {
                let written = write!(
                    expression,
                    "{}",
                    regex::escape(other.encode_utf8(&mut buffer))
                );
                debug_assert!(written.is_ok(), "a string takes all text");
                continue;
            }
        });
    }
    expression.push('$');
    expression
}

impl Keys {
    /// The rules that name a key. Allocates nothing when only whole keys do.
    pub(super) fn rules_of(&self, key: &[u8]) -> Rules {
        let exact = if self.exact.is_empty() {
            None
        } else {
            self.exact.get(key)
        };
        let mut rules = exact.copied().unwrap_or_default();
        if let Some(globs) = &self.globs
            && globs.is_match(key)
        {
            let named = globs.matches(key);
            let of_named = named.iter().filter_map(|index| self.of_globs.get(index));
            rules |= of_named.fold(0, |all, rules| all | rules);
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(globs: &[&str]) -> Keys {
        let mut builder = Builder::default();
        for (number, glob) in globs.iter().enumerate() {
            builder.add(glob, 1 << number);
        }
        builder.build().unwrap()
    }

    #[test]
    fn whole_keys_and_patterns_name_keys() {
        let keys = keys(&[
            "user.email",
            "http.request.header.*",
            "*.password",
            "k?y",
            "user.email",
        ]);
        for (key, rules) in [
            ("user.email", 0b1_0001),
            ("user.email2", 0),
            ("User.email", 0),
            ("http.request.header.x.y", 0b10),
            ("http.request.header.", 0b10),
            ("http.request.header", 0),
            ("http.request.header.db.password", 0b110),
            ("password", 0),
            ("key", 0b1000),
            ("kéy", 0b1000),
            ("ky", 0),
            ("", 0),
        ] {
            assert_eq!(keys.rules_of(key.as_bytes()), rules, "{key}");
        }
        assert_eq!(keys.rules_of(b"\xff\xfe.password"), 0b100);
    }

    #[test]
    fn what_means_something_to_expressions_is_taken_as_it_is() {
        let keys = keys(&["a.(b|c)*", "[x]?"]);
        assert_eq!(keys.rules_of(b"a.(b|c)d"), 1);
        assert_eq!(keys.rules_of(b"aXb"), 0);
        assert_eq!(keys.rules_of(b"[x]y"), 2);
        assert_eq!(keys.rules_of(b"x"), 0);
    }
}
