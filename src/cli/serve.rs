//! `serve`: runs the daemon until it is asked to stop.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use super::ConfigArgs;
use crate::config::CheckFiles;

/// mimalloc's name for how long freed memory is kept, in milliseconds.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

pub(super) fn run(flags: &ConfigArgs) -> anyhow::Result<ExitCode> {
    give_freed_memory_back();
    let config = flags.load(CheckFiles::Yes)?;
    runtime()?.block_on(Box::pin(crate::service::run(config)))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the allocator give freed memory back at once: bodies and batches come and go in megabytes,
/// and what it keeps of them doubles the daemon's size. It reads its settings before `main`, so the
/// program starts itself anew in the same process, unless the setting is there already.
fn give_freed_memory_back() {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    // Comes back only when it failed, and then the daemon is merely larger.
    drop(
        Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(PURGE_DELAY, "0")
            .exec(),
    );
}

/// The runtime of the daemon and of the load generator.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder
        .enable_all()
        .build()
        .context("start the async runtime")
}
