//! `import`: moves what older Pulse servers stored, or a file holds, to a running daemon.
//!
//! Why to a running daemon is told in [`crate::import`]. On the machine of the daemon (or beside
//! its database) no key is needed: the command makes one for the project, which only this process
//! ever knows, and revokes it at the end. From elsewhere, `--endpoint` and a key say where to.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::access::{self, change, done, now};
use super::{ConfigArgs, say, serve};
use crate::auth::{ApiKey, issue, names};
use crate::config::{CheckFiles, Config, Duration};
use crate::import::{self, Notes, Report, Source, SourceKind, Target};
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::storage::access::{AccessStore, Project, Refusal};

/// When the key of an import stops that was killed and never revoked it, ns: its text is gone.
const KEY_LIFE_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// Name of keys whose old name is none.
const UNNAMED_KEY: &str = "imported key";

/// Flags of `import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The daemon must be running; it serves all the while. Interrupted, the same command \
    goes on where it was; run again, it changes nothing. People and their passwords are not moved: \
    add them with `user create`."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// What is imported.
    #[arg(long, value_enum, value_name = "KIND")]
    from: SourceKind,
    /// Path of a database file, URL of a Postgres database (with sslmode and sslrootcert as in
    /// storage.postgres.url), path of a file, or - for standard input.
    #[arg(env = "PULSE_IMPORT_SOURCE", hide_env_values = true)]
    source: String,
    /// Id or name of the project in the old database; not needed where there is one.
    #[arg(long, value_name = "PROJECT")]
    source_project: Option<String>,
    /// The project that it goes to. A key decides that itself.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        conflicts_with = "api_key"
    )]
    project: String,
    /// URL of the daemon's OTLP/HTTP listener. Default: as this configuration says.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A key that may send, in place of access to the daemon's store.
    #[arg(
        long,
        value_name = "KEY",
        env = "PULSE_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// PEM file with the authorities that the daemon's certificate must chain to. Default: the
    /// system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Also take over the old project's API keys: clients go on with the keys they have.
    #[arg(long, conflicts_with = "api_key")]
    keys: bool,
    /// Read and check everything, send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Succeed although something can't be imported.
    #[arg(long)]
    skip_bad: bool,
    /// Begin anew, in place of going on with an import that was interrupted.
    #[arg(long)]
    restart: bool,
    /// How long a daemon that takes nothing is waited for.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    retry_timeout: Duration,
}

pub(super) fn run(outer: ConfigArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = outer.then(args.config.clone()).load(CheckFiles::No)?;
    serve::runtime()?.block_on(Box::pin(async {
        let mut source = open(args).await?;
        let report = if args.dry_run {
            let report = import::run(&mut source, None, None).await?;
            tell(&report, args)?;
            report
        } else {
            transfer(&config, args, &mut source).await?
        };
        let is_whole = report.lost == 0 || args.skip_bad;
        Ok(super::exit_code(is_whole))
    }))
}

async fn open(args: &Args) -> anyhow::Result<Source> {
    if args.from == SourceKind::Ndjson {
        if args.source_project.is_some() || args.keys {
            bail!("--source-project and --keys are for databases");
        }
        return Source::lines(&args.source);
    }
    let database = import::open_database(args.from, &args.source).await?;
    let project = import::project(&database, args.source_project.as_deref()).await?;
    say(&format!(
        "importing project {} ({})",
        import::shown(&project.id),
        import::shown(&project.name)
    ))?;
    Ok(Source::of_project(database, &project))
}

/// Sends everything, with a key of its own where none is given, and tells what came of it.
async fn transfer(config: &Config, args: &Args, source: &mut Source) -> anyhow::Result<Report> {
    let endpoint = match &args.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => listener(config)?,
    };
    let target = |key| Target {
        endpoint: endpoint.clone(),
        key,
        authorities: args.ca_file.clone(),
        patience: args.retry_timeout.0,
    };
    if let Some(key) = &args.api_key {
        let notes = notes(config, args, &[&endpoint, key]);
        let report = import::run(source, Some(target(Some(key.clone()))), notes).await?;
        tell(&report, args)?;
        return Ok(report);
    }
    let store = access::open(config).await?;
    let project = access::project(&*store, &args.project).await?;
    let pass = Pass::make(&store, &project).await?;
    let notes = notes(config, args, &[&endpoint, &project.id.to_string()]);
    let key = pass.as_ref().map(|pass| pass.key.reveal().to_owned());
    let came = import::run(source, Some(target(key)), notes).await;
    let told = came.as_ref().map_or(Ok(()), |report| tell(report, args));
    if let Some(pass) = pass {
        pass.revoke_or_warn(&*store).await;
    }
    let report = came?;
    told?;
    if args.keys {
        take_keys(&*store, &project, source).await?;
    }
    Ok(report)
}

/// Where the import notes how far it got; nowhere for what can be read once only.
fn notes(config: &Config, args: &Args, target: &[&str]) -> Option<Notes> {
    if args.source == "-" {
        return None;
    }
    let path = std::fs::canonicalize(&args.source);
    let source = path.map_or_else(|_| args.source.clone(), |path| path.display().to_string());
    let kind = format!("{:?}", args.from);
    let project = args.source_project.as_deref().unwrap_or_default();
    let what = [&[kind.as_str(), &source, project], target].concat();
    let notes = || Notes::new(&config.data_dir().join("imports"), &what);
    if args.restart {
        notes().remove();
    }
    Some(notes())
}

/// The daemon's own listener, from this machine.
fn listener(config: &Config) -> anyhow::Result<String> {
    let Some(http) = &config.receivers.otlp.protocols.http else {
        bail!("this configuration has no OTLP/HTTP listener; name one with --endpoint");
    };
    if http.tls.is_some() {
        bail!(
            "the OTLP/HTTP listener uses TLS: name it as its certificate does, with \
             --endpoint https://NAME:PORT, and its authority with --ca-file"
        );
    }
    let address = http.endpoint.replace("0.0.0.0:", "127.0.0.1:");
    let address = address.replace("[::]:", "[::1]:");
    Ok(format!("http://{address}{}", http.traces_url_path))
}

/// A key that nobody but this process ever knows.
struct Pass {
    key: ApiKey,
    id: String,
    project: ProjectId,
    /// When it ends by itself, ns since the Unix epoch.
    expires: u64,
}

impl Pass {
    /// None is made where everybody may send: the first key would end that.
    async fn make(store: &Arc<dyn AccessStore>, project: &Project) -> anyhow::Result<Option<Self>> {
        let state = store.state().await.context("ask the store")?;
        if !state.has_keys && project.id == ProjectId::DEFAULT {
            return Ok(None);
        }
        if !state.has_keys {
            bail!(
                "there are no keys yet, and with the first one nobody sends without: make one with \
                 `pulse-collector key create --project \"{}\"`, then import",
                project.name
            );
        }
        let key = ApiKey::generate()?;
        let scopes = Scopes::NONE.with(Scope::Ingest);
        let expires = now().saturating_add(KEY_LIFE_NS);
        let name = "import, while it runs".to_owned();
        let stored = issue::stored(&key, project.id, name, scopes, Some(expires))?;
        let created = done("the key", store.create_key(stored, change())).await?;
        Ok(Some(Self {
            key,
            id: created.id,
            project: project.id,
            expires,
        }))
    }

    /// What came of the import counts whether or not the key can be revoked, which ends anyway.
    async fn revoke_or_warn(self, store: &dyn AccessStore) {
        let revoking = store.revoke_key(self.project, self.id.clone(), change());
        if let Err(error) = done("it", revoking).await {
            // When nobody reads standard error there is nobody to tell.
            drop(writeln!(
                std::io::stderr(),
                "the temporary key {} could not be revoked ({error:#}); it ends by itself at {}",
                self.id,
                access::time(self.expires)
            ));
        }
    }
}

/// Takes over the keys of the old project. Those that are there already stay as they are.
async fn take_keys(
    store: &dyn AccessStore,
    project: &Project,
    source: &Source,
) -> anyhow::Result<()> {
    let (mut taken, mut known) = (0_u32, 0_u32);
    for old in source.keys().await? {
        let name = names::name(&old.name).unwrap_or_else(|_| UNNAMED_KEY.to_owned());
        let key = issue::of_hash(old.hash, project.id, name)?;
        let created = store.create_key(key, change()).await;
        match created.context("store a key")? {
            Ok(_) => taken += 1,
            Err(Refusal::Taken) => known += 1,
            Err(refusal) => bail!("the key \"{}\" {refusal}", import::shown(&old.name)),
        }
    }
    say(&format!(
        "took over {taken} keys; {known} were there already"
    ))
}

fn tell(report: &Report, args: &Args) -> anyhow::Result<()> {
    let done = if args.dry_run {
        "would import"
    } else {
        "imported"
    };
    say(&format!("{done} {} spans", report.spans))?;
    if report.lost > 0 {
        say(&format!(
            "{} could not be imported:\n{}",
            report.lost,
            report.to_string().trim_end()
        ))?;
    }
    Ok(())
}
