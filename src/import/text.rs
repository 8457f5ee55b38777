//! Text of others, for people's terminals.

/// Longest text shown, in characters.
const SHOWN_CHARS: usize = 200;

/// Text from an old database or from a daemon as it can be printed: in place of what moves the
/// cursor or turns the direction of writing stands U+FFFD, and it ends after 200 characters.
pub(crate) fn shown(text: &str) -> String {
    let is_unsound = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let sound = text.chars().take(SHOWN_CHARS);
    sound
        .map(|c| if is_unsound(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        assert_eq!(
            shown("\x1b[2Ja\n\u{9b}b\u{7f}"),
            "\u{fffd}[2Ja\u{fffd}\u{fffd}b\u{fffd}"
        );
        assert_eq!(
            shown("\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}"),
            "\u{fffd}".repeat(6)
        );
        let sound = "Läden, 店 \u{200d}\u{2065}";
        assert_eq!(shown(sound), sound);
        assert_eq!(shown(&"ä".repeat(300)), "ä".repeat(200));
    }
}
