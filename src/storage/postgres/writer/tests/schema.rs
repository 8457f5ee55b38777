//! Migrations, and rules that the schema keeps.

use tokio::task::JoinSet;

use super::{Database, NOW, PROJECT, Store, config_of, request, span, wait, write};
use crate::storage::postgres::connect::{self, Purpose};
use crate::storage::postgres::migrate::{self, MIGRATIONS, migrate_with};
use crate::storage::postgres::{Config, Migrated, PostgresWriter};
use crate::storage::{Error, RetentionConfig};

fn migrated(database: &Database, migrations: &[(u32, &str)]) -> Result<Migrated, Error> {
    let config = config_of(database);
    let pool = connect::pool(&config, Purpose::Write, 1).unwrap();
    wait(migrate_with(&pool, &config, migrations, 5))
}

// Scenario: eight collectors start at once on an empty database.
// Guarantees: all succeed, the schema is there once.
#[test]
fn any_number_of_collectors_may_migrate_at_once() {
    let database = Database::create();
    let config = config_of(&database);
    wait(async {
        let mut starts = JoinSet::new();
        for _ in 0..8 {
            let config = config.clone();
            starts.spawn(async move {
                let retention = RetentionConfig::default();
                let mut writer = PostgresWriter::new(&config, retention).unwrap();
                writer.prepare(NOW).await
            });
        }
        while let Some(started) = starts.join_next().await {
            started.unwrap().unwrap();
        }
    });
    let versions = database
        .value("SELECT string_agg(version::text, ',' ORDER BY version) FROM schema_migration");
    let shipped: Vec<_> = MIGRATIONS.iter().map(|(it, _)| it.to_string()).collect();
    assert_eq!(versions, shipped.join(","));
    assert_eq!(database.value("SELECT count(*) FROM project"), "1");
    // Today and three days ahead, of spans, of events and of metrics.
    assert_eq!(database.value("SELECT count(*) FROM span_partition"), "12");
}

#[test]
fn migrations_apply_once_and_in_order() {
    let database = Database::create();
    let two = [
        (1, "CREATE TABLE a (x int)"),
        (2, "ALTER TABLE a ADD y int"),
    ];
    let from_to = |from, to| Migrated { from, to };
    assert_eq!(migrated(&database, &two[..1]).unwrap(), from_to(0, 1));
    assert_eq!(migrated(&database, &two).unwrap(), from_to(1, 2));
    assert_eq!(migrated(&database, &two).unwrap(), from_to(2, 2));
    database.rows("INSERT INTO a VALUES (1, 2)");
}

#[test]
fn a_failed_migration_leaves_nothing_behind() {
    let database = Database::create();
    let bad = [(1, "CREATE TABLE a (x int); CREATE TABLE a (x int)")];
    let error = migrated(&database, &bad).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    migrated(&database, &[(1, "CREATE TABLE a (x int)")]).unwrap();
}

#[test]
fn foreign_newer_and_changed_schemas_are_refused() {
    let database = Database::create();
    migrated(&database, &[(1, "CREATE TABLE a (x int)")]).unwrap();
    let changed = migrated(&database, &[(1, "CREATE TABLE b (x int)")]).unwrap_err();
    assert!(matches!(changed, Error::MigrationChanged { version: 1 }));
    migrated(&database, &[(1, "CREATE TABLE a (x int)"), (7, "SELECT 1")]).unwrap();
    let newer = migrated(&database, &[(1, "CREATE TABLE a (x int)")]).unwrap_err();
    assert!(matches!(newer, Error::NewerSchema { found: 7, known: 1 }));
    let other = Database::create();
    other.rows("CREATE TABLE project (id int)");
    let foreign = migrated(&other, MIGRATIONS).unwrap_err();
    assert!(matches!(foreign, Error::Foreign), "{foreign}");
}

#[test]
fn without_the_right_to_migrate_an_old_schema_is_refused() {
    let database = Database::create();
    let config = Config {
        migrate_on_start: false,
        ..config_of(&database)
    };
    let prepare = || {
        wait(async {
            let mut writer = PostgresWriter::new(&config, RetentionConfig::default()).unwrap();
            writer.prepare(NOW).await
        })
    };
    let older = prepare().unwrap_err();
    let newest = MIGRATIONS.last().unwrap().0;
    assert!(matches!(older, Error::OlderSchema { found: 0, known } if known == newest));
    let pool = connect::pool(&config, Purpose::Write, 1).unwrap();
    wait(migrate::migrate(&pool, &config, 5)).unwrap();
    prepare().unwrap();
}

/// Tables that belong to nobody in particular.
const CONTROL_TABLES: [&str; 12] = [
    "access_state",
    "account",
    "api_key",
    "audit",
    "invite",
    "login",
    "project",
    "log_checkpoint",
    "secret",
    "setting",
    "span_partition",
    "schema_migration",
];

// Guarantees: the tables of tenants may be distributed by project, and everything is explained.
#[test]
fn the_schema_keeps_its_rules() {
    let store = Store::open();
    let names = |sql: &str| -> Vec<String> {
        let rows = store.database.rows(sql);
        rows.into_iter().flatten().flatten().collect()
    };
    let keys = names(
        "SELECT t.relname || '.' || i.relname FROM pg_index x
         JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
         WHERE t.relnamespace = 'public'::regnamespace AND x.indisunique
            AND NOT EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = t.oid AND a.attname = 'project_id' AND a.attnum = ANY(x.indkey))",
    );
    let unexpected: Vec<_> = keys
        .iter()
        .filter(|key| {
            !CONTROL_TABLES
                .iter()
                .any(|table| key.starts_with(&format!("{table}.")))
        })
        .collect();
    assert!(
        unexpected.is_empty(),
        "keys without the project: {unexpected:?}"
    );
    assert_eq!(
        names("SELECT relname FROM pg_class WHERE relkind = 'S'"),
        [""; 0]
    );
    assert_eq!(
        names("SELECT conname FROM pg_constraint WHERE contype = 'f'"),
        [""; 0]
    );
    assert_eq!(
        names("SELECT attname FROM pg_attribute WHERE attidentity <> ''"),
        [""; 0]
    );
    let without_key = names(
        "SELECT relname FROM pg_class c WHERE relkind IN ('r', 'p')
            AND relnamespace = 'public'::regnamespace AND NOT EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p')",
    );
    assert_eq!(without_key, [""; 0], "tables without a primary key");
    let uncommented = names(
        "SELECT c.relname FROM pg_class c WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition
            AND relnamespace = 'public'::regnamespace AND obj_description(c.oid) IS NULL
         UNION ALL
         SELECT c.relname || '.' || a.attname FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE relkind IN ('r', 'p') AND NOT relispartition
            AND relnamespace = 'public'::regnamespace AND col_description(c.oid, a.attnum) IS NULL",
    );
    assert_eq!(uncommented, [""; 0], "without a comment");
}

// Guarantees: partitions made later are like the first: what is compressed is not compressed again.
#[test]
fn partitions_are_like_their_table() {
    let store = Store::open();
    let different = store.database.value(
        "SELECT count(*) FROM pg_inherits i
         JOIN pg_attribute p ON p.attrelid = i.inhparent AND p.attnum > 0
         JOIN pg_attribute c ON c.attrelid = i.inhrelid AND c.attname = p.attname
         WHERE (p.attstorage, p.attcompression, p.attnotnull)
            <> (c.attstorage, c.attcompression, c.attnotnull)",
    );
    assert_eq!(different, "0");
    let external =
        "SELECT count(*) FROM pg_attribute WHERE attname = 'content' AND attstorage = 'e'";
    // The table, its default partition, and today with three days ahead.
    assert_eq!(store.database.value(external), "6");
}

// Scenario: stored spans are looked up while the server has no statistics yet.
// Guarantees: only partitions that can hold them are planned for, and it goes by the primary key.
#[test]
fn stored_spans_are_looked_up_by_their_key() {
    use super::super::stored::FIND_STORED;
    use crate::storage::postgres::transaction::{Settings, Transaction};
    let mut store = Store::open();
    for trace in 1..=60 {
        let spans = (1..=50).map(|number| span(trace, number)).collect();
        write(
            &mut store,
            PROJECT,
            u64::from(trace),
            &[request("api", spans)],
        );
    }
    store.database.rows("DELETE FROM pg_statistic");
    let plan = wait(async {
        let pool = connect::pool(&store.config, Purpose::Write, 1).unwrap();
        let settings = Settings::of(&store.config);
        let transaction = Transaction::begin(&pool, &settings).await.unwrap();
        let prepare = format!(
            "PREPARE find (bigint[], bytea[], bytea[], timestamptz[], timestamptz[], timestamptz,
                timestamptz) AS {FIND_STORED}"
        );
        transaction.batch(&prepare, "").await.unwrap();
        let explain = "EXPLAIN (COSTS off) EXECUTE find (ARRAY[1], ARRAY['\\x00'::bytea],
            ARRAY['\\x00'::bytea], ARRAY[now()], ARRAY[now()],
            '2027-01-15 01:00+00', '2027-01-15 09:00+00')";
        let rows = transaction.query(explain, &[], "").await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        lines.join("\n")
    });
    assert_eq!(plan.matches(" on span_").count(), 1, "{plan}");
    assert!(plan.contains("using span_p20270115_pkey"), "{plan}");
}

// Guarantees: what SQL adds up is what the program adds up.
#[test]
fn sql_and_program_agree_on_histograms() {
    use crate::model::histogram::Histogram;
    let store = Store::open();
    let literal = |histogram: &Histogram| super::super::params::number_array(&histogram.to_pairs());
    let of = |durations: &[u64]| {
        let mut histogram = Histogram::default();
        durations
            .iter()
            .for_each(|duration| histogram.record(*duration));
        histogram
    };
    let sets: [&[u64]; 5] = [
        &[],
        &[0, 1, 7, 1_000_000],
        &[1, 8, 9, 10, u64::MAX],
        &[5; 40],
        &[0, 0, 3_000_000_000],
    ];
    for left in sets {
        for right in sets {
            let mut sum = of(left);
            sum.merge(&of(right));
            let merged = store.database.value(&format!(
                "SELECT pulse_histogram_merge('{}', '{}')",
                literal(&of(left)),
                literal(&of(right))
            ));
            assert_eq!(merged, literal(&sum), "{left:?} {right:?}");
            for share in [0.0, 0.5, 0.99, 1.0] {
                let quantile = store.database.value(&format!(
                    "SELECT pulse_histogram_quantile('{merged}', {share})"
                ));
                let expected = sum.quantile(share).map(|bound| bound.min(i64::MAX as u64));
                let expected = expected.map_or(String::new(), |bound| bound.to_string());
                assert_eq!(quantile, expected, "{merged} {share}");
            }
        }
    }
}
