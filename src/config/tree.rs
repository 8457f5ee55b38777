//! The configuration as a tree that remembers where each value was written.
//!
//! Documents, environment variables and flags all become this tree, are merged in it, and only
//! then deserialized, so that every complaint can name a source and a line. Nothing here can fail.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// File name, flag or environment variable.
    pub(crate) source: Arc<str>,
    /// Line in it, from 1, where it has lines.
    pub(crate) line: Option<u64>,
}

impl Origin {
    /// A source without lines.
    pub(crate) fn new(source: &str) -> Self {
        Self {
            source: Arc::from(source),
            line: None,
        }
    }
}

/// A scalar with the text it was written as: `1.20` stays `1.20` where text is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: ScalarKind,
}

/// What a scalar was understood as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ScalarKind {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text,
}

impl Scalar {
    /// A scalar that is text whatever it looks like.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: ScalarKind::Text,
        }
    }
}

/// A value of the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

impl Value {
    /// Reads text as a plain YAML scalar (core schema). The result is never a list or a map,
    /// whatever characters the text has.
    pub(crate) fn from_plain(text: &str) -> Self {
        let trimmed = text.trim();
        let scalar = |kind| {
            Self::Scalar(Scalar {
                text: trimmed.to_owned(),
                kind,
            })
        };
        match trimmed {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return scalar(ScalarKind::Bool(true)),
            "false" | "False" | "FALSE" => return scalar(ScalarKind::Bool(false)),
            _ => {}
        }
        let numeric = trimmed
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
        if let Ok(integer) = trimmed.parse::<i128>() {
            scalar(ScalarKind::Integer(integer))
        } else if let (true, Ok(float)) = (numeric, trimmed.parse::<f64>()) {
            scalar(ScalarKind::Float(float))
        } else {
            Self::Scalar(Scalar::text(text))
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// Set once the value was complained about: it then counts as not written.
    pub(crate) refused: bool,
}

/// A key of a map, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
}

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a value. Displayed as `a.b[2].c`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// The path through these keys.
    pub(crate) fn of(keys: &[&str]) -> Self {
        Self(
            keys.iter()
                .map(|key| Step::Key((*key).to_owned()))
                .collect(),
        )
    }

    /// The path of a text as it is displayed.
    pub(crate) fn parse(displayed: &str) -> Self {
        let mut steps = Vec::new();
        for part in displayed.split('.') {
            let mut pieces = part.split('[');
            steps.extend(pieces.next().map(|key| Step::Key(key.to_owned())));
            let positions = pieces.filter_map(|piece| piece.strip_suffix(']')?.parse().ok());
            steps.extend(positions.map(Step::Index));
        }
        Self(steps)
    }

    /// This path and one more key.
    pub(crate) fn child(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    /// Whether `other` is this value, a part of it, or what it is a part of.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => write!(formatter, "{key}")?,
                Step::Key(key) => write!(formatter, ".{key}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self {
            value,
            origin,
            refused: false,
        }
    }

    /// A map of one key in a map of one key…, down to `leaf`.
    pub(crate) fn nested(keys: &[&str], leaf: Self) -> Self {
        keys.iter().rev().fold(leaf, |node, key| {
            let origin = node.origin.clone();
            let entry = Entry {
                key: (*key).to_owned(),
                key_origin: origin.clone(),
                node,
            };
            Self::new(Value::Mapping(vec![entry]), origin)
        })
    }

    /// Lays a newer tree over this one: maps merge, everything else is replaced.
    pub(crate) fn merge(&mut self, newer: Self) {
        match (&mut self.value, newer.value) {
            (Value::Mapping(entries), Value::Mapping(newer_entries)) => {
                for newer_entry in newer_entries {
                    match entries.iter_mut().find(|old| old.key == newer_entry.key) {
                        Some(old) => {
                            old.key_origin = newer_entry.key_origin;
                            old.node.merge(newer_entry.node);
                        }
                        None => entries.push(newer_entry),
                    }
                }
            }
            (_, value) => {
                *self = Self {
                    value,
                    origin: newer.origin,
                    refused: newer.refused,
                };
            }
        }
    }

    /// The value at a path.
    pub(crate) fn find(&self, path: &Path) -> Option<&Self> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (step, &node.value) {
                (Step::Key(key), Value::Mapping(entries)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &entry.node),
                (Step::Index(index), Value::Sequence(items)) => items.get(*index),
                _ => None,
            })
    }

    /// The value at a path, to change it.
    pub(crate) fn find_mut(&mut self, path: &Path) -> Option<&mut Self> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (step, &mut node.value) {
                (Step::Key(key), Value::Mapping(entries)) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &mut entry.node),
                (Step::Index(index), Value::Sequence(items)) => items.get_mut(*index),
                _ => None,
            })
    }

    /// Where the key at a path was written; for a position in a list, the value.
    pub(crate) fn origin_of(&self, path: &Path) -> Option<&Origin> {
        let (last, parents) = path.0.split_last()?;
        let parent = self.find(&Path(parents.to_vec()))?;
        match (last, &parent.value) {
            (Step::Key(key), Value::Mapping(entries)) => {
                let entry = entries.iter().find(|entry| entry.key == *key)?;
                Some(&entry.key_origin)
            }
            (Step::Index(index), Value::Sequence(items)) => {
                items.get(*index).map(|item| &item.origin)
            }
            _ => None,
        }
    }

    /// Calls `change` for every scalar, with its path.
    pub(crate) fn for_each_scalar(&mut self, change: &mut dyn FnMut(&Path, &mut Self)) {
        self.visit_scalars(&mut Path::default(), change);
    }

    fn visit_scalars(&mut self, path: &mut Path, change: &mut dyn FnMut(&Path, &mut Self)) {
        match &mut self.value {
            Value::Null => {}
            Value::Scalar(_) => change(path, self),
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.0.push(Step::Index(index));
                    item.visit_scalars(path, change);
                    path.0.pop();
                }
            }
            Value::Mapping(entries) => {
                for entry in entries {
                    path.0.push(Step::Key(entry.key.clone()));
                    entry.node.visit_scalars(path, change);
                    path.0.pop();
                }
            }
        }
    }
}
