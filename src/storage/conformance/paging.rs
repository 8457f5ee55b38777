//! Pages of the span list over spans that lie together and far apart.

use std::collections::HashSet;

use proptest::prelude::*;

use super::fixture::{TestSpan, named, span, span_list, spans_with, write_spans};
use super::{Backend, NOW};
use crate::storage::{SpanFilter, StatusFilter};

const SECOND: u64 = 1_000_000_000;

/// Starts that lie together, apart, and far apart.
pub(super) fn start() -> impl Strategy<Value = u64> {
    let base = NOW - 200 * 3600 * SECOND;
    prop_oneof![
        4 => (0..5_u64).prop_map(move |offset| base + offset),
        4 => (0..20 * SECOND).prop_map(move |offset| base + offset),
        3 => (0..20_u64).prop_map(move |minutes| base + minutes * 60 * SECOND),
        2 => (0..200_u64).prop_map(move |hours| base + hours * 3600 * SECOND),
        1 => Just(0_u64),
        1 => Just(u64::MAX / 2 - 100),
    ]
}

/// Batches of spans: trace, start, whether it failed and whether it is of service `db`.
fn batches() -> impl Strategy<Value = Vec<Vec<(u64, u64, bool, bool)>>> {
    let one = (0..6_u64, start(), any::<bool>(), any::<bool>());
    prop::collection::vec(prop::collection::vec(one, 1..8), 1..8)
}

fn expected(spans: &[TestSpan], filter: &SpanFilter) -> Vec<u64> {
    let is_wanted = |span: &&TestSpan| {
        let from = filter.range.start_unix_nano.unwrap_or(0);
        let to = filter.range.end_unix_nano.unwrap_or(u64::MAX);
        let failed = Some(StatusFilter::Error) == filter.status;
        (from..to).contains(&span.start)
            && (filter.status.is_none() || span.failed == failed)
            && filter
                .service
                .as_deref()
                .is_none_or(|service| span.service == service)
    };
    let mut starts: Vec<u64> = spans
        .iter()
        .filter(is_wanted)
        .map(|span| span.start)
        .collect();
    starts.sort_unstable_by(|left, right| right.cmp(left));
    starts
}

// Scenario: spans in any batches, their starts together and years apart, read in pages of any size
// under several filters.
// Guarantees: newest first, and each that matches exactly once.
pub(super) fn span_pages_join_to_the_whole_list<B: Backend>(open: impl Fn() -> B, cases: u32) {
    let case = (batches(), 1_usize..6, start());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let checked = runner.run(&case, |(batches, limit, bound)| {
        let mut backend = open();
        let mut all: Vec<TestSpan> = Vec::new();
        for batch in batches {
            let spans = batch.into_iter().zip(all.len() as u64..);
            let spans = spans.map(|((trace, start, failed, db), number)| TestSpan {
                failed,
                service: if db { "db" } else { "api" },
                ..span(trace + 1, number + 1, start)
            });
            let spans: Vec<_> = spans.collect();
            write_spans(&mut backend, &spans);
            all.extend(spans);
        }
        let filters = [
            SpanFilter::default(),
            spans_with(|f| f.status = Some(StatusFilter::Error)),
            spans_with(|f| f.service = named("db")),
            spans_with(|f| f.range.start_unix_nano = Some(bound)),
            spans_with(|f| f.range.end_unix_nano = Some(bound)),
        ];
        for filter in filters {
            let numbers = span_list(&backend, &filter, limit);
            let distinct: HashSet<_> = numbers.iter().collect();
            prop_assert_eq!(distinct.len(), numbers.len(), "twice: {:?}", filter);
            let start = |number: &u64| all[usize::try_from(*number).unwrap() - 1].start;
            let starts: Vec<_> = numbers.iter().map(start).collect();
            prop_assert_eq!(&starts, &expected(&all, &filter), "{:?}", filter);
        }
        Ok(())
    });
    checked.unwrap();
}
