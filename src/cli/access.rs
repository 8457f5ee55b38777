//! What the commands about projects, keys and people have in common: the store, which a daemon may
//! be using at the same time, and tables.

use std::fmt::Display;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use super::{ConfigArgs, say, serve};
use crate::auth::names;
use crate::config::{CheckFiles, Config};
use crate::pipeline::clock::{Clock as _, SystemClock};
use crate::service::Mode;
use crate::service::lock::{self, DataDirLock};
use crate::storage::access::{AccessStore, Change, Done, Project};
use crate::storage::postgres::{PostgresAccess, PostgresWriter};
use crate::storage::sqlite::{SqliteAccess, SqliteWriter};
use crate::storage::{Cursor, Error, Kind, Page, PageRequest};

/// Items asked for at once.
const PAGE: usize = 500;
/// Items listed at most.
const LISTED_MAX: usize = 100_000;

/// Runs work on the store that the flags ask for.
pub(super) fn with_store(
    flags: &ConfigArgs,
    work: impl AsyncFnOnce(Arc<dyn AccessStore>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = flags.load(CheckFiles::Yes)?;
    serve::runtime()?.block_on(async { work(open(&config).await?).await })
}

/// The store of a configuration.
pub(super) async fn open(config: &Config) -> anyhow::Result<Arc<dyn AccessStore>> {
    match config.storage.kind {
        Kind::Sqlite => on_sqlite(config),
        Kind::Postgres => on_postgres(config).await,
    }
}

async fn on_postgres(config: &Config) -> anyhow::Result<Arc<dyn AccessStore>> {
    let database = &config.storage.postgres;
    let failed = || format!("use {}", database.url);
    let writer = PostgresWriter::new(database, config.storage.retention.clone());
    let mut writer = writer.with_context(failed)?;
    writer.prepare(now()).await.with_context(failed)?;
    Ok(Arc::new(
        PostgresAccess::new(database).with_context(failed)?,
    ))
}

/// A store that is not there yet, or is of an older version, is made as a daemon makes it; unless
/// a daemon has it.
fn on_sqlite(config: &Config) -> anyhow::Result<Arc<dyn AccessStore>> {
    let path = config.sqlite_path();
    let failed = || format!("use {}", path.display());
    let directory = config.data_dir();
    if let Ok(store) = SqliteAccess::open(&path) {
        return Ok(Arc::new(store));
    }
    match DataDirLock::acquire(&directory, Mode::All) {
        Ok(_lock) => {
            let storage = &config.storage;
            let retention = storage.retention.clone();
            let made = SqliteWriter::open(&path, &storage.sqlite, retention, now());
            drop(made.with_context(failed)?);
        }
        Err(lock::Error::Directory { path, source }) => {
            let failed = format!("use data directory {}", path.display());
            return Err(source).context(failed);
        }
        Err(_) => {}
    }
    Ok(Arc::new(SqliteAccess::open(&path).with_context(failed)?))
}

/// Now, ns since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemClock.unix_nano()
}

/// A change that is made now, by whoever runs the command.
pub(super) fn change() -> Change {
    let user = rustix::process::getuid().as_raw();
    Change {
        by: format!("command line, uid {user}"),
        at_unix_nano: now(),
    }
}

/// What came of a change to a thing of this name.
pub(super) async fn done<T>(
    what: impl Display,
    change: impl Future<Output = Done<T>>,
) -> anyhow::Result<T> {
    let done = change.await.context("change the store")?;
    done.map_err(|refusal| anyhow!("{what} {refusal}"))
}

/// A project by its name.
pub(super) async fn project(store: &dyn AccessStore, name: &str) -> anyhow::Result<Project> {
    let found = store.project(name.to_owned()).await;
    let found = found.context("look for the project")?;
    found.ok_or_else(|| anyhow!("there is no project \"{name}\""))
}

/// A name, checked.
pub(super) fn name(what: &str, text: &str) -> anyhow::Result<String> {
    names::name(text).map_err(|error| anyhow!("{what} {error}"))
}

/// All items of a list.
pub(super) async fn all<T>(
    mut page: impl AsyncFnMut(PageRequest) -> Result<Page<T>, Error>,
) -> anyhow::Result<Vec<T>> {
    let (mut items, mut after): (Vec<T>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let request = PageRequest { limit: PAGE, after };
        let found = page(request).await.context("ask the store")?;
        items.extend(found.items);
        after = found.next;
        if after.is_none() {
            return Ok(items);
        }
        if items.len() >= LISTED_MAX {
            bail!("there are more than {LISTED_MAX}");
        }
    }
}

/// A moment as people read it.
pub(super) fn time(unix_nano: u64) -> String {
    if unix_nano == 0 {
        return "-".to_owned();
    }
    jiff::Timestamp::from_nanosecond(i128::from(unix_nano))
        .map_or_else(|_| unix_nano.to_string(), |time| format!("{time:.0}"))
}

/// Prints JSON.
pub(super) fn say_json(value: &serde_json::Value) -> anyhow::Result<()> {
    say(&serde_json::to_string(value).context("write JSON")?)
}

/// Prints columns under their names.
pub(super) fn say_table<const N: usize>(
    names: [&str; N],
    rows: Vec<[String; N]>,
) -> anyhow::Result<()> {
    say(&table(names, rows))
}

fn table<const N: usize>(names: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut lines = vec![names.map(str::to_owned)];
    lines.extend(rows);
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(widths);
        let padded = padded.map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_straight_columns() {
        let rows = [["1", "süd", "x"], ["22", "a", ""]];
        let rows = rows.map(|row| row.map(str::to_owned)).to_vec();
        let text = table(["ID", "NAME", "E"], rows);
        assert_eq!(text, "ID  NAME  E\n1   süd   x\n22  a");
    }

    #[test]
    fn moments_are_said_in_full_seconds() {
        assert_eq!(time(1_793_491_200_000_000_001), "2026-11-01T00:00:00Z");
        assert_eq!(time(0), "-");
    }
}
