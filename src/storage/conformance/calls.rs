//! Which spans count: each call of a model once, whatever else tells of it, in whatever order.

use proptest::prelude::*;

use super::fixture::{TestSpan, batch, call, page, span, trace_id, write_spans};
use super::{Backend, PROJECT, runtime};
use crate::model::ProjectId;
use crate::model::genai::{Cost, CostSource, GenAi, Totals};
use crate::storage::SessionFilter;
use crate::storage::query::{AnalyticsQuery, Dimension};

pub(super) const MINUTE: u64 = 60_000_000_000;
/// Where the spans of these tests begin, minutes since the Unix epoch.
pub(super) const FIRST_MINUTE: u64 = 30_000 * 1_440;
const TRACES: u64 = 2;

pub(super) fn with_genai(mut span: TestSpan, set: impl FnOnce(&mut GenAi<'static>)) -> TestSpan {
    if let Some(genai) = &mut span.basics.genai {
        set(genai);
    }
    span
}

/// A model call in trace 1, in a minute of its own.
fn call_span(number: u64, parent: Option<u64>, response: &'static str) -> TestSpan {
    let span = TestSpan {
        parent,
        basics: call("m", 10, 2),
        ..span(1, number, (FIRST_MINUTE + number) * MINUTE)
    };
    with_genai(span.in_session("s", ""), |genai| {
        genai.response_id = Some(response.into()).filter(|_| !response.is_empty());
        genai.cost = Cost {
            total: Some(100),
            source: Some(CostSource::Computed),
            ..Cost::default()
        };
    })
}

/// An agent in trace 1 that repeats what its calls used.
fn agent_span(number: u64, parent: Option<u64>, input: i64) -> TestSpan {
    with_genai(call_span(number, parent, ""), |genai| {
        genai.is_model_call = false;
        genai.usage.input = Some(input);
    })
}

/// What a project's sums say: of traces, of sessions and of each group of rollups. Those that are
/// nothing are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answers {
    traces: Vec<(u64, Totals)>,
    sessions: Vec<(String, Totals)>,
    rollups: Vec<(i64, Vec<String>, Totals)>,
    /// All rollups of a level in one, by level.
    levels: [Totals; 3],
}

fn answers(backend: &impl Backend, project: ProjectId) -> Answers {
    let reader = backend.reader();
    let first = i64::try_from(FIRST_MINUTE).unwrap();
    let query = |step, group_by: &[Dimension]| AnalyticsQuery {
        start_minute: first,
        end_minute: first + 3 * 1_440,
        step_minutes: step,
        group_by: group_by.to_vec(),
        filters: Vec::new(),
        durations: false,
        details: false,
        limit: 10_000,
    };
    let group_by = [
        Dimension::Service,
        Dimension::Operation,
        Dimension::Provider,
        Dimension::Model,
    ];
    runtime().block_on(async {
        let mut traces = Vec::new();
        for number in 1..=TRACES {
            let trace = reader.trace(project, trace_id(number), &page(1)).await;
            if let Some(trace) = trace.unwrap() {
                traces.push((number, trace.summary.totals));
            }
        }
        let filter = SessionFilter::default();
        let sessions = reader.list_sessions(project, &filter, &page(100)).await;
        let sessions = sessions.unwrap().items.into_iter();
        let mut sessions: Vec<_> = sessions.map(|it| (it.session_id, it.totals)).collect();
        sessions.sort_by(|a, b| a.0.cmp(&b.0));
        let by_minute = query(Some(1), &group_by);
        let rollups = reader.analytics(project, &by_minute).await.unwrap().rows;
        let rollups = rollups.into_iter();
        let rollups = rollups.map(|row| (row.bucket_minute, row.group, row.measures.totals));
        let mut levels = [Totals::default(); 3];
        for (level, step) in levels.iter_mut().zip([1, 60, 1_440]) {
            let answer = reader.analytics(project, &query(Some(step), &[])).await;
            for row in answer.unwrap().rows {
                level.add(row.measures.totals);
            }
        }
        Answers {
            traces,
            sessions: sessions
                .into_iter()
                .filter(|(_, totals)| *totals != Totals::default())
                .collect(),
            rollups: rollups
                .filter(|(_, _, totals)| *totals != Totals::default())
                .collect(),
            levels,
        }
    })
}

/// Writes spans one by one, each twice, and checks that trace, session and rollups agree.
fn add_up(backend: &mut impl Backend, spans: &[TestSpan]) -> (i64, i64, i64) {
    for span in spans {
        write_spans(backend, std::slice::from_ref(span));
        write_spans(backend, std::slice::from_ref(span));
    }
    let answers = answers(backend, PROJECT);
    let totals = answers.traces[0].1;
    let sessions: Vec<_> = answers.sessions.iter().map(|(_, totals)| *totals).collect();
    assert_eq!(sessions, [totals]);
    assert_eq!(answers.levels, [totals; 3]);
    let mut sum = Totals::default();
    for (_, _, totals) in answers.rollups {
        sum.add(totals);
    }
    assert_eq!(sum, totals);
    (totals.llm_calls, totals.input_tokens, totals.cost_nano_usd)
}

// Scenario: an agent with usage; then the call that it made, told of by an SDK; then the same call,
// told of by the package around the SDK; then its copy elsewhere in the trace; then another call.
// Guarantees: after each, trace, session and rollups of every level hold each call once, and the
// agent only as long as there was no call.
pub(super) fn sums_follow_what_is_known_of_a_trace(backend: &mut impl Backend) {
    assert_eq!(add_up(backend, &[agent_span(1, None, 70)]), (0, 70, 100));
    let sdk = call_span(3, Some(2), "r");
    assert_eq!(add_up(backend, &[sdk]), (1, 10, 100));
    let package = call_span(2, Some(1), "r");
    assert_eq!(add_up(backend, &[package]), (1, 10, 100));
    let copy = TestSpan {
        start: (FIRST_MINUTE + 2) * MINUTE,
        ..call_span(9, Some(50), "r")
    };
    assert_eq!(add_up(backend, &[copy]), (1, 10, 100));
    let unknown = with_genai(call_span(5, Some(1), ""), |genai| {
        (genai.usage.input, genai.usage.output) = (None, Some(0));
        genai.cost = Cost::default();
    });
    assert_eq!(add_up(backend, &[unknown]), (2, 10, 100));
    let inner = call_span(6, Some(5), "other");
    assert_eq!(add_up(backend, &[inner]), (2, 20, 200));
}

// Scenario: a trace of 26,000 spans, in batches that each have some of its calls, told of twice; it
// has fewer calls than a list holds, and in the end one more.
// Guarantees: each call counts once, then each span of a call.
pub(super) fn long_traces_count_each_call_once(backend: &mut impl Backend) {
    const SPANS: u64 = 26_000;
    // The SDK's own span of each call comes far behind the package's.
    const BEHIND: u64 = 12_800;
    let in_one_minute = |span: TestSpan| TestSpan {
        start: FIRST_MINUTE * MINUTE + span.span,
        ..span
    };
    let spans: Vec<_> = (1..=SPANS)
        .map(|number| {
            let is_call = number % 100 == 1 && number <= 2 * BEHIND;
            let parent = number.checked_sub(BEHIND).filter(|parent| *parent > 0);
            in_one_minute(if is_call {
                call_span(number, parent, "")
            } else {
                span(1, number, 0).in_session("s", "")
            })
        })
        .collect();
    for part in [1, 0] {
        for (place, spans) in spans.chunks(3_000).enumerate() {
            if place % 2 == part {
                write_spans(backend, spans);
            }
        }
    }
    assert_eq!(add_up(backend, &[]), (128, 1_280, 12_800));
    let one_more = in_one_minute(call_span(SPANS + 1, Some(7), ""));
    assert_eq!(add_up(backend, &[one_more]), (257, 2_570, 25_700));
    let request = page(1);
    let trace = backend.reader().trace(PROJECT, trace_id(1), &request);
    let trace = runtime().block_on(trace).unwrap().unwrap();
    assert_eq!(trace.summary.span_count, SPANS + 1);
}

pub(super) fn any_span() -> impl Strategy<Value = TestSpan> {
    let place = (1..=TRACES, prop::option::of(1_u64..10), 0_u64..200);
    let response = prop::option::of(prop::sample::select(vec!["r1", "r2"]));
    let tokens = prop::sample::select(vec![None, Some(0), Some(10), Some(20)]);
    let cost = prop::option::of(prop::sample::select(vec![5_i64, 7]));
    let names = (
        prop::sample::select(vec!["api", "web"]),
        prop::sample::select(vec!["m", "n"]),
        prop::sample::select(vec!["", "s", "t"]),
    );
    let kind = prop::sample::select(vec![0_u8, 1, 1, 1, 2]);
    (place, response, tokens, cost, names, kind).prop_map(
        |((trace, parent, minute), response, input, cost, (service, model, session), kind)| {
            let span = TestSpan {
                parent,
                service,
                duration: if minute % 2 == 0 { 10 } else { 50 * MINUTE },
                ..span(trace, 0, (FIRST_MINUTE + minute) * MINUTE)
            };
            let mut span = match kind {
                0 => span,
                kind => with_genai(
                    TestSpan {
                        basics: call(model, 0, 2),
                        ..span
                    },
                    |genai| {
                        genai.is_model_call = kind == 1;
                        genai.response_id = response.map(Into::into);
                        genai.usage.input = input;
                        genai.cost.total = cost;
                        genai.cost.source = cost.map(|_| CostSource::Reported);
                    },
                ),
            };
            if !session.is_empty() {
                span = span.in_session(session, "");
            }
            span
        },
    )
}

/// Spans, and their numbers in some order with some of them twice.
fn any_delivery() -> impl Strategy<Value = (Vec<TestSpan>, Vec<usize>)> {
    let spans = prop::collection::vec(any_span(), 1..14);
    let spans = spans.prop_map(|mut spans| {
        for (span, number) in spans.iter_mut().zip(1..) {
            span.span = number;
        }
        spans
    });
    spans.prop_flat_map(any_order)
}

/// What is told, and the places of each in some order, twice each.
pub(super) fn any_order<T: Clone + std::fmt::Debug>(
    all: Vec<T>,
) -> impl Strategy<Value = (Vec<T>, Vec<usize>)> {
    let twice: Vec<_> = (0..all.len()).chain(0..all.len()).collect();
    (Just(all), Just(twice).prop_shuffle())
}

/// What a project's rollups add up to, on which all levels agree; its sessions hold no more.
pub(super) fn totals_of(backend: &impl Backend, project: ProjectId) -> Totals {
    let answers = answers(backend, project);
    let [minutes, hours, days] = answers.levels;
    assert_eq!((minutes, minutes), (hours, days));
    let mut sessions = Totals::default();
    for (_, totals) in &answers.sessions {
        sessions.add(*totals);
    }
    assert!(sessions.input_tokens <= minutes.input_tokens);
    minutes
}

pub(super) fn write_for(backend: &mut impl Backend, project: ProjectId, spans: &[TestSpan]) {
    let spans: Vec<_> = spans
        .iter()
        .map(|span| TestSpan {
            project,
            ..span.clone()
        })
        .collect();
    let batch = batch(&spans);
    runtime().block_on(backend.writer().write(&batch)).unwrap();
}

// Scenario: calls, agents and other spans of two traces with any relations arrive at once, and in
// any order and batches, twice each.
// Guarantees: traces, sessions and rollups are the same.
pub(super) fn any_delivery_counts_the_same(backend: &mut impl Backend, cases: u32) {
    let mut projects = (10..).map(ProjectId);
    let sizes = prop::collection::vec(1_usize..6, 28);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        // Each case takes two projects of the one store.
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(cases)
    });
    let backend = std::cell::RefCell::new(backend);
    let next = std::cell::RefCell::new(&mut projects);
    let checked = runner.run(&(any_delivery(), sizes), |((spans, order), sizes)| {
        let mut backend = backend.borrow_mut();
        let [once, apart] = [(); 2].map(|()| next.borrow_mut().next().unwrap());
        write_for(*backend, once, &spans);
        let mut rest = order.as_slice();
        for size in sizes {
            let (batch, after) = rest.split_at(size.min(rest.len()));
            let batch: Vec<_> = batch.iter().map(|place| spans[*place].clone()).collect();
            if !batch.is_empty() {
                write_for(*backend, apart, &batch);
            }
            rest = after;
        }
        let expected = answers(*backend, once);
        prop_assert_eq!(&answers(*backend, apart), &expected);
        let mut sum = Totals::default();
        for (_, totals) in &expected.traces {
            sum.add(*totals);
        }
        prop_assert_eq!(expected.levels, [sum; 3]);
        Ok(())
    });
    checked.unwrap();
}
