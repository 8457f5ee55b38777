//! `validate`: every problem with the configuration, or none.

use std::process::ExitCode;

use super::{ConfigArgs, say};
use crate::config::CheckFiles;

pub(super) fn run(flags: &ConfigArgs) -> anyhow::Result<ExitCode> {
    flags.load(CheckFiles::Yes)?;
    say("configuration is valid")?;
    Ok(ExitCode::SUCCESS)
}
