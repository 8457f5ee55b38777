//! `project`: creates, lists and deletes projects, and says what they may send. The daemon may be
//! running.

use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::access::{all, change, done, name, project, say_json, say_table, time, with_store};
use super::{ConfigArgs, say};
use crate::config::{ByteSize, CheckFiles};
use crate::model::ProjectId;
use crate::model::quota::Quota;
use crate::storage::access::{AccessStore, Project};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a project. It has no keys yet: see key create.
    Create(NameArgs),
    /// List the projects.
    List(ListArgs),
    /// Show or change what a project may send.
    Quota(QuotaArgs),
    /// Delete a project: its keys stop at once, its data is deleted in the background.
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct NameArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the project.
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct QuotaArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the project.
    name: String,
    /// Spans, log records and data points a second, of each collector on its own; or none.
    #[arg(long, value_name = "N", conflicts_with = "default")]
    items_per_second: Option<Limit<u32>>,
    /// Uncompressed bytes a day (UTC), such as 10GiB; or none.
    #[arg(long, value_name = "SIZE", conflicts_with = "default")]
    bytes_per_day: Option<Limit<ByteSize>>,
    /// Go back to the limits of the configuration.
    #[arg(long)]
    default: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit<T>(Option<T>);

impl FromStr for Limit<u32> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse().ok().filter(|number| *number > 0);
        let number = number.ok_or("expected a whole number from 1 to 4294967295, or none")?;
        Ok(Self(Some(number)))
    }
}

impl FromStr for Limit<ByteSize> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let size: ByteSize = text.parse().map_err(|error| format!("{error}, or none"))?;
        if (1..=Quota::BYTES_PER_DAY_MAX).contains(&size.0) {
            Ok(Self(Some(size)))
        } else {
            Err(format!(
                "expected from 1 to {} bytes, or none",
                Quota::BYTES_PER_DAY_MAX
            ))
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the project.
    name: String,
    /// Mean it: there is no way back.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(outer: ConfigArgs, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(outer, &args)?,
        Command::List(args) => list(outer, &args)?,
        Command::Quota(args) => quota(outer, &args)?,
        Command::Delete(args) => delete(outer, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(outer: ConfigArgs, args: &NameArgs) -> anyhow::Result<()> {
    let name = name("the name", &args.name)?;
    with_store(&outer.then(args.config.clone()), async |store| {
        let what = format!("the name \"{name}\"");
        let created = done(what, store.create_project(name, change())).await?;
        if args.json {
            return say_json(&as_json(&created));
        }
        say(&format!(
            "created project {} \"{}\"",
            created.id, created.name
        ))
    })
}

fn as_json(project: &Project) -> serde_json::Value {
    json!({
        "id": project.id.0,
        "name": project.name,
        "created_unix_nano": project.created_unix_nano.to_string(),
    })
}

fn list(outer: ConfigArgs, args: &ListArgs) -> anyhow::Result<()> {
    with_store(&outer.then(args.config.clone()), async |store| {
        let projects = all(async |page| store.projects(page).await).await?;
        if args.json {
            return say_json(&projects.iter().map(as_json).collect());
        }
        let rows = projects.into_iter().map(|project| {
            let created = time(project.created_unix_nano);
            [project.id.to_string(), project.name, created]
        });
        say_table(["ID", "NAME", "CREATED"], rows.collect())
    })
}

/// Changes what the flags name; what they don't, stays.
fn quota(outer: ConfigArgs, args: &QuotaArgs) -> anyhow::Result<()> {
    let flags = outer.then(args.config.clone());
    let default = flags.load(CheckFiles::No)?.auth.quota.quota();
    with_store(&flags, async |store| {
        let found = project(&*store, &args.name).await?;
        let own = own_quota(&*store, found.id).await?;
        let mut wanted = own.unwrap_or(default);
        if let Some(Limit(items)) = args.items_per_second {
            wanted.items_per_second = items;
        }
        if let Some(Limit(size)) = args.bytes_per_day {
            wanted.bytes_per_day = size.map(|size| size.0);
        }
        let is_given = args.items_per_second.is_some() || args.bytes_per_day.is_some();
        if is_given || args.default {
            let quota = is_given.then_some(wanted);
            let what = format!("the project \"{}\"", found.name);
            done(what, store.set_quota(found.id, quota, change())).await?;
        }
        let own = own_quota(&*store, found.id).await?;
        let quota = own.unwrap_or(default);
        if args.json {
            return say_json(&json!({
                "project_id": found.id.0,
                "items_per_second": quota.items_per_second,
                "bytes_per_day": quota.bytes_per_day,
                "is_default": own.is_none(),
            }));
        }
        let whose = if own.is_none() {
            " (of the configuration)"
        } else {
            ""
        };
        say(&format!(
            "project {} \"{}\" may send: {quota}{whose}",
            found.id, found.name
        ))
    })
}

async fn own_quota(store: &dyn AccessStore, project: ProjectId) -> anyhow::Result<Option<Quota>> {
    let quotas = store.quotas().await.context("ask the store")?;
    let own = quotas.into_iter().find(|(id, _)| *id == project);
    Ok(own.map(|(_, quota)| quota))
}

fn delete(outer: ConfigArgs, args: &DeleteArgs) -> anyhow::Result<()> {
    with_store(&outer.then(args.config.clone()), async |store| {
        let found = project(&*store, &args.name).await?;
        if found.id == ProjectId::DEFAULT {
            bail!("the project \"{}\" can't be deleted", found.name);
        }
        if !args.yes {
            bail!(
                "this deletes project {} \"{}\" with everything it has stored; say --yes to mean it",
                found.id,
                found.name
            );
        }
        let what = format!("the project \"{}\"", found.name);
        done(what, store.delete_project(found.id, change())).await?;
        say(&format!(
            "deleted project {} \"{}\": its keys stop within 5 s, retention deletes its data",
            found.id, found.name
        ))
    })
}
