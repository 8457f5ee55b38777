//! The merged tree to [`Config`], with every wrong value reported and not only the first.
//!
//! serde stops at the first error. So the tree is deserialized again and again: each time the
//! value that failed is reported and marked as refused, which makes it count as not written, until
//! what is left deserializes. Unknown keys are noticed on the way and skipped. A key without a
//! value (`grpc:`) counts as not written where the field is not optional.

mod error;
mod node;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::Deserialize;

use self::error::{Error, Kind};
use self::node::NodeDeserializer;
use super::Config;
use super::problem::{Problem, nearest};
use super::tree::{Node, Path, Step};

/// What decoding a tree gave.
pub(crate) struct Decoded {
    /// The configuration, with the default in place of each refused value.
    pub(crate) config: Config,
    /// What was refused and why.
    pub(crate) problems: Vec<Problem>,
    /// The refused values. Rules must not complain about the defaults that replaced them.
    pub(crate) refused: Vec<Path>,
}

/// An unknown key and the keys it could have been.
struct UnknownKey {
    path: Path,
    key: String,
    known: &'static [&'static str],
}

/// Unknown keys by displayed path: the repeated passes find them again.
type UnknownKeys = RefCell<BTreeMap<String, UnknownKey>>;

/// Decodes the tree. Marks the values it refuses; `refused` are those marked before, because they
/// could not be read at all.
pub(crate) fn decode(root: &mut Node, mut refused: Vec<Path>) -> Decoded {
    let unknown_keys = UnknownKeys::default();
    let mut problems = Vec::new();
    let config = loop {
        let deserializer = NodeDeserializer::new(root, Path::default(), &unknown_keys);
        let error = match Config::deserialize(deserializer) {
            Ok(config) => break config,
            Err(error) => error,
        };
        if let Some(message) = error.message()
            && !follows_from_refusal(&error, &refused)
        {
            let problem = Problem::at(root.origin_of(&error.path), error.path.to_string(), message);
            problems.push(problem);
            // An item that is left out of its list has no default that stands in for it.
            if matches!(error.path.0.last(), Some(Step::Key(_))) {
                refused.push(error.path.clone());
            }
        }
        if !refuse(root, error.path) {
            break Config::default();
        }
    };
    for unknown in unknown_keys.into_inner().into_values() {
        problems.push(unknown.into_problem(root));
    }
    Decoded {
        config,
        problems,
        refused,
    }
}

/// Whether a missing key is missing only because its value was refused before.
fn follows_from_refusal(error: &Error, refused: &[Path]) -> bool {
    match error.kind {
        Kind::Missing(field) => refused.contains(&error.path.child(field)),
        Kind::NoValue | Kind::Message(_) => false,
    }
}

/// Marks the value at a path, or what holds it when it is marked already. False when nothing was
/// left to mark.
fn refuse(root: &mut Node, mut path: Path) -> bool {
    loop {
        if let Some(node) = root.find_mut(&path)
            && !node.refused
        {
            node.refused = true;
            return true;
        }
        if path.0.pop().is_none() {
            return false;
        }
    }
}

impl UnknownKey {
    fn into_problem(self, root: &Node) -> Problem {
        let message = match nearest(&self.key, self.known) {
            Some(known) => format!("unknown key, did you mean \"{known}\"?"),
            None => format!("unknown key, known here: {}", self.known.join(", ")),
        };
        Problem::at(root.origin_of(&self.path), self.path.to_string(), message)
    }
}

#[cfg(test)]
mod tests;
