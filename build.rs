//! Compiles `proto/` with a compiler written in Rust: no network, no system protoc.

use std::error::Error;
use std::path::PathBuf;

const PROTO_DIRECTORY: &str = "proto";
/// What the gRPC port serves, for the reflection service.
const TRACE_SERVICE: &str = "opentelemetry/proto/collector/trace/v1/trace_service.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIRECTORY}");
    let files = [PathBuf::from(PROTO_DIRECTORY).join("pulse/storage/v1/content.proto")];
    let descriptors = protox::compile(files, [PROTO_DIRECTORY])?;
    tonic_prost_build::configure()
        .bytes(".pulse.storage.v1.PartSpan.message")
        .compile_fds(descriptors)?;
    write_reflection_descriptors()
}

fn write_reflection_descriptors() -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([PROTO_DIRECTORY])?;
    compiler.include_imports(true);
    compiler.open_file(TRACE_SERVICE)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = compiler.encode_file_descriptor_set();
    Ok(std::fs::write(
        out.join("otlp_descriptors.bin"),
        descriptors,
    )?)
}
