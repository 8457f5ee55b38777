//! Searching what spans and events say: names, messages and other texts, by words and phrases.
//!
//! There is no index of words: what a store holds is read newest first and looked through, block by
//! block, until the page is full, the end is reached or the time is up. A sieve of some kilobytes
//! beside each block tells of most blocks without a wanted term that they need not be read. What is pure of that is here; each
//! backend brings the walk over its blocks.
//!
//! # What matches
//!
//! A span matches when every wanted word or phrase occurs somewhere in it, and no unwanted one does.
//! Looked at are its name, the strings among the values of its attributes (those in lists and maps
//! too), its status message, and the names and attributes of its events; not keys, numbers, links,
//! the resource and the scope. Of an event (a log record): its name, the strings of its body and of
//! its attributes, and what the source calls its severity.
//!
//! A term is looked for as a part of a text, also within words. Letters of ASCII match whatever
//! their case. A term with other letters matches as it was given, all lower case, all upper case and
//! with the first letter upper case (letters whose case is not one letter stay as they are). Text in
//! JSON is matched as it is stored: a term is also looked for as JSON writes it within a string, once
//! and twice (quotes, backslashes and control characters escaped; what is not ASCII as it is or as
//! `\uXXXX`). `\/` and other escapes that JSON does not need are not recognised.
//!
//! # How
//!
//! A block is unpacked and copied with ASCII in lower case; each form of each term is looked for in
//! the copy at once. Only where every wanted term occurs are the spans of the block told apart, and
//! only those that have them all are read field by field. A block without a hit costs no more than
//! that.

mod block;
mod fields;
mod forms;
mod look;
mod matcher;
mod sieve;
mod snippet;
mod terms;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use super::events::{EventColumns, EventFilter};
use super::query::{Cursor, SpanFilter, SpanSummary};

pub use block::{BlockHits, BlockTask, EventBlockTask, EventHits, Hit};
pub use matcher::{Matcher, Scope};
pub use sieve::{SieveMaker, may_hold};
pub use terms::{Terms, TermsError};
pub use threads::Searchers;

/// Characters of a snippet at most.
pub const SNIPPET_CHARS_MAX: usize = 240;
/// Places shown of one span at most.
pub const MATCHES_MAX: usize = 3;

/// What is searched for.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// Which spans are looked at.
    pub filter: SpanFilter,
    /// What they must say.
    pub matcher: Arc<Matcher>,
    /// After this long the answer is what was found so far.
    pub time_limit: Duration,
}

/// What is searched for among events.
#[derive(Debug, Clone)]
pub struct EventSearch {
    /// Which events are looked at.
    pub filter: EventFilter,
    /// What they must say.
    pub matcher: Arc<Matcher>,
    /// After this long the answer is what was found so far.
    pub time_limit: Duration,
}

/// A page of what was found, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage<T = Found> {
    /// What was found.
    pub items: Vec<T>,
    /// Where to go on; absent at the end.
    pub next: Option<Cursor>,
    /// Whether the page ends because it is full or because nothing is left, not because the time
    /// was up.
    pub complete: bool,
    /// Everything later than this was looked at, by this page or those before it; ns since the Unix
    /// epoch.
    pub searched_to_unix_nano: u64,
    /// Spans or events in the blocks looked through for this page.
    pub searched_spans: u64,
    /// Bytes of those blocks, unpacked.
    pub searched_bytes: u64,
}

/// A span that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its columns.
    pub span: SpanSummary,
    /// Where the terms are, at most [`MATCHES_MAX`] places.
    pub matches: Vec<Match>,
    /// Where to go on after it.
    pub cursor: Cursor,
}

/// An event that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// Its columns.
    pub event: EventColumns,
    /// Where the terms are, at most [`MATCHES_MAX`] places.
    pub matches: Vec<Match>,
}

impl FoundEvent {
    /// Where to go on after it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.event.cursor()
    }
}

/// A place in a span where a term was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Name of the span's event; absent for what belongs to the span or log record itself.
    pub event: Option<String>,
    /// Attribute key, `name`, `status.message`, `body` or `severity_text`.
    pub field: String,
    /// The text around the term, as it is stored.
    pub snippet: String,
    /// Characters of the snippet before the term.
    pub offset: usize,
    /// Characters of the term.
    pub length: usize,
}

/// When a search stops: whatever it was given, before the query itself runs into its limit.
#[must_use]
pub fn within(time_limit: Duration, query_timeout: Duration) -> Duration {
    time_limit.min(query_timeout * 4 / 5)
}
