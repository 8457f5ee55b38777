//! `${env:NAME}`, `${env:NAME:-default}` and `${NAME}` in scalar values; `$$` is a literal `$`.
//!
//! The text of a scalar is substituted after the document was parsed, so that no value, whatever
//! characters it has, can change the document's structure. A scalar that is one reference and
//! nothing else is then read as a plain scalar (a number stays a number); inside other text the
//! value is text. A default is used when the variable is unset or empty.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::tree::{Scalar, ScalarKind, Value};

/// The environment variables of the process, read once.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// An environment of the given variables.
    #[must_use]
    pub fn of<const COUNT: usize>(variables: [(&str, &str); COUNT]) -> Self {
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Self(variables.into_iter().collect())
    }

    /// The value of a variable; one that is not UTF-8 is an error that names it.
    pub(crate) fn lookup(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.0.get(OsString::from(name).as_os_str()) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Some(value) => Ok(Some(value)),
                None => Err(Error::NotUtf8(name.to_owned())),
            },
        }
    }
}

impl fmt::Debug for Environment {
    /// Counts the variables without showing them: they hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Environment({} variables)", self.0.len())
    }
}

/// Why a scalar could not be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "environment variable {0} is not set; set it or give a default as in \
         ${{env:{0}:-default}}"
    )]
    Unset(String),
    #[error("environment variable {0} is not valid UTF-8")]
    NotUtf8(String),
    #[error("\"${{\" without a closing \"}}\"; write $${{ for a literal ${{")]
    Unclosed,
    #[error(
        "\"${{{0}}}\" is not a reference to an environment variable; write ${{env:NAME}}, or $$ \
         for a literal $"
    )]
    BadName(String),
}

/// A piece of a scalar's text.
enum Piece<'text> {
    Literal(&'text str),
    Reference(Reference<'text>),
}

struct Reference<'text> {
    name: &'text str,
    default: Option<&'text str>,
}

/// Substitutes the references in the text of a scalar.
pub(crate) fn substitute(text: &str, environment: &Environment) -> Result<Value, Error> {
    let pieces = split(text)?;
    if let [Piece::Reference(reference)] = pieces.as_slice() {
        return Ok(Value::from_plain(resolve(reference, environment)?));
    }
    let mut substituted = String::with_capacity(text.len());
    for piece in &pieces {
        substituted.push_str(match piece {
            Piece::Literal(literal) => literal,
            Piece::Reference(reference) => resolve(reference, environment)?,
        });
    }
    Ok(Value::Scalar(Scalar {
        text: substituted,
        kind: ScalarKind::Text,
    }))
}

fn resolve<'a>(reference: &Reference<'a>, environment: &'a Environment) -> Result<&'a str, Error> {
    let value = environment.lookup(reference.name)?;
    match (value, reference.default) {
        (None | Some(""), Some(default)) => Ok(default),
        (Some(value), _) => Ok(value),
        (None, None) => Err(Error::Unset(reference.name.to_owned())),
    }
}

/// Cuts text into literals and references.
fn split(text: &str) -> Result<Vec<Piece<'_>>, Error> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after_dollar)) = rest.split_once('$') {
        pieces.push(Piece::Literal(literal));
        if let Some(after) = after_dollar.strip_prefix('$') {
            pieces.push(Piece::Literal("$"));
            rest = after;
        } else if let Some(inside) = after_dollar.strip_prefix('{') {
            let (reference, after) = inside.split_once('}').ok_or(Error::Unclosed)?;
            pieces.push(Piece::Reference(parse_reference(reference)?));
            rest = after;
        } else {
            pieces.push(Piece::Literal("$"));
            rest = after_dollar;
        }
    }
    pieces.push(Piece::Literal(rest));
    pieces.retain(|piece| !matches!(piece, Piece::Literal("")));
    Ok(pieces)
}

fn parse_reference(text: &str) -> Result<Reference<'_>, Error> {
    let unprefixed = text.strip_prefix("env:").unwrap_or(text);
    let (name, default) = match unprefixed.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (unprefixed, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Error::BadName(text.to_owned()));
    }
    Ok(Reference { name, default })
}

#[cfg(test)]
mod tests;
