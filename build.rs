//! Compiles `proto/` with a compiler written in Rust: no network, no system protoc.

use std::error::Error;
use std::path::PathBuf;

const PROTO_DIRECTORY: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIRECTORY}");
    let files = [PathBuf::from(PROTO_DIRECTORY).join("pulse/storage/v1/content.proto")];
    let descriptors = protox::compile(files, [PROTO_DIRECTORY])?;
    tonic_prost_build::configure()
        .bytes(".pulse.storage.v1.BlockSpan.message")
        .compile_fds(descriptors)?;
    Ok(())
}
