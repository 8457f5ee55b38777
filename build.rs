//! Compiles the descriptors that the reflection service shows.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let service = "opentelemetry/proto/collector/trace/v1/trace_service.proto";
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    compiler.open_file(service)?;
    let descriptors = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("otlp_descriptors.bin"), descriptors)?;
    Ok(())
}
