//! Cutting out what surrounds a hit.

use std::ops::Range;

use super::SNIPPET_CHARS_MAX;

/// A part of a text, and where the hit is in it, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snippet {
    pub(super) text: String,
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl Snippet {
    /// The surroundings of a hit, which is a range of bytes between characters. As much before it as
    /// after it, as far as there is text on both sides; of a hit that is too long itself, its
    /// beginning.
    pub(super) fn of(text: &str, hit: Range<usize>) -> Self {
        let part = |range: Range<usize>| text.get(range).unwrap_or_default();
        let (before, inside, after) = (
            part(0..hit.start),
            part(hit.clone()),
            part(hit.end..text.len()),
        );
        let length = chars_up_to(inside, SNIPPET_CHARS_MAX);
        let room = SNIPPET_CHARS_MAX - length;
        let (behind, ahead) = (chars_up_to(before, room), chars_up_to(after, room));
        let half = room / 2;
        let behind = behind.min(half.max(room.saturating_sub(ahead)));
        let ahead = ahead.min(room - behind);
        let start = before.char_indices().rev().nth(behind.saturating_sub(1));
        let start = start
            .filter(|_| behind > 0)
            .map_or(before.len(), |(at, _)| at);
        let whole = part(start..text.len());
        let text = whole.chars().take(behind + length + ahead).collect();
        Self {
            text,
            offset: behind,
            length,
        }
    }
}

/// Characters of a text, counted no further than `most`.
fn chars_up_to(text: &str, most: usize) -> usize {
    text.chars().take(most).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_sides_are_shown_as_far_as_there_is_room() {
        let text = format!("{}HIT{}", "é".repeat(300), "ü".repeat(300));
        let snippet = Snippet::of(&text, 600..603);
        assert_eq!((snippet.offset, snippet.length), (118, 3));
        assert_eq!(snippet.text.chars().count(), 240);
        let at_the_end = Snippet::of(&text, text.len() - 4..text.len());
        assert_eq!((at_the_end.offset, at_the_end.length), (238, 2));
        let short = Snippet::of("a hit", 2..5);
        assert_eq!(
            (short.text.as_str(), short.offset, short.length),
            ("a hit", 2, 3)
        );
        let long = "x".repeat(500);
        let long = Snippet::of(&long, 10..400);
        assert_eq!((long.text.len(), long.offset, long.length), (240, 0, 240));
    }

    proptest! {
        // Scenario: any text and any hit between its characters.
        // Guarantees: a part of the text within the limit, whose offset and length are the hit's.
        #[test]
        fn snippets_show_the_hit(
            before in "[aé你😀]{0,400}", hit in "[b你😀]{1,300}", after in "[cé😀]{0,400}",
        ) {
            let text = format!("{before}{hit}{after}");
            let snippet = Snippet::of(&text, before.len()..before.len() + hit.len());
            let chars: Vec<char> = snippet.text.chars().collect();
            prop_assert!(chars.len() <= SNIPPET_CHARS_MAX && text.contains(&snippet.text));
            let whole = before.chars().count() + hit.chars().count() + after.chars().count();
            prop_assert_eq!(chars.len(), whole.min(SNIPPET_CHARS_MAX));
            let shown: String = chars[snippet.offset..snippet.offset + snippet.length].iter().collect();
            prop_assert!(hit.starts_with(&shown) && !shown.is_empty());
            prop_assert!(shown == hit || snippet.length == SNIPPET_CHARS_MAX);
        }
    }
}
