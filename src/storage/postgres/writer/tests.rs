//! The Postgres store against what every store must do, and what is its own.

mod concurrent;
mod faults;
mod retention;
mod rows;
mod sampled;
mod schema;

use std::future::Future;
use std::time::Duration;

use super::PostgresWriter;
use crate::model::ProjectId;
use crate::queue::Position;
use crate::storage::conformance::{self, Backend, NOW, request, span, write};
use crate::storage::postgres::testing::Database;
use crate::storage::postgres::{Config, PostgresReader};
use crate::storage::{RetentionConfig, SpanReader, SpanWriter};

pub(super) const PROJECT: ProjectId = ProjectId::DEFAULT;

/// A store in a database of its own.
pub(super) struct Store {
    pub(super) writer: PostgresWriter,
    pub(super) reader: PostgresReader,
    pub(super) config: Config,
    pub(super) database: Database,
}

pub(super) fn config_of(database: &Database) -> Config {
    Config {
        url: database.url().into(),
        ..Config::default()
    }
}

pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

impl Store {
    pub(super) fn open() -> Self {
        Self::with(RetentionConfig::default(), |_| {})
    }

    pub(super) fn with(retention: RetentionConfig, change: impl FnOnce(&mut Config)) -> Self {
        let database = Database::create();
        let mut config = config_of(&database);
        change(&mut config);
        let writer = wait(async {
            let mut writer = PostgresWriter::new(&config, retention).unwrap();
            writer.prepare(NOW).await.unwrap();
            writer
        });
        let reader = PostgresReader::open(&config, Duration::from_secs(10)).unwrap();
        Self {
            writer,
            reader,
            config,
            database,
        }
    }

    pub(super) fn count(&self, what: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        self.database.value(&sql).parse().unwrap()
    }
}

impl Backend for Store {
    fn writer(&mut self) -> &mut dyn SpanWriter {
        &mut self.writer
    }

    fn reader(&self) -> &dyn SpanReader {
        &self.reader
    }

    fn checkpoint(&self) -> Position {
        wait(self.writer.checkpoint([0; 16], 0)).unwrap()
    }
}

#[test]
fn a_resend_changes_nothing() {
    conformance::a_resend_changes_nothing(&mut Store::open());
}

#[test]
fn the_first_of_an_identity_wins() {
    conformance::the_first_of_an_identity_wins(&mut Store::open());
}

#[test]
fn long_traces_hold_each_span_once() {
    conformance::long_traces_hold_each_span_once(&mut Store::open());
}

#[test]
fn messages_come_back_as_sent() {
    conformance::messages_come_back_as_sent(&mut Store::open());
}

#[test]
fn projects_are_separate() {
    conformance::projects_are_separate(&mut Store::open());
}

#[test]
fn the_checkpoint_moves_with_the_rows() {
    conformance::the_checkpoint_moves_with_the_rows(&mut Store::open());
}

#[test]
fn times_at_the_ends_are_kept() {
    conformance::times_at_the_ends_are_kept(&mut Store::open());
}

#[test]
fn lists_page_through_what_matches() {
    conformance::lists_page_through_what_matches(&mut Store::open());
}

#[test]
fn any_delivery_gives_the_same_store() {
    conformance::any_delivery_gives_the_same_store(Store::open);
}

// Scenario: statements are not prepared, as a pooler in transaction mode may ask for.
// Guarantees: the same store.
#[test]
fn without_prepared_statements_it_works_the_same() {
    let unprepared = || {
        Store::with(RetentionConfig::default(), |config| {
            config.prepared_statements = false;
        })
    };
    conformance::a_resend_changes_nothing(&mut unprepared());
    conformance::lists_page_through_what_matches(&mut unprepared());
}

// Scenario: a batch is written twice, with other spans in between, by a second writer.
// Guarantees: rollups and service totals count each span once.
#[test]
fn rollups_count_each_span_once() {
    let mut store = Store::open();
    let batch = request("api", (1..=6).map(|number| span(1, number)).collect());
    write(&mut store, PROJECT, 1, std::slice::from_ref(&batch));
    let more = request("api", vec![span(2, 1), span(1, 6)]);
    write(&mut store, PROJECT, 2, &[more]);
    store.writer = PostgresWriter::new(&store.config, RetentionConfig::default()).unwrap();
    write(&mut store, PROJECT, 3, &[batch]);
    for table in [
        "rollup WHERE level = 0",
        "rollup WHERE level = 1",
        "rollup WHERE level = 2",
        "service",
    ] {
        let totals = format!("SELECT sum(span_count), sum(error_count) FROM {table}");
        let totals = store.database.rows(&totals);
        assert_eq!(
            totals,
            [["7".to_owned(), "2".to_owned()].map(Some)],
            "{table}"
        );
    }
    let counted = store.database.value(
        "SELECT sum(hist[2 * i]) FROM (
            SELECT pulse_histogram_sum(duration_hist) AS hist FROM rollup WHERE level = 1) AS sum,
            generate_series(1, cardinality(hist) / 2) AS i",
    );
    assert_eq!(counted, "7");
}
