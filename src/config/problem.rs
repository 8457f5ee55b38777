//! What is wrong with a configuration, for the person who has to change it.

use std::fmt::{self, Write as _};

use super::tree::Origin;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, flag or environment variable that says so; absent when it is a default.
    pub source: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<u64>,
    /// Dotted path of the key; empty when the whole source is at fault.
    pub path: String,
    /// What is wrong and, where it is known, what to write.
    pub message: String,
}

impl Problem {
    /// A problem with a whole source.
    pub(crate) fn of_source(source: &str, message: impl Into<String>) -> Self {
        Self {
            source: Some(source.to_owned()),
            line: None,
            path: String::new(),
            message: message.into(),
        }
    }

    /// A problem with the value at a path.
    pub(crate) fn at(origin: Option<&Origin>, path: String, message: impl Into<String>) -> Self {
        Self {
            source: origin.map(|origin| origin.source.to_string()),
            line: origin.and_then(|origin| origin.line),
            path,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(formatter, "{source}")?;
            if let Some(line) = self.line {
                write!(formatter, ":{line}")?;
            }
            formatter.write_str(": ")?;
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        // Keys and quoted values may have line breaks; a problem is one line.
        let texts = [self.path.as_str(), separator, self.message.as_str()];
        for character in texts.into_iter().flat_map(str::chars) {
            if character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Everything wrong with the configuration, one line each when displayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

/// The known word that `written` was probably meant to be.
pub(crate) fn nearest<'known>(written: &str, known: &[&'known str]) -> Option<&'known str> {
    // Words longer than this are not typing errors, and the distance is quadratic.
    const LENGTH_MAX: usize = 64;
    if written.len() > LENGTH_MAX {
        return None;
    }
    let closest = known
        .iter()
        .map(|word| (edit_distance(&written.to_lowercase(), word), *word))
        .min_by_key(|(distance, _)| *distance);
    closest
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous_char = None;
    for (row, left_char) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut previous_right = None;
        for (column, right_char) in right.iter().enumerate() {
            let at =
                |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column) + usize::from(left_char != *right_char);
            let deleted = at(&last, column + 1) + 1;
            let inserted = at(&current, column) + 1;
            let mut cost = replaced.min(deleted).min(inserted);
            let swapped = previous_char == Some(*right_char) && previous_right == Some(left_char);
            if swapped && column > 0 {
                cost = cost.min(at(&before_last, column - 1) + 1);
            }
            current.push(cost);
            previous_right = Some(*right_char);
        }
        previous_char = Some(left_char);
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_missing_and_wrong_letters_are_one_edit_each() {
        assert_eq!(edit_distance("grcp", "grpc"), 1);
        assert_eq!(edit_distance("endpint", "endpoint"), 1);
        assert_eq!(edit_distance("endpoimt", "endpoint"), 1);
        assert_eq!(edit_distance("", "http"), 4);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn a_problem_is_one_line_whatever_it_quotes() {
        let problem = Problem::of_source("f", "got \"a\nb\u{1b}[31m\"");
        assert_eq!(problem.to_string(), "f: got \"a\\nb\\u{1b}[31m\"");
    }

    #[test]
    fn a_word_far_from_all_has_no_suggestion() {
        assert_eq!(nearest("grcp", &["grpc", "http"]), Some("grpc"));
        assert_eq!(nearest("banana", &["grpc", "http"]), None);
        assert_eq!(nearest(&"g".repeat(100), &["grpc"]), None);
    }
}
