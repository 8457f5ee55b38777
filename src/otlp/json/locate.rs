//! Finds the path of a place in a JSON text, for errors. Not on the path of valid requests.

use std::fmt::Write as _;

/// Levels of a path that are shown.
const SHOWN_LEVELS: usize = 10;
/// Characters of a key that are shown.
const SHOWN_KEY_CHARS: usize = 40;
/// Longest reason shown, in bytes; serde quotes values of any length.
const REASON_BYTES_MAX: usize = 300;

enum Level<'t> {
    Object { key: Option<&'t [u8]> },
    Array { index: usize },
}

/// What an error says, cut to a bearable length; the position stays at the end.
pub(super) fn shown(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&position) {
        Some(reason) => crate::otlp::status::shorten(reason, REASON_BYTES_MAX) + &position,
        None => crate::otlp::status::shorten(&text, REASON_BYTES_MAX),
    }
}

/// The byte offset of a line and column as `serde_json` counts them: both from one, columns in
/// bytes read.
pub(super) fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before.saturating_add(column).min(body.len())
}

/// The path of the value that lies before or around `offset`; absent at the top level.
pub(super) fn path(body: &[u8], offset: usize) -> Option<String> {
    let mut rest = body.get(..offset).unwrap_or(body);
    let mut levels = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, levels.last_mut()) {
            (b'{', _) => levels.push(Level::Object { key: None }),
            (b'[', _) => levels.push(Level::Array { index: 0 }),
            (b'}' | b']', _) => _ = levels.pop(),
            (b',', Some(Level::Object { key })) => *key = None,
            (b',', Some(Level::Array { index })) => *index += 1,
            (b'"', level) => {
                let end = string_end(rest);
                let (text, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                if let Some(Level::Object { key: key @ None }) = level {
                    *key = Some(text);
                }
                rest = after.get(1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    let path = render(&levels);
    Some(path).filter(|path| !path.is_empty())
}

/// Length of the string that begins here, up to its closing quote or the end.
fn string_end(rest: &[u8]) -> usize {
    let mut is_escaped = false;
    rest.iter()
        .position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        })
        .unwrap_or(rest.len())
}

fn render(levels: &[Level<'_>]) -> String {
    let mut path = String::new();
    for level in levels.iter().take(SHOWN_LEVELS) {
        match level {
            Level::Object { key: None } => {}
            Level::Object { key: Some(key) } => {
                if !path.is_empty() {
                    path.push('.');
                }
                let key = String::from_utf8_lossy(key);
                path.extend(
                    key.chars()
                        .filter(|it| !it.is_control())
                        .take(SHOWN_KEY_CHARS),
                );
            }
            Level::Array { index } => {
                let written = write!(path, "[{index}]");
                debug_assert!(written.is_ok(), "a string takes all text");
            }
        }
    }
    if levels.len() > SHOWN_LEVELS {
        path.push('…');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_to_the_value_before_the_offset() {
        let body = br#"{"a":[{"b\"":1},{"c":{"d":"x]}"#;
        for (until, expected) in [
            ("{", None),
            (r#"{"a":"#, Some("a")),
            (r#"{"a":[{"b\"":1"#, Some(r#"a[0].b\""#)),
            (r#"{"a":[{"b\"":1}"#, Some("a[0]")),
            (r#"{"a":[{"b\"":1},{"c":{"d":"x]}"#, Some("a[1].c.d")),
        ] {
            assert_eq!(path(body, until.len()).as_deref(), expected, "{until}");
        }
        assert_eq!(path(b"[1,2,3", 100).as_deref(), Some("[2]"));
        assert!(path(&b"[".repeat(100_000), 100_000).unwrap().len() < 100);
    }

    #[test]
    fn lines_and_columns_become_offsets() {
        let body = b"ab\ncdef\n\ng";
        assert_eq!(offset(body, 1, 1), 1);
        assert_eq!(offset(body, 2, 2), 5);
        assert_eq!(offset(body, 4, 1), 10);
        assert_eq!(offset(body, 9, 9), 10);
        assert_eq!(offset(body, 0, 0), 0);
    }
}
