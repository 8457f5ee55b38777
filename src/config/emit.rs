//! The effective configuration as YAML that reads back as the same configuration.
//!
//! Keys keep the order of the structs. Text that could be taken for something else is quoted, and
//! `$` is doubled, since it would start a reference when read back.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::tree::{ScalarKind, Value};

/// Writes a configuration as YAML.
///
/// # Errors
/// When a path in it is not UTF-8.
pub fn to_yaml<T: Serialize>(config: &T) -> Result<String, serde_json::Error> {
    // By way of JSON text, not of a JSON value, whose maps are sorted.
    let json = serde_json::to_string(config)?;
    let ordered: Ordered = serde_json::from_str(&json)?;
    let mut yaml = String::new();
    match &ordered {
        Ordered::Map(entries) if !entries.is_empty() => write_entries(entries, 0, &mut yaml),
        scalar => write_inline(scalar, &mut yaml),
    }
    Ok(yaml)
}

/// A JSON value whose maps keep the order they were written in.
enum Ordered {
    /// Null, a boolean or a number, as it is written in JSON and in YAML.
    Verbatim(String),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Ordered;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Ordered, E> {
        Ok(Ordered::Verbatim("null".to_owned()))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Ordered, E> {
        Ok(Ordered::Verbatim(flag.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Ordered, E> {
        Ok(Ordered::Verbatim(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Ordered, E> {
        Ok(Ordered::Verbatim(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Ordered, E> {
        Ok(Ordered::Verbatim(format!("{number:?}")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Ordered, E> {
        Ok(Ordered::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Ordered, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Ordered::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Ordered::Map(entries))
    }
}

fn write_entries(entries: &[(String, Ordered)], depth: usize, yaml: &mut String) {
    for (key, value) in entries {
        yaml.extend(std::iter::repeat_n("  ", depth));
        write_text(key, yaml);
        yaml.push(':');
        match value {
            Ordered::Map(children) if !children.is_empty() => {
                yaml.push('\n');
                write_entries(children, depth + 1, yaml);
            }
            inline => {
                yaml.push(' ');
                write_inline(inline, yaml);
                yaml.push('\n');
            }
        }
    }
}

/// Writes a value on the line begun.
fn write_inline(value: &Ordered, yaml: &mut String) {
    match value {
        Ordered::Verbatim(text) => yaml.push_str(text),
        Ordered::Text(text) => write_text(text, yaml),
        Ordered::List(items) => {
            yaml.push('[');
            for (position, item) in items.iter().enumerate() {
                yaml.push_str(if position > 0 { ", " } else { "" });
                write_inline(item, yaml);
            }
            yaml.push(']');
        }
        Ordered::Map(entries) => {
            yaml.push('{');
            for (position, (key, item)) in entries.iter().enumerate() {
                yaml.push_str(if position > 0 { ", " } else { "" });
                write_text(key, yaml);
                yaml.push_str(": ");
                write_inline(item, yaml);
            }
            yaml.push('}');
        }
    }
}

/// Writes text plain where nothing else could be read in it, otherwise double-quoted.
fn write_text(text: &str, yaml: &mut String) {
    if is_plain(text) {
        yaml.push_str(text);
        return;
    }
    yaml.push('"');
    for character in text.chars() {
        match character {
            '"' => yaml.push_str("\\\""),
            '\\' => yaml.push_str("\\\\"),
            '$' => yaml.push_str("$$"),
            '\n' => yaml.push_str("\\n"),
            ' '..='~' => yaml.push(character),
            _ if character.is_alphanumeric() => yaml.push(character),
            _ => write_escape(character, yaml),
        }
    }
    yaml.push('"');
}

fn write_escape(character: char, yaml: &mut String) {
    let code = u32::from(character);
    let written = if code <= 0xffff {
        write!(yaml, "\\u{code:04x}")
    } else {
        write!(yaml, "\\U{code:08x}")
    };
    // Writing to a string can't fail.
    debug_assert!(written.is_ok());
}

fn is_plain(text: &str) -> bool {
    let looks_like_text = match Value::from_plain(text) {
        Value::Scalar(scalar) => scalar.kind == ScalarKind::Text,
        _ => false,
    };
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let mut characters = text.chars();
    looks_like_text
        && starts_well
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        // `0x1F`, `0o17` and `1_000` are numbers to some readers, `12.5.2` is not worth the doubt.
        && (text.contains(|c: char| c.is_ascii_alphabetic()) || text.contains('/'))
        && !text.starts_with("0x")
        && !text.starts_with("0o")
}

#[cfg(test)]
mod tests;
