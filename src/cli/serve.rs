//! `serve`: runs the daemon until it is asked to stop.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use super::ConfigArgs;
use crate::config::CheckFiles;

pub(super) fn run(flags: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = flags.load(CheckFiles::Yes)?;
    runtime()?.block_on(Box::pin(crate::service::run(config)))?;
    Ok(ExitCode::SUCCESS)
}

/// The runtime of the daemon and of the load generator.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder
        .enable_all()
        .build()
        .context("start the async runtime")
}
