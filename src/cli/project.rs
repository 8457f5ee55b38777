//! `project`: creates, lists and deletes projects. The daemon may be running.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::access::{all, change, done, name, project, say_json, say_table, time, with_store};
use super::{ConfigArgs, say};
use crate::model::ProjectId;
use crate::storage::access::Project;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a project. It has no keys yet: see key create.
    Create(NameArgs),
    /// List the projects.
    List(ListArgs),
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
