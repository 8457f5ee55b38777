//! Text that looks like what people and models write: sentences over a vocabulary in which some
//! words are far more frequent than others, with numbers and the odd line of code.

use super::layout::Rng;

/// Words by length, from [`SHORTEST`] on. A word is replaced by another of its length when a
/// request is made, so that no two requests carry the same text and none has to be encoded again.
const BY_LENGTH: [&[&str]; 6] = [
    &[
        "with", "this", "that", "data", "from", "have", "will", "when", "user", "time", "code",
        "list", "test", "each", "more", "call", "name", "type", "then", "plan", "file", "team",
        "week", "rate", "main", "next", "only", "step", "text", "note", "make", "open",
    ],
    &[
        "which", "there", "their", "about", "model", "order", "value", "error", "first", "would",
        "could", "query", "table", "price", "found", "after", "where", "check", "state", "local",
        "other", "while", "index", "input", "token", "total", "month", "start", "point", "small",
        "large", "again",
    ],
    &[
        "result", "should", "number", "report", "server", "before", "change", "search", "answer",
        "record", "return", "source", "follow", "client", "system", "string", "detail", "reason",
        "update", "amount", "market", "column", "branch", "person", "travel", "choose", "recent",
        "strong", "growth", "engine", "middle", "window",
    ],
    &[
        "request", "message", "however", "example", "service", "country", "because", "between",
        "another", "without", "problem", "product", "company", "average", "current", "through",
        "process", "compare", "account", "network", "version", "section", "quickly", "support",
        "project", "history", "control", "improve", "options", "summary", "several", "release",
    ],
    &[
        "customer", "question", "response", "document", "function", "database", "research",
        "increase", "discount", "possible", "remember", "analysis", "delivery", "interest",
        "capacity", "schedule", "solution", "language", "password", "personal", "practice",
        "strategy", "together", "approach", "continue", "describe", "estimate", "evidence",
        "generate", "majority", "multiple", "quantity",
    ],
    &[
        "available",
        "different",
        "important",
        "following",
        "community",
        "recommend",
        "knowledge",
        "structure",
        "generally",
        "attention",
        "condition",
        "developed",
        "direction",
        "education",
        "equipment",
        "financial",
        "happening",
        "including",
        "insurance",
        "messaging",
        "necessary",
        "operation",
        "potential",
        "procedure",
        "purchased",
        "reference",
        "situation",
        "statement",
        "technical",
        "transport",
        "treatment",
        "yesterday",
    ],
];

const SHORTEST: usize = 4;
const FILLERS: [&str; 16] = [
    "the", "of", "to", "and", "a", "in", "is", "for", "it", "you", "on", "we", "as", "are", "be",
    "or",
];
const ENDS: [&str; 5] = [". ", ". ", ". ", "? ", ".\n\n"];
const CODE: [&str; 6] = [
    "```sql\nSELECT id, total FROM orders WHERE created_at > now() - interval '7 days';\n```\n",
    "```python\nrows = [row for row in client.fetch(limit=50) if row[\"status\"] == \"open\"]\n```\n",
    "- https://docs.example.com/guides/getting-started#configuration\n",
    "{\"id\": \"ord_88213\", \"status\": \"shipped\", \"items\": 3, \"total\": 149.90}\n",
    "1. Open the settings page, choose \"Billing\" and confirm the address.\n",
    "    raise ValueError(f\"unexpected status {status!r}\")\n",
];

/// One word in eight of those that may be replaced is: enough that texts differ everywhere.
const REPLACED_ONE_IN: usize = 8;

/// About `bytes` bytes of text, cut at the end of a word.
pub(super) fn text(rng: &mut Rng, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 128);
    while text.len() < bytes {
        if rng.below(24) == 0 && bytes - text.len() > 128 {
            text.push_str(rng.skewed(&CODE, ""));
        }
        sentence(rng, &mut text, bytes);
    }
    text.truncate(text.trim_end().len());
    text
}

fn sentence(rng: &mut Rng, text: &mut String, bytes_max: usize) {
    let start = text.len();
    for position in 0..6 + rng.below(10) {
        if text.len() >= bytes_max {
            return;
        }
        if position > 0 {
            text.push(' ');
        }
        match rng.below(20) {
            0 => text.push_str(&rng.below(10_000).to_string()),
            1..=8 => text.push_str(rng.skewed(&FILLERS, "the")),
            _ => text.push_str(word(rng)),
        }
    }
    if let Some(first) = text.get_mut(start..=start) {
        first.make_ascii_uppercase();
    }
    text.push_str(rng.skewed(&ENDS, ". "));
}

fn word(rng: &mut Rng) -> &'static str {
    let group = rng.skewed(&BY_LENGTH, &[] as &[&str]);
    rng.skewed(group, "time")
}

/// Another word of this length.
pub(super) fn of_length(length: usize, random: u64) -> Option<&'static [u8]> {
    let group = BY_LENGTH.get(length.checked_sub(SHORTEST)?)?;
    let index = usize::try_from(random % group.len() as u64).ok()?;
    group.get(index).map(|word| word.as_bytes())
}

/// Offset and length of the words of an encoded text that are replaced.
pub(super) fn replaced(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut offset = 0;
    bytes
        .split(|byte| *byte == b' ')
        .filter_map(move |word| {
            let start = offset;
            offset += word.len() + 1;
            let plain = word.iter().all(u8::is_ascii_lowercase);
            (plain && of_length(word.len(), 0).is_some()).then_some((start, word.len()))
        })
        .step_by(REPLACED_ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_the_group_of_its_length() {
        for (index, group) in BY_LENGTH.iter().enumerate() {
            for word in *group {
                assert_eq!(word.len(), index + SHORTEST, "{word}");
            }
        }
    }

    #[test]
    fn text_has_the_asked_size_and_words_to_replace() {
        let text = text(&mut Rng::new(7), 4096);
        assert!((3900..4300).contains(&text.len()), "{}", text.len());
        let words: Vec<_> = replaced(text.as_bytes()).collect();
        assert!(words.len() > 20, "{}", words.len());
        for (offset, length) in words {
            let word = &text.as_bytes()[offset..offset + length];
            assert!(word.iter().all(u8::is_ascii_lowercase));
            let end = text.as_bytes().get(offset + length);
            assert!(end.is_none_or(|byte| *byte == b' '));
        }
    }
}
