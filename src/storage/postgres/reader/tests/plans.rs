//! What the server does to answer, as it tells itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::filled::{self, BETWEEN, DAY, DAYS, FIRST_DAY, SPANS, TRACES};
use crate::model::event::EventSource;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::postgres::reader::session::Session;
use crate::storage::postgres::reader::{
    analytics, conversation, events, lists, search, spans, trace, traces, users,
};
use crate::storage::query::{AnalyticsQuery, Dimension, Fact, UsersQuery};
use crate::storage::search::{Hit, Matcher, Scope, SearchQuery, Searchers, Terms};
use crate::storage::{
    EventFilter, PageRequest, SessionFilter, SpanFilter, StatusFilter, TimeRange, TraceFilter,
};

pub(super) const PROJECT: ProjectId = ProjectId::DEFAULT;

fn page(limit: usize) -> PageRequest {
    PageRequest { limit, after: None }
}

fn trace_id(number: u64) -> TraceId {
    TraceId(u128::from(number).to_be_bytes())
}

/// A scan of a table in a plan.
#[derive(Debug)]
struct Scan {
    node: String,
    table: String,
    index: String,
    /// Rows looked at, whether they passed the filter or not.
    rows: f64,
}

/// The scans that were really executed.
fn scans(plans: &[Value]) -> Vec<Scan> {
    let mut found = Vec::new();
    for plan in plans {
        collect(&plan[0]["Plan"], &mut found);
    }
    found
}

fn collect(node: &Value, found: &mut Vec<Scan>) {
    let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let loops = number("Actual Loops");
    if node["Relation Name"].is_string() && loops > 0.0 {
        found.push(Scan {
            node: text("Node Type"),
            table: text("Relation Name"),
            index: text("Index Name"),
            rows: loops * (number("Actual Rows") + number("Rows Removed by Filter")),
        });
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, found);
    }
}

/// A plan in lines, for people.
fn show(node: &Value, depth: usize) -> String {
    let keys = [
        "Node Type",
        "Relation Name",
        "Index Name",
        "Index Cond",
        "Filter",
        "Sort Key",
        "Presorted Key",
        "Plan Rows",
        "Actual Rows",
        "Actual Loops",
    ];
    let known = keys.iter().filter(|key| !node[**key].is_null());
    let line: Vec<_> = known.map(|key| format!("{key}: {}", node[*key])).collect();
    let children = node["Plans"].as_array().into_iter().flatten();
    let children: String = children.map(|child| show(child, depth + 1)).collect();
    format!("{}{}\n{children}", "  ".repeat(depth), line.join(", "))
}

/// What a question touched.
pub(super) struct Touched {
    scans: Vec<Scan>,
    plans: String,
}

impl Touched {
    pub(super) fn of(session: &Session) -> Self {
        let plans = session.take_plans();
        let touched = Self {
            scans: scans(&plans),
            plans: plans.iter().map(|plan| show(&plan[0]["Plan"], 0)).collect(),
        };
        // The list of partitions is small, and read whole.
        let read_whole = |scan: &&Scan| scan.node == "Seq Scan" && scan.table != "span_partition";
        let whole: Vec<_> = touched.scans.iter().filter(read_whole).collect();
        assert!(whole.is_empty(), "{whole:?}\n{}", touched.plans);
        touched
    }

    /// Rows looked at in tables whose names begin so.
    fn rows(&self, table: &str) -> f64 {
        let of_table = self
            .scans
            .iter()
            .filter(|scan| scan.table.starts_with(table));
        of_table.map(|scan| scan.rows).sum()
    }

    /// Partitions of a table that were looked into.
    pub(super) fn partitions(&self, table: &str) -> BTreeSet<&str> {
        let of_table = self
            .scans
            .iter()
            .filter(|scan| scan.table.starts_with(table));
        of_table.map(|scan| scan.table.as_str()).collect()
    }

    pub(super) fn assert_rows(&self, table: &str, most: u64) {
        let rows = self.rows(table);
        assert!(
            rows <= most as f64,
            "{rows} rows of {table}\n{}",
            self.plans
        );
    }

    pub(super) fn assert_index(&self, table: &str, index: &str) {
        let of_table = self
            .scans
            .iter()
            .filter(|scan| scan.table.starts_with(table));
        let others = of_table.filter(|scan| !scan.index.contains(index));
        let others: Vec<_> = others.collect();
        assert!(others.is_empty(), "{others:?}\n{}", self.plans);
    }
}

fn range(from_day: u64, to_day: u64) -> TimeRange {
    TimeRange {
        start_unix_nano: Some(FIRST_DAY + from_day * DAY),
        end_unix_nano: Some(FIRST_DAY + to_day * DAY),
    }
}

async fn trace_lists(session: &Session) {
    let list = async |filter: TraceFilter| {
        let found = traces::list(session, PROJECT, &filter, &page(50))
            .await
            .unwrap();
        (found, Touched::of(session))
    };
    let (found, touched) = list(TraceFilter::default()).await;
    assert_eq!(found.items.len(), 50);
    assert_eq!(found.items[0].trace_id, trace_id(TRACES));
    touched.assert_rows("trace", 51);
    touched.assert_index("trace", "trace_start");

    let failed = TraceFilter {
        status: Some(StatusFilter::Error),
        ..TraceFilter::default()
    };
    let (found, touched) = list(failed).await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("trace", 51);
    touched.assert_index("trace", "trace_failed");

    let service = TraceFilter {
        service: Some("rare".to_owned()),
        ..TraceFilter::default()
    };
    let (found, touched) = list(service.clone()).await;
    assert_eq!(found.items.len(), 50);
    assert_eq!(found.items[0].service_name, "rare");
    touched.assert_rows("trace_service", 51);
    touched.assert_rows("trace", 2 * 51);

    // Two filters: the server stops when the page is full.
    let (found, touched) = list(TraceFilter {
        status: Some(StatusFilter::Error),
        ..service
    })
    .await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("trace_service", 51 * 25 + 25);

    let session_traces = TRACES / 10;
    let (found, touched) = list(TraceFilter {
        session_id: Some("session-7".to_owned()),
        ..TraceFilter::default()
    })
    .await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("session", session_traces + 1);
    touched.assert_rows("trace", session_traces);
    touched.assert_index("trace", "trace_pkey");

    let (found, touched) = list(TraceFilter {
        range: range(20, 21),
        ..TraceFilter::default()
    })
    .await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("trace", 51);
}

async fn facts(session: &Session) {
    let list = async |facts: Vec<Fact>| {
        let filter = TraceFilter {
            facts,
            ..TraceFilter::default()
        };
        let found = traces::list(session, PROJECT, &filter, &page(50)).await;
        (found.unwrap(), Touched::of(session))
    };
    // Found in the newest traces, whose spans are looked up by trace, in the partitions that hold
    // them.
    let (found, touched) = list(vec![Fact::Operation("http".to_owned())]).await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("trace", 250);
    touched.assert_rows("span_d", 250 * SPANS);
    touched.assert_index("span_d", "pkey");
    assert!(touched.partitions("span_d").len() <= 3);

    // Found nowhere: no more than the budget of a page.
    let (found, touched) = list(vec![Fact::Tool("none".to_owned())]).await;
    assert!(found.items.is_empty() && found.next.is_some());
    touched.assert_rows("span_d", 80_000 + 250 * SPANS);
    touched.assert_index("span_d", "pkey");

    // The rows of traces tell.
    let (found, touched) = list(vec![Fact::Model("none".to_owned())]).await;
    assert!(found.items.is_empty());
    touched.assert_rows("span_d", 0);
    touched.assert_rows("trace", TRACES);

    let filter = SpanFilter {
        facts: vec![Fact::Operation("http".to_owned())],
        user_id: None,
        ..SpanFilter::default()
    };
    let found = spans::list(session, PROJECT, &filter, &page(50)).await;
    let touched = Touched::of(session);
    assert_eq!(found.unwrap().items.len(), 50);
    touched.assert_rows("span_d", 600);
    touched.assert_index("span_d", "start_unix_nano_span_id");
}

async fn conversations_and_sums_of_spans(session: &Session) {
    let found = conversation::load(session, PROJECT, "session-7", &page(50)).await;
    let touched = Touched::of(session);
    let found = found.unwrap().unwrap();
    assert_eq!(found.traces.len(), 50);
    assert_eq!(found.traces[0].trace_id, trace_id(10));
    touched.assert_rows("session", TRACES / 10 + 1);
    touched.assert_rows("trace", TRACES / 10);
    touched.assert_index("trace", "trace_pkey");

    let query = UsersQuery {
        start_unix_nano: FIRST_DAY + 20 * DAY,
        end_unix_nano: FIRST_DAY + 21 * DAY,
        page: page(50),
    };
    let answer = users::list(session, PROJECT, &query).await.unwrap();
    assert_eq!(answer.counted_from_unix_nano, None);
    let touched = Touched::of(session);
    touched.assert_rows("trace", DAY / BETWEEN + 1);
    touched.assert_index("trace", "trace_start");

    let minute = |day: u64| ((FIRST_DAY + day * DAY) / 60_000_000_000) as i64;
    let query = AnalyticsQuery {
        start_minute: minute(20),
        end_minute: minute(22),
        step_minutes: None,
        group_by: vec![Dimension::User, Dimension::Environment],
        filters: Vec::new(),
        durations: true,
        details: true,
        limit: 100,
    };
    let answer = analytics::analytics(session, PROJECT, &query).await;
    let touched = Touched::of(session);
    let spans = 2 * DAY / BETWEEN * SPANS;
    assert_eq!(answer.unwrap().rows[0].measures.span_count, spans);
    // A row of each span, and its trace's.
    touched.assert_rows("span_d", spans + 20);
    touched.assert_index("span_d", "start_unix_nano_span_id");
    touched.assert_rows("trace", spans);
    let days = BTreeSet::from(["span_d20", "span_d21"]);
    assert!(touched.partitions("span_d").is_subset(&days));
}

/// What takes longer than a query may counts nothing more, and says so.
async fn out_of_time(session: &Session) {
    let end = FIRST_DAY + 22 * DAY;
    let query = UsersQuery {
        start_unix_nano: FIRST_DAY,
        end_unix_nano: end,
        page: page(50),
    };
    let answer = users::list(session, PROJECT, &query).await.unwrap();
    assert!(answer.page.items.is_empty());
    assert_eq!(answer.counted_from_unix_nano, Some(end));
    let query = AnalyticsQuery {
        start_minute: 0,
        end_minute: (end / 60_000_000_000) as i64,
        step_minutes: None,
        group_by: vec![Dimension::User],
        filters: Vec::new(),
        durations: true,
        details: true,
        limit: 100,
    };
    let answer = analytics::analytics(session, PROJECT, &query).await;
    let answer = answer.unwrap();
    assert!(answer.rows.is_empty());
    assert_eq!(answer.counted_from_unix_nano, Some(end));
}

async fn span_lists(session: &Session) {
    let list = async |filter: SpanFilter| {
        let found = spans::list(session, PROJECT, &filter, &page(50))
            .await
            .unwrap();
        (found, Touched::of(session))
    };
    let newest = format!("span_d{}", DAYS - 1);
    let (found, touched) = list(SpanFilter::default()).await;
    assert_eq!(found.items.len(), 50);
    assert_eq!(found.items[0].trace_id, trace_id(TRACES));
    touched.assert_rows("span_d", 60);
    // The newest one that has rows, those ahead, and the one for all other times.
    let touched_ahead = touched.partitions("span_d");
    assert!(touched_ahead.len() <= 5, "{touched_ahead:?}");
    assert!(touched_ahead.contains(newest.as_str()));
    touched.assert_index("span_d", "start_unix_nano_span_id");

    let (found, touched) = list(SpanFilter {
        status: Some(StatusFilter::Error),
        ..SpanFilter::default()
    })
    .await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("span_d", 80);
    touched.assert_index("span_d", "start_unix_nano_span_id");

    let (found, touched) = list(SpanFilter {
        range: range(20, 21),
        ..SpanFilter::default()
    })
    .await;
    assert_eq!(found.items.len(), 50);
    assert_eq!(touched.partitions("span_d"), BTreeSet::from(["span_d20"]));
    touched.assert_rows("span_d", 60);

    // Nothing matches: the budget of one page is looked at, and no more.
    let (found, touched) = list(SpanFilter {
        name: Some("no such name".to_owned()),
        ..SpanFilter::default()
    })
    .await;
    assert!(found.items.is_empty() && found.next.is_some());
    touched.assert_rows("span_d", 20_000 + 200);
    assert!(touched.rows("span_d") >= 20_000.0);
}

async fn searches(session: &Session) {
    let scope = Scope {
        name: true,
        messages: true,
        attributes: true,
        holds_messages: |_, _| false,
    };
    let query = SearchQuery {
        filter: SpanFilter {
            range: range(20, 21),
            ..SpanFilter::default()
        },
        matcher: Arc::new(Matcher::new(Terms::parse("word").unwrap(), scope)),
        time_limit: Duration::ZERO,
    };
    let asked = search::Asked {
        project: PROJECT,
        query: &query,
        page: &page(20),
        searchers: &Searchers::start(2).unwrap(),
        deadline: Instant::now() + Duration::from_secs(3600),
    };
    let found = search::search(session, &asked).await.unwrap();
    let of_day = DAY / BETWEEN * SPANS;
    assert_eq!((found.items.len(), found.searched_spans), (0, of_day));
    assert!(found.complete && found.next.is_none());
    let touched = Touched::of(session);
    assert_eq!(touched.partitions("span_d"), BTreeSet::from(["span_d20"]));
    // To sort within one start, a piece reads a row ahead and begins with the last one once more.
    touched.assert_rows("span_d", of_day + 2 * 3);
    touched.assert_index("span_d", "start_unix_nano_span_id");
    // Once for the sieve, which these blocks don't have, and once for the block.
    touched.assert_rows("content_block", 2 * of_day / SPANS);

    // What was found is read row by row, whatever it must pass.
    let start = FIRST_DAY + 20 * DAY;
    let trace = trace_id(20 * DAY / BETWEEN + 1);
    let hit = Hit {
        place: 0,
        trace_id: trace,
        span_id: SpanId(1_u64.to_be_bytes()),
        start_unix_nano: start,
        resource_id: 1,
        message: Vec::new(),
        matches: Vec::new(),
    };
    let key = (start as i64, hit.span_id.0.to_vec(), trace.0.to_vec());
    let found = [((key, 0), hit)];
    let other = SpanFilter {
        session_id: Some("no such session".to_owned()),
        ..query.filter.clone()
    };
    for (filter, expected) in [(query.filter.clone(), 1), (other, 0)] {
        let question = spans::Question::new(PROJECT, &filter);
        let rows = search::rows::read(session, &question, &found).await;
        assert_eq!(rows.unwrap().len(), expected);
        let touched = Touched::of(session);
        assert_eq!(touched.partitions("span_d"), BTreeSet::from(["span_d20"]));
        touched.assert_rows("span_d", 1);
        touched.assert_rows("trace", 1);
    }
}

async fn details(session: &Session) {
    let filter = SpanFilter {
        trace_id: Some(trace_id(1000)),
        ..SpanFilter::default()
    };
    let found = spans::list(session, PROJECT, &filter, &page(50))
        .await
        .unwrap();
    let touched = Touched::of(session);
    assert_eq!(found.items.len() as u64, SPANS);
    let day = 999 * BETWEEN / DAY;
    assert_eq!(
        touched.partitions("span_d"),
        BTreeSet::from([&*format!("span_d{day}")])
    );
    touched.assert_rows("span_d", SPANS);
    touched.assert_index("span_d", "pkey");
    touched.assert_rows("trace", SPANS + 1);

    let found = trace::load(session, PROJECT, trace_id(1000), &page(100)).await;
    let touched = Touched::of(session);
    assert_eq!(found.unwrap().unwrap().spans.len() as u64, SPANS);
    let (span, block) = (format!("span_d{day}"), format!("content_block_d{day}"));
    assert_eq!(touched.partitions("span_"), BTreeSet::from([span.as_str()]));
    assert_eq!(
        touched.partitions("content_block"),
        BTreeSet::from([block.as_str()])
    );
    touched.assert_rows("span_", SPANS);
    touched.assert_rows("content_block", 1);
    touched.assert_rows("trace", 1);

    let found = trace::load_span(
        session,
        PROJECT,
        trace_id(1000),
        SpanId(3_u64.to_be_bytes()),
    );
    assert!(found.await.unwrap().is_some());
    let touched = Touched::of(session);
    touched.assert_rows("span_", 1);
    assert_eq!(touched.partitions("span_"), BTreeSet::from([span.as_str()]));
}

async fn sums_and_short_lists(session: &Session) {
    let query = |from: u64, to: u64| AnalyticsQuery {
        start_minute: ((FIRST_DAY + from) / 60_000_000_000) as i64,
        end_minute: ((FIRST_DAY + to) / 60_000_000_000) as i64,
        step_minutes: None,
        group_by: vec![Dimension::Model],
        filters: Vec::new(),
        durations: true,
        details: false,
        limit: 100,
    };
    let thirty_days = query(5 * DAY, 35 * DAY);
    let answer = analytics::analytics(session, PROJECT, &thirty_days)
        .await
        .unwrap();
    let counted: u64 = answer.rows.iter().map(|row| row.measures.span_count).sum();
    assert_eq!((answer.rows.len(), counted), (5, 30 * DAY / BETWEEN));
    let counted: u64 = answer
        .rows
        .iter()
        .map(|row| row.measures.durations.count())
        .sum();
    assert!(counted > 0);
    let touched = Touched::of(session);
    // A row a day, service and model.
    touched.assert_rows("rollup", 30 * 2 * 5);
    touched.assert_index("rollup", "rollup_pkey");

    // Days, with hours and minutes at both ends.
    let uneven = query(5 * DAY - DAY / 3 - DAY / 1000, 35 * DAY + DAY / 3);
    let answer = analytics::analytics(session, PROJECT, &uneven)
        .await
        .unwrap();
    let counted: u64 = answer.rows.iter().map(|row| row.measures.span_count).sum();
    let expected = (30 * DAY + 2 * DAY / 3) / BETWEEN;
    assert!(counted.abs_diff(expected) <= 1, "{counted}, not {expected}");
    Touched::of(session).assert_rows("rollup", 30 * 2 * 5 + 2 * 100 + 2);

    let filter = SessionFilter::default();
    lists::sessions(session, PROJECT, &filter, &page(50))
        .await
        .unwrap();
    let touched = Touched::of(session);
    touched.assert_rows("session", 51);
    touched.assert_index("session", "session_end");
    lists::services(session, PROJECT, &page(50)).await.unwrap();
    lists::dead_letters(session, PROJECT, &page(50))
        .await
        .unwrap();
    let touched = Touched::of(session);
    touched.assert_index("service", "service_pkey");
    touched.assert_index("dead_letter", "dead_letter_created");
}

// Scenario: an event for each trace, in a partition a day; they are listed, of all times and of one
// day, of a trace, and one of them is asked for.
// Guarantees: each touches the rows it answers, besides one a partition, by the index that is made for
// it, and only the partitions that hold them where a time is given.
#[tokio::test]
async fn questions_of_events_touch_only_what_they_answer() {
    let database = filled::database();
    filled::add_events(&database);
    let reader = filled::reader(&database, Duration::from_secs(60));
    let mut session = reader.sessions.begin().await.unwrap();
    session.note_plans();
    let list = async |filter: EventFilter| {
        let found = events::list(&session, PROJECT, &filter, &page(50)).await;
        (found.unwrap(), Touched::of(&session))
    };
    let (found, touched) = list(EventFilter::default()).await;
    assert_eq!(found.items.len(), 50);
    touched.assert_rows("event", 51 + 2 * DAYS);
    touched.assert_index("event_d", "pkey");

    let (found, touched) = list(EventFilter {
        range: range(20, 21),
        ..EventFilter::default()
    })
    .await;
    assert_eq!(found.items.len(), 50);
    let day = BTreeSet::from(["event_d20"]);
    assert!(
        touched
            .partitions("event_d")
            .is_subset(&BTreeSet::from(["event_d20", "event_default"]))
    );
    touched.assert_rows("event", 51);

    let (told, touched) = list(EventFilter {
        source: Some(EventSource::PulseBoardAnalytics),
        ..EventFilter::default()
    })
    .await;
    assert!(told.items.is_empty() && told.next.is_none());
    touched.assert_rows("event", 0);
    touched.assert_index("event_d", "time_unix_nano_digest_idx");

    let one = found.items.first().unwrap().columns.id;
    assert!(events::one(&session, PROJECT, one).await.unwrap().is_some());
    let touched = Touched::of(&session);
    touched.assert_rows("event", 1);
    assert_eq!(touched.partitions("event_d"), day);

    let of_trace = events::of(&session, PROJECT, trace_id(1000), None).await;
    assert_eq!(of_trace.unwrap().events.len(), 1);
    let touched = Touched::of(&session);
    touched.assert_rows("event", 1);
    touched.assert_rows("content_block", 1);
    session.end();
}

// Scenario: a database of forty partitions, before the server has looked at what is in them and
// after; every list, detail and sum is asked for.
// Guarantees: each touches the rows it answers and little more, in the partitions that hold them,
// by the index that is made for it; none reads a table whole.
#[tokio::test]
async fn questions_touch_only_what_they_answer() {
    let database = filled::database();
    let reader = filled::reader(&database, Duration::from_secs(60));
    for _ in 0..2 {
        let mut session = reader.sessions.begin().await.unwrap();
        session.note_plans();
        trace_lists(&session).await;
        span_lists(&session).await;
        facts(&session).await;
        searches(&session).await;
        sums_and_short_lists(&session).await;
        session.end();
        database.execute("ANALYZE");
    }
    // A partition of a few rows that the server has not looked at yet may be read whole.
    let mut session = reader.sessions.begin().await.unwrap();
    session.note_plans();
    details(&session).await;
    conversations_and_sums_of_spans(&session).await;
    session.scan_deadline = Instant::now();
    out_of_time(&session).await;
    session.end();
}
