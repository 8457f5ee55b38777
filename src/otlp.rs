//! The OTLP wire format alone, no sockets: protobuf and JSON, compression, and the one table that
//! turns an outcome into a code.
//!
//! [`protobuf`] checks and reads requests in place, without copying; [`json`] decodes OTLP/JSON
//! into the generated messages, which the caller encodes, so that everything behind the receivers
//! knows one form only. Nothing here panics, recurses without bound or reserves memory that the
//! input has not paid for, whatever the input.

pub mod compression;
pub mod json;
pub mod partial;
pub mod protobuf;
mod signal;
pub mod status;

#[cfg(test)]
pub(crate) mod generate;

pub use signal::Signal;
pub use status::Failure;
