//! Searches of events: what is found, in which order, and in pages however short their time is.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::events::{linked, logs, record, write_logs};
use super::fixture::OTHER;
use super::{Backend, NOW, PROJECT, runtime, text, trace_id};
use crate::model::ProjectId;
use crate::storage::events::EventFilter;
use crate::storage::query::{AttributeEquals, PageRequest, TimeRange};
use crate::storage::search::{EventSearch, FoundEvent, Matcher, Scope, SearchPage, Terms};

const DAY: u64 = 86_400_000_000_000;
const LONG: Duration = Duration::from_secs(20);

/// A question.
#[derive(Debug, Clone)]
struct Question {
    project: ProjectId,
    search: EventSearch,
}

const ALL: Scope = Scope {
    name: true,
    messages: true,
    attributes: true,
    holds_messages: |event, key| event == Some("said") && key == "content",
};

fn question(query: &str) -> Question {
    asked(query, ALL, EventFilter::default())
}

fn asked(query: &str, scope: Scope, filter: EventFilter) -> Question {
    Question {
        project: PROJECT,
        search: EventSearch {
            filter,
            matcher: Arc::new(Matcher::new(Terms::parse(query).unwrap(), scope)),
            time_limit: LONG,
        },
    }
}

fn pages(backend: &impl Backend, question: &Question, limit: usize) -> Vec<SearchPage<FoundEvent>> {
    let mut page = PageRequest { limit, after: None };
    let mut pages = Vec::new();
    loop {
        let reader = backend.reader();
        let answer = reader.search_events(question.project, &question.search, &page);
        let answer = runtime().block_on(answer).unwrap();
        assert!(answer.items.len() <= limit);
        if answer.items.len() < limit {
            assert_eq!(answer.complete, answer.next.is_none());
        }
        for found in &answer.items {
            assert!(found.event.id.unix_nano >= answer.searched_to_unix_nano);
            assert!(!found.matches.is_empty());
        }
        page.after.clone_from(&answer.next);
        pages.push(answer);
        if page.after.is_none() {
            return pages;
        }
        assert!(pages.len() < 1000, "a search without an end: {question:?}");
    }
}

fn found(backend: &impl Backend, question: &Question, limit: usize) -> Vec<FoundEvent> {
    let pages = pages(backend, question, limit);
    pages.into_iter().flat_map(|page| page.items).collect()
}

/// When what was found happened, after [`NOW`], in one page and in pages of one, with time and
/// without.
fn times(backend: &impl Backend, question: &Question) -> Vec<u64> {
    let all = found(backend, question, 100);
    for (limit, time_limit) in [(1, LONG), (1, Duration::ZERO), (100, Duration::ZERO)] {
        let mut paged = question.clone();
        paged.search.time_limit = time_limit;
        assert_eq!(
            found(backend, &paged, limit),
            all,
            "{limit}, {time_limit:?}"
        );
    }
    let times = all.iter().map(|found| found.event.id.unix_nano - NOW);
    times.collect()
}

fn with(mut record: LogRecord, key: &'static str, value: &str) -> LogRecord {
    record.attributes.push(text(key, value));
    record
}

/// What is searched below.
fn write_what_is_said(backend: &mut impl Backend) {
    let named = LogRecord {
        event_name: "said".to_owned(),
        ..with(record(NOW + 400, "nothing"), "content", "Red in a message")
    };
    let batches = [
        logs(
            "api",
            vec![
                record(NOW + 100, "Red and blue"),
                record(NOW + 200, "only RED"),
            ],
        ),
        logs("api", vec![record(NOW + 300, "green"), named]),
        logs(
            "api",
            vec![
                record(NOW + 150, "sky blue red"),
                record(NOW + 150, "another red"),
                with(record(NOW + 500, "none"), "k", "Grün"),
                with(record(NOW + 600, "none"), "red", "the key is not looked at"),
            ],
        ),
    ];
    for (position, batch) in (1..).zip(batches) {
        write_logs(backend, PROJECT, position, &[batch]);
    }
    write_logs(
        backend,
        OTHER,
        9,
        &[logs("api", vec![record(NOW + 7, "red")])],
    );
}

// Scenario: records that say things in their bodies, whole and nested, names, attributes and
// severities, in several batches, two at the same time, and one of another project.
// Guarantees: exactly those with all words and none that is excluded, newest first, also when a page
// has no time; the place where a word is is told.
pub(super) fn words_find_the_events_that_say_them(backend: &mut impl Backend) {
    write_what_is_said(backend);
    let cases: [(&str, &[u64]); 10] = [
        ("red", &[400, 200, 150, 150, 100]),
        ("RED blue", &[150, 100]),
        ("\"sky blue\"", &[150]),
        ("red -blue", &[400, 200, 150]),
        ("GRÜN", &[500]),
        ("said", &[400]),
        ("info", &[600, 500, 400, 300, 200, 150, 150, 100]),
        ("logger", &[]),
        ("absent", &[]),
        ("red absent", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(times(backend, &question(query)), expected, "{query}");
    }
    let scopes: [(Scope, &[u64]); 3] = [
        (
            Scope {
                name: false,
                attributes: false,
                ..ALL
            },
            &[400, 200, 150, 150, 100],
        ),
        (
            Scope {
                name: false,
                messages: false,
                ..ALL
            },
            &[],
        ),
        (
            Scope {
                messages: false,
                attributes: false,
                ..ALL
            },
            &[],
        ),
    ];
    for (scope, expected) in scopes {
        let question = asked("red", scope, EventFilter::default());
        assert_eq!(times(backend, &question), expected, "{scope:?}");
    }
    let place = &found(backend, &question("green"), 10)[0].matches[0];
    assert_eq!(
        (place.field.as_str(), place.snippet.as_str()),
        ("body", "green")
    );
    let mut elsewhere = question("red");
    elsewhere.project = OTHER;
    assert_eq!(times(backend, &elsewhere), [7]);
}

// Scenario: the same word in events of two services, of a trace and of none, with an attribute and
// without.
// Guarantees: each filter leaves exactly its events; an end is excluded and a start included.
pub(super) fn filters_narrow_a_search_of_events(backend: &mut impl Backend) {
    let api = logs(
        "api",
        vec![
            record(NOW + 1, "word"),
            with(record(NOW + 2, "word"), "tier", "gold"),
            LogRecord {
                body: text("", "word").value,
                ..linked(NOW + 3, 1, 1)
            },
        ],
    );
    let shop = logs("shop", vec![record(NOW + 4, "word")]);
    write_logs(backend, PROJECT, 1, &[api, shop]);
    let filter = EventFilter::default();
    let cases: [(EventFilter, &[u64]); 5] = [
        (filter.clone(), &[4, 3, 2, 1]),
        (
            EventFilter {
                service: Some("shop".to_owned()),
                ..filter.clone()
            },
            &[4],
        ),
        (
            EventFilter {
                trace_id: Some(trace_id(1)),
                ..filter.clone()
            },
            &[3],
        ),
        (
            EventFilter {
                attributes: vec![AttributeEquals {
                    key: "tier".to_owned(),
                    value: "gold".to_owned(),
                    or_absent: false,
                }],
                ..filter.clone()
            },
            &[2],
        ),
        (
            EventFilter {
                range: TimeRange {
                    start_unix_nano: Some(NOW + 2),
                    end_unix_nano: Some(NOW + 4),
                },
                ..filter
            },
            &[3, 2],
        ),
    ];
    for (filter, expected) in cases {
        let question = asked("word", ALL, filter.clone());
        assert_eq!(times(backend, &question), expected, "{filter:?}");
    }
}

// Scenario: many events in blocks of their own, one of which says a word.
// Guarantees: it is found; the other blocks are not looked through.
pub(super) fn blocks_of_events_that_cannot_match_are_passed_over(backend: &mut impl Backend) {
    for number in 0..20_u64 {
        let said = if number == 7 {
            "the needle"
        } else {
            "plain hay"
        };
        let request = logs("api", vec![record(NOW + number, said)]);
        write_logs(backend, PROJECT, 1 + number, &[request]);
    }
    let pages = pages(backend, &question("needle"), 5);
    let times: Vec<_> = pages.iter().flat_map(|page| &page.items).collect();
    assert_eq!(times.len(), 1);
    let looked: u64 = pages.iter().map(|page| page.searched_spans).sum();
    assert_eq!(looked, 1);
    let nothing = self::pages(backend, &question("haystack"), 5);
    assert_eq!(nothing.len(), 1);
    assert_eq!((nothing[0].searched_spans, nothing[0].complete), (0, true));
}

// Scenario: events get older than what is kept, then the same ones come once more.
// Guarantees: none of them is found, then each once.
pub(super) fn events_that_are_gone_are_not_found(backend: &mut impl Backend) {
    let request = logs(
        "api",
        vec![record(NOW + 1, "word"), record(NOW + 2, "word")],
    );
    write_logs(backend, PROJECT, 1, std::slice::from_ref(&request));
    assert_eq!(times(backend, &question("word")), [2, 1]);
    loop {
        let report = backend.writer().enforce_retention(NOW + 31 * DAY);
        if !runtime().block_on(report).unwrap().more {
            break;
        }
    }
    assert_eq!(times(backend, &question("word")), [0_u64; 0]);
    write_logs(backend, PROJECT, 2, &[request]);
    assert_eq!(times(backend, &question("word")), [2, 1]);
}
