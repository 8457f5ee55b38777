//! `migrate`: brings the schema of the configured database up to date.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{ConfigArgs, say, serve};
use crate::config::CheckFiles;
use crate::pipeline::clock::{Clock as _, SystemClock};
use crate::storage::{Kind, postgres};

pub(super) fn run(flags: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = flags.load(CheckFiles::Yes)?;
    match config.storage.kind {
        Kind::Sqlite => {
            say("the embedded store is brought up to date when the daemon starts")?;
        }
        Kind::Postgres => {
            let database = &config.storage.postgres;
            let migration = postgres::migrate(database, SystemClock.unix_nano());
            let migrated = serve::runtime()?
                .block_on(migration)
                .with_context(|| format!("migrate {}", database.url))?;
            say(&if migrated.from == migrated.to {
                format!("the schema is up to date: version {}", migrated.to)
            } else {
                format!(
                    "the schema was migrated from version {} to {}",
                    migrated.from, migrated.to
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
