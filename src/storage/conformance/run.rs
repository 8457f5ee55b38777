//! Runs every case against every backend.

use std::time::Duration;

use super::{
    Backend, NOW, access, board, calls, columns, deleted, event_feed, events, facts, feed, find,
    lists, long, metrics, paging, people, remap, runtime, sampled, search, search_events, sign_in,
    sources, sums,
};
use crate::config::ByteSize;
use crate::model::ProjectId;
use crate::queue::Position;
use crate::storage::postgres::pgbouncer::Bouncer;
use crate::storage::postgres::testing::Database;
use crate::storage::postgres::{
    self, PostgresAccess, PostgresIssues, PostgresReader, PostgresSettings, PostgresWriter,
};
use crate::storage::remap::Jobs;
use crate::storage::settings::ProjectSettings;
use crate::storage::sqlite::{
    self, RemoteJob, SqliteAccess, SqliteIssues, SqliteReader, SqliteSettings, SqliteWriter,
};
use crate::storage::{RetentionConfig, SpanReader, SpanWriter};

struct Sqlite {
    writer: SqliteWriter,
    reader: SqliteReader,
    jobs: RemoteJob,
    directory: tempfile::TempDir,
}

impl Sqlite {
    fn open() -> Self {
        Self::with(RetentionConfig::default())
    }

    fn of_size(max_size: ByteSize) -> Self {
        Self::with(RetentionConfig {
            max_size,
            ..RetentionConfig::default()
        })
    }

    fn with(retention: RetentionConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pulse.db");
        let config = sqlite::Config {
            readers: 1,
            ..sqlite::Config::default()
        };
        let writer = SqliteWriter::open(&path, &config, retention, NOW).unwrap();
        Self {
            writer,
            reader: SqliteReader::open(&path, &config, Duration::from_secs(30)).unwrap(),
            jobs: RemoteJob::open(&path).unwrap(),
            directory,
        }
    }
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

impl remap::Remapped for Sqlite {
    fn jobs(&mut self) -> &mut dyn Jobs {
        &mut self.jobs
    }
}

struct Postgres {
    writer: PostgresWriter,
    reader: PostgresReader,
    database: Database,
    _bouncer: Option<Bouncer>,
}

impl Postgres {
    fn open() -> Self {
        let database = Database::create();
        let config = postgres::Config {
            url: database.url().into(),
            ..postgres::Config::default()
        };
        Self::with(&config, database, None)
    }

    fn of_size(max_size: ByteSize) -> Self {
        let mut store = Self::open();
        let config = postgres::Config {
            url: store.database.url().into(),
            ..postgres::Config::default()
        };
        let retention = RetentionConfig {
            max_size,
            ..RetentionConfig::default()
        };
        store.writer = runtime().block_on(async {
            let mut writer = PostgresWriter::new(&config, retention).unwrap();
            writer.prepare(NOW).await.unwrap();
            writer
        });
        store
    }

    /// Through a pooler that gives each transaction whichever of three connections is free.
    fn pooled() -> Self {
        let database = Database::create();
        let bouncer = Bouncer::start(database.address(), 3);
        let config = postgres::Config {
            url: database.url_through(bouncer.address()).as_str().into(),
            prepared_statements: false,
            ..postgres::Config::default()
        };
        Self::with(&config, database, Some(bouncer))
    }

    fn with(config: &postgres::Config, database: Database, bouncer: Option<Bouncer>) -> Self {
        let writer = runtime().block_on(async {
            let mut writer = PostgresWriter::new(config, RetentionConfig::default()).unwrap();
            writer.prepare(NOW).await.unwrap();
            writer
        });
        Self {
            writer,
            reader: PostgresReader::open(config, Duration::from_secs(30)).unwrap(),
            database,
            _bouncer: bouncer,
        }
    }
}

impl Backend for Postgres {
    fn writer(&mut self) -> &mut dyn SpanWriter {
        &mut self.writer
    }

    fn reader(&self) -> &dyn SpanReader {
        &self.reader
    }

    fn checkpoint(&self) -> Position {
        let checkpoint = self.writer.checkpoint([0; 16], 0);
        runtime().block_on(checkpoint).unwrap()
    }
}

impl remap::Remapped for Postgres {
    fn jobs(&mut self) -> &mut dyn Jobs {
        &mut self.writer
    }
}

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $case() {
                super::$module::$case(&mut super::Sqlite::open());
            })*
        }

        mod on_postgres {
            $(#[test]
            fn $case() {
                super::$module::$case(&mut super::Postgres::open());
            })*
        }
    };
}

cases! {
    lists::trace_pages_join_to_the_whole_list,
    lists::spans_that_differ_by_trace_only_are_all_listed,
    lists::each_trace_filter_answers_exactly_its_traces,
    lists::each_span_filter_answers_exactly_its_spans,
    lists::a_trace_in_many_batches_is_answered_in_order,
    lists::attributes_are_found_in_long_traces,
    lists::short_lists_are_answered_in_pages,
    lists::a_project_never_sees_rows_of_another,
    facts::traces_are_found_by_what_their_spans_say,
    facts::spans_are_found_by_what_they_say,
    facts::facts_are_of_failed_spans_and_of_our_own,
    facts::a_rare_fact_is_found_behind_many_spans,
    find::a_span_is_found_by_its_id_alone,
    find::an_attribute_may_be_wanted_or_absent,
    people::a_session_is_answered_oldest_trace_first,
    people::model_calls_of_a_trace_are_answered_in_order,
    people::users_are_what_their_traces_add_up_to,
    columns::every_column_comes_back,
    deleted::spans_of_deleted_traces_are_gone,
    long::a_span_of_a_day_is_whole,
    calls::sums_follow_what_is_known_of_a_trace,
    calls::long_traces_count_each_call_once,
    sources::records_count_until_spans_tell,
    sampled::what_is_sampled_out_counts_once_and_is_not_stored,
    sampled::a_trace_that_is_kept_takes_over_what_was_counted,
    sampled::what_was_counted_is_known_without_sampling,
    sampled::a_trace_too_long_to_be_left_out_is_stored,
    sampled::what_was_sampled_out_is_forgotten_in_time,
    feed::a_feed_has_every_span_once_in_order,
    feed::a_feed_is_filtered_by_attributes,
    event_feed::a_feed_has_every_event_once_in_order,
    event_feed::a_feed_of_events_is_filtered_as_the_list_is,
    remap::a_job_takes_its_range_step_by_step,
    remap::a_dropped_job_is_gone,
    remap::a_trace_that_is_too_large_is_passed_over,
    remap::what_records_told_stays,
    remap::an_agent_without_its_call_counts_as_before,
    remap::a_session_of_what_was_left_out_stays_as_it_was,
    events::events_are_stored_once_and_as_sent,
    events::every_column_of_an_event_comes_back,
    events::each_event_filter_answers_exactly_its_events,
    events::events_are_found_by_trace_and_span,
    events::events_of_any_time_are_kept,
    events::refused_events_are_kept,
    events::events_go_by_their_arrival,
    search_events::words_find_the_events_that_say_them,
    search_events::filters_narrow_a_search_of_events,
    search_events::blocks_of_events_that_cannot_match_are_passed_over,
    search_events::events_that_are_gone_are_not_found,
    metrics::points_are_stored_once,
    metrics::dense_points_are_stored_once,
    metrics::metrics_are_listed_and_filtered,
    metrics::series_beyond_the_limit_share_one,
    metrics::points_go_by_their_arrival,
    metrics::refused_points_are_kept,
    search::words_find_the_spans_that_say_them,
    search::text_in_json_and_in_events_is_found_with_its_place,
    search::filters_narrow_a_search,
    search::searches_go_on_while_spans_arrive,
    search::the_newest_are_found_in_few_blocks,
    search::many_blocks_are_answered_in_order,
    search::of_one_identity_the_first_is_stored,
    search::a_search_never_finds_what_another_project_says,
    search::deleted_spans_are_not_found,
    search::spans_of_one_time_are_all_found,
    sums::totals_count_each_model_call_once,
    sums::sums_stop_at_the_largest_integer,
    sums::sums_keep_to_their_project_range_and_limit,
}

#[test]
fn any_order_of_deliveries_gives_the_same_answers_on_sqlite() {
    metrics::any_order_of_deliveries_gives_the_same_answers(Sqlite::open, 24);
}

#[test]
fn any_order_of_deliveries_gives_the_same_answers_on_postgres() {
    metrics::any_order_of_deliveries_gives_the_same_answers(Postgres::open, 4);
}

#[test]
fn metrics_are_stored_through_a_pooler() {
    metrics::points_are_stored_once(&mut Postgres::pooled());
}

#[test]
fn span_pages_join_to_the_whole_list_on_sqlite() {
    paging::span_pages_join_to_the_whole_list(Sqlite::open, 24);
}

#[test]
fn span_pages_join_to_the_whole_list_on_postgres() {
    paging::span_pages_join_to_the_whole_list(Postgres::open, 8);
}

#[test]
fn searches_join_to_all_that_matches_on_sqlite() {
    search::searches_join_to_all_that_matches(Sqlite::open, 24);
}

#[test]
fn searches_join_to_all_that_matches_on_postgres() {
    search::searches_join_to_all_that_matches(Postgres::open, 8);
}

#[test]
fn a_remapped_store_is_as_if_written_so_on_sqlite() {
    remap::a_remapped_store_is_as_if_written_so(Sqlite::open, 60);
}

#[test]
fn a_remapped_store_is_as_if_written_so_on_postgres() {
    remap::a_remapped_store_is_as_if_written_so(Postgres::open, 24);
}

#[test]
fn what_was_left_out_counts_as_before_on_sqlite() {
    remap::what_was_left_out_counts_as_before(Sqlite::open, 60);
}

#[test]
fn what_was_left_out_counts_as_before_on_postgres() {
    remap::what_was_left_out_counts_as_before(Postgres::open, 24);
}

#[test]
fn what_was_left_out_goes_before_traces_on_sqlite() {
    sampled::what_was_left_out_goes_before_traces(Sqlite::of_size, ByteSize::mib(3));
}

#[test]
fn what_was_left_out_goes_before_traces_on_postgres() {
    sampled::what_was_left_out_goes_before_traces(Postgres::of_size, ByteSize::mib(10));
}

#[test]
fn the_last_hour_stays_known_after_a_wrong_clock_on_sqlite() {
    sampled::the_last_hour_stays_known_after_a_wrong_clock(Sqlite::of_size);
}

#[test]
fn the_last_hour_stays_known_after_a_wrong_clock_on_postgres() {
    sampled::the_last_hour_stays_known_after_a_wrong_clock(Postgres::of_size);
}

#[test]
fn sums_are_what_the_spans_add_up_to_on_sqlite() {
    sums::sums_are_what_the_spans_add_up_to(Sqlite::open, 24);
}

#[test]
fn sums_are_what_the_spans_add_up_to_on_postgres() {
    sums::sums_are_what_the_spans_add_up_to(Postgres::open, 8);
}

#[test]
fn any_delivery_counts_the_same_on_sqlite() {
    calls::any_delivery_counts_the_same(&mut Sqlite::open(), 100);
}

#[test]
fn any_delivery_counts_the_same_on_postgres() {
    calls::any_delivery_counts_the_same(&mut Postgres::open(), 24);
}

#[test]
fn any_delivery_counts_one_telling_on_sqlite() {
    sources::any_delivery_counts_one_telling(&mut Sqlite::open(), 100);
}

#[test]
fn any_delivery_counts_one_telling_on_postgres() {
    sources::any_delivery_counts_one_telling(&mut Postgres::open(), 24);
}

#[test]
fn any_sampling_counts_the_same_on_sqlite() {
    sampled::any_sampling_counts_the_same(&mut Sqlite::open(), 100);
}

#[test]
fn any_sampling_counts_the_same_on_postgres() {
    sampled::any_sampling_counts_the_same(&mut Postgres::open(), 24);
}

impl Sqlite {
    fn access(&self) -> SqliteAccess {
        SqliteAccess::open(&self.directory.path().join("pulse.db")).unwrap()
    }

    fn issues(&self) -> SqliteIssues {
        SqliteIssues::open(&self.directory.path().join("pulse.db")).unwrap()
    }
}

impl Postgres {
    fn access(&self) -> PostgresAccess {
        let config = postgres::Config {
            url: self.database.url().into(),
            ..postgres::Config::default()
        };
        PostgresAccess::new(&config).unwrap()
    }

    fn issues(&self) -> PostgresIssues {
        let config = postgres::Config {
            url: self.database.url().into(),
            ..postgres::Config::default()
        };
        PostgresIssues::new(&config).unwrap()
    }
}

macro_rules! access_cases {
    ($cases:ident: $on_sqlite:ident, $on_postgres:ident; $($case:ident),* $(,)?) => {
        mod $on_sqlite {
            $(#[test]
            fn $case() {
                let store = super::Sqlite::open();
                super::runtime().block_on(super::$cases::$case(&store.access()));
            })*
        }

        mod $on_postgres {
            $(#[test]
            fn $case() {
                let store = super::Postgres::open();
                super::runtime().block_on(super::$cases::$case(&store.access()));
            })*
        }
    };
}

access_cases! {
    access: access_on_sqlite, access_on_postgres;
    projects_are_created_once_and_deleted_for_good,
    keys_are_good_until_they_are_revoked,
    uses_are_noted_once_a_minute,
    keys_are_listed_by_project,
    every_change_is_in_the_audit_log,
    people_are_members_of_projects,
    quotas_are_of_one_project,
    usage_adds_up_by_day,
    invitations_are_good_once,
    invitations_are_bounded,
}

access_cases! {
    sign_in: sign_in_on_sqlite, sign_in_on_postgres;
    sessions_end,
    sessions_end_with_their_keys,
    sessions_of_a_person_are_bounded,
    all_daemons_sign_with_one_secret,
    people_sign_up_whole_or_not_at_all,
    people_are_let_into_projects,
    projects_of_a_person_are_bounded,
    live_keys_are_those_not_revoked,
}

access_cases! {
    board: board_on_sqlite, board_on_postgres;
    a_session_is_handed_on_once,
    of_many_who_hand_a_session_on_one_does,
    people_own_what_they_administer,
}

#[test]
fn what_a_deleted_project_stored_goes_on_sqlite() {
    let mut store = Sqlite::open();
    let access = store.access();
    let issues = SqliteIssues::open(&store.directory.path().join("pulse.db")).unwrap();
    access::what_a_deleted_project_stored_goes(&mut store, &access, &issues);
}

#[test]
fn what_a_deleted_project_stored_goes_on_postgres() {
    let mut store = Postgres::open();
    let access = store.access();
    let config = postgres::Config {
        url: store.database.url().into(),
        ..postgres::Config::default()
    };
    let issues = PostgresIssues::new(&config).unwrap();
    access::what_a_deleted_project_stored_goes(&mut store, &access, &issues);
}

#[test]
fn events_of_a_source_are_listed_and_deleted_on_sqlite() {
    let mut store = Sqlite::open();
    let (issues, access) = (store.issues(), store.access());
    events::events_of_a_source_are_listed_and_deleted(&mut store, &issues, &access);
}

#[test]
fn events_of_a_source_are_listed_and_deleted_on_postgres() {
    let mut store = Postgres::open();
    let (issues, access) = (store.issues(), store.access());
    events::events_of_a_source_are_listed_and_deleted(&mut store, &issues, &access);
}

/// Values of projects are kept apart, replaced and dropped.
fn settings_are_of_one_project(settings: &dyn ProjectSettings) {
    let [one, other] = [ProjectId(1), ProjectId(2)];
    runtime().block_on(async {
        assert_eq!(settings.get(one, "a").await.unwrap(), None);
        for value in [b"x".to_vec(), b"\0y".to_vec()] {
            settings.put(one, "a", Some(value.clone())).await.unwrap();
            assert_eq!(settings.get(one, "a").await.unwrap(), Some(value));
        }
        settings.put(other, "a", Some(b"z".to_vec())).await.unwrap();
        settings.put(one, "b", Some(b"w".to_vec())).await.unwrap();
        let mut all = settings.all("a").await.unwrap();
        all.sort();
        assert_eq!(all, [(one, b"\0y".to_vec()), (other, b"z".to_vec())]);
        settings.put(one, "a", None).await.unwrap();
        assert_eq!(settings.all("a").await.unwrap(), [(other, b"z".to_vec())]);
    });
}

#[test]
fn settings_are_of_one_project_on_sqlite() {
    let store = Sqlite::open();
    let path = store.directory.path().join("pulse.db");
    settings_are_of_one_project(&SqliteSettings::open(&path).unwrap());
}

#[test]
fn settings_are_of_one_project_on_postgres() {
    let store = Postgres::open();
    let config = postgres::Config {
        url: store.database.url().into(),
        ..postgres::Config::default()
    };
    settings_are_of_one_project(&PostgresSettings::new(&config).unwrap());
}

// Scenario: a pooler in transaction mode stands between us and the server.
// Guarantees: writing and reading are as without it.
#[test]
fn a_pooler_in_transaction_mode_changes_nothing() {
    let mut pooled = Postgres::pooled();
    lists::each_span_filter_answers_exactly_its_spans(&mut pooled);
    super::a_resend_changes_nothing(&mut Postgres::pooled());
    sums::sums_keep_to_their_project_range_and_limit(&mut Postgres::pooled());
    calls::sums_follow_what_is_known_of_a_trace(&mut Postgres::pooled());
    super::lists_page_through_what_matches(&mut Postgres::pooled());
    search::filters_narrow_a_search(&mut Postgres::pooled());
}

// Scenario: a transaction that began earlier is under way while spans are stored: in the same
// database, then in another one of the server.
// Guarantees: the feed waits for the first, which may yet store something that comes before, and
// goes on when it ends; it does not wait for the second.
#[test]
fn the_feed_waits_for_its_own_database_only() {
    let mut store = Postgres::open();
    let other = Database::create();
    let own = feed::UnderWay::begin(store.database.url());
    feed::waits(&mut store, 1, own);
    let own = feed::UnderWay::begin(store.database.url());
    event_feed::waits(&mut store, own);
    let foreign = feed::UnderWay::begin(other.url());
    feed::goes_on(&mut store, 2, foreign);
}

#[test]
fn readers_and_writers_of_events_in_any_order_on_sqlite() {
    event_feed::any_interleaving(&mut Sqlite::open(), 48);
}

#[test]
fn readers_and_writers_of_events_in_any_order_on_postgres() {
    event_feed::any_interleaving(&mut Postgres::open(), 12);
}

// Scenario: what transactions 9, 10 and 11 stored, of spans and of events, is read in small pieces.
// Guarantees: it comes by number, not as a text sorts, so that none of it is passed over.
#[test]
fn the_feed_goes_by_numbers_of_transactions() {
    let mut store = Postgres::open();
    feed::write_three(&mut store);
    event_feed::write_three(&mut store);
    store.database.execute(
        "UPDATE content_block b SET committed = (8 + n.number)::text::xid8 FROM (
             SELECT block_id, row_number() OVER (PARTITION BY event_keys IS NULL ORDER BY committed)
                 AS number FROM content_block) n WHERE n.block_id = b.block_id",
    );
    feed::has_three(&store);
    event_feed::has_three(&store);
}
