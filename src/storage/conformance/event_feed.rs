//! Following the events that are stored.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::events::{bodies, body, linked, logs, record, write_logs};
use super::feed::UnderWay;
use super::fixture::{OTHER, span, write_spans};
use super::{Backend, NOW, PROJECT, runtime};
use crate::model::ProjectId;
use crate::storage::event_feed::{EventPage, EventTest};
use crate::storage::events::{EventFilter, StoredEvent};
use crate::storage::feed::FeedPosition;
use crate::storage::query::AttributeEquals;

fn end(backend: &impl Backend) -> FeedPosition {
    let end = backend.reader().event_feed_end();
    runtime().block_on(end).unwrap()
}

fn read(backend: &impl Backend, project: ProjectId, after: FeedPosition, min: usize) -> EventPage {
    let page = backend.reader().event_feed(project, after, min);
    runtime().block_on(page).unwrap()
}

/// All that comes after a position: what each says, and the position after it.
fn all_after(
    backend: &impl Backend,
    project: ProjectId,
    mut after: FeedPosition,
    events_min: usize,
) -> Vec<(String, FeedPosition)> {
    let mut found = Vec::new();
    loop {
        let page = read(backend, project, after, events_min);
        assert!(page.next >= after);
        let events = page.events.iter();
        found.extend(events.map(|it| (body(&it.event), it.position)));
        after = page.next;
        if !page.more {
            return found;
        }
    }
}

/// Waits until the feed has so many events of a project after a position: a store may wait for a
/// transaction of somebody else first.
fn await_events(backend: &impl Backend, project: ProjectId, after: FeedPosition, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while all_after(backend, project, after, usize::MAX).len() < count {
        assert!(Instant::now() < deadline, "the feed stands still");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn said(found: &[(String, FeedPosition)]) -> Vec<&str> {
    found.iter().map(|(body, _)| body.as_str()).collect()
}

/// What is stored now is in the feed only after a transaction has ended.
pub(super) fn waits(backend: &mut impl Backend, transaction: UnderWay) {
    let after = end(backend);
    write_logs(
        backend,
        PROJECT,
        1,
        &[logs("api", vec![record(NOW, "late")])],
    );
    assert_eq!(all_after(backend, PROJECT, after, 1), []);
    transaction.end();
    await_events(backend, PROJECT, after, 1);
}

// Scenario: batches are stored, some of their events twice, with spans and events of another project
// between them; the feed is read in pieces of every size and from every position it has.
// Guarantees: every event once, as the list answers it, each batch after those before it; from any
// position exactly what comes after it, to a project only its own.
pub(super) fn a_feed_has_every_event_once_in_order(backend: &mut impl Backend) {
    let start = end(backend);
    let of = |numbers: std::ops::Range<u64>| {
        let records = numbers.map(|number| record(NOW - number, &number.to_string()));
        logs("api", records.collect())
    };
    write_logs(backend, PROJECT, 1, &[of(1..8)]);
    write_spans(backend, &[span(1, 1, NOW)]);
    write_logs(backend, OTHER, 2, &[of(90..91)]);
    write_logs(backend, PROJECT, 3, &[of(1..8), of(8..12)]);
    await_events(backend, PROJECT, start, 11);
    let middle = end(backend);
    write_logs(backend, PROJECT, 5, &[of(12..20)]);
    await_events(backend, PROJECT, start, 19);
    await_events(backend, OTHER, start, 1);
    let whole = all_after(backend, PROJECT, start, usize::MAX);
    // Within a batch by time, which goes down here.
    let order = [1..8_u64, 8..12, 12..20]
        .into_iter()
        .flat_map(Iterator::rev);
    let order: Vec<_> = order.map(|number| number.to_string()).collect();
    assert_eq!(said(&whole), order);
    assert!(whole.is_sorted_by_key(|(_, position)| *position));
    for events_min in [1, 2, 5, 100] {
        let pieces = all_after(backend, PROJECT, start, events_min);
        assert_eq!(pieces, whole, "{events_min}");
    }
    for (place, (_, position)) in whole.iter().enumerate() {
        let read_back = position.to_string().parse().unwrap();
        let rest = all_after(backend, PROJECT, read_back, usize::MAX);
        assert_eq!(rest, whole[place + 1..], "{position}");
    }
    assert_eq!(all_after(backend, PROJECT, middle, 1), whole[11..]);
    assert!(all_after(backend, PROJECT, end(backend), 1).is_empty());
    assert_eq!(said(&all_after(backend, OTHER, start, 1)), ["90"]);
    let page = read(backend, PROJECT, start, usize::MAX);
    let mut fed: Vec<_> = page.events.into_iter().map(|it| it.event).collect();
    fed.sort_by_key(|it| std::cmp::Reverse(it.columns.id));
    assert_eq!(
        fed,
        super::events::listed(backend, &EventFilter::default(), 100)
    );
}

/// One step of a story.
#[derive(Debug, Clone)]
enum Step {
    /// A project stores these events, some of them again.
    Write(ProjectId, Vec<u8>),
    /// A reader, of some number, reads a piece.
    Read(usize, usize),
    /// A reader forgets how far it was, and goes on after an event it saw.
    Resume(usize, prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let project = prop_oneof![3 => Just(PROJECT), 1 => Just(OTHER)];
    prop_oneof![
        3 => (project, prop::collection::vec(any::<u8>(), 1..6))
            .prop_map(|(project, numbers)| Step::Write(project, numbers)),
        3 => (0..3_usize, 1..4_usize).prop_map(|(reader, min)| Step::Read(reader, min)),
        1 => (0..3_usize, any::<prop::sample::Index>())
            .prop_map(|(reader, index)| Step::Resume(reader, index)),
    ]
}

// Scenario: any order of batches of two projects, with repeats, and of three readers that read pieces
// of any size meanwhile and go back to any position they saw.
// Guarantees: whoever has read to the end has seen every event of the project once, in one order that
// is the same for all, and nothing of the other project.
pub(super) fn any_interleaving(backend: &mut impl Backend, cases: u32) {
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    // Each case has its own times, so that nothing of an earlier one is stored again.
    let mut story = Story {
        time: NOW,
        position: 1,
        last: FeedPosition::before(0),
    };
    let shared = std::cell::RefCell::new((backend, &mut story));
    let steps = prop::collection::vec(step(), 1..24);
    runner
        .run(&steps, |steps| {
            let (backend, story) = &mut *shared.borrow_mut();
            story.tell(*backend, steps)
        })
        .unwrap();
}

/// What tells one case from the others.
struct Story {
    time: u64,
    position: u64,
    /// Where the last event of the case before is.
    last: FeedPosition,
}

/// Where a reader is, and what it has seen.
type Reader = (FeedPosition, Vec<(String, FeedPosition)>);

impl Story {
    fn tell(&mut self, backend: &mut impl Backend, steps: Vec<Step>) -> Result<(), TestCaseError> {
        self.time += 1_000_000;
        // The end moves back while a transaction of another database seems to be of this one.
        let start = end(backend).max(self.last);
        let mut readers: Vec<Reader> = vec![(start, Vec::new()); 3];
        let mut stored = BTreeSet::new();
        for step in steps {
            match step {
                Step::Write(project, numbers) => {
                    let numbers: BTreeSet<_> = numbers.into_iter().collect();
                    self.write(backend, project, &numbers);
                    if project == PROJECT {
                        stored.extend(numbers.iter().map(|number| format!("1.{number}")));
                    }
                }
                Step::Read(reader, min) => {
                    let (position, seen) = &mut readers[reader];
                    let page = read(backend, PROJECT, *position, min);
                    seen.extend(page.events.iter().map(|it| (body(&it.event), it.position)));
                    *position = page.next;
                }
                Step::Resume(reader, index) => {
                    let (position, seen) = &mut readers[reader];
                    if !seen.is_empty() {
                        seen.truncate(index.index(seen.len()) + 1);
                        *position = seen[seen.len() - 1].1;
                    }
                }
            }
        }
        await_events(backend, PROJECT, start, stored.len());
        let whole = all_after(backend, PROJECT, start, 1);
        for (position, mut seen) in readers {
            seen.extend(all_after(backend, PROJECT, position, 1));
            prop_assert_eq!(&seen, &whole);
        }
        prop_assert_eq!(whole.len(), stored.len());
        self.last = whole.last().map_or(start, |(_, position)| *position);
        let said: BTreeSet<_> = whole.into_iter().map(|(body, _)| body).collect();
        prop_assert_eq!(said, stored);
        Ok(())
    }

    fn write(&mut self, backend: &mut impl Backend, project: ProjectId, numbers: &BTreeSet<u8>) {
        let records = numbers.iter().map(|number| {
            let body = format!("{}.{number}", project.0);
            record(self.time + u64::from(*number), &body)
        });
        self.position += 1;
        let sent = logs("api", records.collect());
        write_logs(backend, project, self.position, &[sent]);
    }
}

fn events_with(set: impl FnOnce(&mut EventFilter)) -> EventFilter {
    let mut filter = EventFilter::default();
    set(&mut filter);
    filter
}

fn equals(key: &str, value: &str) -> Vec<AttributeEquals> {
    super::fixture::attribute(key, value)
}

/// Each filter of the list, and how many events match.
fn filters() -> Vec<(EventFilter, usize)> {
    let some = |text: &str| Some(text.to_owned());
    let within = events_with(|f| {
        f.range.start_unix_nano = Some(NOW + 1);
        f.range.end_unix_nano = Some(NOW + 4);
    });
    vec![
        (EventFilter::default(), 5),
        (within, 3),
        (events_with(|f| f.service = some("web")), 2),
        (events_with(|f| f.environment = some("api-env")), 3),
        (events_with(|f| f.severity_min = Some(17)), 1),
        (events_with(|f| f.name = some("gen_ai.choice")), 2),
        (events_with(|f| f.trace_id = Some(super::trace_id(1))), 1),
        (events_with(|f| f.span_id = Some(super::span_id(2))), 2),
        (events_with(|f| f.session_id = some("s")), 1),
        (events_with(|f| f.attributes = equals("tier", "gold")), 1),
        (
            events_with(|f| f.attributes = equals("service.version", "1.2")),
            5,
        ),
        (events_with(|f| f.attributes = equals("tier", "tin")), 0),
    ]
}

// Scenario: each filter of the event list, and all of them together.
// Guarantees: the feed, filtered, has exactly the events that the list answers.
pub(super) fn a_feed_of_events_is_filtered_as_the_list_is(backend: &mut impl Backend) {
    let start = end(backend);
    let mut grave = record(NOW + 3, "grave");
    grave.severity_number = 17;
    grave.attributes = vec![super::text("tier", "gold"), super::text("session.id", "s")];
    let all = [
        logs("api", vec![record(NOW, "a"), linked(NOW + 1, 1, 2), grave]),
        logs("web", vec![record(NOW + 2, "b"), linked(NOW + 4, 2, 2)]),
    ];
    write_logs(backend, PROJECT, 1, &all);
    await_events(backend, PROJECT, start, 5);
    let fed: Vec<StoredEvent> = {
        let page = read(backend, PROJECT, start, usize::MAX);
        page.events.into_iter().map(|it| it.event).collect()
    };
    for (filter, count) in filters() {
        let mut test = EventTest::new(&filter);
        let matching = fed.iter().filter(|event| test.matches(event).unwrap());
        let mut matching: Vec<_> = matching.cloned().collect();
        matching.sort_by_key(|it| std::cmp::Reverse(it.columns.id));
        let listed = super::events::listed(backend, &filter, 100);
        assert_eq!(bodies(&matching), bodies(&listed), "{filter:?}");
        assert_eq!(matching.len(), count, "{filter:?}");
    }
}

/// Stores three batches of an event each.
pub(super) fn write_three(backend: &mut impl Backend) {
    for (position, body) in (1..).zip(["1", "2", "3"]) {
        write_logs(
            backend,
            PROJECT,
            position,
            &[logs("api", vec![record(NOW, body)])],
        );
    }
}

/// All that is stored is what [`write_three`] did.
pub(super) fn has_three(backend: &impl Backend) {
    for events_min in [1, 2, 3] {
        let found = all_after(backend, PROJECT, FeedPosition::before(0), events_min);
        assert_eq!(said(&found), ["1", "2", "3"], "{events_min}");
    }
}
