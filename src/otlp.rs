//! The OTLP wire format alone, no sockets: protobuf and JSON, compression, and the one table that
//! turns an outcome into a code.

pub mod status;

pub use status::Failure;
