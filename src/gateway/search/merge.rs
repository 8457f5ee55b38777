//! Two searches, of spans and of events, as one list. Pure.
//!
//! Each search answers a page of its own, newest first, and says how far it got. What is older than
//! the place the slower one got to is left for the next page, so that the list is newest first over
//! all its pages.

use std::cmp::Reverse;

use crate::storage::Cursor;
use crate::storage::search::{Found, FoundEvent, SearchPage};

/// Where a search goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// At its beginning.
    Start,
    /// After what a store's cursor says.
    After(Cursor),
    /// Nothing is left.
    End,
}

/// Where both go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) spans: Position,
    pub(super) events: Position,
}

/// What was found.
#[derive(Debug)]
pub(in crate::gateway) enum Item {
    Span(Found),
    Event(FoundEvent),
}

/// A page of both.
#[derive(Debug)]
pub(in crate::gateway) struct Merged {
    pub(in crate::gateway) items: Vec<Item>,
    pub(super) next: Positions,
    pub(in crate::gateway) complete: bool,
    pub(in crate::gateway) searched_to_unix_nano: u64,
    pub(in crate::gateway) searched_spans: u64,
    pub(in crate::gateway) searched_events: u64,
    pub(in crate::gateway) searched_bytes: u64,
}

impl Position {
    /// Where to begin: `None` where nothing is left.
    pub(super) fn after(&self) -> Option<Option<Cursor>> {
        match self {
            Self::Start => Some(None),
            Self::After(cursor) => Some(Some(cursor.clone())),
            Self::End => None,
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Start => into.push(0),
            Self::After(cursor) => {
                into.push(1);
                into.extend(cursor.unix_nano.to_be_bytes());
                // A store's key is an id or two.
                into.push(u8::try_from(cursor.key.len()).unwrap_or(u8::MAX));
                into.extend(cursor.key.iter().take(usize::from(u8::MAX)));
            }
            Self::End => into.push(2),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        *bytes = rest;
        match tag {
            0 => Some(Self::Start),
            1 => {
                let (time, rest) = rest.split_first_chunk()?;
                let (&length, rest) = rest.split_first()?;
                let (key, rest) = rest.split_at_checked(usize::from(length))?;
                *bytes = rest;
                Some(Self::After(Cursor {
                    unix_nano: u64::from_be_bytes(*time),
                    key: key.to_vec(),
                }))
            }
            2 => Some(Self::End),
            _ => None,
        }
    }
}

impl Positions {
    /// What a cursor says; `None` when it says nothing.
    pub(super) fn of(cursor: &Cursor) -> Option<Self> {
        let mut key = cursor.key.as_slice();
        let positions = Self {
            spans: Position::decode(&mut key)?,
            events: Position::decode(&mut key)?,
        };
        key.is_empty().then_some(positions)
    }

    /// The cursor that says this; `None` at the end of both.
    pub(super) fn cursor(&self, searched_to_unix_nano: u64) -> Option<Cursor> {
        if (&self.spans, &self.events) == (&Position::End, &Position::End) {
            return None;
        }
        let mut key = Vec::new();
        self.spans.encode(&mut key);
        self.events.encode(&mut key);
        Some(Cursor {
            unix_nano: searched_to_unix_nano,
            key,
        })
    }
}

impl Item {
    /// When it began or happened, ns since the Unix epoch.
    fn unix_nano(&self) -> u64 {
        match self {
            Self::Span(found) => found.span.start_unix_nano,
            Self::Event(found) => found.event.id.unix_nano,
        }
    }

    fn cursor(&self) -> Cursor {
        match self {
            Self::Span(found) => found.cursor.clone(),
            Self::Event(found) => found.cursor(),
        }
    }
}

/// How far a page got: everything later was looked at.
fn frontier<T>(page: Option<&SearchPage<T>>) -> u64 {
    let unfinished = page.filter(|page| page.next.is_some());
    unfinished.map_or(0, |page| page.searched_to_unix_nano)
}

/// One page of the two; a search that was not asked has none, and stays where it was.
pub(super) fn merge(
    before: Positions,
    spans: Option<SearchPage<Found>>,
    events: Option<SearchPage<FoundEvent>>,
    limit: usize,
) -> Merged {
    let reached = frontier(spans.as_ref()).max(frontier(events.as_ref()));
    let mut merged = Merged {
        items: Vec::new(),
        next: before,
        complete: true,
        searched_to_unix_nano: 0,
        searched_spans: spans.as_ref().map_or(0, |page| page.searched_spans),
        searched_events: events.as_ref().map_or(0, |page| page.searched_spans),
        searched_bytes: 0,
    };
    let spans = spans.map(|page| merged.take(page, Item::Span));
    let events = events.map(|page| merged.take(page, Item::Event));
    merged.items.retain(|item| item.unix_nano() >= reached);
    merged.items.sort_by_key(|item| Reverse(item.unix_nano()));
    merged.items.truncate(limit);
    let last = merged.items.last().map(Item::unix_nano);
    if let Some(last) = last.filter(|_| merged.items.len() >= limit) {
        merged.complete = true;
        merged.searched_to_unix_nano = last;
    }
    let is_span = |item: &&Item| matches!(item, Item::Span(_));
    if let Some(page) = spans {
        let answered = merged.items.iter().filter(is_span);
        page.go_on(&mut merged.next.spans, answered);
    }
    if let Some(page) = events {
        let answered = merged.items.iter().filter(|item| !is_span(item));
        page.go_on(&mut merged.next.events, answered);
    }
    merged
}

/// What is left to know of a page whose items were taken.
struct Taken {
    found: usize,
    /// Where it ends.
    end: Position,
}

impl Taken {
    /// Moves a position to where the page ends, or after the last item of it that is answered.
    fn go_on<'i>(self, position: &mut Position, answered: impl Iterator<Item = &'i Item>) {
        let (mut count, mut last) = (0, None);
        for item in answered {
            count += 1;
            last = Some(item);
        }
        if count == self.found {
            *position = self.end;
        } else if let Some(last) = last {
            *position = Position::After(last.cursor());
        }
    }
}

impl Merged {
    /// Takes the items of a page, and adds up what it says of itself.
    fn take<T>(&mut self, page: SearchPage<T>, item: fn(T) -> Item) -> Taken {
        self.complete &= page.complete;
        self.searched_bytes += page.searched_bytes;
        self.searched_to_unix_nano = self.searched_to_unix_nano.max(page.searched_to_unix_nano);
        let taken = Taken {
            found: page.items.len(),
            end: page.next.map_or(Position::End, Position::After),
        };
        self.items.extend(page.items.into_iter().map(item));
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::tests::rows::{span_summary, stored_event};

    /// A search through things that happened at some times, newest first, which looks at a few of
    /// them for each page.
    fn page<T>(
        times: &[u64],
        after: Option<Cursor>,
        (limit, steps): (usize, usize),
        make: impl Fn(u64, Cursor) -> T,
    ) -> SearchPage<T> {
        let first = after.map_or(0, |cursor| usize::from(cursor.key[0]) + 1);
        let cursor_of = |place: usize| Cursor {
            unix_nano: times[place],
            key: vec![u8::try_from(place).unwrap()],
        };
        let seen = limit.min(steps).min(times.len() - first);
        let end = first + seen;
        let is_end = end == times.len() && seen < limit;
        SearchPage {
            items: (first..end)
                .map(|at| make(times[at], cursor_of(at)))
                .collect(),
            next: (!is_end).then(|| cursor_of(end - 1)),
            complete: seen >= limit || is_end,
            searched_to_unix_nano: if is_end { 0 } else { times[end - 1] },
            searched_spans: seen as u64,
            searched_bytes: 0,
        }
    }

    proptest! {
        // Scenario: two searches whose pages end anywhere, for any sizes of pages.
        // Guarantees: all of both is answered, once, newest first over all pages; no page is larger
        // than asked for; a page says that it is incomplete only where it is neither full nor last.
        #[test]
        fn all_of_both_comes_newest_first(
            mut spans in prop::collection::vec(0_u64..40, 0..20),
            mut events in prop::collection::vec(0_u64..40, 0..20),
            limit in 1_usize..6,
            steps in (1_usize..5, 1_usize..5),
        ) {
            spans.sort_unstable_by_key(|time| Reverse(*time));
            events.sort_unstable_by_key(|time| Reverse(*time));
            let mut positions = Positions { spans: Position::Start, events: Position::Start };
            let mut answered = Vec::new();
            loop {
                let span = |time, cursor| {
                    let mut span = span_summary();
                    span.start_unix_nano = time;
                    Found { span, matches: Vec::new(), cursor }
                };
                let of_spans = positions.spans.after().map(|after| {
                    page(&spans, after, (limit, steps.0), span)
                });
                // An event's cursor is its id: the place is put there.
                let of_events = positions.events.after().map(|after| {
                    page(&events, after, (limit, steps.1), |time, cursor| {
                        let mut event = stored_event().columns;
                        event.id.unix_nano = time;
                        event.id.digest = [cursor.key[0]; 16];
                        FoundEvent { event, matches: Vec::new() }
                    })
                });
                let merged = merge(positions, of_spans, of_events, limit);
                prop_assert!(merged.items.len() <= limit);
                let next = merged.next.cursor(merged.searched_to_unix_nano);
                if !merged.complete {
                    prop_assert!(merged.items.len() < limit && next.is_some());
                }
                answered.extend(merged.items.iter().map(|item| {
                    (item.unix_nano(), matches!(item, Item::Span(_)))
                }));
                match next {
                    Some(next) => positions = Positions::of(&next).unwrap(),
                    None => break,
                }
                prop_assert!(answered.len() <= spans.len() + events.len());
            }
            let times: Vec<_> = answered.iter().map(|(time, _)| *time).collect();
            prop_assert!(times.is_sorted_by_key(|time| Reverse(*time)));
            let of = |wanted| {
                let items = answered.iter().filter(|(_, is_span)| *is_span == wanted);
                items.map(|(time, _)| *time).collect::<Vec<_>>()
            };
            prop_assert_eq!(of(true), spans);
            prop_assert_eq!(of(false), events);
        }

        #[test]
        fn any_bytes_are_positions_or_not(key in prop::collection::vec(any::<u8>(), 0..40)) {
            let cursor = Cursor { unix_nano: 7, key };
            if let Some(positions) = Positions::of(&cursor) {
                let again = positions.cursor(7);
                prop_assert!(again.is_none_or(|again| again == cursor));
            }
        }
    }
}
