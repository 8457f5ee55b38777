//! `user`: adds and invites people, changes their passwords and lists them. The daemon may be running.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use super::access::{all, change, done, name, now, project, say_json, say_table, time, with_store};
use super::{ConfigArgs, say};
use crate::auth::{issue, names, password};
use crate::config::Duration;
use crate::model::access::Role;
use crate::storage::access::User;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a person. The password is read from standard input.
    Create(CreateArgs),
    /// Change a password, which ends the person's sessions. It is read from standard input.
    Passwd(PasswdArgs),
    /// Invite somebody to a project, and print the token that lets them in, once.
    Invite(InviteArgs),
    /// List people.
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Email address.
    email: String,
    /// What people call them. Default: the address.
    #[arg(long)]
    name: Option<String>,
    /// The project that they become a member of.
    #[arg(long, value_name = "NAME", default_value = "default")]
    project: String,
    /// What they may do there: admin, member, viewer.
    #[arg(long, default_value = "member")]
    role: Role,
}

#[derive(Debug, clap::Args)]
pub(super) struct PasswdArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Email address.
    email: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct InviteArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Email address of who is invited. Default: whoever holds the token.
    email: Option<String>,
    /// The project.
    #[arg(long, value_name = "NAME", default_value = "default")]
    project: String,
    /// What they may do there: admin, member, viewer.
    #[arg(long, default_value = "member")]
    role: Role,
    /// When it ends: a time from now, 30 days at most.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    expires: Duration,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(outer: ConfigArgs, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(outer, &args)?,
        Command::Passwd(args) => passwd(outer, &args)?,
        Command::Invite(args) => invite(outer, &args)?,
        Command::List(args) => list(outer, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn email(text: &str) -> anyhow::Result<String> {
    names::email(text).map_err(|error| anyhow!("\"{text}\" {error}"))
}

fn create(outer: ConfigArgs, args: &CreateArgs) -> anyhow::Result<()> {
    let email = email(&args.email)?;
    let user = User {
        id: issue::user_id()?,
        name: name("the name", args.name.as_ref().unwrap_or(&email))?,
        email,
        created_unix_nano: now(),
    };
    let password = password::hash(&read_password()?)?;
    with_store(&outer.then(args.config.clone()), async |store| {
        let project = project(&*store, &args.project).await?;
        let (id, email) = (user.id.clone(), user.email.clone());
        let creating = store.create_user(user, password, change());
        done(format!("the address {email}"), creating).await?;
        let joining = store.set_member(project.id, id.clone(), args.role, change());
        done(format!("the project \"{}\"", project.name), joining).await?;
        say(&format!(
            "created user {id} {email}, {} of project \"{}\"",
            args.role, project.name
        ))
    })
}

fn passwd(outer: ConfigArgs, args: &PasswdArgs) -> anyhow::Result<()> {
    let email = email(&args.email)?;
    let password = password::hash(&read_password()?)?;
    with_store(&outer.then(args.config.clone()), async |store| {
        let found = store.user(email.clone()).await.context("look for them")?;
        let (user, _) = found.ok_or_else(|| anyhow!("there is no user {email}"))?;
        let what = format!("the user {email}");
        done(what, store.set_password(user.id, password, change())).await?;
        say(&format!("changed the password of {email}"))
    })
}

fn invite(outer: ConfigArgs, args: &InviteArgs) -> anyhow::Result<()> {
    let email = args.email.as_deref().map(email).transpose()?;
    let nanos = u64::try_from(args.expires.0.as_nanos()).unwrap_or(u64::MAX);
    if !(1..=issue::INVITE_NS_MAX).contains(&nanos) {
        bail!("--expires must be more than zero and at most 30d");
    }
    with_store(&outer.then(args.config.clone()), async |store| {
        let project = project(&*store, &args.project).await?;
        let expires = now().saturating_add(nanos);
        let (token, invite) = issue::invite(project.id, email, args.role, expires)?;
        let id = invite.id();
        done("the invitation", store.create_invite(invite, change())).await?;
        say(&format!(
            "{token}\n\nThis is invitation {id} to project \"{}\" as {}, until {}. It is not shown \
             again.\nIt is taken, once, with\n  curl -H 'content-type: application/json' \
             -d '{{\"token\":\"{token}\",\"name\":\"…\",\"email\":\"…\",\"password\":\"…\"}}' \
             GATEWAY/api/auth/invites/accept",
            project.name,
            args.role,
            time(expires)
        ))
    })
}

fn list(outer: ConfigArgs, args: &ListArgs) -> anyhow::Result<()> {
    with_store(&outer.then(args.config.clone()), async |store| {
        let users = all(async |page| store.users(page).await).await?;
        if args.json {
            let users = users.iter().map(|user| {
                json!({
                    "id": user.id,
                    "email": user.email,
                    "name": user.name,
                    "created_unix_nano": user.created_unix_nano.to_string(),
                })
            });
            return say_json(&users.collect());
        }
        let rows = users.into_iter().map(|user| {
            let created = time(user.created_unix_nano);
            [user.id, user.email, user.name, created]
        });
        say_table(["ID", "EMAIL", "NAME", "CREATED"], rows.collect())
    })
}

/// Reads a line; what is typed at a terminal is not shown.
fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let shown = stdin.is_terminal().then(|| tcgetattr(&stdin)).transpose()?;
    if let Some(shown) = &shown {
        // When nobody reads standard error there is nobody to ask.
        drop(std::io::stderr().write_all(b"password: "));
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&stdin, OptionalActions::Flush, shown)?;
        drop(std::io::stderr().write_all(b"\n"));
    }
    read.context("read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
