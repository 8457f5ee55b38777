//! How far a client is: the id of an event, from which it goes on.

use std::fmt;
use std::str::FromStr;

use super::hub::Kind;
use crate::storage::feed::{FeedPosition, ParsePositionError};

/// Between the position among spans and the one among events; no part of either.
const SEPARATOR: char = '~';

/// A position in each of the feeds that a client follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::gateway) struct Place {
    /// Where it is among spans.
    pub(super) spans: Option<FeedPosition>,
    /// Where it is among events.
    pub(super) events: Option<FeedPosition>,
}

impl Place {
    pub(super) const fn of(&self, kind: Kind) -> Option<FeedPosition> {
        match kind {
            Kind::Spans => self.spans,
            Kind::Events => self.events,
        }
    }

    pub(super) const fn set(&mut self, kind: Kind, position: FeedPosition) {
        match kind {
            Kind::Spans => self.spans = Some(position),
            Kind::Events => self.events = Some(position),
        }
    }
}

/// `spans`, `~events` or `spans~events`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(spans) = self.spans {
            write!(formatter, "{spans}")?;
        }
        if let Some(events) = self.events {
            write!(formatter, "{SEPARATOR}{events}")?;
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (spans, events) = match text.split_once(SEPARATOR) {
            Some((spans, events)) => (spans, Some(events.parse()?)),
            None => (text, None),
        };
        let spans = match spans {
            "" if events.is_some() => None,
            spans => Some(spans.parse()?),
        };
        Ok(Self { spans, events })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = FeedPosition> {
        any::<(u64, i64, u32)>().prop_map(|(commit, block_id, place)| FeedPosition {
            commit,
            block_id,
            place,
        })
    }

    proptest! {
        #[test]
        fn places_read_back(spans in prop::option::of(position()), events in prop::option::of(position())) {
            let place = Place { spans, events };
            let read = place.to_string().parse::<Place>();
            prop_assert_eq!(read.is_ok(), spans.is_some() || events.is_some());
            prop_assert_eq!(read.unwrap_or_default(), place);
        }

        #[test]
        fn other_texts_are_no_places(text in "[0-9a-f.~]{0,30}") {
            if let Ok(place) = text.parse::<Place>() {
                prop_assert_eq!(place.to_string(), text);
            }
        }
    }
}
