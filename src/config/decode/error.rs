//! serde's complaints in the words of someone who writes YAML.

use std::fmt;

use serde::de::{Expected, Unexpected};

use crate::config::problem::nearest;
use crate::config::tree::Path;

/// Why a value was refused, and which.
#[derive(Debug)]
pub(super) struct Error {
    /// The value; set where the error leaves it.
    pub(super) path: Path,
    pub(super) kind: Kind,
    located: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// The key has no value, and the field is not optional: its default applies.
    NoValue,
    /// A key without a default is missing from the map.
    Missing(&'static str),
    /// The value is wrong.
    Message(String),
}

impl Error {
    /// The key has no value.
    pub(super) fn no_value() -> Self {
        Self::new(Kind::NoValue)
    }

    fn new(kind: Kind) -> Self {
        Self {
            path: Path::default(),
            kind,
            located: false,
        }
    }

    /// Notes which value the error is about, unless a part of it is known to be.
    pub(super) fn located(mut self, path: &Path) -> Self {
        if !self.located {
            self.path = path.clone();
            self.located = true;
        }
        self
    }

    /// What to tell; nothing when nothing is wrong.
    pub(super) fn message(&self) -> Option<String> {
        match &self.kind {
            Kind::NoValue => None,
            Kind::Missing(field) => Some(format!("\"{field}\" is required here")),
            Kind::Message(message) => Some(message.clone()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => formatter.write_str(&message),
            None => formatter.write_str("no value"),
        }
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Message(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "expected {}, got {}",
            plain_expected(&expected.to_string()),
            plain_unexpected(unexpected)
        ))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let choices = expected.join(", ");
        match nearest(variant, expected) {
            Some(known) => Self::custom(format_args!(
                "unknown value \"{variant}\", did you mean \"{known}\"? (one of: {choices})"
            )),
            None => Self::custom(format_args!(
                "unknown value \"{variant}\", expected one of: {choices}"
            )),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field))
    }
}

/// Names a Rust type as what has to be written for it.
fn plain_expected(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u64" | "usize" => "a whole number, zero or more".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") => "a map of keys".to_owned(),
        other => other.to_owned(),
    }
}

fn plain_unexpected(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(flag) => format!("{flag}"),
        Unexpected::Unsigned(number) => format!("{number}"),
        Unexpected::Signed(number) => format!("{number}"),
        Unexpected::Float(number) => format!("{number}"),
        Unexpected::Str(text) => format!("text \"{text}\""),
        Unexpected::Unit | Unexpected::Option => "no value".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}
