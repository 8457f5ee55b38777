//! Gathers the configuration from everywhere it can be written and checks it as a whole.
//!
//! Documents merge in the order given: maps merge, lists and scalars are replaced. Environment
//! variables are laid over them and flags over those. Every problem is reported, except that a
//! document that can't be parsed ends the search: what it meant to say is unknown.

mod overlay;
mod source;

use super::Config;
use super::decode;
use super::env::{self, Environment};
use super::problem::{Problem, Problems};
use super::tree::{Node, Origin, Path, Scalar, Value};
use super::validate::{self, CheckFiles};
use crate::telemetry::LogEncoding;

/// Read when no document is named and the file exists.
pub const DEFAULT_FILE: &str = "/etc/pulse-collector/config.yaml";

/// Maps where naming an entry switches it on, and naming none switches all of them on. A flag that
/// sets one thing below such a map must not switch the other entries off.
const NAMED_ENTRIES: &[(&[&str], &[&str])] =
    &[(&["receivers", "otlp", "protocols"], &["grpc", "http"])];

/// Everywhere a configuration can come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Documents, in order: a path, `file:PATH`, `env:NAME` or `yaml:TEXT`. When there are none,
    /// `default_file` is read if it exists.
    pub documents: Vec<String>,
    /// `a.b.c=value`, in order. Lists and maps in flow style are allowed as values.
    pub overrides: Vec<String>,
    /// `service.telemetry.logs.level`.
    pub log_level: Option<String>,
    /// `service.telemetry.logs.encoding`.
    pub log_format: Option<LogEncoding>,
    /// The environment variables.
    pub environment: Environment,
    /// The file read when `documents` is empty; usually [`DEFAULT_FILE`].
    pub default_file: Option<std::path::PathBuf>,
}

/// Builds the configuration and checks it.
///
/// # Errors
/// Every problem found, in the order of the sources.
pub fn load(sources: &Sources, check_files: CheckFiles) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let mut refused = Vec::new();

    let mut root = documents(sources, &mut problems, &mut refused)?;
    name_entries(&mut root);
    for overlay in [
        overlay::environment(&root, &sources.environment),
        overlay::overrides(&sources.overrides, &sources.environment),
        overlay::flags(sources),
    ] {
        problems.extend(overlay.problems);
        refused.extend(overlay.refused);
        for node in overlay.nodes {
            root.merge(node);
        }
    }
    if let Err(problem) = overlay::default_data_dir(&mut root, &sources.environment) {
        problems.push(problem);
    }

    let decoded = decode::decode(&mut root, refused);
    problems.extend(decoded.problems);
    for issue in validate::validate(&decoded.config, check_files) {
        problems.extend(issue.into_problem(&root, &decoded.refused));
    }
    if problems.is_empty() {
        Ok(decoded.config)
    } else {
        Err(Problems(in_order(problems)))
    }
}

/// Orders problems by source, as the sources first appear, and by line in each.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let mut sources: Vec<Option<String>> = Vec::new();
    for problem in &problems {
        if !sources.contains(&problem.source) {
            sources.push(problem.source.clone());
        }
    }
    problems.sort_by_key(|problem| {
        let rank = sources.iter().position(|source| *source == problem.source);
        (rank, problem.line)
    });
    problems
}

/// Reads, substitutes and merges the documents.
fn documents(
    sources: &Sources,
    problems: &mut Vec<Problem>,
    refused: &mut Vec<Path>,
) -> Result<Node, Problems> {
    let mut root = Node::new(Value::Mapping(Vec::new()), Origin::new("default"));
    let mut all_parsed = true;
    for document in source::documents(sources) {
        let parsed = document.and_then(|document| source::parse(&document, &sources.environment));
        match parsed {
            Ok(mut node) => {
                substitute(&mut node, &sources.environment, problems, refused);
                // An empty document says nothing; it doesn't erase what others say.
                if node.value != Value::Null {
                    root.merge(node);
                }
            }
            Err(problem) => {
                all_parsed = false;
                problems.push(problem);
            }
        }
    }
    if all_parsed {
        Ok(root)
    } else {
        Err(Problems(std::mem::take(problems)))
    }
}

/// Replaces the references in all text of a tree.
fn substitute(
    root: &mut Node,
    environment: &Environment,
    problems: &mut Vec<Problem>,
    refused: &mut Vec<Path>,
) {
    root.for_each_scalar(&mut |path, node| {
        let Value::Scalar(Scalar { text, .. }) = &node.value else {
            return;
        };
        if !text.contains('$') {
            return;
        }
        match env::substitute(text, environment) {
            Ok(value) => node.value = value,
            Err(error) => {
                problems.push(Problem::at(
                    Some(&node.origin),
                    path.to_string(),
                    error.to_string(),
                ));
                refused.push(path.clone());
                node.refused = true;
            }
        }
    });
}

/// Writes out the entries that are on because none is named.
fn name_entries(root: &mut Node) {
    for (path, names) in NAMED_ENTRIES {
        let found = root.find(&Path::of(path));
        if found.is_some_and(|node| node.value != Value::Null) {
            continue;
        }
        for name in *names {
            let mut keys = path.to_vec();
            keys.push(name);
            root.merge(Node::nested(
                &keys,
                Node::new(Value::Null, Origin::new("default")),
            ));
        }
    }
}

#[cfg(test)]
mod tests;
