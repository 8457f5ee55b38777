//! Following the events that are stored, as [`super::feed`] does with spans.
//!
//! Events have a feed of their own, with positions of their own: who follows both asks twice.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::attributes::AttributeTest;
use super::content::BlockSpan;
use super::events::{EventFilter, StoredEvent};
use super::feed::FeedPosition;
use super::query::StoredResource;
use super::{Error, TimeRange};
use crate::model::ProjectId;
use crate::model::event::EventId;

/// A piece of a feed of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Events in the order in which they were stored.
    pub events: Vec<FeedEvent>,
    /// Where the feed goes on.
    pub next: FeedPosition,
    /// Whether more is there already.
    pub more: bool,
}

/// An event that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// The position after it.
    pub position: FeedPosition,
    /// The event.
    pub event: StoredEvent,
}

/// Answers what events were stored. Every call for events names the project.
pub trait EventFeed {
    /// Where the feed of events ends now.
    fn event_feed_end(&self) -> BoxFuture<'_, Result<FeedPosition, Error>>;

    /// Events that became visible after a position, in that order. The page ends with the block in
    /// which it gets `events_min` of them. An event that was deleted meanwhile is left out.
    fn event_feed(
        &self,
        project: ProjectId,
        after: FeedPosition,
        events_min: usize,
    ) -> BoxFuture<'_, Result<EventPage, Error>>;
}

/// Tests the events of a feed against a filter, as the event list does.
#[derive(Debug)]
pub struct EventTest<'f> {
    filter: &'f EventFilter,
    attributes: Option<AttributeTest<'f>>,
    /// The resource that the attribute test was shown last: neighbours share theirs.
    shown: Option<Arc<StoredResource>>,
}

impl<'f> EventTest<'f> {
    /// A test for this filter.
    #[must_use]
    pub fn new(filter: &'f EventFilter) -> Self {
        Self {
            filter,
            attributes: AttributeTest::new(&filter.attributes),
            shown: None,
        }
    }

    /// Whether an event matches.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is stored of it can't be read.
    pub fn matches(&mut self, event: &StoredEvent) -> Result<bool, Error> {
        if !is_within(&self.filter.range, event.columns.id.unix_nano)
            || !event.columns.matches(self.filter)
        {
            return Ok(false);
        }
        let Some(test) = &mut self.attributes else {
            return Ok(true);
        };
        let is_shown = |shown: &Arc<_>| Arc::ptr_eq(shown, &event.resource);
        if !self.shown.as_ref().is_some_and(is_shown) {
            test.learn(0, &event.resource.message)?;
            self.shown = Some(Arc::clone(&event.resource));
        }
        test.matches_event(BlockSpan {
            resource_id: 0,
            scope_id: 0,
            message: &event.message,
        })
    }
}

fn is_within(range: &TimeRange, unix_nano: u64) -> bool {
    range.start_unix_nano.is_none_or(|from| unix_nano >= from)
        && range.end_unix_nano.is_none_or(|end| unix_nano < end)
}

/// Bytes of one event in the keys of a block: time and digest.
const KEY_BYTES: usize = 24;

/// Adds what an event is found by to the keys of its block.
pub(super) fn add_key(keys: &mut Vec<u8>, id: EventId) {
    keys.extend(id.unix_nano.to_be_bytes());
    keys.extend(id.digest);
}

/// What the events of a block are found by, by their places.
pub(super) fn keys(keys: &[u8]) -> impl Iterator<Item = EventId> {
    let (keys, _) = keys.as_chunks::<KEY_BYTES>();
    keys.iter().filter_map(|key| {
        let (time, digest) = key.split_first_chunk::<8>()?;
        Some(EventId {
            unix_nano: u64::from_be_bytes(*time),
            digest: digest.try_into().ok()?,
        })
    })
}
