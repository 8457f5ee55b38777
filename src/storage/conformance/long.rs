//! Spans that last long.

use super::fixture::{
    TestSpan, call, page, span, span_list, spans_with, trace_id, trace_list, traces_with,
    write_spans,
};
use super::{Backend, NOW, PROJECT, runtime};
use crate::storage::TimeRange;
use crate::storage::query::{AnalyticsQuery, Dimension};

const HOUR: u64 = 3_600_000_000_000;
const MINUTE: i64 = 60_000_000_000;

// Scenario: an agent runs for 24 hours. Its calls arrive one by one and long before it, the last one
// a day after the first; another trace lies in between.
// Guarantees: the trace is one, and as long as its agent; lists and ranges go by the start; calls
// are counted in the hours in which they began, the agent's duration in the hour in which it did.
pub(super) fn a_span_of_a_day_is_whole(backend: &mut impl Backend) {
    let first = NOW - 24 * HOUR;
    let calls = (0..24).map(|hour| TestSpan {
        parent: Some(100),
        basics: call("m", 10, 2),
        received: first + hour * HOUR + HOUR / 2,
        ..span(1, hour + 1, first + hour * HOUR + 1_000)
    });
    for (place, call) in calls.enumerate() {
        write_spans(backend, &[call]);
        if place == 12 {
            write_spans(backend, &[span(2, 200, first + 12 * HOUR)]);
        }
    }
    write_spans(
        backend,
        &[TestSpan {
            name: "agent",
            duration: 24 * HOUR,
            ..span(1, 100, first)
        }],
    );
    let all = page(100);
    let trace = backend.reader().trace(PROJECT, trace_id(1), &all);
    let trace = runtime().block_on(trace).unwrap().unwrap();
    assert_eq!(trace.summary.name, "agent");
    assert_eq!(trace.summary.start_unix_nano, first);
    assert_eq!(trace.summary.end_unix_nano, NOW);
    assert_eq!(
        (trace.summary.span_count, trace.summary.totals.llm_calls),
        (25, 24)
    );
    assert_eq!(trace.spans.len(), 25);
    let range = |start: u64, end: u64| TimeRange {
        start_unix_nano: Some(start),
        end_unix_nano: Some(end),
    };
    let noon = range(first + 12 * HOUR, first + 13 * HOUR);
    let begun = traces_with(|filter| filter.range = noon);
    assert_eq!(trace_list(backend, &begun, 10), [2]);
    let of_noon = spans_with(|filter| filter.range = noon);
    assert_eq!(span_list(backend, &of_noon, 10), [13, 200]);
    let query = AnalyticsQuery {
        start_minute: i64::try_from(first).unwrap() / MINUTE,
        end_minute: i64::try_from(NOW).unwrap() / MINUTE + 1,
        step_minutes: Some(60),
        group_by: vec![Dimension::Operation],
        filters: Vec::new(),
        durations: true,
        details: false,
        limit: 1_000,
    };
    let sums = backend.reader().analytics(PROJECT, &query);
    let sums = runtime().block_on(sums).unwrap().rows;
    let calls: Vec<_> = sums.iter().filter(|row| row.group == ["chat"]).collect();
    assert_eq!(calls.len(), 24);
    assert!(calls.iter().all(|row| row.measures.totals.llm_calls == 1));
    let others: Vec<_> = sums.iter().filter(|row| row.group == ["http"]).collect();
    assert_eq!(others.len(), 2);
    assert_eq!(others[0].measures.duration_sum_ns, 24 * HOUR);
    assert!(others[0].measures.durations.quantile(0.5) >= Some(24 * HOUR));
}
