//! Sessions of coding agents that are told of in log records, in spans or in both.

use proptest::prelude::*;

use super::calls::{FIRST_MINUTE, MINUTE, any_order, totals_of, with_genai, write_for};
use super::fixture::{TestSpan, call, span};
use super::{Backend, PROJECT};
use crate::model::ProjectId;
use crate::model::genai::Totals;

const DIALECTS: [&str; 3] = ["claude_code", "codex", "otel"];
const SESSIONS: [&str; 3] = ["", "s", "t"];

/// A call of an agent in some session, told of by a record or by a span.
#[derive(Debug, Clone)]
struct Told {
    dialect: &'static str,
    session: &'static str,
    is_recorded: bool,
    input: i64,
    minute: u64,
}

fn told_span(told: &Told, number: u64) -> TestSpan {
    // Records of a session have traces of their own.
    let of_session = SESSIONS.iter().position(|it| *it == told.session);
    let of_dialect = DIALECTS.iter().position(|it| *it == told.dialect);
    let trace = 10 * (of_session.unwrap() as u64 + 1) + of_dialect.unwrap() as u64;
    let span = TestSpan {
        basics: call("m", told.input, 0),
        is_recorded: told.is_recorded,
        ..span(
            trace + 100 * u64::from(told.is_recorded),
            number,
            (FIRST_MINUTE + told.minute) * MINUTE,
        )
    };
    let span = with_genai(span, |genai| genai.dialect = Some(told.dialect.into()));
    if told.session.is_empty() {
        span
    } else {
        span.in_session(told.session, "")
    }
}

fn any_told() -> impl Strategy<Value = Told> {
    (
        prop::sample::select(DIALECTS.to_vec()),
        prop::sample::select(SESSIONS.to_vec()),
        prop::bool::weighted(0.6),
        prop::sample::select(vec![0_i64, 10, 20]),
        0_u64..200,
    )
        .prop_map(|(dialect, session, is_recorded, input, minute)| Told {
            dialect,
            session,
            is_recorded,
            input,
            minute,
        })
}

/// What all of it adds up to: of an agent's session its spans, if any has tokens, else its records.
fn expected(all: &[Told]) -> Totals {
    let is_told = |of: &Told| {
        let by_span = |other: &&Told| {
            !other.is_recorded
                && other.input > 0
                && (other.dialect, other.session) == (of.dialect, of.session)
        };
        of.dialect != "otel" && !of.session.is_empty() && all.iter().any(|it| by_span(&it))
    };
    let mut sum = Totals::default();
    for told in all
        .iter()
        .filter(|told| !told.is_recorded || !is_told(told))
    {
        sum.llm_calls += 1;
        sum.input_tokens += told.input;
    }
    sum
}

// Scenario: the records of a session, then a span of it, then more records; records of another
// session and of another project.
// Guarantees: records count until a span comes, which takes them away; those of others stay.
pub(super) fn records_count_until_spans_tell(backend: &mut impl Backend) {
    let told = |session, is_recorded, minute| Told {
        dialect: "claude_code",
        session,
        is_recorded,
        input: 10,
        minute,
    };
    let other = ProjectId(PROJECT.0 + 1);
    let record = |number| told_span(&told("s", true, number), number);
    let mut check = |project, spans: &[TestSpan], calls: i64| {
        write_for(backend, project, spans);
        write_for(backend, project, spans);
        let totals = totals_of(backend, project);
        assert_eq!((totals.llm_calls, totals.input_tokens), (calls, 10 * calls));
    };
    check(other, &[record(1)], 1);
    check(PROJECT, &[record(1), record(2)], 2);
    check(PROJECT, &[record(3)], 3);
    check(PROJECT, &[told_span(&told("t", true, 4), 4)], 4);
    check(PROJECT, &[told_span(&told("s", false, 1), 5)], 2);
    check(PROJECT, &[record(6)], 2);
    check(PROJECT, &[told_span(&told("s", false, 7), 7)], 3);
    check(other, &[record(2)], 2);
}

// Scenario: calls that are told of by records and spans, of several agents and sessions, in any order
// and batches, twice each.
// Guarantees: sessions and rollups of every level hold the calls of spans where there are any, else
// those of records.
pub(super) fn any_delivery_counts_one_telling(backend: &mut impl Backend, cases: u32) {
    let mut projects = (1000..).map(ProjectId);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        max_shrink_iters: 100,
        ..ProptestConfig::with_cases(cases)
    });
    let backend = std::cell::RefCell::new(backend);
    let next = std::cell::RefCell::new(&mut projects);
    let all = prop::collection::vec(any_told(), 1..10).prop_flat_map(any_order);
    let checked = runner.run(&(all, 1_usize..5), |((all, order), size)| {
        let mut backend = backend.borrow_mut();
        let project = next.borrow_mut().next().unwrap();
        for places in order.chunks(size) {
            let batch: Vec<_> = places
                .iter()
                .map(|place| told_span(&all[*place], *place as u64 + 1))
                .collect();
            write_for(*backend, project, &batch);
        }
        let found = totals_of(*backend, project);
        let expected = expected(&all);
        prop_assert_eq!(
            (found.llm_calls, found.input_tokens),
            (expected.llm_calls, expected.input_tokens)
        );
        Ok(())
    });
    checked.unwrap();
}
