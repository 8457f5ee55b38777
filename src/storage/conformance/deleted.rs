//! What is left of traces that retention deleted: nothing that a question can see.

use super::fixture::{
    page, span, span_list, spans_with, trace_id, trace_list, traces_with, write_spans,
};
use super::{Backend, NOW, PROJECT, runtime};
use crate::storage::query::{AnalyticsQuery, Dimension};

const DAY: u64 = 86_400_000_000_000;
const MINUTE: u64 = 60_000_000_000;

/// Spans that sums read span by span count.
fn spans_counted(backend: &impl Backend) -> u64 {
    let minute = i64::try_from(NOW / MINUTE).unwrap();
    let query = AnalyticsQuery {
        start_minute: minute - 60,
        end_minute: minute + 60,
        step_minutes: None,
        group_by: vec![Dimension::User],
        filters: Vec::new(),
        durations: false,
        details: false,
        limit: 10,
    };
    let answer = runtime().block_on(backend.reader().analytics(PROJECT, &query));
    let rows = answer.unwrap().rows;
    rows.iter().map(|row| row.measures.span_count).sum()
}

// Scenario: a trace that began long ago gets a span that is stored together with another trace's;
// then the old one is deleted, and later the same span is sent once more.
// Guarantees: no list and no sum shows a span of the deleted trace, though its neighbour is still
// there; sent again, it is there once.
pub(super) fn spans_of_deleted_traces_are_gone(backend: &mut impl Backend) {
    let at = |trace, number, received| super::fixture::TestSpan {
        received,
        ..span(trace, number, NOW + number * MINUTE)
    };
    write_spans(backend, &[at(1, 1, NOW)]);
    let later = [
        at(1, 2, NOW + 20 * DAY),
        at(2, 3, NOW + 20 * DAY),
        at(3, 4, NOW + 20 * DAY),
    ];
    write_spans(backend, &later);
    let spans = |backend: &_| span_list(backend, &spans_with(|_| {}), 2);
    let traces = |backend: &_| trace_list(backend, &traces_with(|_| {}), 2);
    assert_eq!(spans(backend), [4, 3, 2, 1]);
    assert_eq!(spans_counted(backend), 4);

    let mut deleted = 0;
    loop {
        let report = backend.writer().enforce_retention(NOW + 31 * DAY);
        let report = runtime().block_on(report).unwrap();
        deleted += report.traces_deleted;
        if !report.more {
            break;
        }
    }
    assert_eq!(deleted, 1);
    assert_eq!(traces(backend), [3, 2]);
    assert_eq!(spans(backend), [4, 3]);
    let of_deleted = spans_with(|filter| filter.trace_id = Some(trace_id(1)));
    assert_eq!(span_list(backend, &of_deleted, 2), [0_u64; 0]);
    assert_eq!(spans_counted(backend), 2);

    write_spans(backend, &[at(1, 2, NOW + 31 * DAY)]);
    assert_eq!(spans(backend), [4, 3, 2]);
    assert_eq!(spans_counted(backend), 3);
    let trace = runtime().block_on(backend.reader().trace(PROJECT, trace_id(1), &page(10)));
    assert_eq!(trace.unwrap().unwrap().spans.len(), 1);
}
