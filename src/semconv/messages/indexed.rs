//! Lists written as flat keys: `prefix.<number>.field`.

use std::collections::BTreeMap;

use super::source::Source;
use crate::semconv::json::Json;

/// Items of one list; what is beyond is left out.
const INDEX_MAX: u32 = 10_000;

/// Levels of keys below a prefix.
const LEVELS_MAX: usize = 10;

/// A tree of keys.
#[derive(Debug)]
enum Node {
    Leaf(Json),
    Branch(BTreeMap<Step, Self>),
}

/// A segment of a key. Numbers sort as numbers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Number(u32),
    Name(String),
}

impl Step {
    fn of(segment: &str) -> Option<Self> {
        if segment.is_empty() || segment.starts_with("__") {
            return None;
        }
        if segment.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = segment.parse().ok()?;
            return (number < INDEX_MAX).then_some(Self::Number(number));
        }
        Some(Self::Name(segment.to_owned()))
    }
}

/// The list below a prefix that ends in a dot. The order of the attributes does not matter, and
/// nothing is reserved for numbers that are left out.
pub(super) fn list(source: &Source<'_>, prefix: &str) -> Vec<Json> {
    let mut root = BTreeMap::new();
    for (rest, value) in source.below(prefix) {
        let steps: Option<Vec<_>> = rest.split('.').map(Step::of).collect();
        let Some(steps) = steps.filter(|steps| steps.len() <= LEVELS_MAX) else {
            continue;
        };
        if matches!(steps.first(), Some(Step::Number(_))) {
            insert(&mut root, steps, Json::of(&value));
        }
    }
    root.into_values().map(Node::into_json).collect()
}

fn insert(root: &mut BTreeMap<Step, Node>, steps: Vec<Step>, value: Json) {
    let mut branch = root;
    let mut steps = steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        if steps.peek().is_none() {
            // What is below a key says more than the key itself.
            branch.entry(step).or_insert(Node::Leaf(value));
            return;
        }
        let node = branch
            .entry(step)
            .or_insert_with(|| Node::Branch(BTreeMap::new()));
        if matches!(node, Node::Leaf(_)) {
            *node = Node::Branch(BTreeMap::new());
        }
        let Node::Branch(inner) = node else { return };
        branch = inner;
    }
}

impl Node {
    fn into_json(self) -> Json {
        let branch = match self {
            Self::Leaf(value) => return value,
            Self::Branch(branch) => branch,
        };
        let is_list = branch.keys().all(|step| matches!(step, Step::Number(_)));
        if is_list {
            return Json::List(branch.into_values().map(Self::into_json).collect());
        }
        let entries = branch.into_iter().map(|(step, node)| {
            let key = match step {
                Step::Number(number) => number.to_string(),
                Step::Name(name) => name,
            };
            (key, node.into_json())
        });
        Json::Map(entries.collect())
    }
}
