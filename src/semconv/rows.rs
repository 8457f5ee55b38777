//! The table of keys: which attribute feeds what, in order of precedence.
//!
//! Each dialect has a file with its rows. The tables are joined in [`TABLES`]' order, and a row's
//! place in the whole is its rank: of two rows that feed the same column the earlier one wins,
//! whatever the order of the attributes. A key is looked up by a hash over its length and three
//! words of it, in a table computed at compile time, so that the keys of spans that have nothing to
//! do with models cost one probe each.

use super::dialect::Dialect;
use super::dialects;
use super::draft::Draft;
use super::names::Op;
use super::usage::Count;
use crate::otlp::protobuf::AnyValue;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) take: Take,
    pub(super) dialect: Dialect,
    pub(super) weight: Weight,
}

/// What the presence of a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The span follows the dialect.
    Evidence,
    /// Nothing: other spans have the key as well.
    Neutral,
    /// Nothing, and the key means this only if the span follows the dialect.
    Bare,
    /// As [`Self::Bare`], but its value may show that the span follows the dialect.
    Hint,
}

/// What is done with a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Take {
    /// Its presence is all.
    Mark,
    /// A text column.
    Text(Text),
    /// A text column, from a JSON string.
    Quoted(Text),
    /// A token count.
    Count(Count),
    /// USD.
    Money(Money),
    /// What the span does.
    Kind(fn(&str) -> Option<Op<'static>>),
    /// Whether the answer is streamed.
    Streaming,
    /// Time to the first chunk, in seconds. Only streams have chunks.
    FirstChunkSeconds,
    /// Time to the first token, in milliseconds.
    FirstTokenMillis,
    /// Labels.
    Tags,
    /// A column of spans of any sort, and the rank of the name among the column's names.
    Plain(Plain, u8),
    /// Anything else.
    With(for<'a> fn(&mut Draft<'a>, AnyValue<'a>)),
}

/// Text columns, and texts that others are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Text {
    Provider,
    /// Host of the provider.
    Server,
    RequestModel,
    ResponseModel,
    ResponseId,
    Session,
    User,
    AgentName,
    AgentId,
    ToolName,
    ToolCallId,
    /// Name of whatever the span is about; an agent's or a tool's by its kind.
    EntityName,
    FinishReason,
    Tier,
    ErrorType,
    ErrorMessage,
}

/// Number of [`Text`]s.
pub(super) const TEXTS: usize = 16;

/// Columns of spans of any sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Plain {
    ErrorType,
    HttpMethod,
    HttpRoute,
    HttpStatus,
    DbSystem,
    DbOperation,
    RpcSystem,
    RpcService,
    RpcMethod,
    Messaging,
}

/// Number of [`Plain`] columns.
pub(super) const PLAIN: usize = 10;

/// Parts of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Money {
    Input,
    Output,
    Total,
}

impl Row {
    /// A row of a key that only the dialect has.
    pub(super) const fn new(dialect: Dialect, key: &'static str, take: Take) -> Self {
        Self {
            key,
            take,
            dialect,
            weight: Weight::Evidence,
        }
    }

    /// The row, of a key that spans of other dialects have too.
    pub(super) const fn neutral(self) -> Self {
        Self {
            weight: Weight::Neutral,
            ..self
        }
    }

    /// The row, of a key whose value may show the dialect.
    pub(super) const fn hint(self) -> Self {
        Self {
            weight: Weight::Hint,
            ..self
        }
    }

    /// The row, of a key that means this only in spans of the dialect.
    pub(super) const fn bare(self) -> Self {
        Self {
            weight: Weight::Bare,
            ..self
        }
    }
}

/// The tables, by precedence.
const TABLES: &[&[Row]] = &[
    dialects::plain::ROWS,
    dialects::identity::ROWS,
    dialects::pulse::ROWS,
    dialects::langfuse::ROWS,
    dialects::openinference::ROWS,
    dialects::ai_sdk::ROWS,
    dialects::otel::ROWS,
    dialects::pulse::LATE_ROWS,
    dialects::anthropic::ROWS,
    dialects::google_adk::ROWS,
    dialects::mlflow::ROWS,
    dialects::langsmith::ROWS,
    dialects::genkit::ROWS,
    dialects::mastra::ROWS,
    dialects::livekit::ROWS,
    dialects::haystack::ROWS,
    dialects::strands::ROWS,
    dialects::pydantic_ai::ROWS,
    dialects::logfire::ROWS,
    dialects::openlit::ROWS,
    dialects::semantic_kernel::ROWS,
    dialects::agent_framework::ROWS,
    dialects::autogen::ROWS,
    dialects::litellm::ROWS,
    dialects::crewai::ROWS,
    dialects::spring_ai::ROWS,
    dialects::copilot::ROWS,
    dialects::agents::ROWS,
    dialects::claude_code::ROWS,
    dialects::codex::ROWS,
    dialects::gemini_cli::ROWS,
    dialects::laminar::ROWS,
    dialects::openllmetry::ROWS,
];

#[expect(
    clippy::indexing_slicing,
    reason = "at compile time, where a panic is the compiler's error"
)]
const COUNT: usize = {
    let mut count = 0;
    let mut table = 0;
    while table < TABLES.len() {
        count += TABLES[table].len();
        table += 1;
    }
    count
};

/// All rows, by precedence.
#[expect(
    clippy::indexing_slicing,
    reason = "at compile time, where a panic is the compiler's error"
)]
static ROWS: [Row; COUNT] = {
    let mut rows = [TABLES[0][0]; COUNT];
    let (mut table, mut place) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            rows[place] = TABLES[table][row];
            place += 1;
            row += 1;
        }
        table += 1;
    }
    rows
};

/// A power of two, several times the number of rows.
const SLOTS: usize = 2048;

/// Row numbers from 1 by hash, 0 where there is none; the next free slot is taken on a collision.
#[expect(
    clippy::indexing_slicing,
    reason = "at compile time, where a panic is the compiler's error"
)]
static INDEX: [u16; SLOTS] = {
    assert!(COUNT * 3 < SLOTS, "the index is too full to be fast");
    let mut index = [0; SLOTS];
    let mut row = 0;
    while row < COUNT {
        let mut slot = slot(ROWS[row].key.as_bytes());
        while index[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are less rows than slots"
        )]
        let number = row as u16 + 1;
        index[slot] = number;
        row += 1;
    }
    index
};

/// Where a key is looked for first: three words of it and its length, mixed by one product.
const fn slot(key: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = if key.len() < 8 {
        short_word(key)
    } else {
        let middle = first_word(key.split_at(key.len() / 2 - 4).1);
        first_word(key) ^ middle.rotate_left(21) ^ last_word(key).rotate_left(43)
    };
    let hash = (words ^ key.len() as u64).wrapping_mul(FACTOR);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the shift leaves the bits of a slot"
    )]
    let slot = (hash >> (u64::BITS - SLOTS.trailing_zeros())) as usize;
    slot
}

const fn first_word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => short_word(bytes),
    }
}

const fn last_word(bytes: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => short_word(bytes),
    }
}

const fn short_word(bytes: &[u8]) -> u64 {
    let mut word = 0;
    let mut rest = bytes;
    while let Some((byte, more)) = rest.split_first() {
        word = word << 8 | *byte as u64;
        rest = more;
    }
    word
}

/// The number of the row of a key, by which rows rank.
#[inline]
pub(super) fn find(key: &[u8]) -> Option<u16> {
    let mut place = slot(key);
    loop {
        let number = INDEX.get(place)?.checked_sub(1)?;
        let row = ROWS.get(usize::from(number))?;
        if row.key.as_bytes() == key {
            return Some(number);
        }
        place = (place + 1) % SLOTS;
    }
}

/// The row of a number.
pub(super) fn row(number: u16) -> Option<&'static Row> {
    ROWS.get(usize::from(number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_has_one_row_and_is_found() {
        let keys: BTreeSet<_> = ROWS.iter().map(|row| row.key).collect();
        let mut seen = BTreeSet::new();
        let twice: Vec<_> = ROWS.iter().filter(|row| !seen.insert(row.key)).collect();
        assert!(twice.is_empty(), "{twice:?}");
        for key in keys {
            let number = find(key.as_bytes()).unwrap();
            assert_eq!(row(number).unwrap().key, key);
        }
    }

    #[test]
    fn other_keys_are_not_found() {
        let others = [
            "",
            "a",
            "gen_ai",
            "gen_ai.usage",
            "gen_ai.usage.input_token",
            "gen_ai.usage.input_tokens.",
            "http.request.header",
            "GEN_AI.SYSTEM",
        ];
        for key in others {
            assert_eq!(find(key.as_bytes()), None, "{key}");
        }
    }
}
