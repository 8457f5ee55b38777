//! `key`: creates, lists and revokes API keys. The daemon may be running.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::access::{all, change, done, name, now, project, say_json, say_table, time, with_store};
use super::{ConfigArgs, say};
use crate::auth::{ApiKey, issue};
use crate::config::Duration;
use crate::model::access::{Scope, Scopes};
use crate::storage::access::ApiKey as Listed;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a key and print it, once. A running daemon takes it at once.
    Create(CreateArgs),
    /// List the keys of a project, newest first.
    List(ListArgs),
    /// Revoke a key. Running daemons refuse it within 5 s.
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What it is for.
    #[arg(long, default_value = "API key")]
    name: String,
    /// What it allows, separated by commas: ingest, read, admin.
    #[arg(
        long,
        value_name = "SCOPES",
        value_delimiter = ',',
        default_value = "ingest"
    )]
    scope: Vec<Scope>,
    /// When it stops: a time from now, such as 90d, or a moment, such as 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires: Option<Expiry>,
    /// The project that it sends to and reads from. Admin keys of "default" administer all.
    #[arg(long, value_name = "NAME", default_value = "default")]
    project: String,
    /// Take a key of an older Pulse server from standard input, in place of a new one.
    #[arg(long)]
    import: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whose keys.
    #[arg(long, value_name = "NAME", default_value = "default")]
    project: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Id of the key, as key list shows it.
    id: String,
    /// Whose key it is.
    #[arg(long, value_name = "NAME", default_value = "default")]
    project: String,
}

/// When a key stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// Ns since the Unix epoch.
    At(u64),
    /// Ns from the time of the command.
    In(u64),
}

impl std::str::FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected a time from now such as 90d, or a moment such as 2027-01-01T00:00:00Z";
        if let Ok(from_now) = text.parse::<Duration>() {
            let nanos = u64::try_from(from_now.0.as_nanos());
            return nanos.map(Self::In).map_err(|_| EXPECTED);
        }
        let moment = text.parse::<jiff::Timestamp>().map_err(|_| EXPECTED)?;
        let nanos = u64::try_from(moment.as_nanosecond());
        nanos.map(Self::At).map_err(|_| EXPECTED)
    }
}

pub(super) fn run(outer: ConfigArgs, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(outer, &args)?,
        Command::List(args) => list(outer, &args)?,
        Command::Revoke(args) => revoke(outer, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(outer: ConfigArgs, args: &CreateArgs) -> anyhow::Result<()> {
    let name = name("the name", &args.name)?;
    let expires = match args.expires {
        None => None,
        Some(Expiry::In(nanos)) => Some(now().saturating_add(nanos)),
        Some(Expiry::At(at)) => Some(at),
    };
    if expires.is_some_and(|at| at <= now()) {
        bail!("--expires is not in the future");
    }
    let key = if args.import {
        let line = std::io::stdin().lines().next();
        let line = line
            .transpose()
            .context("read the key")?
            .unwrap_or_default();
        ApiKey::parse(line.trim()).context("what standard input holds is no key")?
    } else {
        ApiKey::generate()?
    };
    let scopes: Scopes = args.scope.iter().copied().collect();
    with_store(&outer.then(args.config.clone()), async |store| {
        let project = project(&*store, &args.project).await?;
        let stored = issue::stored(&key, project.id, name, scopes, expires)?;
        let created = done("the key", store.create_key(stored, change())).await?;
        if args.json {
            let mut shown = as_json(&created);
            if let Some(members) = shown.as_object_mut() {
                members.insert("key".to_owned(), key.reveal().into());
            }
            return say_json(&shown);
        }
        say(&format!(
            "{}\n\nThis is key {} of project \"{}\" ({}). It is not shown again.\n\
             SDKs send it with\n  export OTEL_EXPORTER_OTLP_HEADERS=x-api-key={}",
            key.reveal(),
            created.id,
            project.name,
            created.scopes,
            key.reveal()
        ))
    })
}

fn state(key: &Listed) -> &'static str {
    if key.revoked_unix_nano.is_some() {
        "revoked"
    } else if key.expires_unix_nano.is_some_and(|at| at <= now()) {
        "expired"
    } else {
        "active"
    }
}

fn as_json(key: &Listed) -> serde_json::Value {
    let nanos = |at: Option<u64>| at.map(|at| at.to_string());
    json!({
        "id": key.id,
        "project_id": key.project.0,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "state": state(key),
        "created_unix_nano": key.created_unix_nano.to_string(),
        "expires_unix_nano": nanos(key.expires_unix_nano),
        "revoked_unix_nano": nanos(key.revoked_unix_nano),
        "last_used_unix_nano": nanos(key.last_used_unix_nano),
    })
}

fn list(outer: ConfigArgs, args: &ListArgs) -> anyhow::Result<()> {
    with_store(&outer.then(args.config.clone()), async |store| {
        let project = project(&*store, &args.project).await?;
        let keys = all(async |page| store.keys(project.id, page).await).await?;
        if args.json {
            return say_json(&keys.iter().map(as_json).collect());
        }
        let rows = keys.into_iter().map(|key| {
            let (state, scopes) = (state(&key).to_owned(), key.scopes.to_string());
            [
                key.id,
                key.name,
                key.prefix + "…",
                scopes,
                state,
                time(key.created_unix_nano),
                time(key.expires_unix_nano.unwrap_or_default()),
                time(key.last_used_unix_nano.unwrap_or_default()),
            ]
        });
        let names = [
            "ID",
            "NAME",
            "KEY",
            "SCOPES",
            "STATE",
            "CREATED",
            "EXPIRES",
            "LAST USED",
        ];
        say_table(names, rows.collect())
    })
}

fn revoke(outer: ConfigArgs, args: &RevokeArgs) -> anyhow::Result<()> {
    with_store(&outer.then(args.config.clone()), async |store| {
        let project = project(&*store, &args.project).await?;
        let what = format!("the key {} of project \"{}\"", args.id, project.name);
        let revoking = store.revoke_key(project.id, args.id.clone(), change());
        let revoked = done(what, revoking).await?;
        say(&format!(
            "revoked key {} \"{}\": running daemons refuse it within 5 s",
            revoked.id, revoked.name
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_a_moment_or_a_time_from_now() {
        let day = 86_400_000_000_000;
        assert_eq!("90d".parse(), Ok(Expiry::In(90 * day)));
        let november = Expiry::At(1_793_491_200_000_000_000);
        assert_eq!("2026-11-01T00:00:00Z".parse(), Ok(november));
        for wrong in ["", "soon", "-1d", "1960-01-01T00:00:00Z"] {
            assert!(wrong.parse::<Expiry>().is_err(), "{wrong}");
        }
    }
}
