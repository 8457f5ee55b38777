//! `print-config`: what the daemon would run with, as YAML that can be loaded again.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{ConfigArgs, say};
use crate::config::{CheckFiles, to_yaml};

pub(super) fn run(flags: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = flags.load(CheckFiles::No)?;
    let yaml = to_yaml(&config).context("write the configuration as YAML")?;
    say(yaml.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
