//! The `pulse-collector` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Every TLS listener and client uses this provider. Nothing was installed before it.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok());
    pulse_collector::cli::run(std::env::args_os())
}
