//! Partitions, and what goes when.

use super::{NOW, PROJECT, Store, conformance, request, span, wait, write};
use crate::config::{ByteSize, Duration as ConfigDuration};
use crate::storage::{RetentionConfig, RetentionReport, SpanWriter as _};

const DAY: u64 = 86_400_000_000_000;
const HOUR: u64 = DAY / 24;

fn retain(store: &mut Store, now: u64) -> RetentionReport {
    wait(store.writer.enforce_retention(now)).unwrap()
}

fn partitions(store: &Store, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass
         ORDER BY 1"
    );
    store
        .database
        .rows(&sql)
        .into_iter()
        .flatten()
        .flatten()
        .collect()
}

/// Runs statements on a connection of their own.
pub(super) async fn run(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let work = async {
        client.batch_execute(sql).await.unwrap();
        drop(client);
    };
    tokio::join!(work, async { connection.await.unwrap() });
}

fn days(days: u64) -> RetentionConfig {
    RetentionConfig {
        max_age: ConfigDuration::days(days),
        ..RetentionConfig::default()
    }
}

// Scenario: spans that start in 1970, ten and three days ago, now, in ten days, and at the end of
// what a clock can say.
// Guarantees: a partition is made for what is not too late and for nothing else; all are stored.
#[test]
fn only_plausible_times_get_a_partition() {
    let mut store = Store::open();
    let starts = [
        0,
        1,
        NOW - 10 * DAY,
        NOW - 3 * DAY,
        NOW,
        NOW + 10 * DAY,
        u64::MAX,
    ];
    let spans = (1..).zip(starts).map(|(number, start)| {
        let mut span = span(1, number);
        span.start_time_unix_nano = start;
        span.end_time_unix_nano = start;
        span
    });
    let report = write(&mut store, PROJECT, 1, &[request("api", spans.collect())]);
    assert_eq!(report.spans_stored, 7);
    assert_eq!(
        partitions(&store, "span"),
        [
            "span_default",
            "span_p20270112",
            "span_p20270115",
            "span_p20270116",
            "span_p20270117",
            "span_p20270118"
        ]
    );
    assert_eq!(store.count("span_default"), 5);
    assert_eq!(store.count("span_p20270112"), 1);
    let wrong = "span WHERE extract(epoch FROM start_time) * 1000000 <> start_unix_nano / 1000";
    assert_eq!(store.count(wrong), 0);
    // A resend finds them wherever they are.
    let resent = (1..).zip(starts).map(|(number, start)| {
        let mut span = span(1, number);
        span.start_time_unix_nano = start;
        span
    });
    let report = write(&mut store, PROJECT, 2, &[request("api", resent.collect())]);
    assert_eq!(report.spans_duplicate, 7);
    conformance::everything(&store, PROJECT);
}

// Scenario: a span's start is in the future; later, time gets there.
// Guarantees: its row moves to the partition made for that day, and is still known.
#[test]
fn rows_move_out_of_the_default_partition() {
    let mut store = Store::open();
    let mut early = span(1, 1);
    early.start_time_unix_nano = NOW + 10 * DAY;
    early.end_time_unix_nano = NOW + 10 * DAY;
    write(
        &mut store,
        PROJECT,
        1,
        &[request("api", vec![early.clone()])],
    );
    let before = conformance::everything(&store, PROJECT);
    assert_eq!(store.count("span_default"), 1);
    retain(&mut store, NOW + 9 * DAY);
    assert_eq!(store.count("span_default"), 0);
    assert_eq!(store.count("span_p20270125"), 1);
    assert_eq!(conformance::everything(&store, PROJECT), before);
    let report = write(&mut store, PROJECT, 2, &[request("api", vec![early])]);
    assert_eq!(report.spans_duplicate, 1);
    let noted = "span_partition WHERE name = 'span_p20270125' AND received_unix_nano > 0";
    assert_eq!(store.count(noted), 1);
}

// Scenario: somebody holds on to the table while a partition is needed.
// Guarantees: spans go to the default partition meanwhile, and nothing fails.
#[test]
fn a_partition_that_cannot_be_made_now_holds_nothing_up() {
    let mut store = Store::with(RetentionConfig::default(), |config| {
        config.lock_timeout = ConfigDuration::millis(200);
    });
    let mut late = span(1, 1);
    late.start_time_unix_nano = NOW - 3 * DAY;
    let hold = std::thread::spawn({
        let url = store.database.url().to_owned();
        move || {
            wait(run(
                &url,
                "BEGIN; SELECT FROM span_default; SELECT pg_sleep(2); COMMIT",
            ))
        }
    });
    while store.count("pg_locks WHERE relation = 'span_default'::regclass") == 0 {
        std::thread::yield_now();
    }
    let report = write(&mut store, PROJECT, 1, &[request("api", vec![late])]);
    assert_eq!(report.spans_stored, 1);
    hold.join().unwrap();
    assert_eq!(store.count("span_default"), 1);
    conformance::everything(&store, PROJECT);
}

/// Tables that hold what belongs to single traces and sessions.
const TRACE_TABLES: [&str; 9] = [
    "service",
    "trace",
    "trace_service",
    "span",
    "content_block",
    "session",
    "session_trace",
    "rollup",
    "span_default",
];

// Scenario: time passes beyond the maximum age, and far beyond it.
// Guarantees: old traces go whole, younger ones stay, in the end no row and no partition is left.
#[test]
fn retention_by_age_leaves_nothing_behind() {
    let mut store = Store::with(days(2), |_| {});
    let mut odd = span(1, 99);
    odd.start_time_unix_nano = 5;
    let mut spans: Vec<_> = (1..=20).map(|number| span(1, number)).collect();
    spans.push(odd);
    write(&mut store, PROJECT, 1, &[request("api", spans)]);
    assert!(TRACE_TABLES.iter().all(|table| store.count(table) > 0));
    let before = conformance::everything(&store, PROJECT);
    assert_eq!(
        retain(&mut store, NOW + 2 * DAY - 1),
        RetentionReport::default()
    );
    assert_eq!(conformance::everything(&store, PROJECT), before);
    let report = retain(&mut store, NOW + 2 * DAY + 1);
    assert_eq!(report.traces_deleted, 1);
    for table in ["trace", "trace_service", "session_trace", "span_default"] {
        assert_eq!(store.count(table), 0, "{table}");
    }
    let mut steps = 0;
    while retain(&mut store, NOW + 5 * DAY).more {
        steps += 1;
        assert!(steps < 100);
    }
    for table in TRACE_TABLES {
        assert_eq!(store.count(table), 0, "{table}");
    }
    assert_eq!((store.count("resource"), store.count("scope")), (0, 0));
    let oldest = partitions(&store, "span").into_iter().nth(1);
    assert_eq!(oldest.as_deref(), Some("span_p20270118"));
    // All but the default of each.
    let of_tables = ["span", "event", "metric_chunk"].map(|table| partitions(&store, table).len());
    let all = of_tables.iter().sum::<usize>() - of_tables.len();
    assert_eq!(store.count("span_partition"), all as i64);
    // What was deleted can come again.
    let again = (1..=3).map(|number| span(1, number)).collect();
    let report = write(&mut store, PROJECT, 99, &[request("api", again)]);
    assert_eq!(report.spans_stored, 3);
    conformance::everything(&store, PROJECT);
    assert_eq!(store.count("resource"), 1);
}

// Scenario: spans come late, long after others of their day.
// Guarantees: the partition of that day stays until they are old too.
#[test]
fn a_partition_stays_while_anything_in_it_is_young() {
    let mut store = Store::with(days(2), |_| {});
    write(&mut store, PROJECT, 1, &[request("api", vec![span(1, 1)])]);
    // Arrived a day and a half later.
    let noted = NOW + DAY + 12 * HOUR;
    store.database.rows(&format!(
        "UPDATE span_partition SET received_unix_nano = {noted} WHERE name = 'span_p20270115'"
    ));
    while retain(&mut store, NOW + 3 * DAY).more {}
    assert!(partitions(&store, "span").contains(&"span_p20270115".to_owned()));
    while retain(&mut store, noted + 2 * DAY).more {}
    assert!(!partitions(&store, "span").contains(&"span_p20270115".to_owned()));
}

// Scenario: rows of a deleted trace are still in a partition when its spans are sent again.
// Guarantees: they are stored and counted once.
#[test]
fn what_is_left_of_a_deleted_trace_is_replaced() {
    let mut store = Store::open();
    let batch = || request("api", (1..=4).map(|number| span(1, number)).collect());
    write(&mut store, PROJECT, 1, &[batch()]);
    let before = conformance::everything(&store, PROJECT);
    store.database.rows(
        "DELETE FROM trace; DELETE FROM trace_service; DELETE FROM session;
         DELETE FROM session_trace; DELETE FROM service",
    );
    let report = write(&mut store, PROJECT, 2, &[batch()]);
    assert_eq!((report.spans_stored, report.spans_duplicate), (4, 0));
    assert_eq!(store.count("span"), 4);
    assert_eq!(conformance::everything(&store, PROJECT), before);
}

// Scenario: the store holds more than its bound, over several days.
// Guarantees: the days that arrived first go, the newest stays.
#[test]
fn retention_by_size_deletes_the_oldest() {
    let mut store = Store::with(
        RetentionConfig {
            max_age: ConfigDuration::days(0),
            max_size: ByteSize(1),
            ..RetentionConfig::default()
        },
        |_| {},
    );
    write(&mut store, PROJECT, 1, &[request("api", vec![span(1, 1)])]);
    // Nothing but the newest partition: it stays, whatever its size.
    assert_eq!(retain(&mut store, NOW), RetentionReport::default());
    assert_eq!(store.count("trace"), 1);
    let mut steps = 0;
    while retain(&mut store, NOW + 2 * DAY).more {
        steps += 1;
        assert!(steps < 100);
    }
    assert_eq!(store.count("trace"), 0);
    let left = partitions(&store, "content_block");
    assert_eq!(
        left.get(1).map(String::as_str),
        Some("content_block_p20270117")
    );
}
