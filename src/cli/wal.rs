//! `wal`: looks into the durable log without changing it. The daemon may be running.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::{ConfigArgs, exit_code, say};
use crate::config::CheckFiles;
use crate::queue::inspect::{Report, inspect};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the segments of the log and what they hold.
    Inspect(InspectArgs),
    /// Check every record; exit code 1 when one is damaged.
    Verify(ConfigArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(outer: ConfigArgs, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Inspect(args) => {
            let report = read_log(&outer.then(args.config))?;
            if args.json {
                say(&serde_json::to_string(&report).context("write the report as JSON")?)?;
            } else {
                say(report.to_string().trim_end())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify(config) => {
            let report = read_log(&outer.then(config))?;
            say(report.to_string().trim_end())?;
            Ok(exit_code(report.is_sound()))
        }
    }
}

fn read_log(flags: &ConfigArgs) -> anyhow::Result<Report> {
    let directory = flags.load(CheckFiles::No)?.log_directory();
    inspect(&directory).with_context(|| format!("read the log in {}", directory.display()))
}
