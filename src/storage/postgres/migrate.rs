//! Migrations: numbered SQL scripts shipped in the binary, each applied in a transaction of its
//! own together with its checksum.
//!
//! Any number of collectors may start at once: who migrates holds an advisory lock until its
//! transaction ends. A script must leave a schema that the version before can go on writing to and
//! reading from, so that collectors are replaced one by one: it adds, and gives defaults.

use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::Type;

use super::config::Config;
use super::transaction::{Settings, Transaction};
use crate::storage::Error;

/// Version and script, in order.
pub(super) const MIGRATIONS: &[(u32, &str)] = &[
    (1, include_str!("migrations/0001_initial.sql")),
    (2, include_str!("migrations/0002_project_setting.sql")),
    (3, include_str!("migrations/0003_block_sieve.sql")),
    (4, include_str!("migrations/0004_image_tokens.sql")),
    (5, include_str!("migrations/0005_feed.sql")),
    (6, include_str!("migrations/0006_access.sql")),
    (7, include_str!("migrations/0007_event.sql")),
    (8, include_str!("migrations/0008_quota.sql")),
    (9, include_str!("migrations/0009_metric.sql")),
    (10, include_str!("migrations/0010_login.sql")),
    (11, include_str!("migrations/0011_issue.sql")),
    (12, include_str!("migrations/0012_event_told.sql")),
    (13, include_str!("migrations/0013_agent_session.sql")),
    (14, include_str!("migrations/0014_event_feed.sql")),
    (15, include_str!("migrations/0015_sampled_out.sql")),
];

/// Held, for the length of a transaction, by who changes the schema. Any number will do that no
/// other program uses in this database.
const LOCK: i64 = 0x7075_6c73_655f_6462;

/// How long one script may take.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(600);
/// How long to wait for another collector's migration, and how often to look.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The oldest server that will do.
const SERVER_VERSION_MIN: i32 = 140_000;

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Version before; 0 for an empty database.
    pub from: u32,
    /// Version after.
    pub to: u32,
}

const CREATE_LEDGER: &str = "
CREATE TABLE IF NOT EXISTS schema_migration (
    version           bigint PRIMARY KEY,
    checksum          bytea NOT NULL,
    applied_unix_nano bigint NOT NULL
);
COMMENT ON TABLE schema_migration IS 'Migrations applied. Control table.';
COMMENT ON COLUMN schema_migration.version IS 'Number of the migration.';
COMMENT ON COLUMN schema_migration.checksum IS 'SHA-256 of its script.';
COMMENT ON COLUMN schema_migration.applied_unix_nano IS 'When it was applied, ns since the Unix epoch.'";

/// Brings the schema to the newest version this program knows.
///
/// # Errors
/// [`Error::Foreign`] when the schema holds another program's tables, [`Error::NewerSchema`] when
/// a newer program migrated it, [`Error::MigrationChanged`] when an applied script is not ours,
/// [`Error::Unsuitable`] when the server can't hold a store, [`Error::Unavailable`].
pub(super) async fn migrate(
    pool: &Pool,
    config: &Config,
    now_unix_nano: i64,
) -> Result<Migrated, Error> {
    migrate_with(pool, config, MIGRATIONS, now_unix_nano).await
}

pub(super) async fn migrate_with(
    pool: &Pool,
    config: &Config,
    migrations: &[(u32, &str)],
    now_unix_nano: i64,
) -> Result<Migrated, Error> {
    let settings = Settings::maintenance(config, SCRIPT_TIMEOUT);
    let known = migrations.last().map_or(0, |(version, _)| *version);
    let mut from = None;
    let mut to = 0;
    for (version, script) in migrations {
        let transaction = locked(pool, &settings).await?;
        let found = inspect(&transaction, known).await?;
        from.get_or_insert(found);
        if apply(&transaction, *version, script, now_unix_nano).await? {
            transaction.commit("commit a migration").await?;
            tracing::info!(version, "migrated the database");
        }
        to = *version;
    }
    Ok(Migrated {
        from: from.unwrap_or(0),
        to,
    })
}

/// Tells whether the schema is the one this program knows, without changing it.
///
/// # Errors
/// As [`migrate`]; [`Error::OlderSchema`] when it must be migrated first.
pub(super) async fn check(pool: &Pool, config: &Config) -> Result<(), Error> {
    let settings = Settings::maintenance(config, config.statement_timeout.0);
    let transaction = Transaction::begin(pool, &settings).await?;
    let known = MIGRATIONS.last().map_or(0, |(version, _)| *version);
    let found = inspect(&transaction, known).await?;
    if found < known {
        return Err(Error::OlderSchema { found, known });
    }
    for (version, script) in MIGRATIONS {
        applied(&transaction, *version, script).await?;
    }
    transaction.commit("check the schema").await
}

/// A transaction that holds the lock.
async fn locked(pool: &Pool, settings: &Settings) -> Result<Transaction, Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let transaction = Transaction::begin(pool, settings).await?;
        let rows = transaction
            .query(
                "SELECT pg_try_advisory_xact_lock($1)",
                &[(&LOCK, Type::INT8)],
                "wait for another migration",
            )
            .await?;
        if rows.first().is_some_and(|row| row.get(0)) {
            return Ok(transaction);
        }
        transaction.commit("wait for another migration").await?;
        if Instant::now() >= deadline {
            return Err(Error::Unavailable {
                context: "migrate the database",
                source: "another collector has been migrating it for a minute".into(),
            });
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// The version of the schema; refuses a database that can't be ours.
async fn inspect(transaction: &Transaction, known: u32) -> Result<u32, Error> {
    let rows = transaction
        .query(
            "SELECT current_setting('server_version_num')::integer,
                    current_setting('server_encoding'),
                    current_schema()::text,
                    to_regclass('schema_migration') IS NOT NULL,
                    to_regclass('span') IS NOT NULL OR to_regclass('trace') IS NOT NULL
                        OR to_regclass('project') IS NOT NULL OR to_regclass('rollup') IS NOT NULL",
            &[],
            "look at the schema",
        )
        .await?;
    let row = rows.first().ok_or_else(|| Error::Corrupt {
        context: "the server answered nothing".to_owned(),
    })?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    let unsuitable = |reason: String| Err(Error::Unsuitable { reason });
    if version < SERVER_VERSION_MIN {
        return unsuitable(format!(
            "PostgreSQL {} is too old, 14 or newer is needed",
            version / 10_000
        ));
    }
    if encoding != "UTF8" {
        return unsuitable(format!("its encoding is {encoding}, it must be UTF8"));
    }
    if row.get::<_, Option<String>>(2).is_none() {
        return unsuitable("search_path names no schema that exists".to_owned());
    }
    let (has_ledger, has_tables): (bool, bool) = (row.get(3), row.get(4));
    if !has_ledger {
        return if has_tables {
            Err(Error::Foreign)
        } else {
            Ok(0)
        };
    }
    let rows = transaction
        .query(
            "SELECT coalesce(max(version), 0) FROM schema_migration",
            &[],
            "read the schema version",
        )
        .await?;
    let found: i64 = rows.first().map_or(0, |row| row.get(0));
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    Ok(found)
}

/// Whether a migration is applied.
async fn applied(transaction: &Transaction, version: u32, script: &str) -> Result<bool, Error> {
    let rows = transaction
        .query(
            "SELECT checksum FROM schema_migration WHERE version = $1",
            &[(&i64::from(version), Type::INT8)],
            "read the schema version",
        )
        .await?;
    match rows.first().map(|row| row.get::<_, &[u8]>(0)) {
        None => Ok(false),
        Some(checksum) if *checksum == *Sha256::digest(script.as_bytes()) => Ok(true),
        Some(_) => Err(Error::MigrationChanged { version }),
    }
}

async fn apply(
    transaction: &Transaction,
    version: u32,
    script: &str,
    now_unix_nano: i64,
) -> Result<bool, Error> {
    let context = "migrate the database";
    transaction.batch(CREATE_LEDGER, context).await?;
    if applied(transaction, version, script).await? {
        return Ok(false);
    }
    transaction.batch(script, context).await?;
    let checksum = Sha256::digest(script.as_bytes()).to_vec();
    transaction
        .execute(
            "INSERT INTO schema_migration VALUES ($1, $2, $3)",
            &[
                (&i64::from(version), Type::INT8),
                (&checksum, Type::BYTEA),
                (&now_unix_nano, Type::INT8),
            ],
            context,
        )
        .await?;
    Ok(true)
}
