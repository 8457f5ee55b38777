//! `pulse.trace.v1`, the native protobuf services: the generated messages and clients, the
//! envelopes of a stream, and spans as they are answered. The spans in them are OTLP's with a field more,
//! see [`crate::otlp::protobuf::as_otlp`].

mod envelope;
mod lift;

pub use envelope::{Batch, batch};
pub use lift::{lift, tidy};

/// Messages and clients as generated from `proto/pulse/trace/v1`.
#[expect(
    unused_qualifications,
    clippy::large_enum_variant,
    reason = "generated"
)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/pulse.trace.v1.rs"));
}

/// The encoded `FileDescriptorSet` of the services, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pulse.trace.v1.bin"));
