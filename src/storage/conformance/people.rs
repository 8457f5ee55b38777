//! Sessions as conversations, and users.

use super::fixture::{
    OTHER, TestSpan, call, page, span, span_number, trace_id, trace_number, write_spans,
};
use super::{Backend, PROJECT, runtime};
use crate::model::genai::Totals;
use crate::storage::query::{StoredSession, UserSummary, UsersQuery};
use crate::storage::{PageRequest, StoredSpan};

fn session_page(
    backend: &impl Backend,
    session: &str,
    request: &PageRequest,
) -> Option<StoredSession> {
    let answer = backend.reader().session(PROJECT, session, request);
    runtime().block_on(answer).unwrap()
}

fn chat(trace: u64, number: u64, start: u64) -> TestSpan {
    TestSpan {
        basics: call("m", 10, 2),
        ..span(trace, number, start)
    }
}

// Scenario: a session of traces that arrive out of order, some starting together, beside another
// session, a trace of both and another project's session of the same name.
// Guarantees: pages of any size join to its traces, oldest first, each once; a page begins again
// right where a cursor of any trace says.
pub(super) fn a_session_is_answered_oldest_trace_first(backend: &mut impl Backend) {
    for (trace, start) in [(5, 500), (1, 100), (3, 300), (4, 300), (2, 300)] {
        write_spans(backend, &[chat(trace, trace, start).in_session("s", "ada")]);
    }
    write_spans(
        backend,
        &[
            chat(6, 6, 200).in_session("other", ""),
            chat(6, 7, 210).in_session("s", ""),
            TestSpan {
                project: OTHER,
                ..chat(7, 8, 50).in_session("s", "")
            },
        ],
    );
    let expected = [1, 6, 2, 3, 4, 5];
    for limit in 1..=7 {
        let mut request = page(limit);
        let mut found = Vec::new();
        loop {
            let answer = session_page(backend, "s", &request).unwrap();
            assert_eq!(answer.summary.trace_count, 6);
            assert_eq!(answer.summary.span_count, 6);
            assert_eq!(answer.summary.user_id.as_deref(), Some("ada"));
            assert!(answer.traces.len() <= limit);
            found.extend(answer.traces);
            match answer.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        let numbers: Vec<_> = found
            .iter()
            .map(|trace| trace_number(trace.trace_id))
            .collect();
        assert_eq!(numbers, expected, "limit {limit}");
        let middle = PageRequest {
            limit: 10,
            after: Some(found[2].cursor()),
        };
        let rest = session_page(backend, "s", &middle).unwrap().traces;
        assert_eq!(rest, found[3..]);
    }
    assert_eq!(session_page(backend, "nobody", &page(1)), None);
    let theirs = backend.reader();
    let empty = page(1);
    let theirs = theirs.session(crate::model::ProjectId(3), "s", &empty);
    assert_eq!(runtime().block_on(theirs).unwrap(), None);
}

// Scenario: a trace with model calls among other spans, in two batches.
// Guarantees: pages of any size join to its calls alone, in start order, with their messages; there
// are none of a trace that is not known.
pub(super) fn model_calls_of_a_trace_are_answered_in_order(backend: &mut impl Backend) {
    let mut agent = chat(1, 4, 120);
    if let Some(genai) = &mut agent.basics.genai {
        genai.is_model_call = false;
    }
    let spans = [
        span(1, 1, 100),
        chat(1, 2, 140),
        chat(1, 3, 130),
        agent,
        chat(1, 5, 130),
    ];
    write_spans(backend, &spans[2..]);
    write_spans(backend, &spans[..2]);
    for limit in 1..=4 {
        let mut request = page(limit);
        let mut found: Vec<StoredSpan> = Vec::new();
        loop {
            let answer = backend.reader().model_calls(PROJECT, trace_id(1), &request);
            let answer = runtime().block_on(answer).unwrap();
            assert!(answer.items.len() <= limit);
            found.extend(answer.items);
            match answer.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        let numbers: Vec<_> = found
            .iter()
            .map(|call| span_number(call.summary.span_id))
            .collect();
        assert_eq!(numbers, [3, 5, 2], "limit {limit}");
        assert_eq!(found[2].message, spans[1].message());
    }
    let request = page(5);
    let none = backend.reader().model_calls(PROJECT, trace_id(9), &request);
    assert!(runtime().block_on(none).unwrap().items.is_empty());
}

/// All pages of users.
fn users(backend: &impl Backend, start: u64, end: u64, limit: usize) -> Vec<UserSummary> {
    let mut query = UsersQuery {
        start_unix_nano: start,
        end_unix_nano: end,
        page: page(limit),
    };
    let mut found = Vec::new();
    loop {
        let answer = backend.reader().list_users(PROJECT, &query);
        let answer = runtime().block_on(answer).unwrap();
        assert_eq!(answer.counted_from_unix_nano, None);
        assert!(answer.page.items.len() <= limit);
        found.extend(answer.page.items);
        match answer.page.next {
            Some(next) => query.page.after = Some(next),
            None => return found,
        }
    }
}

// Scenario: traces of three users and of nobody, some failed, one of another project; a range that
// cuts some off; more traces than are looked at together, many of them starting together.
// Guarantees: each user has the sums of the traces that start in the range, last seen first, on
// pages of any size.
pub(super) fn users_are_what_their_traces_add_up_to(backend: &mut impl Backend) {
    let of =
        |trace: u64, start: u64, user: &'static str| chat(trace, trace, start).in_session("", user);
    let named = |mut span: TestSpan| {
        span.basics.session_id = None;
        span
    };
    let spans = [
        of(1, 100, "ada"),
        TestSpan {
            failed: true,
            ..of(2, 300, "bob")
        },
        of(3, 200, "ada"),
        of(4, 300, "eve"),
        of(5, 400, ""),
        TestSpan {
            project: OTHER,
            ..of(6, 500, "mallory")
        },
    ];
    write_spans(backend, &spans.map(named));
    let row = |user: &str, first, last, traces, failed| UserSummary {
        user_id: user.to_owned(),
        first_seen_unix_nano: first,
        last_seen_unix_nano: last,
        trace_count: traces,
        failed_trace_count: failed,
        span_count: traces,
        totals: Totals {
            llm_calls: i64::try_from(traces).unwrap(),
            input_tokens: 10 * i64::try_from(traces).unwrap(),
            output_tokens: 2 * i64::try_from(traces).unwrap(),
            ..Totals::default()
        },
    };
    let bob = row("bob", 300, 310, 1, 1);
    let eve = row("eve", 300, 310, 1, 0);
    for limit in 1..=4 {
        let all = [bob.clone(), eve.clone(), row("ada", 100, 210, 2, 0)];
        assert_eq!(users(backend, 0, 1000, limit), all);
        let late = [bob.clone(), eve.clone(), row("ada", 200, 210, 1, 0)];
        assert_eq!(users(backend, 101, 301, limit), late);
        assert_eq!(users(backend, 101, 300, limit), late[2..]);
        assert_eq!(users(backend, 300, 300, limit), []);
    }
    for batch in 0..5_u64 {
        let many = (0..4_000).map(|number| {
            let number = 1_000 + batch * 4_000 + number;
            // Half of them start at one and the same time.
            let start = if number % 2 == 0 { 5_000 } else { number };
            named(of(number, start, "many"))
        });
        write_spans(backend, &many.collect::<Vec<_>>());
    }
    let many = users(backend, 900, 100_000, 10);
    assert_eq!(many, [row("many", 1_001, 21_009, 20_000, 0)]);
}
