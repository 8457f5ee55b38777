//! Spans that are sampled out: not stored, and counted like any other.

use proptest::prelude::*;

use super::calls::{FIRST_MINUTE, MINUTE, any_order, any_span, with_genai};
use super::fixture::{OTHER, TestSpan, batch, call, page, span, span_list, trace_id, write_spans};
use super::{Backend, NOW, PROJECT, runtime};
use crate::config::ByteSize;
use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::model::sampling::{Reason, SampledOut};
use crate::storage::query::{AnalyticsQuery, Dimension};
use crate::storage::sampled::SPANS_MAX;
use crate::storage::{SessionFilter, SpanFilter, WriteReport};

const HOUR_NS: u64 = 3600 * 1_000_000_000;
/// For how long spans are remembered.
const REMEMBER_NS: u64 = 24 * HOUR_NS;

/// Writes spans as one batch, where some are sampled out.
pub(super) fn write(backend: &mut impl Backend, spans: &[TestSpan]) -> WriteReport {
    let mut batch = batch(spans);
    batch.remember_ns = Some(i64::try_from(REMEMBER_NS).unwrap());
    runtime().block_on(backend.writer().write(&batch)).unwrap()
}

pub(super) fn out(span: TestSpan) -> TestSpan {
    TestSpan {
        sampled_out: Some(Reason::Head),
        ..span
    }
}

/// A call of 10 tokens in trace 1.
pub(super) fn call_span(number: u64, parent: Option<u64>) -> TestSpan {
    let span = TestSpan {
        parent,
        basics: call("m", 10, 2),
        ..span(1, number, (FIRST_MINUTE + number) * MINUTE)
    };
    span.in_session("s", "ada")
}

pub(super) fn agent_span(number: u64, input: i64) -> TestSpan {
    with_genai(call_span(number, None), |genai| {
        genai.is_model_call = false;
        genai.usage.input = Some(input);
    })
}

/// All that is added up over a project's spans, stored or not.
pub(super) fn sums(backend: &impl Backend, project: ProjectId) -> String {
    let reader = backend.reader();
    let first = i64::try_from(FIRST_MINUTE).unwrap();
    let group_by = [
        Dimension::Service,
        Dimension::Operation,
        Dimension::Provider,
        Dimension::Model,
    ];
    runtime().block_on(async {
        let mut all = Vec::new();
        for step in [1, 60, 1_440] {
            let query = AnalyticsQuery {
                start_minute: first,
                end_minute: first + 3 * 1_440,
                step_minutes: Some(step),
                group_by: group_by.to_vec(),
                filters: Vec::new(),
                durations: true,
                details: false,
                limit: 10_000,
            };
            all.push(reader.analytics(project, &query).await.unwrap().rows);
        }
        let services = reader.list_services(project, &page(100)).await.unwrap();
        let filter = SessionFilter::default();
        let sessions = reader.list_sessions(project, &filter, &page(100)).await;
        let mut sessions = sessions.unwrap().items;
        sessions.sort_by(|a, b| a.session_id.cmp(&b.session_id));
        for session in &mut sessions {
            // Those that are stored.
            session.trace_count = 0;
        }
        format!("{all:#?}\n{:#?}\n{sessions:#?}", services.items)
    })
}

/// Spans and totals of a trace, if it is stored.
pub(super) fn trace(
    backend: &impl Backend,
    project: ProjectId,
    number: u64,
) -> Option<(usize, Totals)> {
    let page = page(1000);
    let trace = backend.reader().trace(project, trace_id(number), &page);
    let trace = runtime().block_on(trace).unwrap();
    trace.map(|trace| (trace.spans.len(), trace.summary.totals))
}

fn report(stored: u64, duplicate: u64, head: u64) -> WriteReport {
    WriteReport {
        spans_stored: stored,
        spans_duplicate: duplicate,
        spans_sampled_out: SampledOut {
            head,
            ..SampledOut::default()
        },
        ..WriteReport::default()
    }
}

/// Traces, spans and input tokens of the one session there is.
fn in_session(backend: &impl Backend) -> (u64, u64, i64) {
    let (filter, page) = (SessionFilter::default(), page(10));
    let sessions = backend.reader().list_sessions(PROJECT, &filter, &page);
    let sessions = runtime().block_on(sessions).unwrap().items;
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    (
        session.trace_count,
        session.span_count,
        session.totals.input_tokens,
    )
}

// Scenario: a trace of which all spans are sampled out, sent twice, in one batch and in several; then
// one that is kept.
// Guarantees: nothing of the first is stored, all of it is counted once; the second is as ever.
pub(super) fn what_is_sampled_out_counts_once_and_is_not_stored(backend: &mut impl Backend) {
    let spans: Vec<_> = (1..=4).map(|number| out(call_span(number, None))).collect();
    let twice = [&spans[..2], &spans[..2]].concat();
    assert_eq!(write(backend, &twice), report(0, 2, 2));
    assert_eq!(write(backend, &spans), report(0, 2, 2));
    assert_eq!(write(backend, &spans), report(0, 4, 0));
    assert_eq!(trace(backend, PROJECT, 1), None);
    assert_eq!(span_list(backend, &SpanFilter::default(), 10), [0_u64; 0]);
    assert_eq!(in_session(backend), (0, 4, 40));
    let kept = TestSpan {
        trace: 2,
        ..call_span(9, None)
    };
    assert_eq!(write(backend, std::slice::from_ref(&kept)), report(1, 0, 0));
    assert_eq!(write(backend, &[kept]), report(0, 1, 0));
    assert_eq!(in_session(backend), (1, 5, 50));
    assert_eq!(trace(backend, PROJECT, 2).unwrap().0, 1);
}

// Scenario: an agent and a call of a trace are sampled out; then another call of it is to be kept; then
// one more is to be sampled out, and the first ones are sent again, to be kept; the same trace of
// another project is sampled out.
// Guarantees: from then on the trace is stored, without what was left out; its totals are those of all
// its spans, and so are all sums.
pub(super) fn a_trace_that_is_kept_takes_over_what_was_counted(backend: &mut impl Backend) {
    let agent = agent_span(1, 70);
    assert_eq!(
        write(backend, &[out(agent.clone()), out(call_span(2, Some(1)))]),
        report(0, 0, 2)
    );
    assert_eq!(write(backend, &[call_span(3, Some(1))]), report(1, 0, 0));
    let (spans, totals) = trace(backend, PROJECT, 1).unwrap();
    assert_eq!((spans, totals.llm_calls, totals.input_tokens), (1, 2, 20));
    assert_eq!(write(backend, &[out(call_span(4, None))]), report(1, 0, 0));
    assert_eq!(
        write(backend, &[agent.clone(), call_span(2, Some(1))]),
        report(0, 2, 0)
    );
    // One that was left out before is to be kept this time, one that is stored is not.
    assert_eq!(
        write(backend, &[agent.clone(), out(call_span(4, None))]),
        report(0, 2, 0)
    );
    let theirs = TestSpan {
        project: OTHER,
        ..call_span(3, None)
    };
    assert_eq!(write(backend, &[out(theirs)]), report(0, 0, 1));
    assert_eq!(trace(backend, OTHER, 1), None);
    let (spans, totals) = trace(backend, PROJECT, 1).unwrap();
    assert_eq!((spans, totals.llm_calls, totals.input_tokens), (2, 3, 30));
    let found = sums(backend, PROJECT);
    let unsampled = ProjectId(77);
    let all = [
        agent,
        call_span(2, Some(1)),
        call_span(3, Some(1)),
        call_span(4, None),
    ];
    let all = all.map(|span| TestSpan {
        project: unsampled,
        ..span
    });
    write_spans(backend, &all);
    assert_eq!(sums(backend, unsampled), found);
}

// Scenario: a kept span without usage follows an agent that was sampled out, then the agent's call;
// nothing is sampled any more by then.
// Guarantees: the trace knows of the agent, so its usage counts until the call comes.
pub(super) fn what_was_counted_is_known_without_sampling(backend: &mut impl Backend) {
    write(backend, &[out(agent_span(1, 70))]);
    let plain = span(1, 2, (FIRST_MINUTE + 2) * MINUTE);
    assert_eq!(write_spans(backend, &[plain]), report(1, 0, 0));
    let totals = trace(backend, PROJECT, 1).unwrap().1;
    assert_eq!((totals.llm_calls, totals.input_tokens), (0, 70));
    let again = [agent_span(1, 70), call_span(3, Some(1))];
    assert_eq!(write_spans(backend, &again), report(1, 1, 0));
    let totals = trace(backend, PROJECT, 1).unwrap().1;
    assert_eq!((totals.llm_calls, totals.input_tokens), (1, 10));
}

// Scenario: more spans of one trace than can be left out.
// Guarantees: the further ones are stored, each once; all count once.
pub(super) fn a_trace_too_long_to_be_left_out_is_stored(backend: &mut impl Backend) {
    let part = SPANS_MAX as u64 / 2 - 1;
    let spans: Vec<_> = (1..=3 * part)
        .map(|number| out(span(1, number, FIRST_MINUTE * MINUTE + number)))
        .collect();
    let [one, two, three] = [0, part, 2 * part].map(|first| {
        let first = usize::try_from(first).unwrap();
        &spans[first..first + usize::try_from(part).unwrap()]
    });
    assert_eq!(write(backend, one), report(0, 0, part));
    assert_eq!(write(backend, two), report(0, 0, part));
    assert_eq!(write(backend, three), report(part, 0, 0));
    assert_eq!(write(backend, &spans), report(0, 3 * part, 0));
    let found = sums(backend, PROJECT);
    let unsampled = ProjectId(77);
    let spans = spans.into_iter().map(|span| TestSpan {
        project: unsampled,
        sampled_out: None,
        ..span
    });
    write_spans(backend, &spans.collect::<Vec<_>>());
    assert_eq!(sums(backend, unsampled), found);
}

// Scenario: retention runs before and after spans that were sampled out are due to be forgotten.
// Guarantees: before, they are known when they come again; after, they are not.
pub(super) fn what_was_sampled_out_is_forgotten_in_time(backend: &mut impl Backend) {
    let span = out(call_span(1, None));
    assert_eq!(write(backend, std::slice::from_ref(&span)), report(0, 0, 1));
    let retain = |backend: &mut dyn Backend, now| {
        runtime()
            .block_on(backend.writer().enforce_retention(now))
            .unwrap()
    };
    retain(backend, NOW + REMEMBER_NS);
    assert_eq!(write(backend, std::slice::from_ref(&span)), report(0, 1, 0));
    retain(backend, NOW + REMEMBER_NS + 2 * HOUR_NS);
    assert_eq!(write(backend, &[span]), report(0, 0, 1));
}

// Scenario: the store is too large because of spans that were sampled out hours ago, some traces are
// stored, and some spans were sampled out just now; then without any room at all. `size`: enough for all
// but those of hours ago.
// Guarantees: those of hours ago are forgotten first, which is enough where there is some room; those of
// the last hour stay known in any case.
pub(super) fn what_was_left_out_goes_before_traces<B: Backend>(
    open: fn(ByteSize) -> B,
    size: ByteSize,
) {
    const OLD: u64 = 40_000;
    for (size, keeps_traces) in [(size, true), (ByteSize(1), false)] {
        let mut backend = open(size);
        let write = |backend: &mut B, spans: &[TestSpan]| {
            let mut batch = batch(spans);
            batch.remember_ns = Some(i64::try_from(10 * REMEMBER_NS).unwrap());
            runtime().block_on(backend.writer().write(&batch)).unwrap()
        };
        let of = |trace, received| TestSpan {
            trace,
            received,
            ..call_span(1, None)
        };
        write(&mut backend, &[of(1, NOW), of(2, NOW)]);
        let old: Vec<_> = (10..10 + OLD).map(|trace| out(of(trace, NOW))).collect();
        for part in old.chunks(10_000) {
            write(&mut backend, part);
        }
        let newest = NOW + 3 * HOUR_NS;
        let late = [out(of(3, newest - HOUR_NS + 1)), out(of(4, newest))];
        write(&mut backend, &late);
        let mut steps = 0;
        while runtime()
            .block_on(backend.writer().enforce_retention(NOW + 2 * REMEMBER_NS))
            .unwrap()
            .more
        {
            steps += 1;
            assert!(steps < 1000);
        }
        assert!(steps > 2, "{steps}");
        for number in [1, 2] {
            assert_eq!(trace(&backend, PROJECT, number).is_some(), keeps_traces);
        }
        assert_eq!(write(&mut backend, &late), report(0, 2, 0));
        assert_eq!(write(&mut backend, &old[..10]), report(0, 0, 10));
    }
}

// Scenario: spans were sampled out hours ago, some while the clock was ahead, some to be remembered for
// longer than today; then there is no room.
// Guarantees: those of hours ago are forgotten, also what was to be remembered for longer; those of the
// last hour stay known.
pub(super) fn the_last_hour_stays_known_after_a_wrong_clock<B: Backend>(open: fn(ByteSize) -> B) {
    let mut backend = open(ByteSize(1));
    let now = NOW + 5 * HOUR_NS;
    let of = |trace, received| {
        out(TestSpan {
            trace,
            received,
            ..call_span(1, None)
        })
    };
    let [ahead, longer, old, late] = [
        of(1, NOW + 100 * HOUR_NS),
        of(2, NOW),
        of(3, NOW),
        of(4, now - HOUR_NS / 2),
    ];
    let write = |backend: &mut B, span: &TestSpan, remember_ns: u64| {
        let mut batch = batch(std::slice::from_ref(span));
        batch.remember_ns = Some(i64::try_from(remember_ns).unwrap());
        runtime().block_on(backend.writer().write(&batch)).unwrap()
    };
    write(&mut backend, &ahead, REMEMBER_NS);
    write(&mut backend, &longer, 3 * REMEMBER_NS);
    write(&mut backend, &old, REMEMBER_NS);
    write(&mut backend, &late, REMEMBER_NS);
    while runtime()
        .block_on(backend.writer().enforce_retention(now))
        .unwrap()
        .more
    {}
    for span in [&ahead, &late] {
        assert_eq!(write(&mut backend, span, REMEMBER_NS), report(0, 1, 0));
    }
    for span in [&longer, &old] {
        assert_eq!(write(&mut backend, span, REMEMBER_NS), report(0, 0, 1));
    }
}

/// Spans, in some order twice each, and whether each is to be sampled out that time.
fn any_delivery() -> impl Strategy<Value = (Vec<TestSpan>, Vec<usize>, Vec<bool>)> {
    let spans = prop::collection::vec(any_span(), 1..14).prop_map(|mut spans| {
        for (span, number) in spans.iter_mut().zip(1..) {
            span.span = number;
        }
        spans
    });
    let marks = prop::collection::vec(prop::bool::weighted(0.7), 28);
    (spans.prop_flat_map(any_order), marks)
        .prop_map(|((spans, order), marks)| (spans, order, marks))
}

// Scenario: calls, agents and other spans of two traces with any relations, in any order and batches,
// twice each; any of them, each time, to be sampled out or not.
// Guarantees: rollups of every level, services and sessions are those of the spans sent once without
// sampling. Each span is stored or left out once. A trace is stored if a span that was not left
// out before was to be kept, and its totals are those of all its spans.
pub(super) fn any_sampling_counts_the_same(backend: &mut impl Backend, cases: u32) {
    let mut projects = (100..).map(ProjectId);
    let sizes = prop::collection::vec(1_usize..6, 28);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(cases)
    });
    let backend = std::cell::RefCell::new(backend);
    let next = std::cell::RefCell::new(&mut projects);
    let checked = runner.run(
        &(any_delivery(), sizes),
        |((spans, order, marks), sizes)| {
            let mut backend = backend.borrow_mut();
            let [once, sampled] = [(); 2].map(|()| next.borrow_mut().next().unwrap());
            let of = |project, span: &TestSpan, is_out: bool| TestSpan {
                project,
                sampled_out: is_out.then_some(Reason::Tail),
                ..span.clone()
            };
            let all: Vec<_> = spans.iter().map(|span| of(once, span, false)).collect();
            write_spans(*backend, &all);
            let mut rest: Vec<_> = order.iter().zip(marks).collect();
            let (mut stored, mut left_out, mut known) = (0, 0, 0);
            for size in sizes {
                let after = rest.split_off(size.min(rest.len()));
                let batch = rest
                    .iter()
                    .map(|(place, is_out)| of(sampled, &spans[**place], *is_out));
                let batch: Vec<_> = batch.collect();
                rest = after;
                if !batch.is_empty() {
                    let report = write(*backend, &batch);
                    stored += report.spans_stored;
                    known += report.spans_duplicate;
                    left_out += report.spans_sampled_out.tail;
                }
            }
            prop_assert_eq!(sums(*backend, sampled), sums(*backend, once));
            prop_assert_eq!(stored + left_out, spans.len() as u64);
            prop_assert_eq!(known, spans.len() as u64);
            let mut listed = 0;
            for number in [1, 2] {
                if let Some((count, totals)) = trace(*backend, sampled, number) {
                    listed += count as u64;
                    let whole = trace(*backend, once, number);
                    prop_assert_eq!(Some(totals), whole.map(|(_, totals)| totals));
                }
            }
            prop_assert_eq!(listed, stored);
            Ok(())
        },
    );
    checked.unwrap();
}
