//! Why bytes are not the message they should be, and where.

use std::fmt;

use crate::otlp::Failure;

/// Names shown of a path before the middle is left out.
const SHOWN_PATH_NAMES: usize = 7;

/// What is wrong with a piece of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end within a field.
    #[error("ends too early")]
    Truncated,
    /// A varint is longer than 64 bits.
    #[error("has a varint of more than 64 bits")]
    Varint,
    /// A field number is zero or too large, or a wire type does not exist.
    #[error("has an invalid field tag")]
    Tag,
    /// A known field has another wire type than its definition.
    #[error("has the wrong wire type")]
    WireType,
    /// A group ends that was not begun.
    #[error("has an unexpected end of group")]
    Group,
    /// A string is not UTF-8.
    #[error("is not valid UTF-8")]
    Utf8,
    /// Messages are nested too deeply.
    #[error("is nested more than {} levels deep", super::RECURSION_LIMIT)]
    Depth,
}

/// The bytes are not a valid message. One pointer wide, so that it costs nothing when all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Located>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Located {
    fault: Fault,
    /// Field names, innermost first.
    path: Vec<&'static str>,
}

impl DecodeError {
    #[cold]
    pub(super) fn new(fault: Fault) -> Self {
        Self(Box::new(Located {
            fault,
            path: Vec::new(),
        }))
    }

    /// Notes the field in which the error happened.
    #[cold]
    pub(super) fn within(mut self, field: &'static str) -> Self {
        self.0.path.push(field);
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.0.fault
    }

    /// The field path, such as `resource_spans.scope_spans.spans.name`; empty when the request
    /// itself is broken. The middle of a long path is left out.
    #[must_use]
    pub fn path(&self) -> String {
        let mut shown = String::new();
        let length = self.0.path.len();
        for (index, name) in self.0.path.iter().rev().enumerate() {
            let is_last = index + 1 == length;
            if index >= SHOWN_PATH_NAMES && !is_last {
                continue;
            }
            if index > SHOWN_PATH_NAMES {
                shown.push_str(".…");
            }
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(name);
        }
        shown
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not a valid protobuf export request: ")?;
        if self.0.path.is_empty() {
            write!(formatter, "it {}", self.0.fault)
        } else {
            write!(formatter, "{} {}", self.path(), self.0.fault)
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Malformed {
            message: error.to_string(),
            field: Some(error.path()).filter(|path| !path.is_empty()),
        }
    }
}
