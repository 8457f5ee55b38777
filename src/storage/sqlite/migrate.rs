//! Migrations of the embedded store: numbered SQL scripts shipped in the binary, each applied in a
//! transaction of its own together with its checksum.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use super::error::storage_error;
use crate::storage::Error;

/// Version and script, in order.
const MIGRATIONS: &[(u32, &str)] = &[
    (1, include_str!("migrations/0001_initial.sql")),
    (2, include_str!("migrations/0002_project_setting.sql")),
    (3, include_str!("migrations/0003_block_sieve.sql")),
    (4, include_str!("migrations/0004_event.sql")),
    (5, include_str!("migrations/0005_access.sql")),
    (6, include_str!("migrations/0006_quota.sql")),
    (7, include_str!("migrations/0007_metric.sql")),
    (8, include_str!("migrations/0008_login.sql")),
    (9, include_str!("migrations/0009_issue.sql")),
    (10, include_str!("migrations/0010_event_sieve.sql")),
    (11, include_str!("migrations/0011_event_told.sql")),
    (12, include_str!("migrations/0012_agent_session.sql")),
    (13, include_str!("migrations/0013_sampled_out.sql")),
];

/// Brings the store to the newest version this program knows.
///
/// # Errors
/// [`Error::Foreign`] when the file is another program's, [`Error::NewerSchema`] when a newer
/// program wrote the store, [`Error::MigrationChanged`] when an applied script is not ours,
/// [`Error::Unavailable`].
pub(super) fn migrate(connection: &mut Connection, now_unix_nano: i64) -> Result<(), Error> {
    migrate_with(connection, MIGRATIONS, now_unix_nano)
}

/// Refuses a file that is not ours, before anything is written to it.
///
/// # Errors
/// [`Error::Foreign`], [`Error::Unavailable`].
pub(super) fn check(connection: &Connection) -> Result<(), Error> {
    let foreign: bool = connection
        .query_row(
            "SELECT count(*) > 0 AND count(*) FILTER (WHERE name = 'schema_migration') = 0
             FROM sqlite_schema",
            [],
            |row| row.get(0),
        )
        .map_err(storage_error("open the embedded store"))?;
    if foreign { Err(Error::Foreign) } else { Ok(()) }
}

/// Whether a store has exactly the schema this program knows, for commands beside a daemon that may
/// be of another version.
///
/// # Errors
/// [`Error::OlderSchema`], [`Error::NewerSchema`], [`Error::Foreign`], [`Error::Unavailable`].
pub(super) fn is_current(connection: &Connection) -> Result<(), Error> {
    check(connection)?;
    let known = MIGRATIONS.last().map_or(0, |(version, _)| *version);
    let found: u32 = connection
        .query_row(
            "SELECT coalesce(max(version), 0) FROM schema_migration",
            [],
            |row| row.get(0),
        )
        .map_err(storage_error("look at the schema of the store"))?;
    match found.cmp(&known) {
        std::cmp::Ordering::Less => Err(Error::OlderSchema { found, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Error::NewerSchema { found, known }),
    }
}

fn migrate_with(
    connection: &mut Connection,
    migrations: &[(u32, &str)],
    now_unix_nano: i64,
) -> Result<(), Error> {
    let unavailable = storage_error("migrate the store");
    check(connection)?;
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_migration (
                version           INTEGER PRIMARY KEY,
                checksum          BLOB NOT NULL,
                applied_unix_nano INTEGER NOT NULL
            ) STRICT",
        )
        .map_err(&unavailable)?;
    let found: u32 = connection
        .query_row(
            "SELECT coalesce(max(version), 0) FROM schema_migration",
            [],
            |row| row.get(0),
        )
        .map_err(&unavailable)?;
    let known = migrations.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    for (version, script) in migrations {
        apply(connection, *version, script, now_unix_nano)?;
    }
    Ok(())
}

fn apply(
    connection: &mut Connection,
    version: u32,
    script: &str,
    now_unix_nano: i64,
) -> Result<(), Error> {
    let unavailable = storage_error("migrate the store");
    let checksum = Sha256::digest(script.as_bytes()).to_vec();
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&unavailable)?;
    let applied: Option<Vec<u8>> = transaction
        .query_row(
            "SELECT checksum FROM schema_migration WHERE version = ?1",
            [version],
            |row| row.get(0),
        )
        .optional()
        .map_err(&unavailable)?;
    match applied {
        Some(applied) if applied == checksum => return Ok(()),
        Some(_) => return Err(Error::MigrationChanged { version }),
        None => {}
    }
    transaction.execute_batch(script).map_err(&unavailable)?;
    transaction
        .execute(
            "INSERT INTO schema_migration VALUES (?1, ?2, ?3)",
            (version, checksum, now_unix_nano),
        )
        .map_err(&unavailable)?;
    transaction.commit().map_err(&unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_apply_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        let two = [(1, "CREATE TABLE a (x)"), (2, "ALTER TABLE a ADD COLUMN y")];
        migrate_with(&mut connection, &two[..1], 5).unwrap();
        migrate_with(&mut connection, &two, 6).unwrap();
        migrate_with(&mut connection, &two, 7).unwrap();
        connection
            .execute("INSERT INTO a VALUES (1, 2)", [])
            .unwrap();
    }

    #[test]
    fn a_failed_migration_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        let bad = [(1, "CREATE TABLE a (x); CREATE TABLE a (x)")];
        migrate_with(&mut connection, &bad, 5).unwrap_err();
        migrate_with(&mut connection, &[(1, "CREATE TABLE a (x)")], 5).unwrap();
    }

    #[test]
    fn foreign_and_newer_stores_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_with(&mut connection, &[(1, "CREATE TABLE a (x)")], 5).unwrap();
        let changed = migrate_with(&mut connection, &[(1, "CREATE TABLE b (x)")], 5).unwrap_err();
        assert!(matches!(changed, Error::MigrationChanged { version: 1 }));
        let newer = migrate_with(&mut connection, &[], 5).unwrap_err();
        assert!(matches!(newer, Error::NewerSchema { found: 1, known: 0 }));
        let mut other = Connection::open_in_memory().unwrap();
        other.execute_batch("CREATE TABLE span (x)").unwrap();
        let foreign = migrate_with(&mut other, &[(1, "CREATE TABLE a (x)")], 5).unwrap_err();
        assert!(matches!(foreign, Error::Foreign));
    }
}
