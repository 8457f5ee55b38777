//! Compiles `proto/` with a compiler written in Rust: no network, no system protoc.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

const PROTO_DIRECTORY: &str = "proto";
/// What clients may ask for by reflection, as an encoded `FileDescriptorSet`.
const SERVICE_DESCRIPTORS: &str = "pulse.trace.v1.bin";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIRECTORY}");
    let file = |name: &str| Path::new(PROTO_DIRECTORY).join(name);
    let stored = protox::compile([file("pulse/storage/v1/content.proto")], [PROTO_DIRECTORY])?;
    tonic_prost_build::configure()
        .bytes(".pulse.storage.v1.BlockSpan.message")
        .compile_fds(stored)?;
    let served = protox::compile(
        [
            file("pulse/trace/v1/trace_ingest.proto"),
            file("pulse/trace/v1/trace_query.proto"),
        ],
        [PROTO_DIRECTORY],
    )?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join(SERVICE_DESCRIPTORS), served.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(served)?;
    Ok(())
}
