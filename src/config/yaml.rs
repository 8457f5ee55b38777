//! YAML text to the tree: the one place that knows the YAML library.
//!
//! Refuses duplicate keys, more than one document, and documents over the bounds below. Booleans
//! are `true` and `false` only, so that `on` or `no` in a list of names stay names.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::problem::Problem;
use super::tree::{Entry, Node, Origin, Scalar, ScalarKind, Value};

/// Longest document accepted, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting accepted; the configuration itself has seven levels.
const DEPTH_MAX: usize = 64;
/// Most values in a document, aliases expanded.
const NODES_MAX: usize = 50_000;

/// Parses one document.
pub(crate) fn parse(source: &str, text: &str) -> Result<Node, Problem> {
    parse_document(&Document::new(source, text))
}

/// Parses the value of a flag, where lines mean nothing.
pub(crate) fn parse_flag(flag: &str, text: &str) -> Result<Node, Problem> {
    let document = Document {
        has_lines: false,
        ..Document::new(flag, text)
    };
    parse_document(&document)
}

fn parse_document(document: &Document<'_>) -> Result<Node, Problem> {
    let Document { source, text, .. } = document;
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("longer than {DOCUMENT_BYTES_MAX} bytes");
        return Err(Problem::of_source(source, message));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(document.node(raw)),
        Err(error) => Err(syntax_problem(document, &error)),
    }
}

fn syntax_problem(document: &Document<'_>, error: &serde_saphyr::Error) -> Problem {
    let rendered = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The library writes the position too; the problem begins with it already.
    let message = match rendered.split_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => rendered,
    };
    Problem {
        source: Some(document.source.to_string()),
        line: error.location().and_then(|at| document.origin(at).line),
        path: String::new(),
        message: format!("not valid YAML: {message}"),
    }
}

/// A parsed value before the text of its scalars was recovered.
enum Raw {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Sequence(Vec<Spanned<Self>>),
    Mapping(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Raw::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}

/// Turns raw values into nodes with their origin and text.
struct Document<'text> {
    source: Arc<str>,
    text: &'text str,
    has_lines: bool,
}

impl<'text> Document<'text> {
    fn new(source: &str, text: &'text str) -> Self {
        Self {
            source: Arc::from(source),
            text,
            has_lines: true,
        }
    }

    fn origin(&self, location: Location) -> Origin {
        Origin {
            source: Arc::clone(&self.source),
            line: (self.has_lines && location.line() > 0).then(|| location.line()),
        }
    }

    /// The characters a scalar was written with, when the parser knows where they are.
    fn written(&self, location: Location) -> Option<&'text str> {
        let span = location.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let length = usize::try_from(span.byte_len()?).ok()?;
        let written = self.text.get(start..start.checked_add(length)?)?.trim();
        (!written.is_empty()).then_some(written)
    }

    fn scalar(&self, at: Location, kind: ScalarKind, fallback: String) -> Value {
        let text = self.written(at).map_or(fallback, str::to_owned);
        Value::Scalar(Scalar { text, kind })
    }

    fn node(&self, raw: Spanned<Raw>) -> Node {
        let at = raw.defined;
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(flag) => self.scalar(at, ScalarKind::Bool(flag), flag.to_string()),
            Raw::Integer(number) => {
                self.scalar(at, ScalarKind::Integer(number), number.to_string())
            }
            Raw::Float(number) => self.scalar(at, ScalarKind::Float(number), number.to_string()),
            Raw::Text(text) => Value::Scalar(Scalar::text(text)),
            Raw::Sequence(items) => {
                Value::Sequence(items.into_iter().map(|item| self.node(item)).collect())
            }
            Raw::Mapping(entries) => Value::Mapping(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry {
                        key_origin: self.origin(key.defined),
                        key: key.value,
                        node: self.node(value),
                    })
                    .collect(),
            ),
        };
        Node::new(value, self.origin(raw.referenced))
    }
}

#[cfg(test)]
mod tests;
