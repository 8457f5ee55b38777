//! Spans found by their id alone, and by attributes that they need not have.

use super::fixture::{
    OTHER, TestSpan, attribute, span, span_id, span_list, spans_with, text, trace_id, trace_list,
    traces_with, write_spans,
};
use super::{Backend, PROJECT, runtime};

fn of(number: u64, source: &str) -> TestSpan {
    TestSpan {
        attributes: vec![("source", text(source))],
        ..span(number, number, 1000 + number)
    }
}

// Scenario: spans of several traces and batches, and one of another project.
// Guarantees: a span's id alone leads to its trace, never to another project's.
pub(super) fn a_span_is_found_by_its_id_alone(backend: &mut impl Backend) {
    write_spans(backend, &[span(1, 1, 1000), span(1, 2, 1001)]);
    write_spans(backend, &[span(2, 3, 900), span(1, 4, 1002)]);
    let foreign = TestSpan {
        project: OTHER,
        ..span(3, 5, 1000)
    };
    write_spans(backend, &[foreign]);
    let find = |project, number| {
        let found = backend.reader().find_span(project, span_id(number));
        runtime().block_on(found).unwrap()
    };
    for (number, trace) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        assert_eq!(find(PROJECT, number), Some(trace_id(trace)), "{number}");
    }
    assert_eq!(find(PROJECT, 5), None);
    assert_eq!(find(OTHER, 5), Some(trace_id(3)));
    assert_eq!(find(PROJECT, 6), None);
}

// Scenario: spans with an attribute, without it, and with it in their resource.
// Guarantees: a filter that takes absence leaves out exactly the other values.
pub(super) fn an_attribute_may_be_wanted_or_absent(backend: &mut impl Backend) {
    let of_resource = |number, source: &str| TestSpan {
        resource_attributes: vec![("source", text(source))],
        ..span(number, number, 1000 + number)
    };
    let mut both = of_resource(6, "hook");
    both.attributes = vec![("source", text("sdk"))];
    let spans = [
        of(1, "sdk"),
        of(2, "hook"),
        span(3, 3, 1003),
        of_resource(4, "sdk"),
        of_resource(5, "hook"),
        both,
    ];
    write_spans(backend, &spans);
    let mut wanted = attribute("source", "sdk");
    let plain = spans_with(|filter| filter.attributes = wanted.clone());
    assert_eq!(span_list(backend, &plain, 2), [6, 4, 1]);
    wanted[0].or_absent = true;
    let spans = spans_with(|filter| filter.attributes = wanted.clone());
    assert_eq!(span_list(backend, &spans, 2), [6, 4, 3, 1]);
    let traces = traces_with(|filter| filter.attributes = wanted);
    assert_eq!(trace_list(backend, &traces, 2), [6, 4, 3, 1]);
}
