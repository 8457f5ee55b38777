//! The command line: `pulse-collector [serve]` and the commands around it.
//!
//! The flags that decide the configuration work before and after the command. A failure is one
//! line on standard error (a wrong configuration: one line per problem) and exit code 1; wrong
//! usage is exit code 2.

mod access;
mod health;
mod import;
mod key;
mod migrate;
mod print_config;
mod project;
mod remap;
mod serve;
mod tail;
mod user;
mod validate;
mod wal;

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::load::DEFAULT_FILE;
use crate::config::{CheckFiles, Config, Environment, Sources};
use crate::telemetry::LogEncoding;

/// OpenTelemetry-compatible collector and durable trace store for LLM applications.
#[derive(Debug, Parser)]
#[command(name = "pulse-collector", version, about)]
#[command(after_help = "Without a command, pulse-collector serves.")]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags that decide the configuration.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
struct ConfigArgs {
    /// Configuration to read: a path, file:PATH, env:NAME or yaml:TEXT. Repeatable; later ones
    /// win. Default: /etc/pulse-collector/config.yaml, if it exists.
    #[arg(long, value_name = "FILE")]
    config: Vec<String>,
    /// One setting, as in queue.max_size=1GiB. Repeatable; wins over files and environment.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// off, error, warn, info, debug, trace, or per module as in info,pulse_collector::queue=debug.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines are written.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (the default).
    Serve(ConfigArgs),
    /// Check the configuration and print every problem; binds nothing.
    Validate(ConfigArgs),
    /// Print the effective configuration as YAML.
    PrintConfig(ConfigArgs),
    /// Bring the schema of the configured database up to date.
    Migrate(ConfigArgs),
    /// Map stored spans again, after mapping or prices got better.
    Remap(Box<remap::Args>),
    /// Move traces and spans of an older Pulse server, or of a file, to a running daemon.
    Import(Box<import::Args>),
    /// Create, list and delete projects. The daemon may be running.
    #[command(subcommand)]
    Project(project::Command),
    /// Create, list and revoke API keys. The daemon may be running.
    #[command(subcommand)]
    Key(key::Command),
    /// Add people, change passwords, list people. The daemon may be running.
    #[command(subcommand)]
    User(user::Command),
    /// Follow what a running daemon stores, a line a span.
    Tail(Box<tail::Args>),
    /// Ask a running daemon whether it is ready; for container probes.
    Health(health::Args),
    /// Look into the durable log. The daemon may be running.
    #[command(subcommand)]
    Wal(wal::Command),
    /// Generate load and report latency and loss.
    Bench(Box<crate::bench::Args>),
}

/// Runs the command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let outer = cli.config;
    match cli.command.unwrap_or(Command::Serve(ConfigArgs::default())) {
        Command::Serve(inner) => serve::run(&outer.then(inner)),
        Command::Validate(inner) => validate::run(&outer.then(inner)),
        Command::PrintConfig(inner) => print_config::run(&outer.then(inner)),
        Command::Migrate(inner) => migrate::run(&outer.then(inner)),
        Command::Remap(args) => remap::run(outer, *args),
        Command::Import(args) => import::run(outer, &args),
        Command::Project(command) => project::run(outer, command),
        Command::Key(command) => key::run(outer, command),
        Command::User(command) => user::run(outer, command),
        Command::Tail(args) => tail::run(outer, *args),
        Command::Health(args) => health::run(outer, args),
        Command::Wal(command) => wal::run(outer, command),
        Command::Bench(args) => bench(*args),
    }
}

fn bench(args: crate::bench::Args) -> anyhow::Result<ExitCode> {
    let passed = serve::runtime()?.block_on(Box::pin(crate::bench::run(args)))?;
    Ok(exit_code(passed))
}

fn exit_code(succeeded: bool) -> ExitCode {
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Help and version go to standard output with code 0, wrong usage to standard error with code 2.
fn usage(error: &clap::Error) -> ExitCode {
    // When nobody reads the output there is nobody to tell that it failed.
    drop(error.print());
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Tells what went wrong; when nobody reads standard error there is nobody to tell.
fn complain(error: &anyhow::Error) {
    let text = match error.downcast_ref::<crate::config::Problems>() {
        Some(problems) => format!("{problems}\n"),
        None => format!("error: {}\n", on_one_line(error)),
    };
    drop(std::io::stderr().write_all(text.as_bytes()));
}

/// An error with its causes; a cause that the text names already is not repeated.
fn on_one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        let plain = cause.split(" (os error ").next().unwrap_or_default();
        if !text.to_lowercase().contains(&plain.to_lowercase()) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Prints a text. A reader that went away (`… | head`) is no failure.
fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        _ => Ok(()),
    }
}

impl ConfigArgs {
    /// These flags, given before the command, and those given after it.
    fn then(mut self, later: Self) -> Self {
        self.config.extend(later.config);
        self.set.extend(later.set);
        self.log_level = later.log_level.or(self.log_level);
        self.log_format = later.log_format.or(self.log_format);
        self
    }

    /// Loads the configuration these flags ask for.
    fn load(&self, check_files: CheckFiles) -> anyhow::Result<Config> {
        let sources = Sources {
            documents: self.config.clone(),
            overrides: self.set.clone(),
            log_level: self.log_level.clone(),
            log_format: self.log_format.map(LogEncoding::from),
            environment: Environment::of_process(),
            default_file: Some(DEFAULT_FILE.into()),
        };
        Ok(crate::config::load(&sources, check_files)?)
    }
}

impl From<LogFormat> for LogEncoding {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}
