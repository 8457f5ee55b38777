//! The effective configuration as YAML that reads back as the same configuration.
//!
//! Keys keep the order of the structs. Text that could be taken for something else is quoted, and
//! `$` is doubled, since it would start a reference when read back.

use std::fmt::Write as _;

use serde::Serialize;
use serde_saphyr::Spanned;

use super::tree::{ScalarKind, Value};
use super::yaml::Raw;

/// Writes a configuration as YAML.
///
/// # Errors
/// When a path in it is not UTF-8.
pub fn to_yaml<T: Serialize>(config: &T) -> Result<String, serde_json::Error> {
    // By way of JSON text, not of a JSON value, whose maps are sorted.
    let json = serde_json::to_string(config)?;
    let raw: Spanned<Raw> = serde_json::from_str(&json)?;
    let mut yaml = String::new();
    match &raw.value {
        Raw::Mapping(entries) if !entries.is_empty() => write_entries(entries, 0, &mut yaml),
        scalar => write_inline(scalar, &mut yaml),
    }
    Ok(yaml)
}

fn write_entries(entries: &[(Spanned<String>, Spanned<Raw>)], depth: usize, yaml: &mut String) {
    for (key, value) in entries {
        yaml.extend(std::iter::repeat_n("  ", depth));
        write_text(&key.value, yaml);
        yaml.push(':');
        match &value.value {
            Raw::Mapping(children) if !children.is_empty() => {
                yaml.push('\n');
                write_entries(children, depth + 1, yaml);
            }
            scalar => {
                yaml.push(' ');
                write_inline(scalar, yaml);
                yaml.push('\n');
            }
        }
    }
}

/// Writes a value on the line begun.
fn write_inline(value: &Raw, yaml: &mut String) {
    match value {
        Raw::Null => yaml.push_str("null"),
        Raw::Bool(flag) => yaml.push_str(if *flag { "true" } else { "false" }),
        Raw::Integer(number) => yaml.push_str(&number.to_string()),
        Raw::Float(number) => yaml.push_str(&number.to_string()),
        Raw::Text(text) => write_text(text, yaml),
        Raw::Sequence(items) => {
            yaml.push('[');
            for (position, item) in items.iter().enumerate() {
                yaml.push_str(if position > 0 { ", " } else { "" });
                write_inline(&item.value, yaml);
            }
            yaml.push(']');
        }
        Raw::Mapping(entries) => {
            yaml.push('{');
            for (position, (key, item)) in entries.iter().enumerate() {
                yaml.push_str(if position > 0 { ", " } else { "" });
                write_text(&key.value, yaml);
                yaml.push_str(": ");
                write_inline(&item.value, yaml);
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
