//! Looking through one block.

use std::sync::Arc;

use super::threads::Buffers;
use super::{Match, Matcher};
use crate::model::{SpanId, TraceId};
use crate::otlp::protobuf::Span;
use crate::storage::content::{self, BlockSpan};

/// A block to look through.
#[derive(Debug)]
pub struct BlockTask {
    /// What is looked for.
    pub matcher: Arc<Matcher>,
    /// How the block is compressed.
    pub codec: i64,
    /// The block as it is stored.
    pub content: Vec<u8>,
    /// Whether the messages of what matches are wanted.
    pub keep_messages: bool,
}

/// What was found in a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockHits {
    /// Spans in it.
    pub spans: u64,
    /// Bytes of it, unpacked.
    pub bytes: u64,
    /// The spans that match, in the order in which they were packed.
    pub hits: Vec<Hit>,
}

/// A span that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its place in the block.
    pub place: usize,
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Its start as sent, ns since the Unix epoch.
    pub start_unix_nano: u64,
    /// Row of its resource.
    pub resource_id: i64,
    /// Its encoded message, if wanted.
    pub message: Vec<u8>,
    /// Where the terms are.
    pub matches: Vec<Match>,
}

/// A block of events to look through.
#[derive(Debug)]
pub struct EventBlockTask {
    /// What is looked for.
    pub matcher: Arc<Matcher>,
    /// How the block is compressed.
    pub codec: i64,
    /// The block as it is stored.
    pub content: Vec<u8>,
}

/// What was found in a block of events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventHits {
    /// Events in it.
    pub events: u64,
    /// Bytes of it, unpacked.
    pub bytes: u64,
    /// The places of those that match, ascending.
    pub places: Vec<usize>,
}

impl EventHits {
    /// Whether the event at a place matches.
    #[must_use]
    pub fn holds(&self, place: usize) -> bool {
        self.places.binary_search(&place).is_ok()
    }
}

impl EventBlockTask {
    /// Looks through the block.
    ///
    /// # Errors
    /// [`content::Error`] when the block is damaged.
    pub fn run(self, buffers: &mut Buffers) -> Result<EventHits, content::Error> {
        let mut found = EventHits::default();
        let visit = |place, event: BlockSpan<'_>, folded: Option<&[u8]>| {
            found.events += 1;
            let Some(folded) = folded else {
                return Ok(());
            };
            let damaged = |_| content::Error::Damaged("a message is not a log record");
            let matches = self
                .matcher
                .matches_folded_record(event.message, folded)
                .map_err(damaged)?;
            if matches.is_some() {
                found.places.push(place);
            }
            Ok(())
        };
        let bytes = look_through(&self.matcher, self.codec, &self.content, buffers, visit)?;
        found.bytes = bytes;
        Ok(found)
    }
}

/// Calls `visit` with each message of a block, and with its bytes in lower case where it may match;
/// answers how large the block is, unpacked.
fn look_through(
    matcher: &Matcher,
    codec: i64,
    content: &[u8],
    buffers: &mut Buffers,
    mut visit: impl FnMut(usize, BlockSpan<'_>, Option<&[u8]>) -> Result<(), content::Error>,
) -> Result<u64, content::Error> {
    let Buffers { packed, folded } = buffers;
    content::unpack(codec, content, packed)?;
    folded.clear();
    folded.extend_from_slice(packed);
    folded.make_ascii_lowercase();
    let may_match = matcher.may_match(folded);
    for (place, span) in content::spans_of(packed).enumerate() {
        let (span, at) = span?;
        let folded = folded.get(at..at + span.message.len());
        let folded = folded.filter(|it| may_match && matcher.may_match(it));
        visit(place, span, folded)?;
    }
    Ok(packed.len() as u64)
}

impl BlockTask {
    /// Looks through the block.
    ///
    /// # Errors
    /// [`content::Error`] when the block is damaged.
    pub fn run(self, buffers: &mut Buffers) -> Result<BlockHits, content::Error> {
        let mut found = BlockHits::default();
        let visit = |place, span: BlockSpan<'_>, folded: Option<&[u8]>| {
            found.spans += 1;
            let Some(folded) = folded else {
                return Ok(());
            };
            let damaged = |_| content::Error::Damaged("a message is not a span");
            let matches = self
                .matcher
                .matches(span.message, folded)
                .map_err(damaged)?;
            if let Some(matches) = matches {
                let ids = ids(span.message)?;
                found.hits.push(Hit {
                    place,
                    trace_id: ids.0,
                    span_id: ids.1,
                    start_unix_nano: ids.2,
                    resource_id: span.resource_id,
                    message: if self.keep_messages {
                        span.message.to_vec()
                    } else {
                        Vec::new()
                    },
                    matches,
                });
            }
            Ok(())
        };
        let bytes = look_through(&self.matcher, self.codec, &self.content, buffers, visit)?;
        found.bytes = bytes;
        Ok(found)
    }
}

fn ids(message: &[u8]) -> Result<(TraceId, SpanId, u64), content::Error> {
    let damaged = || content::Error::Damaged("a message is not a span");
    let span = Span::parse(message).map_err(|_| damaged())?;
    let trace_id = span.trace_id.try_into().map_err(|_| damaged())?;
    let span_id = span.span_id.try_into().map_err(|_| damaged())?;
    Ok((TraceId(trace_id), SpanId(span_id), span.start_unix_nano))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1 as proto;
    use prost::Message as _;

    use super::*;
    use crate::storage::content::Packer;
    use crate::storage::search::{Scope, Terms};

    fn named(number: u8, name: &str) -> Vec<u8> {
        proto::Span {
            trace_id: vec![number; 16],
            span_id: vec![number; 8],
            start_time_unix_nano: u64::from(number),
            name: name.to_owned(),
            ..proto::Span::default()
        }
        .encode_to_vec()
    }

    fn hits(query: &str, keep_messages: bool, messages: &[Vec<u8>]) -> BlockHits {
        let mut packer = Packer::new().unwrap();
        packer.begin();
        for message in messages {
            packer.push(7, 8, message);
        }
        let packed = packer.finish().unwrap();
        let scope = Scope {
            name: true,
            messages: true,
            attributes: true,
            holds_messages: |_, _| false,
        };
        let task = BlockTask {
            matcher: Arc::new(Matcher::new(Terms::parse(query).unwrap(), scope)),
            codec: packed.codec,
            content: packed.content.to_vec(),
            keep_messages,
        };
        task.run(&mut Buffers::default()).unwrap()
    }

    // Scenario: blocks of few bytes and of many, with words in one span, in several, in none, and
    // in different spans.
    // Guarantees: exactly the spans that have all words, at their places.
    #[test]
    fn the_spans_of_a_block_are_told_apart() {
        for filler in [String::new(), " padding".repeat(400)] {
            let messages: Vec<_> = (1..)
                .zip(["red", "Red blue", "green", "BLUE red"])
                .map(|(number, name)| named(number, &format!("{name}{filler}")))
                .collect();
            let found = hits("red blue", true, &messages);
            let places: Vec<_> = found.hits.iter().map(|hit| hit.place).collect();
            assert_eq!((places, found.spans), (vec![1, 3], 4));
            let hit = &found.hits[0];
            assert_eq!(
                (hit.trace_id, hit.span_id),
                (TraceId([2; 16]), SpanId([2; 8]))
            );
            assert_eq!((hit.start_unix_nano, hit.resource_id), (2, 7));
            assert_eq!(hit.message, messages[1]);
            assert_eq!(hit.matches[0].length, 3);
            assert!(hits("red", false, &messages).hits[0].message.is_empty());
            assert_eq!(hits("green blue", false, &messages).hits, []);
            let nothing = hits("yellow", false, &messages);
            assert_eq!((nothing.hits.len(), nothing.spans), (0, 4));
            assert!(nothing.bytes > 100);
        }
    }
}
