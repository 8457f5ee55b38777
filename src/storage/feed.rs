//! Following what is stored, as it is stored.
//!
//! A feed is every span of a project in the order in which transactions made it visible, whichever
//! process wrote it. Who follows it asks again and again for what came after a position; nothing is
//! kept for those who don't ask.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::attributes::AttributeTest;
use super::content::BlockSpan;
use super::query::{Fact, SpanFilter, SpanSummary, StatusFilter, StoredResource};
use super::{Error, TimeRange};
use crate::model::span::Status;

/// A place in a feed. Compared by what was stored before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition {
    /// Number of the transaction, where the store has such numbers.
    pub commit: u64,
    /// Block of that transaction.
    pub block_id: i64,
    /// Place in the block of the last span before this position, plus one; zero before all.
    pub place: u32,
}

impl FeedPosition {
    /// Before everything of a transaction.
    #[must_use]
    pub const fn before(commit: u64) -> Self {
        Self {
            commit,
            block_id: i64::MIN,
            place: 0,
        }
    }

    /// After all of a block.
    #[must_use]
    pub const fn after_block(commit: u64, block_id: i64) -> Self {
        Self {
            commit,
            block_id,
            place: u32::MAX,
        }
    }
}

/// `commit.block.place`, in hexadecimal.
impl fmt::Display for FeedPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            commit,
            block_id,
            place,
        } = self;
        write!(formatter, "{commit:x}.{block_id:x}.{place:x}")
    }
}

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position of a feed")]
pub struct ParsePositionError;

impl FromStr for FeedPosition {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '.');
        let mut number = || {
            let part = parts.next().ok_or(ParsePositionError)?;
            u64::from_str_radix(part, 16).map_err(|_| ParsePositionError)
        };
        let (commit, block_id, place) = (number()?, number()?, number()?);
        let position = Self {
            commit,
            block_id: block_id.cast_signed(),
            place: u32::try_from(place).map_err(|_| ParsePositionError)?,
        };
        if position.to_string() == text {
            Ok(position)
        } else {
            Err(ParsePositionError)
        }
    }
}

/// What is wanted of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedRequest {
    /// What comes after this.
    pub after: FeedPosition,
    /// Whether [`FeedSpan::whole`] is wanted.
    pub whole: bool,
    /// The page ends with the block in which it gets this many spans.
    pub spans_min: usize,
}

/// A piece of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// Spans in the order in which they were stored.
    pub spans: Vec<FeedSpan>,
    /// Where the feed goes on.
    pub next: FeedPosition,
    /// Whether more is there already.
    pub more: bool,
}

/// A span that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSpan {
    /// The position after it.
    pub position: FeedPosition,
    /// Its columns.
    pub summary: SpanSummary,
    /// What attribute filters look at, where that is wanted.
    pub whole: Option<WholeSpan>,
}

/// What no column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeSpan {
    /// Row of its resource.
    pub resource_id: i64,
    /// Its resource.
    pub resource: Arc<StoredResource>,
    /// Encoded OTLP `Span` message.
    pub message: Vec<u8>,
}

/// Tests the spans of a feed against a filter, as the span list does.
#[derive(Debug)]
pub struct FeedTest<'f> {
    filter: &'f SpanFilter,
    attributes: Option<AttributeTest<'f>>,
}

impl<'f> FeedTest<'f> {
    /// A test for this filter. It remembers resources: one for each page.
    #[must_use]
    pub fn new(filter: &'f SpanFilter) -> Self {
        Self {
            filter,
            attributes: AttributeTest::new(&filter.attributes),
        }
    }

    /// Whether a span matches. Without [`FeedSpan::whole`], no span has any attribute.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the stored message can't be read.
    pub fn matches(&mut self, span: &FeedSpan) -> Result<bool, Error> {
        if !matches(self.filter, &span.summary) {
            return Ok(false);
        }
        let Some(test) = &mut self.attributes else {
            return Ok(true);
        };
        let Some(whole) = &span.whole else {
            return Ok(false);
        };
        if !test.knows(whole.resource_id) {
            test.learn(whole.resource_id, &whole.resource.message)?;
        }
        test.matches(BlockSpan {
            resource_id: whole.resource_id,
            scope_id: 0,
            message: &whole.message,
        })
    }
}

/// Whether the columns of a span match.
fn matches(filter: &SpanFilter, span: &SpanSummary) -> bool {
    // Every filter by its name, so that a new one is not forgotten here.
    let SpanFilter {
        range,
        trace_id,
        service,
        name,
        status: _,
        duration_min_ns,
        duration_max_ns,
        session_id,
        user_id,
        tokens_min,
        cost_min_nano_usd,
        facts,
        attributes: _,
    } = filter;
    let TimeRange {
        start_unix_nano,
        end_unix_nano,
    } = range;
    let failed = span.status == Status::Error;
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| equals(found, wanted))
    };
    start_unix_nano.is_none_or(|from| span.start_unix_nano >= from)
        && end_unix_nano.is_none_or(|end| span.start_unix_nano < end)
        && trace_id.is_none_or(|trace_id| span.trace_id == trace_id)
        && is(service, Some(&span.service_name))
        && is(name, Some(&span.name))
        && filter
            .status_implied()
            .is_none_or(|wanted| failed == (wanted == StatusFilter::Error))
        && duration_min_ns.is_none_or(|min| span.duration_ns >= min)
        && duration_max_ns.is_none_or(|max| span.duration_ns <= max)
        && is(session_id, span.session_id.as_deref())
        && is(user_id, span.user_id.as_deref())
        && tokens_min.is_none_or(|min| tokens(span) >= min)
        && cost_min_nano_usd.is_none_or(|min| cost(span) >= min)
        && facts.iter().all(|fact| says(span, fact))
}

/// Input and output tokens together; those that are not known count as none.
fn tokens(span: &SpanSummary) -> i64 {
    let usage = span.genai.as_ref().map(|genai| &genai.usage);
    usage.map_or(0, |usage| {
        let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
        input.saturating_add(output)
    })
}

fn cost(span: &SpanSummary) -> i64 {
    let cost = span.genai.as_ref().and_then(|genai| genai.cost.total);
    cost.unwrap_or(0)
}

/// Whether a text is the one wanted. A store that can't keep a NUL keeps a replacement character.
fn equals(found: Option<&str>, wanted: &str) -> bool {
    found.is_some_and(|found| {
        found == wanted
            || wanted.contains('\0') && found == wanted.replace('\0', "\u{fffd}").as_str()
    })
}

fn says(span: &SpanSummary, fact: &Fact) -> bool {
    let genai = span.genai.as_deref();
    match fact {
        Fact::Operation(wanted) => equals(Some(&span.operation), wanted),
        Fact::Provider(wanted) => equals(span.provider.as_deref(), wanted),
        Fact::Model(wanted) => {
            let answered = span.response_model.as_deref();
            equals(answered.or(span.request_model.as_deref()), wanted)
        }
        Fact::Agent(wanted) => genai.is_some_and(|genai| {
            equals(genai.agent_name.as_deref(), wanted) || equals(genai.agent_id.as_deref(), wanted)
        }),
        Fact::Tool(wanted) => genai.is_some_and(|genai| equals(genai.tool_name.as_deref(), wanted)),
        Fact::Tag(wanted) => {
            genai.is_some_and(|genai| genai.tags.iter().any(|tag| equals(Some(tag), wanted)))
        }
        Fact::ErrorKind(wanted) => span.status == Status::Error && span.error_kind == Some(*wanted),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_read_back(commit: u64, block_id: i64, place: u32) {
            let position = FeedPosition { commit, block_id, place };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn other_texts_are_no_positions(text in "[0-9a-f.+ -]{0,40}") {
            if let Ok(position) = text.parse::<FeedPosition>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }

    #[test]
    fn positions_sort_by_what_was_stored_before_what() {
        let sorted = [
            FeedPosition::before(7),
            FeedPosition {
                commit: 7,
                block_id: 3,
                place: 1,
            },
            FeedPosition::after_block(7, 3),
            FeedPosition::before(8),
        ];
        assert!(sorted.is_sorted());
    }
}
