//! The span list over blocks of every width.

use proptest::prelude::*;

use super::fixture::{Store, TestSpan, span};
use super::{named, page, spans_with};
use crate::storage::query::{SpanFilter, TimeRange};
use crate::storage::{SpanReader as _, StatusFilter};

const SECOND: u64 = 1_000_000_000;

/// Starts that lie together, apart, and far apart.
fn start() -> impl Strategy<Value = u64> {
    let base = 1_000_000 * SECOND;
    prop_oneof![
        4 => (0..5_u64).prop_map(move |offset| base + offset),
        4 => (0..20 * SECOND).prop_map(move |offset| base + offset),
        3 => (0..20_u64).prop_map(move |minutes| base + minutes * 60 * SECOND),
        2 => (0..100_u64).prop_map(move |hours| base + hours * 3600 * SECOND),
        1 => Just(0_u64),
        1 => Just(u64::MAX / 2 - 100),
    ]
}

fn batches() -> impl Strategy<Value = Vec<Vec<(u8, u64, bool, bool)>>> {
    let one = (0..6_u8, start(), any::<bool>(), any::<bool>());
    prop::collection::vec(prop::collection::vec(one, 1..8), 1..8)
}

fn expected(spans: &[TestSpan], filter: &SpanFilter) -> Vec<u64> {
    let mut starts: Vec<u64> = spans
        .iter()
        .filter(|span| {
            let from = filter.range.start_unix_nano.unwrap_or(0);
            let to = filter.range.end_unix_nano.unwrap_or(u64::MAX);
            (from..to).contains(&span.start)
                && filter
                    .status
                    .is_none_or(|status| span.failed == (status == StatusFilter::Error))
                && filter
                    .service
                    .as_deref()
                    .is_none_or(|service| span.service == service)
        })
        .map(|span| span.start)
        .collect();
    starts.sort_unstable_by(|left, right| right.cmp(left));
    starts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // Scenario: spans in any batches, their starts within a block and across blocks of every
    // width, read in pages of any size under several filters.
    // Guarantees: newest first, and each that matches exactly once.
    #[test]
    fn span_pages_join_to_the_whole_list(
        batches in batches(),
        limit in 1_usize..6,
        bound in start(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut store = Store::open();
        let mut all = Vec::new();
        for batch in batches {
            let spans: Vec<TestSpan> = batch
                .into_iter()
                .zip(all.len()..)
                .map(|((trace, start, failed, db), number)| TestSpan {
                    failed,
                    service: if db { "db" } else { "api" },
                    ..span(trace, u16::try_from(number + 1).unwrap(), start)
                })
                .collect();
            store.write(&spans);
            all.extend(spans);
        }
        let filters = [
            SpanFilter::default(),
            spans_with(|f| f.status = Some(StatusFilter::Error)),
            spans_with(|f| f.service = named("db")),
            spans_with(|f| f.range = TimeRange { start_unix_nano: Some(bound), end_unix_nano: None }),
            spans_with(|f| f.range = TimeRange { start_unix_nano: None, end_unix_nano: Some(bound) }),
        ];
        for filter in filters {
            let mut request = page(limit);
            let (mut starts, mut ids) = (Vec::new(), std::collections::HashSet::new());
            loop {
                let answer = store.reader.list_spans(super::PROJECT, &filter, &request);
                let answer = runtime.block_on(answer).unwrap();
                prop_assert!(answer.items.len() <= limit);
                for item in answer.items {
                    starts.push(item.start_unix_nano);
                    prop_assert!(ids.insert((item.trace_id, item.span_id)), "twice");
                }
                match answer.next {
                    Some(next) => request.after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(&starts, &expected(&all, &filter), "{:?}", filter);
        }
    }
}
