//! `pulse.trace.v1`, the native protobuf services: the generated messages and clients, and the
//! envelopes of a stream. The spans in them are OTLP's with a field more, see
//! [`crate::otlp::protobuf::as_otlp`].

mod envelope;

pub use envelope::{Batch, batch};

/// Messages and clients as generated from `proto/pulse/trace/v1`.
#[expect(unused_qualifications, reason = "generated")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/pulse.trace.v1.rs"));
}

/// The encoded `FileDescriptorSet` of the services, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pulse.trace.v1.bin"));
