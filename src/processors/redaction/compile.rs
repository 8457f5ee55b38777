//! From settings to rules that can be applied, and everything that is wrong with them.

use std::collections::HashSet;
use std::fmt;

use regex::bytes::{Regex, RegexBuilder, RegexSetBuilder};

use super::detect::{DETECTORS, Tokens};
use super::hash::Hasher;
use super::keys::{self, Rules};
use super::redactor::{Compiled, RULES_MAX, Redactor};
use super::scan::{Matchers, Pattern};
use super::{Action, Config, Rule, Scope};
use crate::otlp::protobuf::Place;
use crate::semconv::messages::content;

/// Keys, and expressions, of all rules together.
const KEYS_MAX: usize = 1024;
const PATTERNS_MAX: usize = 64;
/// Characters of one key or expression.
const KEY_LENGTH_MAX: usize = 256;
const PATTERN_LENGTH_MAX: usize = 1024;
/// Characters of a mask, so that no client can make requests much larger.
const MASK_LENGTH_MAX: usize = 64;
/// Characters of a name, which is a label.
const NAME_LENGTH_MAX: usize = 64;
/// Memory of one compiled expression, and of all of them in one.
const PATTERN_SIZE_MAX: usize = 1 << 20;
const PATTERNS_SIZE_MAX: usize = 16 << 20;
/// A shorter key could be guessed, and with it every value that was hashed.
const HASH_KEY_BYTES_MIN: usize = 16;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("processors.redaction.{path}: {message}")]
pub struct Problem {
    /// The key, below `processors.redaction`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    fn new(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            message: message.to_string(),
        }
    }
}

impl Config {
    /// Everything that is wrong with these settings, whether they are used or not. The file with the
    /// key of the hashes is read only if `reads_files`.
    #[must_use]
    pub fn problems(&self, reads_files: bool) -> Vec<Problem> {
        let mut compiler = Compiler::default();
        let key = if reads_files || self.hash_key_file.as_os_str().is_empty() {
            self.key(&mut compiler.problems)
        } else {
            Some(vec![0; HASH_KEY_BYTES_MIN])
        };
        compiler.compile(&self.rules, key.as_deref());
        if self.enabled && self.rules.is_empty() {
            compiler.complain(
                "rules".to_owned(),
                "enabled, and nothing says what is to go",
            );
        }
        compiler.problems
    }

    /// The rules, ready to be applied; `None` when none are to be.
    ///
    /// # Errors
    /// The first thing that is wrong with the settings.
    pub fn compile(&self) -> Result<Option<Redactor>, Problem> {
        if !self.enabled || self.rules.is_empty() {
            return Ok(None);
        }
        let mut compiler = Compiler::default();
        let key = self.key(&mut compiler.problems);
        let redactor = compiler.compile(&self.rules, key.as_deref());
        match compiler.problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(redactor),
        }
    }

    /// The key of the hashes, if one is given.
    fn key(&self, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
        let given = self.hash_key.expose();
        let has_file = !self.hash_key_file.as_os_str().is_empty();
        let (path, key) = match (given, has_file) {
            (None, false) => return None,
            (Some(_), true) => {
                let message = "hash_key and hash_key_file are both given; one of them is meant";
                problems.push(Problem::new("hash_key_file", message));
                return None;
            }
            (Some(key), false) => ("hash_key", key.as_bytes().to_vec()),
            (None, true) => match std::fs::read(&self.hash_key_file) {
                // Editors end files with a line feed.
                Ok(bytes) => ("hash_key_file", bytes.trim_ascii_end().to_vec()),
                Err(error) => {
                    let message = format!("read {}: {error}", self.hash_key_file.display());
                    problems.push(Problem::new("hash_key_file", message));
                    return None;
                }
            },
        };
        if let Some(message) = self.hash_key.problem() {
            problems.push(Problem::new(path, message));
        } else if key.len() < HASH_KEY_BYTES_MIN {
            let message = format!("must have at least {HASH_KEY_BYTES_MIN} bytes");
            problems.push(Problem::new(path, message));
        }
        Some(key)
    }
}

#[derive(Default)]
struct Compiler {
    problems: Vec<Problem>,
    rules: Vec<Compiled>,
    names: HashSet<String>,
    of_places: [Rules; Place::ALL.len()],
    keys: keys::Builder,
    keys_count: usize,
    with_content: Rules,
    of_detectors: [Rules; DETECTORS],
    patterns: Vec<Pattern>,
    expressions: Vec<String>,
}

impl Compiler {
    /// Compiles all rules; `None` when something is wrong.
    fn compile(&mut self, rules: &[Rule], key: Option<&[u8]>) -> Option<Redactor> {
        if rules.len() > RULES_MAX {
            self.complain(
                "rules".to_owned(),
                format!("at most {RULES_MAX} rules, not {}", rules.len()),
            );
            return None;
        }
        for (number, rule) in rules.iter().enumerate() {
            self.rule(number, rule, key.is_some());
        }
        self.check_counts();
        let hasher = key.and_then(Hasher::new);
        self.finish(hasher)
    }

    fn complain(&mut self, path: String, message: impl fmt::Display) {
        self.problems.push(Problem::new(path, message));
    }

    fn rule(&mut self, number: usize, rule: &Rule, has_key: bool) {
        let path = |field: &str| format!("rules[{number}].{field}");
        self.check_kind(number, rule);
        let name = rule.name.clone();
        let name = name.unwrap_or_else(|| format!("rule_{}", number + 1));
        let is_label =
            |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(is_label) {
            let message =
                format!("expected up to {NAME_LENGTH_MAX} letters, digits, \"_\", \"-\" and \".\"");
            self.complain(path("name"), message);
        } else if !self.names.insert(name.clone()) {
            self.complain(
                path("name"),
                format!("\"{name}\" is the name of another rule, too"),
            );
        }
        let action = rule.action.unwrap_or(if rule.drop_content {
            Action::Remove
        } else {
            Action::Mask
        });
        if action == Action::Hash && !has_key {
            self.complain(path("action"), "hash needs hash_key or hash_key_file");
        }
        match &rule.mask {
            Some(_) if action != Action::Mask => {
                self.complain(path("mask"), "is only for action mask")
            }
            Some(mask) if mask.len() > MASK_LENGTH_MAX => {
                self.complain(
                    path("mask"),
                    format!("must be at most {MASK_LENGTH_MAX} bytes"),
                );
            }
            _ => {}
        }
        let mut projects = rule.projects.clone();
        projects.sort_unstable();
        self.rules.push(Compiled {
            name,
            action,
            mask: rule.mask.clone(),
            projects,
        });
        self.tables(number, rule);
    }

    /// A rule has one way to find things.
    fn check_kind(&mut self, number: usize, rule: &Rule) {
        let has_patterns = !rule.detectors.is_empty() || !rule.patterns.is_empty();
        let kinds = [rule.drop_content, !rule.keys.is_empty(), has_patterns];
        let message = match kinds.iter().filter(|kind| **kind).count() {
            0 => "needs one of drop_content, keys, detectors and patterns",
            1 => {
                let names = [Scope::SpanName, Scope::EventName, Scope::StatusMessage];
                let is_name = |scope: &Scope| names.contains(scope);
                if !has_patterns && let Some(scope) = rule.scope.iter().position(is_name) {
                    let path = format!("rules[{number}].scope[{scope}]");
                    self.complain(
                        path,
                        "is only for detectors and patterns: it has no attributes",
                    );
                }
                return;
            }
            _ => {
                "has more than one of drop_content, keys, and detectors or patterns; make it several rules"
            }
        };
        self.complain(format!("rules[{number}]"), message);
    }

    fn tables(&mut self, number: usize, rule: &Rule) {
        let bit: Rules = 1 << number;
        let scope: &[Scope] = if rule.scope.is_empty() {
            &[
                Scope::Span,
                Scope::Event,
                Scope::Link,
                Scope::Resource,
                Scope::Instrumentation,
                Scope::Log,
                Scope::LogBody,
                Scope::Metric,
            ]
        } else {
            &rule.scope
        };
        for scope in scope {
            if let Some(rules) = self.of_places.get_mut(place(*scope) as usize) {
                *rules |= bit;
            }
        }
        if rule.drop_content {
            self.with_content |= bit;
            content::key_globs().for_each(|glob| self.keys.add(&glob, bit));
        }
        self.keys_count += rule.keys.len();
        for (index, glob) in rule.keys.iter().enumerate() {
            if glob.is_empty() || glob.len() > KEY_LENGTH_MAX {
                let path = format!("rules[{number}].keys[{index}]");
                self.complain(path, format!("expected 1 to {KEY_LENGTH_MAX} bytes"));
            } else {
                self.keys.add(glob, bit);
            }
        }
        for detector in &rule.detectors {
            if let Some(rules) = self.of_detectors.get_mut(*detector as usize) {
                *rules |= bit;
            }
        }
        for (index, expression) in rule.patterns.iter().enumerate() {
            match pattern(expression) {
                Ok(regex) => {
                    self.expressions.push(expression.clone());
                    self.patterns.push(Pattern {
                        regex,
                        rule: number,
                    });
                }
                Err(message) => {
                    self.complain(format!("rules[{number}].patterns[{index}]"), message);
                }
            }
        }
    }

    fn check_counts(&mut self) {
        let counts = [
            ("keys", self.keys_count, KEYS_MAX),
            ("patterns", self.patterns.len(), PATTERNS_MAX),
        ];
        for (what, count, most) in counts {
            if count > most {
                self.complain(
                    "rules".to_owned(),
                    format!("at most {most} {what} in all rules together, not {count}"),
                );
            }
        }
    }

    fn finish(&mut self, hasher: Option<Hasher>) -> Option<Redactor> {
        let keys = std::mem::take(&mut self.keys).build();
        let keys = self.unless_wrong(keys, "the keys of all rules are too much together")?;
        let tokens = self.unless_wrong(Tokens::new(), "the built-in detectors")?;
        let any_pattern = if self.expressions.is_empty() {
            None
        } else {
            let set = RegexSetBuilder::new(&self.expressions)
                .size_limit(PATTERNS_SIZE_MAX)
                .build();
            Some(self.unless_wrong(set, "the patterns of all rules are too much together")?)
        };
        let with_patterns = self.patterns.iter().fold(0, |all, it| all | 1 << it.rule);
        self.problems.is_empty().then(|| Redactor {
            rules: std::mem::take(&mut self.rules),
            of_places: self.of_places,
            keys,
            with_content: self.with_content,
            matchers: Matchers {
                tokens,
                of_detectors: self.of_detectors,
                patterns: std::mem::take(&mut self.patterns),
                any_pattern,
                with_patterns,
            },
            hasher,
        })
    }

    fn unless_wrong<T, E: fmt::Display>(&mut self, made: Result<T, E>, what: &str) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(error) => {
                self.complain("rules".to_owned(), format!("{what}: {error}"));
                None
            }
        }
    }
}

/// Compiles an expression, or tells what is wrong with it.
fn pattern(expression: &str) -> Result<Regex, String> {
    if expression.is_empty() || expression.len() > PATTERN_LENGTH_MAX {
        return Err(format!("expected 1 to {PATTERN_LENGTH_MAX} bytes"));
    }
    let regex = RegexBuilder::new(expression)
        .size_limit(PATTERN_SIZE_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("needs more than {limit} bytes once compiled; use smaller repetitions")
            }
            other => {
                // What comes before points at the place in several lines.
                let text = other.to_string();
                let reason = text.rsplit("error: ").next().unwrap_or_default();
                format!("not a regular expression: {}", reason.trim())
            }
        })?;
    if regex.is_match(b"") {
        return Err("also matches the empty text, which is everywhere".to_owned());
    }
    Ok(regex)
}

fn place(scope: Scope) -> Place {
    match scope {
        Scope::Span => Place::Span,
        Scope::Event => Place::Event,
        Scope::Link => Place::Link,
        Scope::Resource => Place::Resource,
        Scope::Instrumentation => Place::Scope,
        Scope::SpanName => Place::SpanName,
        Scope::EventName => Place::EventName,
        Scope::StatusMessage => Place::StatusMessage,
        Scope::Log => Place::Log,
        Scope::LogBody => Place::LogBody,
        Scope::Metric => Place::Point,
    }
}
