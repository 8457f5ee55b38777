//! Following what is stored.

use std::time::{Duration, Instant};

use super::fixture::{
    OTHER, TestSpan, attribute, span, span_list, span_number, spans_with, write_spans,
};
use super::{Backend, NOW, PROJECT, runtime};
use crate::model::ProjectId;
use crate::storage::SpanFilter;
use crate::storage::feed::{FeedPage, FeedPosition, FeedRequest, FeedTest};

/// Before everything that a new store will hold.
fn beginning() -> FeedPosition {
    FeedPosition::before(0)
}

/// A transaction that has a number and does not end.
pub(super) struct UnderWay {
    client: tokio_postgres::Client,
    runtime: tokio::runtime::Runtime,
}

impl UnderWay {
    pub(super) fn begin(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let connecting = tokio_postgres::connect(url, tokio_postgres::NoTls);
            let (client, connection) = connecting.await.unwrap();
            runtime.spawn(connection);
            let begin = "BEGIN; SELECT pg_current_xact_id()";
            client.batch_execute(begin).await.unwrap();
            client
        });
        Self { client, runtime }
    }

    pub(super) fn end(self) {
        let ended = self.client.batch_execute("ROLLBACK");
        self.runtime.block_on(ended).unwrap();
    }
}

/// What is stored now is in the feed only after a transaction has ended.
pub(super) fn waits(backend: &mut impl Backend, number: u64, transaction: UnderWay) {
    let after = end(backend);
    write_spans(backend, &[span(number, number, NOW + number)]);
    assert_eq!(all_after(backend, PROJECT, after, usize::MAX), []);
    transaction.end();
    await_spans(backend, PROJECT, after, 1);
}

/// What is stored now is in the feed while a transaction is under way.
pub(super) fn goes_on(backend: &mut impl Backend, number: u64, transaction: UnderWay) {
    let after = end(backend);
    write_spans(backend, &[span(number, number, NOW + number)]);
    await_spans(backend, PROJECT, after, 1);
    transaction.end();
}

fn end(backend: &impl Backend) -> FeedPosition {
    runtime().block_on(backend.reader().feed_end()).unwrap()
}

/// Waits until the feed has so many spans of a project after a position: a store may wait for a
/// transaction of somebody else first.
fn await_spans(backend: &impl Backend, project: ProjectId, after: FeedPosition, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while all_after(backend, project, after, usize::MAX).len() < count {
        assert!(Instant::now() < deadline, "the feed stands still");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(backend: &impl Backend, project: ProjectId, request: &FeedRequest) -> FeedPage {
    let page = backend.reader().feed(project, request);
    runtime().block_on(page).unwrap()
}

/// All that comes after a position, with the position after each.
fn all_after(
    backend: &impl Backend,
    project: ProjectId,
    mut after: FeedPosition,
    spans_min: usize,
) -> Vec<(u64, FeedPosition)> {
    let mut found = Vec::new();
    loop {
        let request = FeedRequest {
            after,
            whole: false,
            spans_min,
        };
        let page = read(backend, project, &request);
        assert!(page.next >= after);
        let spans = page.spans.iter();
        found.extend(spans.map(|it| (span_number(it.summary.span_id), it.position)));
        after = page.next;
        if !page.more {
            return found;
        }
    }
}

/// Spans that match, as the feed finds them, the latest start first as the span list has them.
pub(super) fn matching(backend: &impl Backend, filter: &SpanFilter) -> Vec<u64> {
    let all = span_list(backend, &SpanFilter::default(), 1000);
    await_spans(backend, PROJECT, beginning(), all.len());
    let request = FeedRequest {
        after: beginning(),
        whole: true,
        spans_min: usize::MAX,
    };
    let page = read(backend, PROJECT, &request);
    assert!(!page.more);
    let mut test = FeedTest::new(filter);
    let mut found: Vec<_> = page
        .spans
        .iter()
        .filter(|span| test.matches(span).unwrap())
        .map(|span| {
            (
                span.summary.start_unix_nano,
                span_number(span.summary.span_id),
            )
        })
        .collect();
    found.sort_unstable();
    found.iter().rev().map(|(_, number)| *number).collect()
}

fn numbers(found: &[(u64, FeedPosition)]) -> Vec<u64> {
    found.iter().map(|(number, _)| *number).collect()
}

// Scenario: batches are stored, some of their spans twice, and those of another project between
// them; the feed is read in pieces of every size and from every position it has.
// Guarantees: every span once, each batch after those before it; from any position exactly what
// comes after it, to a project only its own.
pub(super) fn a_feed_has_every_span_once_in_order(backend: &mut impl Backend) {
    let start = end(backend);
    let of = |numbers: std::ops::Range<u64>| -> Vec<TestSpan> {
        let spans = numbers.map(|number| span(number % 3, number, NOW - number));
        spans.collect()
    };
    let theirs = TestSpan {
        project: OTHER,
        ..span(9, 99, NOW)
    };
    write_spans(backend, &of(1..8));
    write_spans(backend, &[of(5..12), vec![theirs]].concat());
    await_spans(backend, PROJECT, start, 11);
    let middle = end(backend);
    write_spans(backend, &of(10..20));
    await_spans(backend, PROJECT, start, 19);
    await_spans(backend, OTHER, start, 1);
    let whole = all_after(backend, PROJECT, start, usize::MAX);
    let sorted = |mut numbers: Vec<u64>| {
        numbers.sort_unstable();
        numbers
    };
    let found = numbers(&whole);
    assert_eq!(sorted(found[..7].to_vec()), (1..8).collect::<Vec<_>>());
    assert_eq!(sorted(found[7..11].to_vec()), (8..12).collect::<Vec<_>>());
    assert_eq!(sorted(found[11..].to_vec()), (12..20).collect::<Vec<_>>());
    assert!(whole.is_sorted_by_key(|(_, position)| *position));
    for spans_min in [1, 2, 5, 100] {
        let pieces = all_after(backend, PROJECT, start, spans_min);
        assert_eq!(pieces, whole, "{spans_min}");
    }
    for (place, (_, position)) in whole.iter().enumerate() {
        let read_back = position.to_string().parse().unwrap();
        let rest = all_after(backend, PROJECT, read_back, usize::MAX);
        assert_eq!(rest, whole[place + 1..], "{position}");
    }
    assert_eq!(all_after(backend, PROJECT, middle, 1), whole[11..]);
    assert!(all_after(backend, PROJECT, end(backend), 1).is_empty());
    assert_eq!(numbers(&all_after(backend, OTHER, start, 1)), [99]);
}

// Scenario: a filter by an attribute of a span and one of its resource.
// Guarantees: the feed brings what is needed to test them, where it is asked to.
pub(super) fn a_feed_is_filtered_by_attributes(backend: &mut impl Backend) {
    let mut gold = span(1, 1, NOW);
    gold.attributes = vec![("tier", super::fixture::text("gold"))];
    gold.resource_attributes = vec![("region", super::fixture::text("north"))];
    write_spans(backend, &[gold, span(1, 2, NOW + 1)]);
    let wanted = spans_with(|f| {
        f.attributes = [attribute("tier", "gold"), attribute("region", "north")].concat();
    });
    assert_eq!(matching(backend, &wanted), [1]);
    let other = spans_with(|f| f.attributes = attribute("tier", "silver"));
    assert!(matching(backend, &other).is_empty());
}

/// Stores three batches of a span each.
pub(super) fn write_three(backend: &mut impl Backend) {
    for number in 1..4 {
        write_spans(backend, &[span(number, number, NOW)]);
    }
}

/// All that is stored is what [`write_three`] did.
pub(super) fn has_three(backend: &impl Backend) {
    for spans_min in [1, 2, 3] {
        let found = all_after(backend, PROJECT, beginning(), spans_min);
        assert_eq!(numbers(&found), [1, 2, 3], "{spans_min}");
    }
}
