//! Taking the columns of stored spans anew.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost::Message as _;

use super::calls::{FIRST_MINUTE, any_span, totals_of, with_genai};
use super::fixture::{TestSpan, batch, call, page, span, span_id, text, trace_id, write_spans};
use super::{Backend, NOW, PROJECT, everything, runtime, sampled};
use crate::model::failure::ErrorKind;
use crate::model::genai::DERIVED_FROM;
use crate::model::span::{Basics, Operation};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::SessionFilter;
use crate::storage::query::{AnalyticsQuery, Dimension};
use crate::storage::remap::{Job, Jobs, Mapper, Range, SPANS_PER_TRACE_MAX};

const MINUTE: u64 = 60_000_000_000;
const DAY: u64 = 24 * 60 * MINUTE;
const TRACES: usize = 2;

/// A store under test whose jobs are begun from outside.
pub(super) trait Remapped: Backend {
    fn jobs(&mut self) -> &mut dyn Jobs;
}

/// Gives spans the columns that it was told.
#[derive(Default)]
struct Told(HashMap<(TraceId, SpanId), Basics<'static>>);

impl Told {
    fn of(spans: &[TestSpan]) -> Self {
        let key = |span: &TestSpan| (trace_id(span.trace), span_id(span.span));
        let told = spans.iter().map(|span| (key(span), span.basics.clone()));
        Self(told.collect())
    }
}

impl Mapper for Told {
    fn map<'m>(
        &self,
        project: ProjectId,
        spans: &[(&'m str, &'m [u8])],
    ) -> Vec<Option<Basics<'m>>> {
        assert_eq!(project, PROJECT);
        let map = |(scope, message): &(&str, &[u8])| {
            assert_eq!(*scope, "");
            let span = opentelemetry_proto::tonic::trace::v1::Span::decode(*message).unwrap();
            let trace_id = TraceId::from_bytes(&span.trace_id)?;
            let key = (trace_id, SpanId::from_bytes(&span.span_id)?);
            self.0.get(&key).cloned()
        };
        spans.iter().map(map).collect()
    }
}

fn begin(backend: &mut impl Remapped, start_unix_nano: u64, end_unix_nano: u64) -> Job {
    let range = Range {
        start_unix_nano,
        end_unix_nano,
    };
    runtime()
        .block_on(async { backend.jobs().begin(range).await })
        .unwrap()
}

fn step(backend: &mut impl Backend, mapper: &dyn Mapper) -> Option<Job> {
    runtime()
        .block_on(backend.writer().remap_step(mapper))
        .unwrap()
}

fn finish(backend: &mut impl Remapped, mapper: &dyn Mapper) -> Job {
    loop {
        let job = step(backend, mapper).expect("a job is under way");
        if job.is_done {
            assert_eq!(step(backend, mapper), None);
            let state = runtime().block_on(async { backend.jobs().state().await });
            assert_eq!(state.unwrap(), Some(job.clone()));
            return job;
        }
    }
}

/// Everything, with the sums of one day.
fn all(backend: &impl Backend, day: u64) -> String {
    everything(backend, PROJECT) + &sums_of_day(backend, day)
}

/// The sums of one day.
fn sums_of_day(backend: &impl Backend, day: u64) -> String {
    let first = i64::try_from(day / MINUTE).unwrap();
    let mut text = String::new();
    for step in [1, 60, 24 * 60] {
        let query = AnalyticsQuery {
            start_minute: first,
            end_minute: first + 24 * 60,
            step_minutes: Some(step),
            group_by: vec![
                Dimension::Service,
                Dimension::Operation,
                Dimension::Provider,
                Dimension::Model,
            ],
            filters: Vec::new(),
            durations: true,
            details: false,
            limit: 10_000,
        };
        let answer = runtime().block_on(backend.reader().analytics(PROJECT, &query));
        text.push_str(&format!("\n{:#?}", answer.unwrap().rows));
    }
    text
}

/// Spans with the columns they had and the ones they get.
fn any_change() -> impl Strategy<Value = (Vec<TestSpan>, Vec<TestSpan>, usize)> {
    let session = || prop::sample::select(vec![None, Some(("s", "")), Some(("t", "u"))]);
    let sessions = || prop::collection::vec(session(), TRACES);
    let spans = prop::collection::vec((any_span(), any_span(), any::<bool>()), 1..14);
    (spans, sessions(), sessions(), 1_usize..6).prop_map(|(spans, old_of, new_of, size)| {
        let name = |mut span: TestSpan, sessions: &[Option<(&'static str, &'static str)>]| {
            (span.basics.session_id, span.basics.user_id) = (None, None);
            let session = sessions[usize::try_from(span.trace - 1).unwrap()];
            match session {
                Some((session, user)) => span.in_session(session, user),
                None => span,
            }
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for ((mut old, new, same), number) in spans.into_iter().zip(1..) {
            (old.span, old.failed) = (number, number % 3 == 0);
            let mut new = TestSpan {
                basics: if same { old.basics.clone() } else { new.basics },
                ..old.clone()
            };
            if old.failed {
                new.basics.error_kind = Some(ErrorKind::RateLimited);
                new.basics.error_message = Some("slow down".into());
                new.basics.error_type = Some("429".into());
            }
            before.push(name(old, &old_of));
            after.push(name(new, &new_of));
        }
        (before, after, size)
    })
}

/// The spans on a day of their own, with trace ids of their own.
fn moved(spans: Vec<TestSpan>, case: u64, day: u64) -> Vec<TestSpan> {
    let moved = spans.into_iter().map(|span| TestSpan {
        trace: span.trace + case * 10,
        // No two at the same time: stores order those as they like.
        start: day + span.start % DAY / 8 + span.span,
        ..span
    });
    moved.collect()
}

// Scenario: spans are stored with some columns, in any batches; then their columns are taken anew,
// and turn out to be any others: operations, models, usage, sessions, failures.
// Guarantees: everything is as in a store that they were written to with those columns at once;
// doing it again changes nothing.
pub(super) fn a_remapped_store_is_as_if_written_so<B: Remapped>(open: fn() -> B, cases: u32) {
    let (remapped, written) = (open(), open());
    let state = std::cell::RefCell::new((remapped, written, 0_u64));
    let mut runner = TestRunner::new(ProptestConfig {
        // All cases share two stores.
        max_shrink_iters: 0,
        ..ProptestConfig::with_cases(cases)
    });
    let checked = runner.run(&any_change(), |(before, after, size)| {
        let mut state = state.borrow_mut();
        let (remapped, written, case) = &mut *state;
        *case += 1;
        let day = (NOW / DAY - 300 + *case) * DAY;
        let (before, after) = (moved(before, *case, day), moved(after, *case, day));
        for part in before.chunks(size) {
            write_spans(remapped, part);
        }
        write_spans(written, &after);
        begin(remapped, day, day + DAY);
        let told = Told::of(&after);
        let job = finish(remapped, &told);
        prop_assert_eq!(job.spans, before.len() as u64);
        prop_assert_eq!((job.traces, job.traces_skipped), (job.traces_expected, 0));
        prop_assert_eq!(all(remapped, day), all(written, day));
        begin(remapped, day, day + DAY);
        prop_assert_eq!(finish(remapped, &told).spans_changed, 0);
        Ok(())
    });
    checked.unwrap();
}

// Scenario: some spans are sampled out, others of their traces are stored; then the columns of those that
// are stored turn out to be any others.
// Guarantees: sums are as if all had been stored, those that were sampled out with the columns that they
// had; a stored trace has the totals of all its spans.
pub(super) fn what_was_left_out_counts_as_before<B: Remapped>(open: fn() -> B, cases: u32) {
    let state = std::cell::RefCell::new((open(), open(), 0_u64));
    let mut runner = TestRunner::new(ProptestConfig {
        max_shrink_iters: 0,
        ..ProptestConfig::with_cases(cases)
    });
    let checked = runner.run(&any_change(), |(before, after, size)| {
        let mut state = state.borrow_mut();
        let (remapped, written, case) = &mut *state;
        *case += 1;
        let day = (NOW / DAY - 300 + *case) * DAY;
        let (before, after) = (moved(before, *case, day), moved(after, *case, day));
        let (left_out, stored) = before.split_at(size.min(before.len()));
        let out: Vec<_> = left_out.iter().cloned().map(sampled::out).collect();
        sampled::write(remapped, &out);
        write_spans(remapped, stored);
        let all = [left_out, &after[left_out.len()..]].concat();
        write_spans(written, &all);
        for _ in 0..2 {
            begin(remapped, day, day + DAY);
            finish(remapped, &Told::of(&after));
            prop_assert_eq!(sums_of_day(remapped, day), sums_of_day(written, day));
        }
        for span in stored {
            let [found, whole] = [&*remapped, &*written].map(|backend| {
                let found = sampled::trace(backend, PROJECT, span.trace);
                found.map(|(_, totals)| totals)
            });
            prop_assert_eq!(found, whole);
        }
        Ok(())
    });
    checked.unwrap();
}

// Scenario: a call is sampled out, the agent above it is stored; then the agent turns out to be of another
// provider, and of another again.
// Guarantees: the call counts, and the agent does not, for the trace and in all sums.
pub(super) fn an_agent_without_its_call_counts_as_before(backend: &mut impl Remapped) {
    let call = sampled::call_span(2, Some(1));
    let agent = |provider: &'static str, input| {
        let mut agent = sampled::agent_span(1, input);
        agent.basics.provider = Some(provider.into());
        agent
    };
    sampled::write(backend, &[sampled::out(call.clone())]);
    sampled::write(backend, &[agent("before", 70)]);
    for agent in [agent("after", 70), agent("last", 90)] {
        begin(backend, 0, u64::MAX);
        let job = finish(backend, &Told::of(&[agent]));
        assert_eq!((job.spans, job.spans_changed), (1, 1));
        let (spans, totals) = sampled::trace(backend, PROJECT, 1).unwrap();
        assert_eq!((spans, totals.llm_calls, totals.input_tokens), (1, 1, 10));
        let totals = totals_of(backend, PROJECT);
        assert_eq!((totals.llm_calls, totals.input_tokens), (1, 10));
    }
    let found = sampled::sums(backend, PROJECT);
    let unsampled = ProjectId(77);
    let all = [agent("last", 90), call].map(|span| TestSpan {
        project: unsampled,
        ..span
    });
    write_spans(backend, &all);
    assert_eq!(sampled::sums(backend, unsampled), found);
}

// Scenario: a call of a session is sampled out, another is stored; then the latter turns out to be of another
// session.
// Guarantees: the first session is what it was without it, its user and its bounds included.
pub(super) fn a_session_of_what_was_left_out_stays_as_it_was(backend: &mut impl Remapped) {
    let left_out = sampled::call_span(1, None);
    let mut stored = sampled::call_span(2, None);
    stored.trace = 2;
    sampled::write(backend, &[sampled::out(left_out.clone())]);
    let alone = user_and_bounds(backend, "s");
    assert_eq!(alone.0.as_deref(), Some("ada"));
    // Within the bounds that there are: those of what was sampled out are not known by themselves.
    stored.start = left_out.start;
    sampled::write(backend, std::slice::from_ref(&stored));
    begin(backend, 0, u64::MAX);
    let job = finish(backend, &Told::of(&[stored.in_session("t", "eve")]));
    assert_eq!(job.spans_changed, 1);
    assert_eq!(user_and_bounds(backend, "s"), alone);
    assert_eq!(user_and_bounds(backend, "t").0.as_deref(), Some("eve"));
}

/// The user of a session, its first start and its last end.
fn user_and_bounds(backend: &impl Backend, session_id: &str) -> (Option<String>, u64, u64) {
    let (filter, page) = (SessionFilter::default(), page(10));
    let sessions = backend.reader().list_sessions(PROJECT, &filter, &page);
    let mut sessions = runtime().block_on(sessions).unwrap().items.into_iter();
    let session = sessions
        .find(|session| session.session_id == session_id)
        .unwrap();
    (
        session.user_id,
        session.start_unix_nano,
        session.end_unix_nano,
    )
}

// Scenario: more traces than a step takes, half of them outside of the range; spans are added to
// some between two steps, by a writer that maps as the job does.
// Guarantees: those in the range are mapped anew, the others not; sums add up.
pub(super) fn a_job_takes_its_range_step_by_step(backend: &mut impl Remapped) {
    const COUNT: u64 = 9_000;
    let first = NOW - DAY;
    let old: Vec<_> = (0..COUNT)
        .map(|number| TestSpan {
            basics: call("old", 10, 2),
            ..span(number + 1, 1, first + number)
        })
        .collect();
    for part in old.chunks(3_000) {
        write_spans(backend, part);
    }
    let new = old.iter().map(|span| TestSpan {
        basics: call("new", 30, 2),
        ..span.clone()
    });
    let new: Vec<_> = new.collect();
    let mapper = Told::of(&new);
    let half = COUNT / 2;
    let begun = begin(backend, first, first + half);
    assert_eq!(begun.traces_expected, half);
    let job = step(backend, &mapper).unwrap();
    assert!(!job.is_done && job.traces < half, "{job:?}");
    // To a trace that was mapped, one that will be, and one that won't.
    let late = [1, half, COUNT].map(|trace| TestSpan {
        span: 2,
        parent: Some(1),
        basics: Basics {
            operation: Operation::Http,
            ..Basics::default()
        },
        ..span(trace, 2, first + trace - 1)
    });
    write_spans(backend, &late);
    let mut with_late = Told::of(&new);
    with_late.0.extend(Told::of(&late).0);
    let job = finish(backend, &with_late);
    assert_eq!(job.traces, half);
    assert_eq!(job.spans_changed, half);
    let query = AnalyticsQuery {
        start_minute: i64::try_from(first / MINUTE).unwrap(),
        end_minute: i64::try_from(NOW / MINUTE).unwrap(),
        step_minutes: None,
        group_by: vec![Dimension::Model],
        filters: Vec::new(),
        durations: false,
        details: false,
        limit: 10,
    };
    let answer = runtime().block_on(backend.reader().analytics(PROJECT, &query));
    let mut rows: Vec<_> = answer
        .unwrap()
        .rows
        .into_iter()
        .map(|row| {
            let measures = row.measures;
            (row.group, measures.span_count, measures.totals.input_tokens)
        })
        .collect();
    rows.sort();
    let row = |model: &str, spans: u64, tokens: u64| {
        let tokens = i64::try_from(tokens).unwrap();
        (vec![model.to_owned()], spans, tokens)
    };
    let expected = [
        row("", 3, 0),
        row("new", half, 30 * half),
        row("old", half, 10 * half),
    ];
    assert_eq!(rows, expected);
}

// Scenario: a trace has more spans than may be mapped in one go; another one follows.
// Guarantees: the large one is passed over and counted as such, the other is mapped.
pub(super) fn a_trace_that_is_too_large_is_passed_over(backend: &mut impl Remapped) {
    const SPANS: u64 = SPANS_PER_TRACE_MAX.unsigned_abs() + 1;
    let large: Vec<_> = (1..=SPANS).map(|number| span(1, number, NOW)).collect();
    for part in large.chunks(20_000) {
        write_spans(backend, part);
    }
    let other = TestSpan {
        basics: call("old", 10, 2),
        ..span(2, 1, NOW + 1)
    };
    write_spans(backend, std::slice::from_ref(&other));
    let new = TestSpan {
        basics: call("new", 10, 2),
        ..other
    };
    begin(backend, NOW, NOW + 2);
    let job = finish(backend, &Told::of(&[new]));
    assert_eq!((job.traces, job.traces_skipped), (2, 1));
    assert_eq!((job.spans, job.spans_changed), (1, 1));
}

// Scenario: a job is dropped half done.
// Guarantees: there is no job any more, and what it did stays.
pub(super) fn a_dropped_job_is_gone(backend: &mut impl Remapped) {
    let spans = [TestSpan {
        basics: call("old", 10, 2),
        ..span(1, 1, NOW)
    }];
    runtime()
        .block_on(backend.writer().write(&batch(&spans)))
        .unwrap();
    assert_eq!(step(backend, &Told::default()), None);
    begin(backend, 0, u64::MAX);
    runtime()
        .block_on(async { backend.jobs().cancel().await })
        .unwrap();
    assert_eq!(step(backend, &Told::default()), None);
    let state = runtime().block_on(async { backend.jobs().state().await });
    assert_eq!(state.unwrap(), None);
}

// Scenario: a job would give a call that only a log record told of other figures and another model; then
// a span of the agent's own tells of its session.
// Guarantees: the call stays as it was, and what counted for the session is taken away whole.
pub(super) fn what_records_told_stays(backend: &mut impl Remapped) {
    let of_agent = |span: TestSpan, input| {
        let span = TestSpan {
            basics: call("m", input, 0),
            ..span
        };
        let span = with_genai(span, |genai| genai.dialect = Some("codex".into()));
        span.in_session("s", "")
    };
    let recorded = || TestSpan {
        is_recorded: true,
        attributes: vec![(DERIVED_FROM, text("codex.sse_event"))],
        ..span(1, 1, FIRST_MINUTE * MINUTE)
    };
    let counted = |backend: &_| {
        let totals = totals_of(backend, PROJECT);
        (totals.llm_calls, totals.input_tokens)
    };
    write_spans(backend, &[of_agent(recorded(), 10)]);
    assert_eq!(counted(backend), (1, 10));
    let mut after = of_agent(recorded(), 25);
    after.basics.response_model = Some("n".into());
    begin(backend, 0, FIRST_MINUTE * MINUTE + DAY);
    let job = finish(backend, &Told::of(&[after]));
    assert_eq!((job.spans, job.spans_changed), (1, 0));
    assert_eq!(counted(backend), (1, 10));
    write_spans(backend, &[of_agent(span(2, 2, FIRST_MINUTE * MINUTE), 40)]);
    assert_eq!(counted(backend), (1, 40));
}
