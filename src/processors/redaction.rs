//! Leaves out, masks or hashes what must not be kept, before anything is written, the log included.
//!
//! [`Config::compile`] makes a [`Redactor`] of the rules; [`Redactor::redact`] walks an encoded
//! request where it lies and gives a changed copy only if a rule found something. A rule takes one
//! of three ways:
//!
//! - *content*: what was said to and by models, by the keys and events that `semconv` knows;
//! - *keys*: the values of attributes, by key;
//! - *patterns*: parts of texts, wherever they stand, by built-in detectors and regular expressions.
//!
//! Of rules for one attribute the first counts, and keys and content go before patterns. Where
//! matches of patterns overlap, all they cover goes. Keys and detectors take time linear in the text,
//! as does each match of an expression.

mod compile;
mod detect;
mod escape;
mod hash;
mod keys;
mod redactor;
mod scan;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Secret;

pub use compile::Problem;
pub use detect::Detector;
pub use redactor::{Redacted, Redactor, Tally};

/// `processors.redaction`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the rules are applied.
    pub enabled: bool,
    /// Key of the hashes. Equal keys give equal hashes, on all collectors and after every restart.
    pub hash_key: Secret,
    /// File with that key, in place of `hash_key`; empty means none.
    pub hash_key_file: PathBuf,
    /// What must not be kept. Of rules for one attribute the first counts.
    pub rules: Vec<Rule>,
}

/// One entry of `processors.redaction.rules`. It has one of `drop_content`, `keys`, and `detectors`
/// with `patterns`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Label of the rule in metrics; its number when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Everything that was said: prompts, answers, arguments and results of tools, documents.
    #[serde(default)]
    pub drop_content: bool,
    /// Values of attributes with these keys. `*` stands for any text, `?` for one character.
    #[serde(default)]
    pub keys: Vec<String>,
    /// What these find in texts.
    #[serde(default)]
    pub detectors: Vec<Detector>,
    /// What these regular expressions find in texts.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// What is done; `remove` for content, `mask` otherwise.
    #[serde(default)]
    pub action: Option<Action>,
    /// What stands in for what is masked; by default what it was, as in `[email]`.
    #[serde(default)]
    pub mask: Option<String>,
    /// Where it is looked for; in all attributes and bodies when empty.
    #[serde(default)]
    pub scope: Vec<Scope>,
    /// The projects it is for; all when empty.
    #[serde(default)]
    pub projects: Vec<u32>,
}

/// What is done with what a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is left out.
    Remove,
    /// A text takes its place.
    Mask,
    /// A keyed hash takes its place, the same for the same value.
    Hash,
}

/// Where a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Attributes of spans.
    Span,
    /// Attributes of events.
    Event,
    /// Attributes of links.
    Link,
    /// Attributes of resources.
    Resource,
    /// Attributes of instrumentation scopes.
    Instrumentation,
    /// Names of spans.
    SpanName,
    /// Names of events, those of log records included.
    EventName,
    /// Messages of a span's status.
    StatusMessage,
    /// Attributes of log records.
    Log,
    /// Bodies of log records.
    LogBody,
    /// Attributes of data points of metrics, and of their exemplars.
    Metric,
}
