//! The embedded store against what every store must do, and what is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Config, SqliteReader, SqliteWriter};
use crate::config::{ByteSize, Duration as ConfigDuration};
use crate::model::ProjectId;
use crate::queue::Position;
use crate::storage::conformance::{self, Backend, NOW, request, span, write};
use crate::storage::{RetentionConfig, RetentionReport, SpanReader, SpanWriter};

struct Sqlite {
    writer: SqliteWriter,
    reader: SqliteReader,
    path: PathBuf,
    _directory: TempDir,
}

impl Sqlite {
    fn open() -> Self {
        Self::with_retention(RetentionConfig::default())
    }

    fn with_retention(retention: RetentionConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pulse.db");
        let (writer, reader) = open(&path, retention);
        Self {
            writer,
            reader,
            path,
            _directory: directory,
        }
    }

    fn retain(&mut self, now: u64) -> RetentionReport {
        let step = self.writer.enforce_retention(now);
        futures_util::FutureExt::now_or_never(step)
            .unwrap()
            .unwrap()
    }

    fn rows(&self, table: &str) -> i64 {
        let connection = Connection::open(&self.path).unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        connection.query_row(&count, [], |row| row.get(0)).unwrap()
    }
}

fn open(path: &Path, retention: RetentionConfig) -> (SqliteWriter, SqliteReader) {
    let config = Config {
        readers: 1,
        ..Config::default()
    };
    let writer = SqliteWriter::open(path, &config, retention, NOW).unwrap();
    let reader = SqliteReader::open(path, &config, Duration::from_secs(10)).unwrap();
    (writer, reader)
}

impl Backend for Sqlite {
    fn writer(&mut self) -> &mut dyn SpanWriter {
        &mut self.writer
    }

    fn reader(&self) -> &dyn SpanReader {
        &self.reader
    }

    fn checkpoint(&self) -> Position {
        self.writer.checkpoint(0).unwrap()
    }
}

#[test]
fn a_resend_changes_nothing() {
    conformance::a_resend_changes_nothing(&mut Sqlite::open());
}

#[test]
fn the_first_of_an_identity_wins() {
    conformance::the_first_of_an_identity_wins(&mut Sqlite::open());
}

#[test]
fn long_traces_hold_each_span_once() {
    conformance::long_traces_hold_each_span_once(&mut Sqlite::open());
}

#[test]
fn messages_come_back_as_sent() {
    conformance::messages_come_back_as_sent(&mut Sqlite::open());
}

#[test]
fn projects_are_separate() {
    conformance::projects_are_separate(&mut Sqlite::open());
}

#[test]
fn the_checkpoint_moves_with_the_rows() {
    conformance::the_checkpoint_moves_with_the_rows(&mut Sqlite::open());
}

#[test]
fn times_at_the_ends_are_kept() {
    conformance::times_at_the_ends_are_kept(&mut Sqlite::open());
}

#[test]
fn lists_page_through_what_matches() {
    conformance::lists_page_through_what_matches(&mut Sqlite::open());
}

#[test]
fn any_delivery_gives_the_same_store() {
    conformance::any_delivery_gives_the_same_store(Sqlite::open);
}

// Scenario: a batch is written twice, with other spans in between, and the store is reopened.
// Guarantees: rollups and service totals count each span once.
#[test]
fn rollups_count_each_span_once() {
    let mut store = Sqlite::open();
    let batch = request("api", (1..=6).map(|number| span(1, number)).collect());
    write(
        &mut store,
        ProjectId::DEFAULT,
        1,
        std::slice::from_ref(&batch),
    );
    let more = request("api", vec![span(2, 1), span(1, 6)]);
    write(&mut store, ProjectId::DEFAULT, 2, &[more]);
    let (writer, reader) = open(&store.path, RetentionConfig::default());
    (store.writer, store.reader) = (writer, reader);
    write(&mut store, ProjectId::DEFAULT, 3, &[batch]);
    let connection = Connection::open(&store.path).unwrap();
    for table in [
        "rollup WHERE level = 0",
        "rollup WHERE level = 2",
        "service",
    ] {
        let totals = format!("SELECT sum(span_count), sum(error_count) FROM {table}");
        let totals: (i64, i64) = connection
            .query_row(&totals, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(totals, (7, 2), "{table}");
    }
    let histogram: Vec<u8> = connection
        .query_row(
            "SELECT duration_hist FROM rollup WHERE level = 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let histogram = crate::model::histogram::Histogram::decode(&histogram).unwrap();
    assert_eq!(histogram.count(), 7);
}

/// Tables that hold what belongs to single traces and sessions.
const TRACE_TABLES: [&str; 11] = [
    "service",
    "trace",
    "trace_part",
    "trace_service",
    "block",
    "block_sieve",
    "block_use",
    "span_identity",
    "session",
    "session_trace",
    "rollup",
];

// Scenario: time passes beyond the maximum age, and far beyond it.
// Guarantees: old traces go whole, younger ones stay, in the end no row is left.
#[test]
fn retention_by_age_leaves_no_rows_behind() {
    let max_age = ConfigDuration::seconds(3600);
    let mut store = Sqlite::with_retention(RetentionConfig {
        max_age,
        ..RetentionConfig::default()
    });
    for batch in 0..10 {
        // Grows into a long trace, with rows in every table.
        let spans = (batch * 20..batch * 20 + 20)
            .map(|number| span(1, number + 1))
            .collect();
        write(
            &mut store,
            ProjectId::DEFAULT,
            1 + batch,
            &[request("api", spans)],
        );
    }
    assert!(TRACE_TABLES.iter().all(|table| store.rows(table) > 0));
    let hour = 3_600_000_000_000;
    let report = store.retain(NOW + hour - 1);
    assert_eq!(report, RetentionReport::default());
    assert_eq!(store.rows("trace_part"), 10);
    let report = store.retain(NOW + 2 * hour);
    assert_eq!((report.traces_deleted, report.more), (1, false));
    for table in TRACE_TABLES {
        assert_eq!(store.rows(table), 0, "{table}");
    }
    store.retain(NOW + 4 * hour);
    assert_eq!((store.rows("resource"), store.rows("scope")), (0, 0));
    // A resource that was deleted is stored anew.
    write(
        &mut store,
        ProjectId::DEFAULT,
        99,
        &[request("api", vec![span(2, 1)])],
    );
    conformance::everything(&store, ProjectId::DEFAULT);
    assert_eq!(store.rows("resource"), 1);
}

// Scenario: the store holds more than its bound.
// Guarantees: the traces that arrived first go, the newest stay.
#[test]
fn retention_by_size_deletes_the_oldest() {
    let config = RetentionConfig {
        max_size: ByteSize::mib(2),
        ..RetentionConfig::default()
    };
    let mut store = Sqlite::with_retention(config);
    for trace in 1..=200_u8 {
        let spans = (1..=20)
            .map(|number| {
                let mut span = span(trace, number);
                let noise: String = (0..600_u64)
                    .map(|n| char::from(b'a' + ((n * n * number * 31) % 26) as u8))
                    .collect();
                span.name = format!("{noise}{trace}");
                span
            })
            .collect();
        write(
            &mut store,
            ProjectId::DEFAULT,
            u64::from(trace),
            &[request("api", spans)],
        );
    }
    let before = store.rows("trace");
    let mut steps = 0;
    while store.retain(NOW).more {
        steps += 1;
        assert!(steps < 100);
    }
    let left = store.rows("trace");
    assert!(0 < left && left < before, "{left} of {before}");
    let connection = Connection::open(&store.path).unwrap();
    let newest: Vec<u8> = connection
        .query_row(
            "SELECT trace_id FROM trace ORDER BY trace_key DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(newest, [200; 16]);
}
