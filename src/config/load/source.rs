//! Documents: where `--config` points to.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::Sources;
use crate::config::env::Environment;
use crate::config::problem::Problem;
use crate::config::tree::Node;
use crate::config::yaml;

/// One document to read.
pub(super) enum Document<'sources> {
    /// A file.
    File(&'sources str),
    /// The text in an environment variable.
    Variable(&'sources str),
    /// The text itself.
    Text(&'sources str),
}

/// The documents to read, in order.
pub(super) fn documents(sources: &Sources) -> Vec<Result<Document<'_>, Problem>> {
    if !sources.documents.is_empty() {
        return sources
            .documents
            .iter()
            .map(|value| classify(value))
            .collect();
    }
    let default_file = sources.default_file.as_deref().filter(|file| file.exists());
    let default_file = default_file.and_then(Path::to_str);
    default_file
        .map(|file| Ok(Document::File(file)))
        .into_iter()
        .collect()
}

fn classify(value: &str) -> Result<Document<'_>, Problem> {
    match value.split_once(':') {
        Some(("file", path)) => Ok(Document::File(path)),
        Some(("env", name)) => Ok(Document::Variable(name)),
        Some(("yaml", text)) => Ok(Document::Text(text)),
        Some((scheme @ ("http" | "https"), _)) => Err(Problem::of_source(
            value,
            format!("{scheme}: is not supported; use a path, file:PATH, env:NAME or yaml:TEXT"),
        )),
        _ => Ok(Document::File(value)),
    }
}

/// Reads and parses a document.
pub(super) fn parse(document: &Document<'_>, environment: &Environment) -> Result<Node, Problem> {
    match document {
        Document::File(path) => yaml::parse(path, &read(path)?),
        Document::Text(text) => yaml::parse("--config yaml", text),
        Document::Variable(name) => {
            let source = format!("environment variable {name}");
            match environment.lookup(name) {
                Ok(Some(text)) => yaml::parse(&source, text),
                Ok(None) => Err(Problem::of_source(&source, "is not set")),
                Err(error) => Err(Problem::of_source("--config", error.to_string())),
            }
        }
    }
}

/// Reads a file, no further than the longest document.
fn read(path: &str) -> Result<String, Problem> {
    let bytes_max = u64::try_from(yaml::DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| {
            file.take(bytes_max.saturating_add(1))
                .read_to_string(&mut text)
        })
        .map_err(|error| Problem::of_source(path, format!("read configuration: {error}")))?;
    Ok(text)
}
