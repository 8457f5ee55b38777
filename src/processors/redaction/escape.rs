//! JSON in texts: escapes, and what is in quotes.
//!
//! `\nbob@example.com` in JSON is a line feed and an address, which begins behind the `n`. JSON in
//! JSON has `\\n` there, which is treated alike.

/// Whether a text is probably JSON.
pub(super) fn is_json(text: &[u8]) -> bool {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"'))
}

/// Where the escape that has the byte at `at` in it ends; `at` when there is none. The backslash
/// itself is not in it.
pub(super) fn after_escape(text: &[u8], at: usize) -> usize {
    for back in 1..=5_usize {
        let Some(slash) = at.checked_sub(back) else {
            return at;
        };
        match text.get(slash..) {
            Some([b'\\', b'u', a, b, c, d, ..])
                if [a, b, c, d].iter().all(|it| it.is_ascii_hexdigit()) =>
            {
                return slash + 6;
            }
            Some([b'\\', letter, ..]) if back == 1 && is_escaped(text, slash, *letter) => {
                return at + 1;
            }
            _ => {}
        }
    }
    at
}

/// Whether a backslash and what follows are one escape. Letters are in JSON in JSON, too; a quote or a
/// second backslash only if the backslash is not escaped itself.
fn is_escaped(text: &[u8], slash: usize, letter: u8) -> bool {
    /// Levels of JSON in JSON take more backslashes each; what is longer is no escape.
    const LOOKED_AT: usize = 32;
    match letter {
        b'/' | b'b' | b'f' | b'n' | b'r' | b't' => true,
        b'"' | b'\\' => {
            let before = text.get(..=slash).unwrap_or_default().iter().rev();
            let slashes = before.take(LOOKED_AT).take_while(|it| **it == b'\\');
            slashes.count() % 2 == 1
        }
        _ => false,
    }
}

/// Whether a word goes on across a position, so that nothing may begin there. The end of an escape is
/// no word, in texts of any sort.
pub(super) fn continues_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else {
        return false;
    };
    let is_word = text
        .get(before)
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_word && after_escape(text, before) == before
}

/// Tells which positions of JSON are in quotes, from front to back.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    at: usize,
    is_inside: bool,
}

impl Quotes {
    /// Whether a position is within a string. Positions must not go back.
    pub(super) fn is_inside(&mut self, text: &[u8], position: usize) -> bool {
        while self.at < position {
            let rest = text.get(self.at..position).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                None => self.at = position,
                Some(found) if rest.get(found) == Some(&b'\\') => self.at += found + 2,
                Some(found) => {
                    self.is_inside = !self.is_inside;
                    self.at += found + 1;
                }
            }
        }
        self.is_inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_end_behind_their_letters() {
        let text = br"a\nb\u0041c\\n";
        let ends: Vec<_> = (0..text.len()).map(|at| after_escape(text, at)).collect();
        //  a  \  n  b  \  u   0   0   4   1   c  \   \   n
        let expected = [0, 1, 3, 3, 4, 10, 10, 10, 10, 10, 10, 11, 13, 14];
        assert_eq!(ends, expected);
    }

    #[test]
    fn a_word_does_not_go_on_behind_an_escape() {
        assert!(continues_word(b"ab", 1));
        assert!(!continues_word(b"ab", 0));
        assert!(!continues_word(b"a b", 2));
        assert!(!continues_word(br"\nb", 2));
        assert!(!continues_word(br"\u00e9b", 6));
        assert!(continues_word(br"u00e9b", 5));
    }

    #[test]
    fn quotes_open_and_close_but_for_escaped_ones() {
        let text = br#"{"a":1,"b\"c":2}"#;
        let mut quotes = Quotes::default();
        let inside: String = (0..text.len())
            .map(|at| if quotes.is_inside(text, at) { 'x' } else { '.' })
            .collect();
        assert_eq!(inside, "..xx....xxxxx...");
    }
}
