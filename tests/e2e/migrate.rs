//! `pulse-collector migrate`: the schema is brought up to date by hand, once.

use std::process::{Command, Output};

use crate::daemon::{Daemon, Setup};
use crate::postgres::Database;

fn migrate(url: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pulse-collector"))
        .arg("migrate")
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("DATABASE_URL", url)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// Scenario: a database is migrated by hand, twice; a newer version has migrated another.
// Guarantees: it says what it did, a newer schema is refused with a line that says why.
#[test]
fn a_schema_is_migrated_once_and_never_back() {
    let database = Database::create();
    let first = migrate(database.url());
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("migrated from version 0 to 15"));
    let second = migrate(database.url());
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert!(text(&second.stdout).contains("up to date: version 15"));
    database.rows("INSERT INTO schema_migration VALUES (99, '', 0)");
    let newer = migrate(database.url());
    assert_eq!(newer.status.code(), Some(1));
    let said = text(&newer.stderr);
    assert!(said.contains("schema version 99"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

// Scenario: migrations at the start are switched off; the schema is there.
// Guarantees: the daemon starts and stores.
#[test]
fn a_daemon_without_the_right_to_migrate_starts_on_a_migrated_schema() {
    let database = Database::create();
    assert!(migrate(database.url()).status.success());
    let url = database.url().to_owned();
    let daemon = Daemon::spawn_as(
        |setup: Setup| setup.on_database(database, &url),
        &[("storage.postgres.migrate_on_start", "false")],
    );
    let mut daemon = daemon;
    assert!(daemon.is_alive_and_ready());
}
