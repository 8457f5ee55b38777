//! Searches: what is found, in which order, and in pages however short their time is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use proptest::prelude::*;

use super::fixture::{
    OTHER, TestSpan, attribute, batch, named, page, span, span_number, spans_with, text, trace_id,
    write_spans,
};
use super::paging::start;
use super::{Backend, NOW, PROJECT, request, runtime, write};
use crate::model::ProjectId;
use crate::storage::search::{Found, Match, Matcher, Scope, SearchPage, SearchQuery, Terms};
use crate::storage::{Cursor, SpanFilter, StatusFilter};

const LONG: Duration = Duration::from_secs(20);
/// So short that a page does the least it may.
const NONE: Duration = Duration::ZERO;

/// A question.
#[derive(Debug, Clone)]
struct Question {
    project: ProjectId,
    query: SearchQuery,
    limit: usize,
}

fn question(query: &str) -> Question {
    let scope = Scope {
        name: true,
        messages: true,
        attributes: true,
        holds_messages: |_, _| false,
    };
    Question {
        project: PROJECT,
        query: SearchQuery {
            filter: SpanFilter::default(),
            matcher: Arc::new(Matcher::new(Terms::parse(query).unwrap(), scope)),
            time_limit: LONG,
        },
        limit: 100,
    }
}

fn ask(backend: &impl Backend, question: &Question, after: Option<Cursor>) -> SearchPage {
    let mut request = page(question.limit);
    request.after = after;
    let reader = backend.reader();
    let answer = reader.search(question.project, &question.query, &request);
    let answer = runtime().block_on(answer).unwrap();
    assert!(answer.items.len() <= question.limit);
    if answer.items.len() < question.limit {
        assert_eq!(answer.complete, answer.next.is_none());
    }
    for found in &answer.items {
        assert!(found.span.start_unix_nano >= answer.searched_to_unix_nano);
    }
    answer
}

/// All pages from a cursor on.
fn rest(backend: &impl Backend, question: &Question, mut after: Option<Cursor>) -> Vec<Found> {
    let mut found = Vec::new();
    for _ in 0..1000 {
        let answer = ask(backend, question, after);
        found.extend(answer.items);
        match answer.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
    panic!("a search without an end: {question:?}");
}

fn numbers(found: &[Found]) -> Vec<u64> {
    let numbers = found.iter().map(|found| span_number(found.span.span_id));
    numbers.collect()
}

/// The numbers of all spans found, in one page and in pages of one, with time and without.
fn all(backend: &impl Backend, question: &Question) -> Vec<u64> {
    let found = numbers(&rest(backend, question, None));
    for (limit, time_limit) in [(1, LONG), (1, NONE), (100, NONE)] {
        let mut paged = question.clone();
        (paged.limit, paged.query.time_limit) = (limit, time_limit);
        let paged = rest(backend, &paged, None);
        assert_eq!(numbers(&paged), found, "limit {limit}, {time_limit:?}");
    }
    found
}

/// The numbers of the spans that pass a filter, as searches for a word of their name tell.
pub(super) fn named_op(backend: &impl Backend, filter: &SpanFilter) -> Vec<u64> {
    let mut question = question("op");
    question.query.filter = filter.clone();
    all(backend, &question)
}

fn saying(trace: u64, number: u64, start: u64, said: &str) -> TestSpan {
    TestSpan {
        attributes: vec![("said", text(said))],
        ..span(trace, number, start)
    }
}

// Scenario: spans that say things in one or two attributes, in several batches.
// Guarantees: exactly those with all words and phrases and none that is excluded, newest first,
// also when a page has no time.
pub(super) fn words_find_the_spans_that_say_them(backend: &mut impl Backend) {
    let mut both = saying(3, 4, 400, "red");
    both.attributes.push(("also", text("Blue sky")));
    both.name = "paint it";
    let batches = [
        vec![
            saying(1, 1, 100, "Red and blue"),
            saying(1, 2, 200, "only RED"),
        ],
        vec![saying(2, 3, 300, "green"), both],
        vec![saying(4, 5, 150, "sky blue red"), saying(5, 6, 500, "Grün")],
    ];
    for spans in &batches {
        write_spans(backend, spans);
    }
    let cases: [(&str, &[u64]); 12] = [
        ("red", &[4, 2, 5, 1]),
        ("RED blue", &[4, 5, 1]),
        ("\"blue sky\"", &[4]),
        ("\"sky blue\"", &[5]),
        ("red -blue", &[2]),
        ("red -\"blue sky\" -only", &[5, 1]),
        ("paint red", &[4]),
        ("gre", &[3]),
        ("grün", &[6]),
        ("GRÜN", &[6]),
        ("yellow", &[]),
        ("red green", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(all(backend, &question(query)), expected, "{query}");
    }
    // What can't be in a block is not looked for in it; what may be is.
    let page = ask(backend, &question("yellow"), None);
    assert_eq!((page.searched_spans, page.searched_to_unix_nano), (0, 0));
    assert!(page.complete && page.searched_bytes == 0);
    let page = ask(backend, &question("red -blue"), None);
    assert_eq!((page.searched_spans, page.searched_to_unix_nano), (6, 0));
    assert!(page.complete && page.searched_bytes > 100);
}

// Scenario: words in JSON, escaped once and twice, and in an exception.
// Guarantees: each is found, with its key, its event and the text around it.
pub(super) fn text_in_json_and_in_events_is_found_with_its_place(backend: &mut impl Backend) {
    let messages = r#"[{"role":"user","content":"Caf\u00e9 says \"hi\"\nat noon"}]"#;
    let arguments = r#"{"arguments":"{\"city\":\"Z\\u00fcrich\"}"}"#;
    let attributes = [("gen_ai.input.messages", messages), ("call", arguments)];
    let sent = Span {
        attributes: attributes
            .map(|(key, value)| super::text(key, value))
            .to_vec(),
        events: vec![Event {
            name: "exception".to_owned(),
            attributes: vec![super::text("exception.message", "socket closed")],
            ..Event::default()
        }],
        ..super::span(1, 1)
    };
    write(
        backend,
        PROJECT,
        1,
        &[request("api", vec![sent, super::span(1, 2)])],
    );
    let cases = [
        (
            "café",
            None,
            "gen_ai.input.messages",
            messages,
            r"Caf\u00e9",
        ),
        (
            r#""says \"hi\"""#,
            None,
            "gen_ai.input.messages",
            messages,
            r#"says \"hi\""#,
        ),
        (
            "\"hi\\\"\nat noon\"",
            None,
            "gen_ai.input.messages",
            messages,
            r#"hi\"\nat noon"#,
        ),
        ("zürich", None, "call", arguments, r"Z\\u00fcrich"),
        (
            "closed",
            Some("exception"),
            "exception.message",
            "socket closed",
            "closed",
        ),
    ];
    for (query, event, field, snippet, hit) in cases {
        let found = rest(backend, &question(query), None);
        assert_eq!(numbers(&found), [1], "{query}");
        let (before, _) = snippet.split_once(hit).unwrap();
        let expected = Match {
            event: event.map(str::to_owned),
            field: field.to_owned(),
            snippet: snippet.to_owned(),
            offset: before.len(),
            length: hit.len(),
        };
        assert_eq!(found[0].matches, [expected], "{query}");
        assert_eq!(found[0].span.service_name, "api");
    }
}

// Scenario: every filter of the span list, each with a search.
// Guarantees: exactly the spans that both let through.
pub(super) fn filters_narrow_a_search(backend: &mut impl Backend) {
    let spans = [
        saying(1, 1, 100, "word"),
        TestSpan {
            service: "db",
            failed: true,
            duration: 500,
            ..saying(1, 2, 200, "a word")
        },
        TestSpan {
            name: "login",
            attributes: vec![("said", text("word")), ("tier", text("gold"))],
            ..span(2, 3, 300)
        },
        TestSpan {
            resource_attributes: vec![("region", text("north"))],
            ..saying(3, 4, 400, "words")
        },
        TestSpan {
            service: "db",
            attributes: vec![("tier", text("gold"))],
            ..span(3, 5, 500)
        },
    ];
    write_spans(backend, &spans[..3]);
    write_spans(backend, &spans[3..]);
    let failed = Some(StatusFilter::Error);
    let cases: [(SpanFilter, &[u64]); 12] = [
        (SpanFilter::default(), &[4, 3, 2, 1]),
        (spans_with(|f| f.service = named("db")), &[2]),
        (spans_with(|f| f.name = named("login")), &[3]),
        (spans_with(|f| f.status = failed), &[2]),
        (
            spans_with(|f| f.status = Some(StatusFilter::Ok)),
            &[4, 3, 1],
        ),
        (spans_with(|f| f.duration_min_ns = Some(11)), &[2]),
        (spans_with(|f| f.duration_max_ns = Some(10)), &[4, 3, 1]),
        (spans_with(|f| f.trace_id = Some(trace_id(1))), &[2, 1]),
        (spans_with(|f| f.trace_id = Some(trace_id(9))), &[]),
        (
            spans_with(|f| f.range.start_unix_nano = Some(200)),
            &[4, 3, 2],
        ),
        (spans_with(|f| f.range.end_unix_nano = Some(200)), &[1]),
        (
            spans_with(|f| (f.service, f.trace_id) = (named("api"), Some(trace_id(1)))),
            &[1],
        ),
    ];
    let attributes = [("tier", "gold", [3].as_slice()), ("region", "north", &[4])];
    let attributes = attributes
        .map(|(key, value, found)| (spans_with(|f| f.attributes = attribute(key, value)), found));
    for (filter, expected) in cases.into_iter().chain(attributes) {
        let mut question = question("word");
        question.query.filter = filter;
        assert_eq!(
            all(backend, &question),
            expected,
            "{:?}",
            question.query.filter
        );
    }
}

// Scenario: between the pages of a search spans arrive that match: newer ones, older ones and one of
// the time where the last page ended.
// Guarantees: what was stored before the first page is found exactly once, nothing is found twice.
pub(super) fn searches_go_on_while_spans_arrive(backend: &mut impl Backend) {
    for number in 1..=20 {
        write_spans(backend, &[saying(number, number, number * 100, "word")]);
    }
    let mut arrived = 1000;
    for (limit, time_limit) in [(1, LONG), (3, LONG), (100, NONE)] {
        let mut question = question("word");
        (question.limit, question.query.time_limit) = (limit, time_limit);
        let stored_before = arrived;
        let (mut found, mut after) = (Vec::new(), None);
        for pages in 0..1000 {
            let answer = ask(backend, &question, after);
            found.extend(numbers(&answer.items));
            after = answer.next;
            if after.is_none() {
                break;
            }
            let starts = [5_000, answer.searched_to_unix_nano, 50];
            for start in starts.into_iter().filter(|_| pages < 5) {
                arrived += 1;
                write_spans(backend, &[saying(arrived, arrived, start, "a word")]);
            }
        }
        assert_eq!(after, None);
        let distinct: HashSet<_> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "{found:?}");
        let stored = (1..=20).chain(1001..=stored_before);
        let missing: Vec<_> = stored.filter(|number| !distinct.contains(number)).collect();
        assert_eq!(missing, [0; 0], "limit {limit}, {time_limit:?}");
    }
}

// Scenario: a large batch, in which the order of trace ids has nothing to do with that of time, of spans
// that all match.
// Guarantees: who wants the newest few reads few of the blocks.
pub(super) fn the_newest_are_found_in_few_blocks(backend: &mut impl Backend) {
    const SPANS: u64 = 2000;
    let said = format!("word {}", "and more ".repeat(150));
    let span = |number| saying(number * 7919 % 2003, number, number * 100, &said);
    let spans: Vec<_> = (1..=SPANS).map(span).collect();
    write_spans(backend, &spans);
    let mut question = question("word");
    question.limit = 20;
    let page = ask(backend, &question, None);
    let newest: Vec<_> = (SPANS - 19..=SPANS).rev().collect();
    assert_eq!(numbers(&page.items), newest);
    let searched = page.searched_spans;
    assert!((20..=SPANS / 2).contains(&searched), "{searched}");
}

// Scenario: many blocks, each with a span of its own time and others of any time, few of them of the service
// that is asked for; all match.
// Guarantees: the pages hold exactly those of the service, newest first, whichever blocks they come from;
// the first page does not need all blocks.
pub(super) fn many_blocks_are_answered_in_order(backend: &mut impl Backend) {
    const BLOCKS: u64 = 400;
    const SPANS: u64 = 14;
    let mut starts = Vec::new();
    for block in 1..=BLOCKS {
        let of = |place: u64| {
            let number = block * SPANS + place;
            let any = (block * 37 + place * 61) % BLOCKS * 100 + 50;
            TestSpan {
                service: if place < 2 { "db" } else { "api" },
                ..saying(
                    number,
                    number,
                    if place == 0 { block * 100 } else { any },
                    "word",
                )
            }
        };
        let spans: Vec<_> = (0..SPANS).map(of).collect();
        write_spans(backend, &spans);
        let of_service = spans.iter().filter(|span| span.service == "db");
        starts.extend(of_service.map(|span| (span.start, span.span)));
    }
    starts.sort_unstable();
    let expected: Vec<_> = starts.iter().rev().map(|(_, number)| *number).collect();
    let mut question = question("word");
    question.query.filter = spans_with(|filter| filter.service = named("db"));
    for limit in [30, 250] {
        question.limit = limit;
        let found = numbers(&rest(backend, &question, None));
        assert_eq!(found, expected, "{limit}");
    }
    question.limit = 1;
    let page = ask(backend, &question, None);
    assert!(
        page.searched_spans < BLOCKS * SPANS,
        "{}",
        page.searched_spans
    );
}

// Scenario: a batch holds spans of one identity that say different things.
// Guarantees: the first is stored, wherever they stand among the others.
pub(super) fn of_one_identity_the_first_is_stored(backend: &mut impl Backend) {
    let mut spans: Vec<_> = (1..=40).map(|it| saying(it, it, 100, "first")).collect();
    spans.extend((1..=40).rev().map(|it| saying(it, it, 100, "second")));
    let report = write_spans(backend, &spans);
    assert_eq!((report.spans_stored, report.spans_duplicate), (40, 40));
    assert_eq!(all(backend, &question("first")).len(), 40);
    assert_eq!(all(backend, &question("second")), [0; 0]);
}

// Scenario: two projects say the same and different things, in one batch.
// Guarantees: each finds its own only, whatever it asks for.
pub(super) fn a_search_never_finds_what_another_project_says(backend: &mut impl Backend) {
    let theirs = |number, said| TestSpan {
        project: OTHER,
        ..saying(1, number, 100 + number, said)
    };
    write_spans(
        backend,
        &[
            saying(1, 1, 100, "shared ours"),
            theirs(2, "shared theirs"),
            theirs(3, "secret"),
        ],
    );
    let found = |project, query: &str| {
        let mut question = question(query);
        question.project = project;
        all(backend, &question)
    };
    assert_eq!(found(PROJECT, "shared"), [1]);
    assert_eq!(found(OTHER, "shared"), [2]);
    assert_eq!(found(PROJECT, "secret"), [0; 0]);
    assert_eq!(found(PROJECT, "theirs"), [0; 0]);
    assert_eq!(found(OTHER, "secret"), [3]);
    assert_eq!(found(ProjectId(9), "shared"), [0; 0]);
    let mut of_trace = question("secret");
    of_trace.query.filter.trace_id = Some(trace_id(1));
    assert_eq!(all(backend, &of_trace), [0; 0]);
    // A cursor of one project shows nothing of it to the other.
    let mut first = question("shared");
    (first.project, first.query.time_limit) = (OTHER, NONE);
    let next = ask(backend, &first, None).next;
    let other = rest(backend, &question("secret"), next);
    assert_eq!(other, []);
}

// Scenario: two traces that arrived together and are stored side by side, one of which is deleted,
// as are all that came before; then one of them is sent again with other words.
// Guarantees: what is deleted is not found, what is left and what came again is.
pub(super) fn deleted_spans_are_not_found(backend: &mut impl Backend) {
    const DAY: u64 = 86_400_000_000_000;
    write_spans(backend, &[saying(7, 1, NOW, "word alone")]);
    let spans = [
        saying(1, 2, NOW, "word gone"),
        saying(2, 3, NOW, "word kept"),
    ];
    let mut together = batch(&spans);
    together.spans[1].received_unix_nano = NOW + 20 * DAY;
    runtime()
        .block_on(backend.writer().write(&together))
        .unwrap();
    assert_eq!(all(backend, &question("word")).len(), 3);
    let delete = |backend: &mut dyn crate::storage::SpanWriter| {
        let step = backend.enforce_retention(NOW + 35 * DAY);
        runtime().block_on(step).unwrap()
    };
    while delete(backend.writer()).more {}
    assert_eq!(all(backend, &question("word")), [3]);
    assert_eq!(all(backend, &question("gone")), [0; 0]);

    let mut again = batch(&[saying(1, 2, NOW, "word again")]);
    again.spans[0].received_unix_nano = NOW + 35 * DAY;
    runtime().block_on(backend.writer().write(&again)).unwrap();
    assert_eq!(all(backend, &question("again")), [2]);
    assert_eq!(all(backend, &question("gone")), [0; 0]);
}

// Scenario: hundreds of spans that all start at one time, in many batches, every third with the
// word; pages of a few without any time.
// Guarantees: every page gets on, and each is found exactly once.
pub(super) fn spans_of_one_time_are_all_found(backend: &mut impl Backend) {
    for group in 0..40 {
        let spans = (1..=15).map(|number| {
            let number = group * 15 + number;
            let said = if number % 3 == 0 { "a word" } else { "nothing" };
            saying(number, number, 100, said)
        });
        write_spans(backend, &spans.collect::<Vec<_>>());
    }
    for (limit, time_limit) in [(7, NONE), (100, NONE), (100, LONG)] {
        let mut question = question("word");
        (question.limit, question.query.time_limit) = (limit, time_limit);
        let mut found = numbers(&rest(backend, &question, None));
        found.sort_unstable();
        let expected: Vec<_> = (1..=200).map(|number| number * 3).collect();
        assert_eq!(found, expected, "limit {limit}, {time_limit:?}");
    }
}

/// Batches of spans: trace, start, and whether they say the word.
fn batches() -> impl Strategy<Value = Vec<Vec<(u64, u64, bool)>>> {
    let one = (0..6_u64, start(), any::<bool>());
    prop::collection::vec(prop::collection::vec(one, 1..8), 1..8)
}

// Scenario: spans in any batches, their starts together and years apart, some with the word, searched
// in pages of any size, with time and without.
// Guarantees: newest first, and each that says it exactly once.
pub(super) fn searches_join_to_all_that_matches<B: Backend>(open: impl Fn() -> B, cases: u32) {
    let case = (batches(), 1_usize..6, start());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let checked = runner.run(&case, |(batches, limit, bound)| {
        let mut backend = open();
        let mut stored: Vec<(u64, bool)> = Vec::new();
        for batch in batches {
            let spans = batch.into_iter().zip(stored.len() as u64..);
            let spans: Vec<_> = spans
                .map(|((trace, start, says), number)| {
                    stored.push((start, says));
                    let said = if says { "the word" } else { "nothing" };
                    saying(trace + 1, number + 1, start, said)
                })
                .collect();
            write_spans(&mut backend, &spans);
        }
        for (time_limit, end) in [(LONG, None), (NONE, None), (NONE, Some(bound))] {
            let mut question = question("word");
            (question.limit, question.query.time_limit) = (limit, time_limit);
            question.query.filter.range.end_unix_nano = end;
            let found = numbers(&rest(&backend, &question, None));
            let distinct: HashSet<_> = found.iter().collect();
            prop_assert_eq!(distinct.len(), found.len());
            let start = |number: &u64| stored[usize::try_from(*number).unwrap() - 1].0;
            let starts: Vec<_> = found.iter().map(start).collect();
            let wanted = |(start, says): &&(u64, bool)| *says && end.is_none_or(|end| *start < end);
            let mut expected: Vec<_> = stored
                .iter()
                .filter(wanted)
                .map(|(start, _)| *start)
                .collect();
            expected.sort_unstable_by(|left, right| right.cmp(left));
            prop_assert_eq!(starts, expected, "{:?}", question);
        }
        Ok(())
    });
    checked.unwrap();
}
