//! The read side over a store filled by the real writer.

mod fixture;
mod paging;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::traces::Driver;
use super::{
    blocks, conversation, events, events_load, lists, pool, span_sums, traces, users, walk,
};
use crate::model::ProjectId;
use crate::storage::query::AttributeEquals;
use crate::storage::sqlite::Config;
use crate::storage::{
    Error, Page, PageRequest, SessionFilter, SpanFilter, SpanReader as _, StatusFilter, TimeRange,
    TraceFilter,
};
use fixture::{OTHER, PROJECT, Store, TestSpan, span, span_id, text, trace_id};

fn page(limit: usize) -> PageRequest {
    PageRequest { limit, after: None }
}

/// All pages of the trace list, as the first byte of each trace id.
async fn trace_list(store: &Store, filter: &TraceFilter, limit: usize) -> Vec<u8> {
    let mut request = page(limit);
    let mut found = Vec::new();
    loop {
        let answer = store.reader.list_traces(PROJECT, filter, &request).await;
        let Page { items, next } = answer.unwrap();
        assert!(items.len() <= limit);
        found.extend(items.iter().map(|trace| trace.trace_id.0[0]));
        match next {
            Some(next) => request.after = Some(next),
            None => return found,
        }
    }
}

/// All pages of the span list, as the numbers of the spans.
async fn span_list(store: &Store, filter: &SpanFilter, limit: usize) -> Vec<u16> {
    let mut request = page(limit);
    let mut found = Vec::new();
    loop {
        let answer = store.reader.list_spans(PROJECT, filter, &request).await;
        let Page { items, next } = answer.unwrap();
        found.extend(items.iter().map(|span| {
            let [.., high, low] = span.span_id.0;
            u16::from_be_bytes([high, low])
        }));
        match next {
            Some(next) => request.after = Some(next),
            None => return found,
        }
    }
}

fn attribute(key: &str, value: &str) -> Vec<AttributeEquals> {
    vec![AttributeEquals {
        key: key.to_owned(),
        value: value.to_owned(),
        or_absent: false,
    }]
}

// Scenario: traces with distinct and with equal starts, read in pages of every size.
// Guarantees: newest first, nothing missing and nothing twice at page borders, ties included.
#[tokio::test]
async fn trace_pages_of_any_size_join_to_the_whole_list() {
    let mut store = Store::open();
    for trace in 1..=9_u8 {
        let start = if trace <= 5 {
            100
        } else {
            u64::from(trace) * 100
        };
        store.write(&[span(trace, 1, start)]);
    }
    for limit in 1..=10 {
        assert_eq!(
            trace_list(&store, &TraceFilter::default(), limit).await,
            [9, 8, 7, 6, 5, 4, 3, 2, 1],
            "limit {limit}"
        );
    }
    let filter = TraceFilter {
        range: TimeRange {
            start_unix_nano: Some(100),
            end_unix_nano: Some(700),
        },
        ..TraceFilter::default()
    };
    assert_eq!(trace_list(&store, &filter, 2).await, [6, 5, 4, 3, 2, 1]);
}

fn varied() -> Vec<TestSpan> {
    let mut spans = vec![
        span(1, 1, 100),
        TestSpan {
            parent: Some(1),
            service: "db",
            failed: true,
            ..span(1, 2, 110)
        },
        TestSpan {
            name: "login",
            session: Some("s1"),
            user: Some("ada"),
            ..span(2, 3, 200)
        },
        TestSpan {
            service: "db",
            duration: 5_000,
            attributes: vec![
                ("tier", text("gold")),
                ("tries", Value::IntValue(3)),
                ("hit", Value::BoolValue(true)),
            ],
            ..span(3, 4, 300)
        },
        TestSpan {
            session: Some("s1"),
            resource_attributes: vec![("region", text("north"))],
            attributes: vec![("tier", text("silver"))],
            ..span(4, 5, 400)
        },
    ];
    spans.push(TestSpan {
        failed: true,
        name: "login",
        service: "web",
        ..span(5, 6, 500)
    });
    spans
}

fn traces_with(set: impl FnOnce(&mut TraceFilter)) -> TraceFilter {
    let mut filter = TraceFilter::default();
    set(&mut filter);
    filter
}

fn spans_with(set: impl FnOnce(&mut SpanFilter)) -> SpanFilter {
    let mut filter = SpanFilter::default();
    set(&mut filter);
    filter
}

fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[tokio::test]
async fn each_trace_filter_answers_exactly_its_traces() {
    let mut store = Store::open();
    store.write(&varied());
    let cases: [(TraceFilter, &[u8]); 13] = [
        (traces_with(|f| f.service = named("db")), &[3, 1]),
        (
            traces_with(|f| f.status = Some(StatusFilter::Error)),
            &[5, 1],
        ),
        (
            traces_with(|f| f.status = Some(StatusFilter::Ok)),
            &[4, 3, 2],
        ),
        (
            traces_with(|f| {
                f.service = named("db");
                f.status = Some(StatusFilter::Error);
            }),
            &[1],
        ),
        (traces_with(|f| f.name = named("login")), &[5, 2]),
        (traces_with(|f| f.session_id = named("s1")), &[4, 2]),
        (
            traces_with(|f| {
                f.session_id = named("s1");
                f.name = named("login");
            }),
            &[2],
        ),
        (traces_with(|f| f.duration_min_ns = Some(20)), &[3, 1]),
        (traces_with(|f| f.duration_max_ns = Some(10)), &[5, 4, 2]),
        (
            traces_with(|f| f.attributes = attribute("tier", "gold")),
            &[3],
        ),
        (
            traces_with(|f| f.attributes = attribute("tries", "3")),
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
            let found = trace_list(&store, &filter, limit).await;
            assert_eq!(found, expected, "{filter:?} limit {limit}");
        }
    }
}

#[tokio::test]
async fn each_span_filter_answers_exactly_its_spans() {
    let mut store = Store::open();
    store.write(&varied());
    let cases: [(SpanFilter, &[u16]); 9] = [
        (SpanFilter::default(), &[6, 5, 4, 3, 2, 1]),
        (spans_with(|f| f.trace_id = Some(trace_id(1))), &[2, 1]),
        (spans_with(|f| f.service = named("db")), &[4, 2]),
        (spans_with(|f| f.service = named("nobody")), &[]),
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
        (spans_with(|f| f.duration_min_ns = Some(11)), &[4]),
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
    ];
    for (filter, expected) in cases {
        for limit in [1, 2, 10] {
            let found = span_list(&store, &filter, limit).await;
            assert_eq!(found, expected, "{filter:?} limit {limit}");
        }
    }
}

// Scenario: more traces that do not match than one page may look at, before one that does.
// Guarantees: a page ends early with a cursor, and following it finds the match.
#[tokio::test]
async fn a_page_that_uses_up_its_budget_says_where_to_go_on() {
    let mut store = Store::open();
    store.write(&[TestSpan {
        name: "rare",
        attributes: vec![("tier", text("gold"))],
        ..span(1, 1, 1)
    }]);
    let connection = rusqlite::Connection::open(&store.path).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 21000)
             INSERT INTO trace (project_id, trace_id, received_unix_nano, start_unix_nano,
                end_unix_nano, span_count, error_count, genai_span_count, head_has_parent,
                head_start, head_span_id, head_name, head_service, services, models,
                llm_call_count, input_tokens, output_tokens, cache_read_tokens, cost_nano_usd)
             SELECT 1, CAST(printf('%016d', i) AS BLOB), 0, i, i, 0, 0, 0, 0, i, x'0000000000000001',
                'frequent', 'api', '[]', '[]', 0, 0, 0, 0, 0 FROM n",
        )
        .unwrap();
    let filter = traces_with(|f| f.name = named("rare"));
    let first = store.reader.list_traces(PROJECT, &filter, &page(10)).await;
    let first = first.unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    assert_eq!(trace_list(&store, &filter, 10).await, [1]);
}

// Scenario: one trace arrives in three batches, out of order, with equal starts among its spans.
// Guarantees: its spans are answered in (start, span id) order, page by page, each with its own
// message, resource and columns.
#[tokio::test]
async fn a_trace_in_many_parts_is_answered_in_order_and_in_pages() {
    let mut store = Store::open();
    let starts = [50, 20, 20, 90, 10, 70, 20];
    let spans: Vec<_> = starts
        .into_iter()
        .zip(1_u16..)
        .map(|(start, number)| TestSpan {
            parent: (number != 5).then_some(5),
            service: if number % 2 == 0 { "even" } else { "odd" },
            ..span(1, number, start)
        })
        .collect();
    for part in spans.chunks(3) {
        store.write(part);
    }
    let mut request = page(2);
    let mut found = Vec::new();
    loop {
        let answer = store.reader.trace(PROJECT, trace_id(1), &request).await;
        let trace = answer.unwrap().unwrap();
        assert_eq!(trace.summary.span_count, 7);
        assert_eq!(trace.summary.root_span_id, Some(span_id(5)));
        assert!(trace.spans.len() <= 2);
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
        let sent = &spans[usize::from(number) - 1];
        assert_eq!(stored.message, sent.message());
        assert_eq!(stored.summary.start_unix_nano, sent.start);
        assert_eq!(stored.summary.service_name, sent.service);
        assert_eq!(stored.resource.service_name, sent.service);
        assert_eq!(stored.received_unix_nano, 7);
        let single = store.reader.span(PROJECT, trace_id(1), span_id(number));
        assert_eq!(single.await.unwrap().as_ref(), Some(stored));
    }
    let none = store.reader.trace(PROJECT, trace_id(9), &page(1)).await;
    assert_eq!(none.unwrap(), None);
    let none = store.reader.span(PROJECT, trace_id(1), span_id(99)).await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn services_sessions_and_dead_letters_are_listed_in_pages() {
    let mut store = Store::open();
    store.write(&varied());
    store.write(&[TestSpan {
        session: Some("s2"),
        user: Some("bob"),
        ..span(6, 7, 50)
    }]);
    let mut request = page(2);
    let first = store.reader.list_services(PROJECT, &request).await.unwrap();
    request.after = first.next.clone();
    let second = store.reader.list_services(PROJECT, &request).await.unwrap();
    let names: Vec<_> = [first.items, second.items]
        .concat()
        .into_iter()
        .map(|service| service.name)
        .collect();
    assert_eq!(names, ["api", "db", "web"]);
    assert_eq!(second.next, None);

    let mut request = page(1);
    let filter = SessionFilter::default();
    let first = store.reader.list_sessions(PROJECT, &filter, &request).await;
    let first = first.unwrap();
    assert_eq!(first.items[0].session_id, "s1");
    assert_eq!(first.items[0].trace_count, 2);
    assert_eq!(first.items[0].user_id.as_deref(), Some("ada"));
    request.after = first.next;
    let second = store.reader.list_sessions(PROJECT, &filter, &request).await;
    let second = second.unwrap();
    assert_eq!(second.items[0].session_id, "s2");
    assert_eq!(second.next, None);
    let of_bob = SessionFilter {
        user_id: Some("bob".to_owned()),
        ..filter
    };
    let answer = store
        .reader
        .list_sessions(PROJECT, &of_bob, &page(10))
        .await;
    assert_eq!(answer.unwrap().items, second.items);

    let connection = rusqlite::Connection::open(&store.path).unwrap();
    for number in 1..=3_u8 {
        connection
            .execute(
                "INSERT INTO dead_letter (project_id, trace_id, span_id, reason,
                 created_unix_nano, message) VALUES (1, ?1, ?2, 'why', ?3, x'00')",
                rusqlite::params![[number; 16], [number; 8], number],
            )
            .unwrap();
    }
    let mut request = page(2);
    let first = store.reader.list_dead_letters(PROJECT, &request).await;
    let first = first.unwrap();
    request.after = first.next;
    let second = store.reader.list_dead_letters(PROJECT, &request).await;
    let second = second.unwrap();
    let order: Vec<_> = [first.items, second.items]
        .concat()
        .iter()
        .map(|letter| letter.created_unix_nano)
        .collect();
    assert_eq!(order, [3, 2, 1]);
    assert_eq!(second.next, None);
    assert!(store.reader.usage().await.unwrap().bytes > 0);
}

// Scenario: another project holds the same trace id, span ids, services and sessions as ours, and
// more; every list and detail is asked for each project.
// Guarantees: no answer to one project holds anything of the other.
#[tokio::test]
async fn a_project_never_sees_rows_of_another() {
    let mut store = Store::open();
    let theirs = |trace, number| TestSpan {
        project: OTHER,
        name: "secret",
        service: "api",
        session: Some("s1"),
        failed: true,
        attributes: vec![("tier", text("gold"))],
        ..span(trace, number, 100)
    };
    store.write(&[theirs(1, 1), theirs(2, 2)]);
    let nothing = TraceFilter::default();
    assert!(trace_list(&store, &nothing, 10).await.is_empty());

    store.write(&[TestSpan {
        session: Some("s1"),
        failed: true,
        attributes: vec![("tier", text("gold"))],
        ..span(1, 1, 100)
    }]);
    for filter in [
        TraceFilter::default(),
        traces_with(|f| f.service = named("api")),
        traces_with(|f| f.status = Some(StatusFilter::Error)),
        traces_with(|f| f.session_id = named("s1")),
        traces_with(|f| f.attributes = attribute("tier", "gold")),
    ] {
        let answer = store.reader.list_traces(PROJECT, &filter, &page(10)).await;
        let names: Vec<_> = answer.unwrap().items.into_iter().map(|t| t.name).collect();
        assert_eq!(names, ["op"], "{filter:?}");
    }
    for filter in [
        SpanFilter::default(),
        spans_with(|f| f.trace_id = Some(trace_id(1))),
        spans_with(|f| f.service = named("api")),
        spans_with(|f| f.attributes = attribute("tier", "gold")),
    ] {
        let answer = store.reader.list_spans(PROJECT, &filter, &page(10)).await;
        let names: Vec<_> = answer.unwrap().items.into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["op"], "{filter:?}");
    }
    let reader = &store.reader;
    let trace = reader.trace(PROJECT, trace_id(1), &page(10)).await.unwrap();
    assert_eq!(trace.unwrap().spans.len(), 1);
    let missing = reader.trace(PROJECT, trace_id(2), &page(10)).await.unwrap();
    assert_eq!(missing, None);
    let missing = reader.span(PROJECT, trace_id(2), span_id(2)).await.unwrap();
    assert_eq!(missing, None);
    let services = reader.list_services(PROJECT, &page(10)).await.unwrap();
    assert_eq!(services.items[0].span_count, 1);
    let filter = SessionFilter::default();
    let sessions = reader.list_sessions(PROJECT, &filter, &page(10)).await;
    assert_eq!(sessions.unwrap().items[0].span_count, 1);
    let unknown = reader.list_services(ProjectId(3), &page(10)).await;
    assert_eq!(unknown.unwrap().items, []);
}

fn count_for_ever(session: &pool::Session<'_>) -> Result<i64, Error> {
    session
        .connection
        .query_row(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
            [],
            |row| row.get(0),
        )
        .map_err(super::read_error("count"))
}

// Scenario: a query of endless work under a short time limit, then a normal one.
// Guarantees: it ends as a timeout soon after its limit, and the thread goes on working.
#[tokio::test]
async fn a_query_over_its_time_is_interrupted() {
    let store = Store::with_timeout(Duration::from_millis(50));
    let started = Instant::now();
    let endless = store.reader.pool.run(count_for_ever);
    assert!(matches!(endless.await, Err(Error::Timeout)));
    assert!(started.elapsed() < Duration::from_secs(5));
}

// Scenario: every thread is given endless work whose callers go away, and one query panics.
// Guarantees: work that nobody waits for ends, a panic reaches only its caller, and the threads
// go on answering.
#[tokio::test]
async fn threads_survive_callers_that_leave_and_queries_that_panic() {
    let store = Store::open();
    for _ in 0..4 {
        let endless = store.reader.pool.run(count_for_ever);
        let left = tokio::time::timeout(Duration::from_millis(20), endless).await;
        assert!(left.is_err());
    }
    for _ in 0..4 {
        let panicking = store
            .reader
            .pool
            .run(|_| -> Result<(), Error> { panic!("seen") });
        assert!(AssertUnwindSafe(panicking).catch_unwind().await.is_err());
    }
    let answered = tokio::time::timeout(Duration::from_secs(5), store.reader.usage());
    assert!(answered.await.unwrap().is_ok());
}

// Scenario: every statement of a list is explained by SQLite.
// Guarantees: none sorts and none walks a whole table; each searches the index it is meant to.
#[test]
fn no_list_sorts_or_scans_a_table() {
    let store = Store::open();
    let connection = pool::connect(&store.path, &Config::default()).unwrap();
    let statements = [
        (
            Driver::Start.tie(),
            "trace_start (project_id=? AND start_unix_nano=? AND rowid<?)",
        ),
        (
            Driver::Start.between(),
            "trace_start (project_id=? AND start_unix_nano>? AND start_unix_nano<?)",
        ),
        (
            Driver::Failed.tie(),
            "trace_failed (project_id=? AND start_unix_nano=? AND rowid<?)",
        ),
        (
            Driver::Failed.between(),
            "trace_failed (project_id=? AND start_unix_nano>? AND start_unix_nano<?)",
        ),
        (
            Driver::Service.tie(),
            "(project_id=? AND service_name=? AND start_unix_nano=? AND trace_key<?)",
        ),
        (
            Driver::Service.between(),
            "(project_id=? AND service_name=? AND start_unix_nano>? AND start_unix_nano<?)",
        ),
        (traces::ONE, "INTEGER PRIMARY KEY (rowid=?)"),
        (traces::SESSION_TRACES, "PRIMARY KEY (session_key=?)"),
        (
            traces::HAS_SERVICE,
            "PRIMARY KEY (project_id=? AND service_name=? AND start_unix_nano=? AND trace_key=?)",
        ),
        (
            traces::HAS_SESSION,
            "PRIMARY KEY (session_key=? AND trace_key=?)",
        ),
        (
            walk::HEADERS,
            "COVERING INDEX block_start (project_id=? AND width=? AND start_max>? AND start_max<?)",
        ),
        (blocks::COLUMNS, "INTEGER PRIMARY KEY (rowid=?)"),
        (blocks::PART, "PRIMARY KEY (trace_key=? AND block_id=?)"),
        (blocks::SIEVE, "INTEGER PRIMARY KEY (rowid=?)"),
        (blocks::MESSAGES, "INTEGER PRIMARY KEY (rowid=?)"),
        (lists::SERVICES, "PRIMARY KEY (project_id=? AND name>?)"),
        (
            lists::SESSIONS_TIE,
            "session_end (project_id=? AND end_unix_nano=? AND session_id<?)",
        ),
        (
            lists::SESSIONS_BETWEEN,
            "session_end (project_id=? AND end_unix_nano>? AND end_unix_nano<?)",
        ),
        (lists::DEAD_LETTERS, "INTEGER PRIMARY KEY (rowid<?)"),
        (lists::SESSION, "INTEGER PRIMARY KEY (rowid=?)"),
        (conversation::TRACES, "PRIMARY KEY (session_key=?)"),
        (
            users::TRACES,
            "trace_start (project_id=? AND start_unix_nano>? AND start_unix_nano<?)",
        ),
        (span_sums::ENVIRONMENT, "INTEGER PRIMARY KEY (rowid=?)"),
    ];
    assert_searched(&connection, &statements);
}

// The same of events.
#[test]
fn no_list_of_events_sorts_or_scans_a_table() {
    let store = Store::open();
    let connection = pool::connect(&store.path, &Config::default()).unwrap();
    let statements = [
        (
            events::EVENTS_TIE,
            "PRIMARY KEY (project_id=? AND time_unix_nano=? AND digest<?)",
        ),
        (
            events::EVENTS_BETWEEN,
            "PRIMARY KEY (project_id=? AND time_unix_nano>? AND time_unix_nano<?)",
        ),
        (
            events::OF_TRACE_TIE,
            "event_trace (project_id=? AND trace_id=? AND time_unix_nano=? AND digest<?)",
        ),
        (
            events::OF_TRACE_BETWEEN,
            "event_trace (project_id=? AND trace_id=? AND time_unix_nano>? AND time_unix_nano<?)",
        ),
        (
            events::FIRST_OF_TRACE,
            "event_trace (project_id=? AND trace_id=?)",
        ),
        (
            events::EVENT,
            "PRIMARY KEY (project_id=? AND time_unix_nano=? AND digest=?)",
        ),
        (events_load::BLOCK, "INTEGER PRIMARY KEY (rowid=?)"),
    ];
    assert_searched(&connection, &statements);
}

fn assert_searched(connection: &rusqlite::Connection, statements: &[(&str, &str)]) {
    for (sql, search) in statements {
        let plan = explain(connection, sql);
        assert!(plan.contains(search), "{sql}\n{plan}\nlacks {search}");
        assert!(!plan.contains("USE TEMP B-TREE"), "{sql}\n{plan}");
        assert!(!plan.contains("SCAN"), "{sql}\n{plan}");
    }
}

fn explain(connection: &rusqlite::Connection, sql: &str) -> String {
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let parameters = vec![rusqlite::types::Null; statement.parameter_count()];
    let lines: Vec<String> = statement
        .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    lines.join("\n")
}
