//! Lists and details: filters, order, pages.

use std::collections::HashSet;

use super::fixture::{
    OTHER, TestSpan, attribute, batch, named, page, span, span_id, span_list, spans_with, text,
    trace_id, trace_list, traces_with, write_spans,
};
use super::{Backend, PROJECT, feed, runtime};
use crate::model::ProjectId;
use crate::storage::query::TimeRange;
use crate::storage::{SessionFilter, SpanFilter, StatusFilter, TraceFilter};
use opentelemetry_proto::tonic::common::v1::any_value::Value;

// Scenario: traces with distinct and with equal starts, read in pages of every size.
// Guarantees: newest first, nothing missing and nothing twice at page borders.
pub(super) fn trace_pages_join_to_the_whole_list(backend: &mut impl Backend) {
    for trace in 1..=9 {
        let start = if trace <= 5 { 100 } else { trace * 100 };
        write_spans(backend, &[span(trace, 1, start)]);
    }
    let range = TimeRange {
        start_unix_nano: Some(100),
        end_unix_nano: Some(700),
    };
    let in_range = traces_with(|f| f.range = range);
    for limit in 1..=10 {
        let mut found = trace_list(backend, &TraceFilter::default(), limit);
        assert_eq!(found[..4], [9, 8, 7, 6], "limit {limit}");
        // Equal starts are in an order of the store's own.
        found[4..].sort_unstable();
        assert_eq!(found[4..], [1, 2, 3, 4, 5], "limit {limit}");
        let found = trace_list(backend, &in_range, limit);
        assert_eq!((found.len(), found[0]), (6, 6), "limit {limit}");
    }
}

// Scenario: spans of several traces with one start and one span id.
// Guarantees: pages of any size join to all of them.
pub(super) fn spans_that_differ_by_trace_only_are_all_listed(backend: &mut impl Backend) {
    let spans: Vec<_> = (1..=7).map(|trace| span(trace, 1, 100)).collect();
    write_spans(backend, &spans);
    let reader = backend.reader();
    for limit in 1..=8 {
        let found = runtime().block_on(async {
            let mut request = page(limit);
            let mut found = Vec::new();
            loop {
                let answer = reader
                    .list_spans(PROJECT, &SpanFilter::default(), &request)
                    .await;
                let answer = answer.unwrap();
                found.extend(answer.items.into_iter().map(|span| span.trace_id));
                match answer.next {
                    Some(next) => request.after = Some(next),
                    None => return found,
                }
            }
        });
        let distinct: HashSet<_> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (7, 7), "limit {limit}");
    }
}

/// Five traces of different services, names, sessions and attributes.
fn varied() -> Vec<TestSpan> {
    vec![
        span(1, 1, 100),
        TestSpan {
            parent: Some(1),
            service: "db",
            failed: true,
            ..span(1, 2, 110)
        },
        TestSpan {
            name: "login",
            ..span(2, 3, 200).in_session("s1", "ada")
        },
        TestSpan {
            service: "db",
            duration: 5_000,
            attributes: vec![
                ("tier", text("gold")),
                ("tries", Value::IntValue(3)),
                ("ratio", Value::DoubleValue(0.5)),
                ("hit", Value::BoolValue(true)),
            ],
            ..span(3, 4, 300)
        },
        TestSpan {
            resource_attributes: vec![("region", text("north"))],
            attributes: vec![("tier", text("silver"))],
            ..span(4, 5, 400).in_session("s1", "")
        },
        TestSpan {
            failed: true,
            name: "login",
            service: "web",
            ..span(5, 6, 500)
        },
        TestSpan {
            name: "nul\0 in it",
            ..span(6, 7, 600)
        },
    ]
}

// Scenario: each filter of the trace list, alone and with others, in pages of one and of many.
// Guarantees: exactly the traces that match, newest first.
pub(super) fn each_trace_filter_answers_exactly_its_traces(backend: &mut impl Backend) {
    write_spans(backend, &varied());
    let error = Some(StatusFilter::Error);
    let cases: [(TraceFilter, &[u64]); 18] = [
        (traces_with(|f| f.service = named("db")), &[3, 1]),
        (traces_with(|f| f.service = named("nobody")), &[]),
        (traces_with(|f| f.status = error), &[5, 1]),
        (
            traces_with(|f| f.status = Some(StatusFilter::Ok)),
            &[6, 4, 3, 2],
        ),
        (
            traces_with(|f| (f.service, f.status) = (named("db"), error)),
            &[1],
        ),
        (traces_with(|f| f.name = named("login")), &[5, 2]),
        (traces_with(|f| f.name = named("nul\0 in it")), &[6]),
        (traces_with(|f| f.session_id = named("s1")), &[4, 2]),
        (traces_with(|f| f.session_id = named("s2")), &[]),
        (
            traces_with(|f| (f.session_id, f.name) = (named("s1"), named("login"))),
            &[2],
        ),
        (traces_with(|f| f.duration_min_ns = Some(20)), &[3, 1]),
        (traces_with(|f| f.duration_max_ns = Some(10)), &[6, 5, 4, 2]),
        (
            traces_with(|f| f.attributes = attribute("tier", "gold")),
            &[3],
        ),
        (
            traces_with(|f| f.attributes = attribute("tries", "3")),
            &[3],
        ),
        (
            traces_with(|f| f.attributes = attribute("ratio", "0.5")),
            &[3],
        ),
        (
            traces_with(|f| f.attributes = attribute("hit", "true")),
            &[3],
        ),
        (
            traces_with(|f| f.attributes = attribute("region", "north")),
            &[4],
        ),
        (
            traces_with(|f| {
                f.attributes = [attribute("region", "north"), attribute("tier", "gold")].concat();
            }),
            &[],
        ),
    ];
    for (filter, expected) in cases {
        for limit in [1, 10] {
            let found = trace_list(backend, &filter, limit);
            assert_eq!(found, expected, "{filter:?} limit {limit}");
        }
    }
}

// Scenario: each filter of the span list, alone and with others, in pages of one, two and many.
// Guarantees: exactly the spans that match, newest first.
pub(super) fn each_span_filter_answers_exactly_its_spans(backend: &mut impl Backend) {
    write_spans(backend, &varied());
    let cases: [(SpanFilter, &[u64]); 14] = [
        (SpanFilter::default(), &[7, 6, 5, 4, 3, 2, 1]),
        (spans_with(|f| f.trace_id = Some(trace_id(1))), &[2, 1]),
        (spans_with(|f| f.trace_id = Some(trace_id(99))), &[]),
        (spans_with(|f| f.service = named("db")), &[4, 2]),
        (spans_with(|f| f.service = named("nobody")), &[]),
        (
            spans_with(|f| f.status = Some(StatusFilter::Error)),
            &[6, 2],
        ),
        (
            spans_with(|f| {
                f.trace_id = Some(trace_id(1));
                f.service = named("db");
                f.status = Some(StatusFilter::Error);
            }),
            &[2],
        ),
        (
            spans_with(|f| {
                f.status = Some(StatusFilter::Ok);
                f.name = named("login");
            }),
            &[3],
        ),
        (spans_with(|f| f.name = named("nul\0 in it")), &[7]),
        (spans_with(|f| f.duration_min_ns = Some(11)), &[4]),
        (spans_with(|f| f.duration_max_ns = Some(9)), &[]),
        (
            spans_with(|f| {
                f.attributes = [attribute("tier", "silver"), attribute("region", "north")].concat();
            }),
            &[5],
        ),
        (
            spans_with(|f| {
                f.range.start_unix_nano = Some(110);
                f.range.end_unix_nano = Some(400);
            }),
            &[4, 3, 2],
        ),
        (
            spans_with(|f| {
                f.trace_id = Some(trace_id(1));
                f.range.end_unix_nano = Some(110);
            }),
            &[1],
        ),
    ];
    for (filter, expected) in cases {
        for limit in [1, 2, 10] {
            let found = span_list(backend, &filter, limit);
            assert_eq!(found, expected, "{filter:?} limit {limit}");
        }
        let found = feed::matching(backend, &filter);
        assert_eq!(found, expected, "{filter:?} of the feed");
    }
}

// Scenario: one trace arrives in three batches, out of order, with equal starts among its spans.
// Guarantees: its spans are answered in (start, span id) order, page by page, each with its own
// message, resource and columns.
pub(super) fn a_trace_in_many_batches_is_answered_in_order(backend: &mut impl Backend) {
    let starts = [50, 20, 20, 90, 10, 70, 20];
    let spans: Vec<_> = starts
        .into_iter()
        .zip(1..)
        .map(|(start, number)| TestSpan {
            parent: (number != 5).then_some(5),
            service: if number % 2 == 0 { "even" } else { "odd" },
            ..span(1, number, start)
        })
        .collect();
    for part in spans.chunks(3) {
        write_spans(backend, part);
    }
    let reader = backend.reader();
    runtime().block_on(async {
        let mut request = page(2);
        let mut found = Vec::new();
        loop {
            let answer = reader.trace(PROJECT, trace_id(1), &request).await;
            let trace = answer.unwrap().unwrap();
            assert_eq!(trace.summary.span_count, 7);
            assert_eq!(trace.summary.root_span_id, Some(span_id(5)));
            assert!(trace.spans.len() <= 2);
            let last = trace.spans.last().map(|span| span.summary.cursor());
            assert!(trace.next.is_none() || trace.next == last);
            found.extend(trace.spans);
            match trace.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        let order: Vec<_> = found.iter().map(|span| span.summary.span_id).collect();
        let expected = [5, 2, 3, 7, 1, 6, 4];
        assert_eq!(order, expected.map(span_id));
        for (stored, number) in found.iter().zip(expected) {
            let sent = &spans[usize::try_from(number).unwrap() - 1];
            assert_eq!(stored.message, sent.message());
            assert_eq!(stored.summary.start_unix_nano, sent.start);
            assert_eq!(stored.summary.service_name, sent.service);
            assert_eq!(stored.resource.service_name, sent.service);
            assert_eq!(stored.received_unix_nano, super::NOW);
            let single = reader.span(PROJECT, trace_id(1), span_id(number));
            assert_eq!(single.await.unwrap().as_ref(), Some(stored));
        }
        let none = reader.trace(PROJECT, trace_id(9), &page(1)).await;
        assert_eq!(none.unwrap(), None);
        let none = reader.span(PROJECT, trace_id(1), span_id(99)).await;
        assert_eq!(none.unwrap(), None);
    });
}

// Scenario: a trace of more spans than are looked into at once, one of them with an attribute.
// Guarantees: the trace and the span are found by it.
pub(super) fn attributes_are_found_in_long_traces(backend: &mut impl Backend) {
    let mut spans: Vec<_> = (1..=12_000).map(|number| span(1, number, number)).collect();
    spans[11_499].attributes = vec![("tier", text("gold"))];
    for part in spans.chunks(4_000) {
        write_spans(backend, part);
    }
    write_spans(backend, &[span(2, 1, 20_000)]);
    let gold = attribute("tier", "gold");
    let traces = traces_with(|f| f.attributes = gold.clone());
    assert_eq!(trace_list(backend, &traces, 10), [1]);
    let spans = spans_with(|f| f.attributes = gold.clone());
    assert_eq!(span_list(backend, &spans, 10), [11_500]);
    let spans = spans_with(|f| (f.trace_id, f.attributes) = (Some(trace_id(1)), gold));
    assert_eq!(span_list(backend, &spans, 10), [11_500]);
}

// Scenario: three services, two sessions and three refused spans, in small pages.
// Guarantees: services by name, sessions by latest end, refused spans latest first, complete.
pub(super) fn short_lists_are_answered_in_pages(backend: &mut impl Backend) {
    write_spans(backend, &varied());
    write_spans(backend, &[span(7, 8, 50).in_session("s2", "bob")]);
    for number in 1..=3 {
        let mut rows = batch(&[span(9, number, 1)]);
        rows.spans[0].received_unix_nano += number;
        let refused = backend.writer().quarantine(&rows.spans[0], "why");
        runtime().block_on(refused).unwrap();
    }
    let reader = backend.reader();
    runtime().block_on(async {
        let mut request = page(2);
        let first = reader.list_services(PROJECT, &request).await.unwrap();
        request.after = first.next.clone();
        let second = reader.list_services(PROJECT, &request).await.unwrap();
        let services = [first.items, second.items].concat();
        let names: Vec<_> = services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        assert_eq!((names, second.next), (vec!["api", "db", "web"], None));

        let mut request = page(1);
        let all = SessionFilter::default();
        let first = reader.list_sessions(PROJECT, &all, &request).await.unwrap();
        assert_eq!(first.items[0].session_id, "s1");
        assert_eq!(first.items[0].trace_count, 2);
        assert_eq!(first.items[0].user_id.as_deref(), Some("ada"));
        assert_eq!(first.items[0].start_unix_nano, 200);
        assert_eq!(first.items[0].end_unix_nano, 410);
        request.after = first.next;
        let second = reader.list_sessions(PROJECT, &all, &request).await.unwrap();
        assert_eq!(second.items[0].session_id, "s2");
        assert_eq!(second.next, None);
        let of_bob = SessionFilter {
            user_id: named("bob"),
            ..SessionFilter::default()
        };
        let answer = reader.list_sessions(PROJECT, &of_bob, &page(10)).await;
        assert_eq!(answer.unwrap().items, second.items);
        let early = SessionFilter {
            range: TimeRange {
                start_unix_nano: None,
                end_unix_nano: Some(410),
            },
            ..SessionFilter::default()
        };
        let answer = reader.list_sessions(PROJECT, &early, &page(10)).await;
        assert_eq!(answer.unwrap().items, second.items);

        let mut request = page(2);
        let first = reader.list_dead_letters(PROJECT, &request).await.unwrap();
        request.after = first.next;
        let second = reader.list_dead_letters(PROJECT, &request).await.unwrap();
        let letters = [first.items, second.items].concat();
        let order: Vec<_> = letters.iter().map(|letter| letter.span_id).collect();
        assert_eq!(order, [3, 2, 1].map(span_id));
        assert_eq!(letters[0].reason, "why");
        assert_eq!(letters[0].message, span(9, 3, 1).message());
        assert_eq!(second.next, None);
        assert!(reader.usage().await.unwrap().bytes > 0);
    });
}

// Scenario: another project holds the same trace id, span ids, services and sessions as ours, and
// more; every list and detail is asked for each project.
// Guarantees: no answer to one project holds anything of the other.
pub(super) fn a_project_never_sees_rows_of_another(backend: &mut impl Backend) {
    let ours = |trace, number| TestSpan {
        failed: true,
        attributes: vec![("tier", text("gold"))],
        ..span(trace, number, 100).in_session("s1", "")
    };
    let theirs = |trace, number| TestSpan {
        project: OTHER,
        name: "secret",
        ..ours(trace, number)
    };
    write_spans(backend, &[theirs(1, 1), theirs(2, 2)]);
    assert!(trace_list(backend, &TraceFilter::default(), 10).is_empty());
    write_spans(backend, &[ours(1, 1)]);
    for filter in [
        TraceFilter::default(),
        traces_with(|f| f.service = named("api")),
        traces_with(|f| f.status = Some(StatusFilter::Error)),
        traces_with(|f| f.session_id = named("s1")),
        traces_with(|f| f.attributes = attribute("tier", "gold")),
    ] {
        assert_eq!(trace_list(backend, &filter, 10), [1], "{filter:?}");
    }
    for filter in [
        SpanFilter::default(),
        spans_with(|f| f.trace_id = Some(trace_id(1))),
        spans_with(|f| f.service = named("api")),
        spans_with(|f| f.status = Some(StatusFilter::Error)),
        spans_with(|f| f.attributes = attribute("tier", "gold")),
    ] {
        assert_eq!(span_list(backend, &filter, 10), [1], "{filter:?}");
    }
    let reader = backend.reader();
    runtime().block_on(async {
        let trace = reader.trace(PROJECT, trace_id(1), &page(10)).await.unwrap();
        let trace = trace.unwrap();
        assert_eq!((trace.spans.len(), trace.summary.name.as_str()), (1, "op"));
        let missing = reader.trace(PROJECT, trace_id(2), &page(10)).await;
        assert_eq!(missing.unwrap(), None);
        let missing = reader.span(PROJECT, trace_id(2), span_id(2)).await;
        assert_eq!(missing.unwrap(), None);
        let services = reader.list_services(PROJECT, &page(10)).await.unwrap();
        assert_eq!(services.items[0].span_count, 1);
        let filter = SessionFilter::default();
        let sessions = reader.list_sessions(PROJECT, &filter, &page(10)).await;
        assert_eq!(sessions.unwrap().items[0].span_count, 1);
        let unknown = reader.list_services(ProjectId(3), &page(10)).await;
        assert_eq!(unknown.unwrap().items, []);
    });
}
